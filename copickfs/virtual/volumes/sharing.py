"""What the volumes of a process share: memory for decoded tiles, a temporary file, processors."""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING

from copickfs.virtual.volumes.ahead import Ahead
from copickfs.virtual.volumes.spill import Spill
from copickfs.virtual.volumes.tiles import Tiles

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from copickfs.virtual.volumes.slabs import Slab

_AHEAD = 4
"""A reader's way ahead may take such a part of the memory."""

_MOST_TILES = 1 << 14
"""Whole planes are put together of no more."""


class Sharing:
    """Memory, disk and processors for all volumes. Thread-safe.

    Args:
        memory_bytes: Decoded tiles take no more memory.
        spill_directory: Where the temporary file is; None for the system's own directory of such files.
        spill_bytes: It is no longer than this; 0 for none.
        floor_bytes: So much room on its file system is left to others.

    Attributes:
        tiles: The decoded tiles.
        ahead: What decodes ahead of readers.
    """

    def __init__(
        self, memory_bytes: int, spill_directory: Path | None, spill_bytes: int, floor_bytes: int = 0
    ) -> None:
        self.tiles = Tiles(memory_bytes, Spill(spill_directory, spill_bytes, floor_bytes))
        self._processors = len(os.sched_getaffinity(0))
        self.ahead = Ahead(lambda: self._waiting >= self._processors, self._processors)
        self._lock = threading.Lock()
        self._waiting = 0

    @contextlib.contextmanager
    def decoding(self, *, ahead: bool) -> Iterator[None]:
        """While something is decoded.

        Args:
            ahead: Nobody waits for it. Nothing of this kind begins while readers keep all processors busy.
        """
        waited_for = 0 if ahead else 1
        with self._lock:
            self._waiting += waited_for
        try:
            yield
        finally:
            with self._lock:
                self._waiting -= waited_for

    def spills(self, slab: Slab) -> bool:
        """True if the tiles of a slab are to go to the disk when there is no room for them in memory.

        Otherwise they would be decoded again for each plane, for those of one plane push each other out.
        """
        return slab.stop - slab.start > 1 and slab.size_bytes > self._share_bytes // 2

    def joins(self, slab: Slab) -> bool:
        """True if a slab is decoded ahead as whole planes: there is memory for several of its size."""
        return slab.size_bytes <= self.ahead_bytes and len(slab) <= _MOST_TILES

    @property
    def ahead_bytes(self) -> int:
        """So much may be decoded ahead of each reader."""
        return self._share_bytes // _AHEAD

    def close(self) -> None:
        """End the threads, forget all tiles. Idempotent, never raises."""
        self.ahead.close()
        self.ahead.join()
        self.tiles.close()

    @property
    def _share_bytes(self) -> int:
        """The memory for each of those who go through a volume."""
        return self.tiles.memory_bytes // max(1, self.ahead.walkers)

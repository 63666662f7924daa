"""Whole planes of a volume, put together of their tiles before somebody asks who reads one after the other.

What the kernel asks for is then a piece of memory as it is: no voxel is copied for it, and no tile looked at.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from copickfs.virtual.volumes.tiles import InMemory

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from copickfs.arrays import Tile
    from copickfs.virtual.volumes.slabs import Slab
    from copickfs.virtual.volumes.tiles import Held


class Whole:
    """The planes of a slab, which are decoded tile by tile by all who are ready to. Thread-safe.

    Args:
        slab: Where they are; see `Sharing.joins`.
        shape: Extent of the volume, ``(z, y, x)``.
        dtype: Type of the voxels in the file.
        memory: As many bytes as the planes have.

    Attributes:
        slab: As given.
        size_bytes: Length of the planes.
        spills: Never: see `copickfs.virtual.volumes.tiles.InMemory`.
        checked: When the versions were found to be current; changed by `ChunkFiles.are_current`.
    """

    spills = False

    def __init__(
        self, slab: Slab, shape: tuple[int, int, int], dtype: np.dtype[Any], memory: NDArray[Any]
    ) -> None:
        self.slab = slab
        self.checked: tuple[int, float] | None = None
        self.size_bytes = memory.nbytes
        self._data = memory.data.toreadonly()  # keeps the memory in use, which the array does not
        self._voxels = memory.view(dtype).reshape(slab.stop - slab.start, *shape[1:])
        self._untaken = deque(slab)
        self._done: dict[Tile, str] = {}
        self._versions: dict[str, str] = {}
        self._lock = threading.Lock()
        self._is_over = threading.Event()
        self._is_bad = False

    def __repr__(self) -> str:
        return f"<Whole planes {self.slab.start} to {self.slab.stop}, {len(self._done)} tiles>"

    @property
    def versions(self) -> Mapping[str, str]:
        """Those of the objects that it was decoded from."""
        return self._versions

    @property
    def is_over(self) -> bool:
        """True if all of it is there, or it `is_bad`."""
        return self._is_over.is_set()

    @property
    def is_bad(self) -> bool:
        """True if a tile could not be decoded, or an object changed meanwhile: it never will be there."""
        return self._is_bad

    def take(self) -> Tile | None:
        """A tile that nobody decodes yet; who takes it must `put` it, or `give_up`."""
        try:
            return self._untaken.popleft()
        except IndexError:
            return None

    def put(self, tile: Tile, held: Held) -> None:
        """A tile that was taken is decoded."""
        place = self._of(tile)
        planes, rows, columns = place.shape
        is_there = held.copy((slice(0, planes), slice(0, rows), slice(0, columns)), place)
        with self._lock:
            self._done[tile] = held.version
            is_same = self._versions.setdefault(tile.object, held.version) == held.version
            self._is_bad |= not is_there or not is_same
            if self._is_bad or len(self._done) == len(self.slab):
                self._is_over.set()

    def has(self, tile: Tile) -> bool:
        """True if a tile was `put`."""
        return tile in self._done

    def part(self, tile: Tile) -> InMemory | None:
        """A copy of a tile, if it was `put`."""
        version = self._done.get(tile)
        return None if version is None or self._is_bad else InMemory(version, self._of(tile).copy())

    def give_up(self) -> None:
        """A tile that was taken cannot be decoded."""
        self._is_bad = True
        self._untaken.clear()
        self._is_over.set()

    def wait(self) -> None:
        """Wait until it `is_over`."""
        self._is_over.wait()

    def read(self, start: int, stop: int) -> memoryview:
        """Bytes of the planes, counted from the first one; only if it `is_over` and not `is_bad`."""
        return self._data[start:stop]

    def _of(self, tile: Tile) -> NDArray[Any]:
        (_, y, x), (_, y_stop, x_stop) = tile.start, tile.stop
        return self._voxels[:, y:y_stop, x:x_stop]

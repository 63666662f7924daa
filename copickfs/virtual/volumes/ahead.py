"""Decoding ahead of readers that go through a volume from plane to plane."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from copickfs.layers.ahead import GoingAhead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from copickfs.arrays import Tile
    from copickfs.model import ByteRange
    from copickfs.virtual.volumes.slabs import Slab
    from copickfs.virtual.volumes.volume import SharedVolume

_STEPS = 2
"""Who has gone on so often is going through the volume."""

_WINDOW_BYTES = 4 << 20
"""The kernel asks for several ranges at once, which do not come in order."""


class Walk:
    """Where one reader of a volume is, and what it will need next. Thread-safe.

    Args:
        volume: The volume.
        ahead_bytes: So much may be decoded ahead of it at the moment.

    Attributes:
        is_wanted: There may be something to decode for it.
    """

    def __init__(self, volume: SharedVolume, ahead_bytes: Callable[[], int]) -> None:
        self._volume = volume
        self._ahead_bytes = ahead_bytes
        self._lock = threading.Lock()
        _, rows, columns = volume.shape
        self._plane_bytes = rows * columns * volume.dtype.itemsize
        self._window_bytes = max(_WINDOW_BYTES, 2 * self._plane_bytes)
        self._stop_byte = 0
        self._steps = 0
        self._position = 0
        self._frontier = 0
        self._depth = 1
        self._planned: Iterator[tuple[Tile, Slab]] | None = None
        self._is_over = False
        self.is_wanted = False

    def read(self, span: ByteRange) -> bool:
        """The reader has asked for bytes of the voxels; True if there is news for those who decode ahead."""
        with self._lock:
            begin, end = span
            if abs(begin - self._stop_byte) > self._window_bytes:
                self._turn(end)
            elif end > self._stop_byte:
                self._steps += 1
                self._stop_byte = end
            else:
                return False
            self._position = (self._stop_byte - 1) // self._plane_bytes
            was_wanted = self.is_wanted
            self.is_wanted = self._planned is not None or self._plane_to_plan() is not None
            return self.is_wanted and not was_wanted  # a thread that is woken for nothing costs the reader

    def step(self) -> None:
        """Decode one tile ahead of the reader; clears `is_wanted` if there is none to be decoded now."""
        planned = self._next()
        if planned is None:
            return
        try:
            self._volume.prepare(*planned)
        except Exception:  # noqa: BLE001 -- the reader will be told when it is there
            self._give_up()

    def end(self) -> None:
        """The reader has gone."""
        with self._lock:
            self._is_over = True
            self.is_wanted = False
            self._planned = None

    def _turn(self, end: int) -> None:
        self._steps = 0
        self._stop_byte = end
        self._frontier = 0
        self._planned = None

    def _is_walking(self) -> bool:
        return self._steps >= _STEPS and not self._is_over

    def _next(self) -> tuple[Tile, Slab] | None:
        with self._lock:
            if self._is_walking() and (planned := self._pop()) is not None:
                return planned
            plane = self._plane_to_plan()
            if plane is None:
                self.is_wanted = False
                return None
        try:
            slab = self._volume.slab(plane)  # reads, perhaps
        except Exception:  # noqa: BLE001 -- the reader will be told when it is there
            self._give_up()
            return None
        with self._lock:
            if self._is_walking() and self._frontier <= plane:
                self._frontier = slab.stop
                self._depth = slab.stop - slab.start
                self._planned = ((tile, slab) for tile in slab)
            return self._pop()

    def _pop(self) -> tuple[Tile, Slab] | None:
        planned = None if self._planned is None else next(self._planned, None)
        if planned is None:
            self._planned = None
        return planned

    def _plane_to_plan(self) -> int | None:
        """The plane whose tiles are to be looked for, if the reader is near enough."""
        plane = max(self._frontier, self._position)
        far = max(self._ahead_bytes() // self._plane_bytes, self._depth)
        is_due = self._is_walking() and plane < min(self._position + far, self._volume.shape[0])
        return plane if is_due else None

    def _give_up(self) -> None:
        with self._lock:
            self._steps = 0
            self.is_wanted = False
            self._planned = None


class Ahead(GoingAhead[Walk, Walk]):
    """Threads that decode for all readers in turn.

    Args:
        is_busy: True while readers need all processors themselves.
        workers: So many decode at a time.
    """

    def __init__(self, is_busy: Callable[[], bool], workers: int) -> None:
        super().__init__("copickfs-volumes-ahead", is_busy, workers)
        self._walks: OrderedDict[Walk, None] = OrderedDict()

    @property
    def walkers(self) -> int:
        """How many readers go through volumes at the moment."""
        return len(self._walks)

    def remove(self, walk: Walk) -> None:
        """A reader has gone."""
        walk.end()
        with self._lock:
            self._walks.pop(walk, None)

    def _plan(self) -> None:
        while self._events:
            self._walks[self._events.popleft()] = None

    def _has_target(self) -> bool:
        return any(walk.is_wanted for walk in self._walks)

    def _take(self) -> Walk:
        walk = next(walk for walk in self._walks if walk.is_wanted)
        self._walks.move_to_end(walk)
        return walk

    def _forget(self) -> None:
        self._walks.clear()

    def _do(self, target: Walk) -> None:
        target.step()

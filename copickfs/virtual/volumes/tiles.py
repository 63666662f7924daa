"""What is decoded, least recently used first out: in memory under a limit, on a disk where that pays."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from copickfs.virtual.volumes.buffers import Buffers

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from copickfs.arrays import Tile
    from copickfs.virtual.volumes.spill import Slot, Spill
    from copickfs.virtual.volumes.whole import Whole


_WHOLE = 2
"""Whole planes take such a part of the memory: enough for what is ahead of all readers (`Sharing.joins`).

What they have passed is in the kernel's pages, and new memory costs more than what was used a moment ago.
"""


class Key(NamedTuple):
    """Names a tile of a volume; volumes have numbers of their own."""

    volume: int
    tile: Tile


class WholeKey(NamedTuple):
    """Names whole planes of a volume by the first of them."""

    volume: int
    plane: int


Part = tuple[slice, slice, slice]
"""The ``(z, y, x)`` range of a tile, with a start and a stop that lie in it."""


class InMemory(NamedTuple):
    """A tile in memory.

    Attributes:
        version: That of the object that it was decoded from.
        voxels: ``(z, y, x)``, as they stand in the file; never written.
        spills: It is to be put on a disk rather than to be decoded again.
    """

    version: str
    voxels: NDArray[Any]
    spills: bool = False

    @property
    def size_bytes(self) -> int:
        """The memory that it takes."""
        return self.voxels.nbytes

    def copy(self, part: Part, out: NDArray[Any]) -> bool:
        """Copy a part of it into ``out``, which has its extent; False if it is not there any more."""
        out[...] = self.voxels[part]
        return True


class OnDisk(NamedTuple):
    """A tile in the temporary file; see `InMemory`."""

    version: str
    spill: Spill
    slot: Slot
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def copy(self, part: Part, out: NDArray[Any]) -> bool:
        """See `InMemory.copy`."""
        planes, rows, columns = part
        _, height, width = self.shape
        buffer = np.empty((rows.stop - rows.start, width), self.dtype)
        for plane in range(planes.start, planes.stop):
            start = (plane * height + rows.start) * width * self.dtype.itemsize
            if not self.spill.read(self.slot, start, _bytes_of(buffer)):
                return False
            out[plane - planes.start] = buffer[:, columns]
        return True


Held = InMemory | OnDisk


class Tiles:
    """The decoded tiles of all volumes. Thread-safe.

    Args:
        memory_bytes: What is in memory is never more, but for what is on its way to the disk.
        spill: Where the others go that are worth it.
    """

    def __init__(self, memory_bytes: int, spill: Spill) -> None:
        self.memory_bytes = memory_bytes
        self._spill = spill
        self._buffers = Buffers()
        self._lock = threading.Lock()
        self._held: OrderedDict[Key | WholeKey, InMemory | Whole] = OrderedDict()
        self._leaving: dict[Key, InMemory] = {}
        self._on_disk: dict[Key, OnDisk] = {}
        self._whole_bytes = 0
        self.size_bytes = 0

    def get(self, key: Key) -> Held | None:
        """A tile; None if it has to be decoded."""
        with self._lock:
            held = self._held.get(key)
            if held is not None:
                self._held.move_to_end(key)
                return cast("InMemory", held)
            leaving = self._leaving.get(key)
            if leaving is not None:
                return leaving
            found = self._on_disk.get(key)
            if found is not None and not found.slot.is_valid:
                del self._on_disk[key]
                found = None
            return found

    def put(self, key: Key, held: InMemory) -> None:
        """Keep a tile, in the place of what was kept of it."""
        with self._lock:
            self._forget(key)
            leaving = self._make_room(held.size_bytes)
            self._held[key] = held
            self.size_bytes += held.size_bytes
            self._buffers.clear()
        for old_key, old in leaving:
            self._put_on_disk(old_key, old)

    def get_whole(self, key: WholeKey) -> Whole | None:
        """Whole planes, which may not be decoded yet; None if nobody has begun to."""
        with self._lock:
            held = self._held.get(key)
            if held is not None:
                self._held.move_to_end(key)
            return cast("Whole | None", held)

    def put_whole(self, key: WholeKey, size_bytes: int, make: Callable[[NDArray[Any]], Whole]) -> Whole:
        """Whole planes to be decoded, which are made and kept unless somebody has done so.

        Args:
            key: Names them.
            size_bytes: Their length.
            make: Makes them, in as many bytes of memory.
        """
        with self._lock:
            held = self._held.get(key)
            if held is not None:
                return cast("Whole", held)
            while self._whole_bytes and self._whole_bytes + size_bytes > self.memory_bytes // _WHOLE:
                self._forget(next(old for old in self._held if isinstance(old, WholeKey)))
            leaving = self._make_room(size_bytes)
            whole = make(self._buffers.take(size_bytes))
            self._held[key] = whole
            self._whole_bytes += size_bytes
            self.size_bytes += size_bytes
        for old_key, old in leaving:
            self._put_on_disk(old_key, old)
        return whole

    def discard_whole(self, key: WholeKey, whole: Whole) -> None:
        """Do not keep these any more."""
        with self._lock:
            if self._held.get(key) is whole:
                self._forget(key)

    def drop(self, volume: int) -> None:
        """Forget all tiles of a volume."""
        with self._lock:
            of_volume = {*self._held, *self._leaving, *self._on_disk}
            for key in [key for key in of_volume if key.volume == volume]:
                self._forget(key)

    def close(self) -> None:
        """Forget everything."""
        with self._lock:
            self._held.clear()
            self._leaving.clear()
            self._on_disk.clear()
            self._buffers.clear()
            self.size_bytes = self._whole_bytes = 0
        self._spill.close()

    def _make_room(self, size_bytes: int) -> list[tuple[Key, InMemory]]:
        """Keep less in memory; what has to go on the disk for it."""
        leaving = []
        while self._held and self.size_bytes + size_bytes > self.memory_bytes:
            old_key, old = self._held.popitem(last=False)
            self._count_out(old_key, old)
            if isinstance(old_key, Key) and isinstance(old, InMemory) and old.spills:
                self._leaving[old_key] = old
                leaving.append((old_key, old))
        return leaving

    def _forget(self, key: Key | WholeKey) -> None:
        old = self._held.pop(key, None)
        if old is not None:
            self._count_out(key, old)
        if isinstance(key, WholeKey):
            return
        self._leaving.pop(key, None)
        found = self._on_disk.pop(key, None)
        if found is not None:
            self._spill.free(found.slot)

    def _count_out(self, key: Key | WholeKey, old: InMemory | Whole) -> None:
        self.size_bytes -= old.size_bytes
        if isinstance(key, WholeKey):
            self._whole_bytes -= old.size_bytes

    def _put_on_disk(self, key: Key, held: InMemory) -> None:
        slot = self._spill.write(_bytes_of(held.voxels))
        with self._lock:
            is_wanted = self._leaving.get(key) is held
            if is_wanted:
                del self._leaving[key]
            if slot is None:
                return
            if is_wanted:
                self._on_disk[key] = OnDisk(
                    held.version, self._spill, slot, held.voxels.shape, held.voxels.dtype
                )
                return
        self._spill.free(slot)


def alone(voxels: NDArray[Any]) -> NDArray[Any]:
    """The same voxels, without keeping the memory of much more than them; read-only."""
    root: Any = voxels
    while isinstance(root, np.ndarray | memoryview):
        below = root.obj if isinstance(root, memoryview) else root.base
        if below is None:
            break
        root = below
    known = isinstance(root, np.ndarray | memoryview | bytes | bytearray)
    if not known or memoryview(root).nbytes > voxels.nbytes + voxels.nbytes // 4:
        voxels = voxels.copy()
    voxels.flags.writeable = False
    return voxels


def _bytes_of(voxels: NDArray[Any]) -> memoryview:
    return voxels.reshape(-1).view(np.uint8).data

"""One array of a store, or one channel of it, as all readers in this process share it."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from copickfs.errors import Stale, Unreadable, WouldBlock
from copickfs.layers.flight import SingleFlight
from copickfs.virtual.volumes.moments import Tally, moments
from copickfs.virtual.volumes.slabs import Slab
from copickfs.virtual.volumes.tiles import InMemory, Key, OnDisk, WholeKey, alone
from copickfs.virtual.volumes.voxels import converted
from copickfs.virtual.volumes.whole import Whole

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from copickfs.arrays import Tile
    from copickfs.virtual.project import Statistics
    from copickfs.virtual.volumes.boxes import Box
    from copickfs.virtual.volumes.decoding import Decoder
    from copickfs.virtual.volumes.moments import Moments
    from copickfs.virtual.volumes.sharing import Sharing
    from copickfs.virtual.volumes.tiles import Held

_ATTEMPTS = 3
_MAX_SLABS = 32
_numbers = itertools.count(1)


class SharedVolume:
    """The voxels of a volume as they stand in its file, decoded once for all who read. Thread-safe.

    Args:
        decoder: What decodes its tiles.
        dtype: Type of the voxels in the file.
        sharing: What it shares with other volumes.
        keep: Told exact statistics, and the mark of the objects, when all of it has been decoded.
        on_refused: Told of a value that no MRC file can have: its object, the version, and the error.

    Attributes:
        name: What people and the facts know it by: the path of the array in the tree, and the channel of it.
        files: The objects of the array.
        number: Names it among all volumes of the process.
        shape: ``(z, y, x)``.
        dtype: As given.
        tally: What has been counted of it.
        statistics: What its header says, as long as somebody has it open.
        estimate: What it said when somebody had it open last.
        users: How many have it open; changed by who keeps it.
    """

    def __init__(
        self,
        decoder: Decoder,
        dtype: np.dtype[Any],
        *,
        sharing: Sharing,
        keep: Callable[[str, Statistics], None],
        on_refused: Callable[[str, str, Unreadable], None],
    ) -> None:
        self.name = decoder.name
        self.files = decoder.files
        self.number = next(_numbers)
        self.shape = decoder.shape
        self.dtype = dtype
        planes, rows, columns = self.shape
        self.tally = Tally(planes * rows * columns)
        self.statistics: Statistics | None = None
        self.estimate: Statistics | None = None
        self.users = 0
        self._decoder = decoder
        self._sharing = sharing
        self._keep = keep
        self._on_refused = on_refused
        self._flight = SingleFlight()
        self._lock = threading.Lock()
        self._slabs: OrderedDict[int, Slab] = OrderedDict()

    def __repr__(self) -> str:
        return f"<SharedVolume {self.name} {self.shape}>"

    def slab(self, plane: int, *, wait: bool = True) -> Slab:
        """The tiles that hold a plane, and which other planes the same ones hold.

        Args:
            plane: Number of the plane.
            wait: False to answer from memory, or raise `WouldBlock`.
        """
        with self._lock:
            for start, slab in self._slabs.items():
                if start <= plane < slab.stop:
                    return slab
        if not wait:
            raise WouldBlock
        found = Slab(self._decoder.planes(plane), self._decoder.grid, self.dtype.itemsize)
        with self._lock:
            while len(self._slabs) >= _MAX_SLABS:
                self._slabs.popitem(last=False)
            self._slabs[found.start] = found
        return found

    def copy(self, box: Box, out: NDArray[Any], *, wait: bool = True) -> None:
        """Copy the voxels of a box.

        Args:
            box: The box.
            out: An array of its extent and of this volume's ``dtype``.
            wait: False to answer from memory, or raise `WouldBlock`.

        Raises:
            Unreadable: A chunk is broken, or has a value that the file cannot have.
            Stale: The array is not what it was.
            Transient: A layer is out of reach.
        """
        plane = box.z
        while plane < box.z_stop:
            slab = self.slab(plane, wait=wait)
            stop = min(slab.stop, box.z_stop)
            part = box._replace(z=plane, z_stop=stop)
            for tile in slab.within(box.y, box.y_stop, box.x, box.x_stop):
                self._copy(tile, slab, part, out[plane - box.z : stop - box.z], wait=wait)
            plane = stop

    def whole(self, slab: Slab, *, wait: bool = True) -> Whole | None:
        """All planes of a slab, if somebody has begun to decode them ahead of a reader; else None.

        Args:
            slab: Where they are.
            wait: False to answer from memory, or raise `WouldBlock`.

        Raises:
            Stale, Transient: See `copy`.
        """
        key = WholeKey(self.number, slab.start)
        whole = self._sharing.tiles.get_whole(key)
        if whole is None:
            return None
        if not whole.is_over:
            if not wait:
                raise WouldBlock
            with contextlib.suppress(Exception):  # whoever reads these voxels is told
                while self._decode_for(whole):
                    pass
            whole.wait()
        if not whole.is_bad and self.files.are_current(whole, wait=wait):
            return whole
        self._sharing.tiles.discard_whole(key, whole)
        return None

    def prepare(self, tile: Tile, slab: Slab) -> None:
        """Decode a tile of a slab that somebody is about to read, or another one of the same slab.

        Raises:
            Unreadable, Stale, Transient: See `copy`.
        """
        if not self._sharing.joins(slab):
            self.fetch(tile, slab, ahead=True)
            return
        self._decode_for(self._begun(slab))

    def _begun(self, slab: Slab) -> Whole:
        """All planes of a slab, which may be still to be decoded."""
        return self._sharing.tiles.put_whole(
            WholeKey(self.number, slab.start),
            slab.size_bytes,
            lambda memory: Whole(slab, self.shape, self.dtype, memory),
        )

    def _decode_for(self, whole: Whole) -> bool:
        """Decode one tile of whole planes; False if there is none that somebody would have to."""
        tile = whole.take()
        if tile is None:
            return False
        try:
            held = self._flight.run(
                tile,
                lambda: self._decode_into(whole, tile),
                after=lambda held: self._count(tile, held),
            )
            if not whole.has(tile):  # somebody was decoding it by itself
                whole.put(tile, held)
        except BaseException:
            whole.give_up()
            raise
        return True

    def _decode_into(self, whole: Whole, tile: Tile) -> Held:
        held = self._held(tile, wait=True)
        if held is None:
            voxels, version = self._converted(tile)
            held = InMemory(version, voxels)
        whole.put(tile, held)
        return held

    def fetch(self, tile: Tile, slab: Slab, *, ahead: bool = False) -> Held:
        """A tile of the current version, decoded if it has to be.

        Args:
            tile: One of the tiles of ``slab``.
            slab: Where it is in.
            ahead: Nobody waits for it yet.
        """
        for _attempt in range(_ATTEMPTS):
            held = self._held(tile, wait=True)
            if held is not None:
                return held
            held = self._flight.run(
                tile,
                lambda: self._decode(tile, slab, ahead=ahead),
                after=lambda held: self._count(tile, held),
            )
            if held.version == self.files.version(tile.object):
                return held
        raise Stale(f"{self.name}: {tile.object} changes all the time")

    def count(self, tile: Tile) -> Moments:
        """The moments of a tile, which is decoded and not kept; of any values, those of no MRC file, too."""
        voxels, version = self._decoder.decode(tile)
        found = moments(voxels)
        if self.tally.add(tile, version, found):
            self._keep_counted()
        return found

    def counted(self, versions: Mapping[str, str]) -> Statistics | None:
        """The exact statistics, if all of these versions of the objects were counted; they are kept then."""
        if not self.tally.is_complete:
            return None
        total, counted = self.tally.counted()
        if counted != versions:
            return None
        self._keep_counted()
        return total.statistics(exact=True)

    def described(self, find: Callable[[], Statistics | None]) -> Statistics | None:
        """What the header says: the same for all who have it open at a time. None if nothing is known.

        Args:
            find: Finds it out.
        """
        if self.statistics is None:
            found = self._flight.run("statistics", find)
            with self._lock:
                if self.statistics is None:
                    self.statistics = found
        return self.statistics

    def forget(self) -> None:
        """Something may have changed: look at the objects again."""
        self.files.forget()
        self.estimate = self.statistics = None
        with self._lock:
            self._slabs.clear()

    def _held(self, tile: Tile, *, wait: bool) -> Held | None:
        """A tile that is there and current."""
        held = self._sharing.tiles.get(Key(self.number, tile))
        if held is None or held.version != self.files.version(tile.object, wait=wait):
            return None
        return held

    def _copy(self, tile: Tile, slab: Slab, part: Box, out: NDArray[Any], *, wait: bool) -> None:
        # Spelled out: this is done for each tile of each request of the kernel's.
        (tile_z, tile_y, tile_x), (tile_z_stop, tile_y_stop, tile_x_stop) = tile.start, tile.stop
        part_z, part_z_stop, part_y, part_y_stop, part_x, part_x_stop = part
        z = max(part_z, tile_z)
        y = max(part_y, tile_y)
        x = max(part_x, tile_x)
        z_stop = min(part_z_stop, tile_z_stop)
        y_stop = min(part_y_stop, tile_y_stop)
        x_stop = min(part_x_stop, tile_x_stop)
        wanted = (
            slice(z - tile_z, z_stop - tile_z),
            slice(y - tile_y, y_stop - tile_y),
            slice(x - tile_x, x_stop - tile_x),
        )
        target = out[z - part_z : z_stop - part_z, y - part_y : y_stop - part_y, x - part_x : x_stop - part_x]
        if not wait:
            held = self._held(tile, wait=False)
            if not isinstance(held, InMemory):
                raise WouldBlock
            held.copy(wanted, target)
            return
        for _attempt in range(_ATTEMPTS):
            if self.fetch(tile, slab).copy(wanted, target):
                return
        # What is on the disk is given up again and again: others need the room.
        target[...] = converted(self._decoder.decode(tile)[0], self.dtype)[wanted]

    def _decode(self, tile: Tile, slab: Slab, *, ahead: bool) -> Held:
        """Decode a tile, and keep it. One thread at a time does this for a tile."""
        held = self._held(tile, wait=True)
        if held is not None:
            return held  # somebody has just done it
        whole = self._sharing.tiles.get_whole(WholeKey(self.number, slab.start))
        found = None if whole is None else whole.part(tile)
        if found is not None:
            return found
        with self._sharing.decoding(ahead=ahead):
            voxels, version = self._converted(tile)
        new = InMemory(version, alone(voxels), self._sharing.spills(slab))
        self._sharing.tiles.put(Key(self.number, tile), new)
        return new

    def _converted(self, tile: Tile) -> tuple[NDArray[Any], str]:
        """The voxels of a tile as they stand in the file, and the version of its object."""
        voxels, version = self._decoder.decode(tile)
        try:
            return converted(voxels, self.dtype), version
        except Unreadable as error:
            refusal = Unreadable(f"{self.name}: {error}")
            self._on_refused(tile.object, version, refusal)
            raise refusal from None

    def _count(self, tile: Tile, held: Held) -> None:
        """Count a tile, unless the statistics are known; when that was the last one, they are."""
        known = self.statistics
        if isinstance(held, OnDisk) or (known is not None and known.exact):
            return
        if self.tally.needs(tile, held.version) and self.tally.add(tile, held.version, moments(held.voxels)):
            self._keep_counted()

    def _keep_counted(self) -> None:
        total, versions = self.tally.counted()
        statistics = total.statistics(exact=True)
        if statistics is not None:
            self._keep(self.files.mark(versions), statistics)

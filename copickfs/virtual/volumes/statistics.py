"""What the header of a volume says of its voxels: exact where that is known, else an estimate.

The estimate is made of the coarsest level of the pyramid, or of a part of it that is spread all over.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

from copickfs.errors import Unreadable
from copickfs.virtual.volumes.moments import Moments, moments
from copickfs.virtual.volumes.tiles import InMemory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from copickfs.arrays import Tile
    from copickfs.virtual.project import Facts, Statistics
    from copickfs.virtual.volumes.slabs import Slab
    from copickfs.virtual.volumes.volume import SharedVolume

SAMPLE_BYTES = 32 << 20
"""So much is decoded for an estimate."""

_MAX_OBJECTS = 1 << 15
"""Of arrays with more objects the versions are not looked at one by one, and so nothing is known exactly."""

_PLANES = 16
"""An estimate is made of so many planes, if not of all."""


def known(volume: SharedVolume, facts: Facts) -> Statistics | None:
    """The exact statistics of what the volume is now, kept or counted; None if there are none.

    Raises:
        Transient: A layer is out of reach.
    """
    if len(volume.files.objects) > _MAX_OBJECTS:
        return None
    versions = {inner: volume.files.version(inner) for inner in volume.files.objects}
    kept = facts.statistics(volume.name, volume.files.mark(versions))
    return kept or volume.counted(versions)


def estimated(volume: SharedVolume, coarsest: SharedVolume) -> Statistics | None:
    """An estimate, or the exact statistics if all of the volume was decoded for it; None if nothing is known.

    Raises:
        Transient: A layer is out of reach.
    """
    total, done_bytes = Moments(), 0
    for tile, slab in _sample(coarsest):
        if done_bytes >= SAMPLE_BYTES:
            break
        try:
            total += _moments(coarsest, tile, slab, keep=coarsest is volume)
        except Unreadable:
            continue  # a reader is told when it comes there
        size = math.prod(stop - start for start, stop in zip(tile.start, tile.stop, strict=True))
        done_bytes += size * coarsest.dtype.itemsize
    exact = coarsest is volume and volume.tally.is_complete and _bytes_of(volume) <= SAMPLE_BYTES
    return total.statistics(exact=exact)


def computed(volume: SharedVolume, is_stopped: Callable[[], bool]) -> Statistics | None:
    """The exact statistics; one tile at a time is in memory, and none is kept there.

    Args:
        volume: The volume.
        is_stopped: Asked before each tile; True ends it.

    Returns:
        None if it was stopped, if there are no finite voxels, or if the volume changed meanwhile.

    Raises:
        Unreadable: A chunk is broken; or there are more than `known` ever looks at.
        Stale: The array is not what it was.
        Transient: A layer is out of reach.
    """
    if len(volume.files.objects) > _MAX_OBJECTS:
        raise Unreadable(
            f"{volume.name}: its statistics stay estimates, for it has more than {_MAX_OBJECTS:,} chunks"
        )
    for tile, _slab in _all(volume):
        if is_stopped():
            return None
        if volume.tally.needs(tile, volume.files.version(tile.object)):
            volume.count(tile)
    total, _versions = volume.tally.counted()
    return total.statistics(exact=True) if volume.tally.is_complete else None


def _all(volume: SharedVolume) -> Iterator[tuple[Tile, Slab]]:
    plane = 0
    while plane < volume.shape[0]:
        slab = volume.slab(plane)
        yield from ((tile, slab) for tile in slab)
        plane = slab.stop


def _sample(volume: SharedVolume) -> Iterator[tuple[Tile, Slab]]:
    """Tiles spread over a volume, all if they are not more than `SAMPLE_BYTES` together."""
    planes = volume.shape[0]
    if _bytes_of(volume) <= SAMPLE_BYTES:
        yield from _all(volume)
        return
    number = min(planes, _PLANES)
    seen: set[Tile] = set()
    for count in sorted(range(number), key=_spread):
        slab = volume.slab((2 * count + 1) * planes // (2 * number))
        share = max(1, int(len(slab) * SAMPLE_BYTES / number / slab.size_bytes))
        step = max(1, len(slab) // share)
        for place in itertools.islice(range(count % step, len(slab), step), share):
            tile = slab[place]
            if tile not in seen:
                seen.add(tile)
                yield tile, slab


def _bytes_of(volume: SharedVolume) -> int:
    return math.prod(volume.shape) * volume.dtype.itemsize


def _spread(count: int) -> int:
    """Puts 0 to 15 into an order whose every beginning is spread: 8, 4, 12, 2, ..."""
    return int(f"{count ^ 8:04b}"[::-1], 2)


def _moments(volume: SharedVolume, tile: Tile, slab: Slab, *, keep: bool) -> Moments:
    """Of a tile; of one that a reader is about to ask for what is decoded is kept."""
    held = volume.fetch(tile, slab) if keep else None
    return moments(held.voxels) if isinstance(held, InMemory) else volume.count(tile)

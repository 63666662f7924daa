"""Statistics of voxels: of arrays one by one, put together without going through them again.

Means and squares are put together as Chan, Golub and LeVeque have it (Updating Formulae and a Pairwise
Algorithm for Computing Sample Variances, 1979), in float64: the sum of squares itself would cancel out.
"""

from __future__ import annotations

import bisect
import math
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from copickfs.virtual.sources import Statistics

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from copickfs.arrays import Tile

_AT_ONCE = 1 << 15
"""So many voxels fit into a processor's own cache as float64, where going over them again costs little."""


class Moments(NamedTuple):
    """What finite voxels come to.

    Attributes:
        number: How many there are.
        minimum: Smallest value; infinity if there are none.
        maximum: Largest value; minus infinity if there are none.
        mean: Mean.
        squares: Sum of the squared deviations from the mean.
    """

    number: int = 0
    minimum: float = math.inf
    maximum: float = -math.inf
    mean: float = 0.0
    squares: float = 0.0

    def __add__(self, other: Moments) -> Moments:  # type: ignore[override]
        """Of both together."""
        number = self.number + other.number
        if not other.number or not self.number:
            return self if self.number else other
        away = other.mean - self.mean
        return Moments(
            number,
            min(self.minimum, other.minimum),
            max(self.maximum, other.maximum),
            self.mean + away * (other.number / number),
            self.squares + other.squares + away * away * (self.number * (other.number / number)),
        )

    def statistics(self, *, exact: bool) -> Statistics | None:
        """As a header has them; None if there are no finite voxels."""
        if not self.number:
            return None
        rms = math.sqrt(max(0.0, self.squares) / self.number)
        return Statistics(self.minimum, self.maximum, self.mean, rms, exact)


def moments(voxels: NDArray[Any]) -> Moments:
    """The moments of the finite values of an array of any shape and numeric type."""
    flat = voxels.reshape(-1)
    total = Moments()
    for start in range(0, flat.size, _AT_ONCE):
        part = flat[start : start + _AT_ONCE]
        block = part.astype(np.float64)
        mean = float(block.mean())
        if not math.isfinite(mean):
            part = block = block[np.isfinite(block)]
            if not block.size:
                continue
            mean = float(block.mean())
        minimum, maximum = float(part.min()), float(part.max())
        block -= mean
        total += Moments(block.size, minimum, maximum, mean, float(np.vdot(block, block)))
    return total


class _Counted:
    """What has been counted of one version of an object.

    Attributes:
        version: The version.
        planes: The planes of each chunk that have been counted: where each tile begins and ends, in order.
        voxels: How many voxels these have.
        moments: What they come to.
    """

    __slots__ = ("moments", "planes", "version", "voxels")

    def __init__(self, version: str) -> None:
        self.version = version
        self.planes: dict[tuple[int, ...], list[tuple[int, int]]] = {}
        self.voxels = 0
        self.moments = Moments()

    def has(self, tile: Tile) -> bool:
        """True if voxels of the tile are counted already."""
        planes = self.planes.get(tile.chunk, [])
        place = bisect.bisect_left(planes, (tile.stop[0], 0))
        return place > 0 and planes[place - 1][1] > tile.start[0]


class Tally:
    """Counts the tiles of a volume as they are decoded, each voxel once. Thread-safe.

    Args:
        voxels: How many the volume has.

    Attributes:
        is_complete: All of them are counted.
    """

    def __init__(self, voxels: int) -> None:
        self._voxels = voxels
        self._lock = threading.Lock()
        self._counted: dict[str, _Counted] = {}
        self._done = 0
        self.is_complete = False

    def needs(self, tile: Tile, version: str) -> bool:
        """True if `add` would count the tile."""
        counted = self._counted.get(tile.object)
        if counted is None or counted.version != version:
            return True
        with self._lock:
            return not counted.has(tile)

    def add(self, tile: Tile, version: str, found: Moments) -> bool:
        """Count a tile; True if all of the volume is counted by now, which is said once.

        What was counted of another version of its object is taken out.

        Args:
            tile: The tile.
            version: The version of the object that it was decoded from.
            found: Its moments.
        """
        size = math.prod(stop - start for start, stop in zip(tile.start, tile.stop, strict=True))
        with self._lock:
            counted = self._counted.get(tile.object)
            if counted is None or counted.version != version:
                self._done -= counted.voxels if counted is not None else 0
                counted = self._counted[tile.object] = _Counted(version)
            if not counted.has(tile):
                bisect.insort(counted.planes.setdefault(tile.chunk, []), (tile.start[0], tile.stop[0]))
                counted.voxels += size
                counted.moments += found
                self._done += size
            was_complete, self.is_complete = self.is_complete, self._done == self._voxels
            return self.is_complete and not was_complete

    def counted(self) -> tuple[Moments, Mapping[str, str]]:
        """What all that was counted comes to, and the versions of the objects."""
        with self._lock:
            total = sum((each.moments for each in self._counted.values()), Moments())
            return total, {path: each.version for path, each in self._counted.items()}

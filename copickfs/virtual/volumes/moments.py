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

from copickfs.virtual.project import Statistics

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from copickfs.arrays import Tile

_AT_ONCE = 1 << 18
"""So many voxels, a tile, fit into a processor's own cache, where going over them again costs little."""

_ROW = 1024


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
    """The moments of the finite values of an array of any shape and numeric type.

    Of types that are narrow the differences from a value near the mean are summed up in float32, `_ROW` at
    a time, which takes half the time and is good for six digits; all else is done in float64.
    """
    flat = voxels.reshape(-1)
    total = Moments()
    near = _near(flat[:_ROW])
    is_narrow = np.can_cast(flat.dtype, np.float32, "safe")
    for start in range(0, flat.size, _AT_ONCE):
        part = flat[start : start + _AT_ONCE]
        found = _moments(part, near, np.float32 if is_narrow else np.float64)
        if not math.isfinite(found.squares):
            part = part[np.isfinite(part)]
            found = _moments(part, near, np.float64) if part.size else Moments()
        total += found
    return total


def _near(first: NDArray[Any]) -> float:
    """A value near the mean of voxels like these; 0, which need not be taken off, where it does."""
    if not first.size:
        return 0.0
    with np.errstate(invalid="ignore", over="ignore"):
        mean, deviation = float(first.mean(dtype=np.float64)), float(first.std(dtype=np.float64))
    return mean if math.isfinite(mean) and abs(mean) > deviation else 0.0


def _moments(part: NDArray[Any], near: float, dtype: type[np.float32 | np.float64]) -> Moments:
    """Of a few voxels; not finite if they are not, or if their squares are too large for the type.

    Args:
        part: At least one.
        near: A value near their mean, so that squares do not cancel out.
        dtype: What is calculated with.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        origin = dtype(near)
        block: NDArray[Any]
        block = np.subtract(part, origin, dtype=dtype) if near else part.astype(dtype, copy=False)
        whole = block.size // _ROW * _ROW
        away = squares = 0.0
        for rows in (block[:whole].reshape(-1, _ROW), block[whole:].reshape(1, -1)):
            if not rows.size:
                continue
            away += float(np.einsum("ij->i", rows).sum(dtype=np.float64))
            # Not vdot, which is BLAS: its threads spin on a busy machine.
            squares += float(np.einsum("ij,ij->j", rows, rows).sum(dtype=np.float64))
        minimum, maximum = float(np.minimum.reduce(part)), float(np.maximum.reduce(part))
        shift = away / part.size
        return Moments(part.size, minimum, maximum, float(origin) + shift, squares - away * shift)


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

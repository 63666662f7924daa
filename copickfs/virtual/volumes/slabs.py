"""The tiles of a volume that hold one plane, in the order of rows and columns."""

from __future__ import annotations

import bisect
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from copickfs.arrays import Tile


class Slab:
    """The planes of which the same tiles hold all. Immutable.

    Args:
        tiles: All tiles that hold one plane.
        itemsize: Bytes of a voxel in the file.

    Attributes:
        tiles: As given.
        start: The first plane that all of them hold.
        stop: The one after the last.
        size_bytes: The length of all of them together.
        is_even: They hold no other planes.
    """

    def __init__(self, tiles: Sequence[Tile], itemsize: int) -> None:
        self.tiles = tiles
        self.start = max(tile.start[0] for tile in tiles)
        self.stop = min(tile.stop[0] for tile in tiles)
        self.is_even = all((tile.start[0], tile.stop[0]) == (self.start, self.stop) for tile in tiles)
        self.size_bytes = itemsize * sum(
            math.prod(stop - start for start, stop in zip(tile.start, tile.stop, strict=True))
            for tile in tiles
        )
        rows: dict[int, dict[int, Tile]] = {}
        for tile in tiles:
            rows.setdefault(tile.start[1], {})[tile.start[2]] = tile
        self._rows = sorted(rows)
        self._columns = {y: (sorted(columns), columns) for y, columns in rows.items()}

    def within(self, y: int, y_stop: int, x: int, x_stop: int) -> Iterator[Tile]:
        """The tiles that hold any of these rows and columns."""
        begin = max(0, bisect.bisect_right(self._rows, y) - 1)
        for row in self._rows[begin : bisect.bisect_left(self._rows, y_stop)]:
            starts, columns = self._columns[row]
            begin_x = max(0, bisect.bisect_right(starts, x) - 1)
            for column in starts[begin_x : bisect.bisect_left(starts, x_stop)]:
                yield columns[column]

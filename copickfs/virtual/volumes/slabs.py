"""The tiles of a volume that hold one plane, in the order of rows and columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from copickfs.arrays import Tile

_MAX_REMEMBERED = 1 << 16


class Grid(Protocol):
    """How a volume is cut into tiles; see `copickfs.arrays.Volume`."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Extent of the volume, ``(z, y, x)``."""
        ...

    @property
    def chunk(self) -> tuple[int, int]:
        """Extent of a chunk, ``(y, x)``."""
        ...

    @property
    def columns(self) -> tuple[int, int]:
        """How many chunks there are along y and x."""
        ...

    def tile(self, start: int, stop: int, row: int, column: int) -> Tile:
        """The tile of a range of planes in one chunk along y and x."""
        ...


class Slab:
    """The planes that the same tiles hold. A sequence of these, made one by one: there may be a billion.

    Args:
        planes: First plane, and the one after the last.
        grid: How the volume is cut into tiles.
        itemsize: Bytes of a voxel in the file.

    Attributes:
        start: The first plane.
        stop: The one after the last.
        size_bytes: The length of all tiles together.
    """

    def __init__(self, planes: tuple[int, int], grid: Grid, itemsize: int) -> None:
        self.start, self.stop = planes
        _, rows, columns = grid.shape
        self.size_bytes = itemsize * (self.stop - self.start) * rows * columns
        self._grid = grid
        self._columns = grid.columns[1]
        self._number = grid.columns[0] * grid.columns[1]
        self._made: dict[int, Tile] = {}

    def __len__(self) -> int:
        return self._number

    def __iter__(self) -> Iterator[Tile]:
        return map(self.__getitem__, range(self._number))

    def __getitem__(self, number: int) -> Tile:
        tile = self._made.get(number)
        if tile is None:
            if not 0 <= number < self._number:
                raise IndexError(number)
            if len(self._made) >= _MAX_REMEMBERED:
                self._made = {}
            tile = self._grid.tile(self.start, self.stop, *divmod(number, self._columns))
            self._made[number] = tile
        return tile

    def within(self, y: int, y_stop: int, x: int, x_stop: int) -> Iterator[Tile]:
        """The tiles that hold any of these rows and columns."""
        height, width = self._grid.chunk
        first, last = x // width, (x_stop - 1) // width
        for row in range(y // height, (y_stop - 1) // height + 1):
            begin = row * self._columns
            for number in range(begin + first, begin + last + 1):
                yield self[number]

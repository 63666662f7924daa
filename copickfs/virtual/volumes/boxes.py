"""From a range of voxels, as they follow each other in a file, to boxes of the volume."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator


class Box(NamedTuple):
    """A box of voxels that follow each other in the file: half-open in each direction."""

    z: int
    z_stop: int
    y: int
    y_stop: int
    x: int
    x_stop: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Its ``(z, y, x)`` extent."""
        return self.z_stop - self.z, self.y_stop - self.y, self.x_stop - self.x

    @property
    def voxels(self) -> int:
        """How many voxels are in it."""
        planes, rows, columns = self.shape
        return planes * rows * columns


def boxes(start: int, stop: int, shape: tuple[int, int, int]) -> Iterator[Box]:
    """The boxes, five at most, that the voxels ``start <= i < stop`` of a file make up, in their order.

    Args:
        start: Number of the first voxel.
        stop: Number of the one after the last; within the volume.
        shape: Extent of the volume, ``(z, y, x)``; x is the fastest in the file.
    """
    _, rows, columns = shape
    while start < stop:
        row, x = divmod(start, columns)
        z, y = divmod(row, rows)
        left = stop - start
        if x or left < columns:
            box = Box(z, z + 1, y, y + 1, x, min(columns, x + left))
        elif y or left < rows * columns:
            box = Box(z, z + 1, y, min(rows, y + left // columns), 0, columns)
        else:
            box = Box(z, z + left // (rows * columns), 0, rows, 0, columns)
        yield box
        start += box.voxels

"""``.tbl``: the table of Dynamo (https://www.dynamo-em.org/w/index.php?title=Table_convention).

As ``copick.util.formats.write_dynamo_table`` and the package ``dynamotable`` write it: 42 columns,
positions and shifts in voxels of the run's tomogram, which has the number 1. Numbers as `repr` writes them;
lines end with blanks, so that they are equally long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from copickfs.errors import Unreadable
from copickfs.virtual.points import angles, text
from copickfs.virtual.points.picks import points_of
from copickfs.virtual.points.single import PicksRenderer, needed_tomogram

if TYPE_CHECKING:
    import numpy as np

    from copickfs.virtual.sources import Source

# tag, aligned, averaged; shifts, angles and score; columns 11 to 19, tomogram, 21 to 23; position; 27 to 42.
# dynamotable knows "averaged_value", and copick gives it "averaged": so copick's tables have 0 in that
# column.
_FLOATS = 10
_ROW = "%d 1 0 %s 0 0 0 0 0 0 0 0 0 1 0 0 0 %s" + " 0" * 16
_WIDTH = len(_ROW % (0, "", "")) - 1 + text.INTEGER_WIDTH + _FLOATS * (text.EXACT_WIDTH + 1) - 2


class Tbl(PicksRenderer):
    """Makes ``.tbl``."""

    suffix: ClassVar[str] = ".tbl"

    def length(self, source: Source, points: int) -> int:  # noqa: ARG002 -- the same for all
        """See `PicksRenderer.length`."""
        return points * (_WIDTH + 1)

    def contents(self, source: Source, points: int) -> bytes:
        """See `PicksRenderer.contents`."""
        import numpy as np

        voxel_angstrom = needed_tomogram(source).voxel_angstrom
        found = points_of(source, points)
        degrees = all_rotations(source, angles.dynamo(found.rotations))
        with np.errstate(over="ignore"):
            shifts = found.shifts / voxel_angstrom
            positions = found.positions / voxel_angstrom
        poses = _columns(np.column_stack([shifts, degrees, found.scores]))
        rows = zip(poses, _columns(positions), strict=True)
        lines = [
            f"{_ROW % (tag, pose, place):<{_WIDTH}}\n" for tag, (pose, place) in enumerate(rows, start=1)
        ]
        return "".join(lines).encode()


def _columns(table: np.ndarray) -> list[str]:
    return [row.replace(",", " ") for row in text.exact(table)]


def all_rotations(source: Source, found: angles.Angles) -> np.ndarray:
    """The angles. Raises `Unreadable` if a matrix is no rotation; copick's export refuses it, too."""
    if not found.is_rotation.all():
        first = int(found.is_rotation.argmin())
        raise Unreadable(f"{source.path}: points[{first}].transformation_: is no rotation, and has no angles")
    return found.degrees

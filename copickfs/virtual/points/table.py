"""``.csv``: the table that copick itself writes and reads (``copick.util.formats.write_picks_csv``).

Run, position and matrix in angstrom, score, and number of the instance; numbers as `repr` writes them, so
that nothing is lost. Lines end with blanks, so that they are equally long.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, ClassVar

from copickfs.virtual.points import text
from copickfs.virtual.points.picks import points_of
from copickfs.virtual.points.single import PicksRenderer, run_of

if TYPE_CHECKING:
    from copickfs.virtual.sources import Source

_NUMBERS = ("x", "y", "z", *(f"transform_{i}{j}" for i in range(4) for j in range(4)), "score")
_HEAD = ",".join(("run_name", *_NUMBERS, "instance_id")) + "\n"
_WIDTH = len(_NUMBERS) * (text.EXACT_WIDTH + 1) + text.INTEGER_WIDTH


class Csv(PicksRenderer):
    """Makes ``.csv``."""

    suffix: ClassVar[str] = ".csv"
    is_in_voxels: ClassVar[bool] = False

    def length(self, source: Source, points: int) -> int:
        """See `PicksRenderer.length`."""
        return len(_HEAD) + points * (len(text.encoded(_begin(source))) + _WIDTH + 1)

    def contents(self, source: Source, points: int) -> bytes:
        """See `PicksRenderer.contents`."""
        import numpy as np

        found, begin = points_of(source, points), _begin(source)
        table = np.column_stack([found.positions, found.matrices.reshape(points, 16), found.scores])
        rows = zip(text.exact(table), found.instances.tolist(), strict=True)
        lines = [f"{begin}{f'{row},{instance}':<{_WIDTH}}\n" for row, instance in rows]
        return text.encoded("".join([_HEAD, *lines]))


def _begin(source: Source) -> str:
    """The first field with its comma, quoted if it has to be."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow([run_of(source), ""])
    return line.getvalue()

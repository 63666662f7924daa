"""``.cmm``: marker sets of ChimeraX (https://www.cgl.ucsf.edu/chimerax/docs/user/markers.html#markerfiles).

A marker in angstrom at the centre of each particle, its position plus its shift, with the colour and the
radius of the object, and without a radius one of 50 angstrom. Lines end with blanks, so that they are
equally long.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar
from xml.sax.saxutils import quoteattr

from copickfs.virtual.points import text
from copickfs.virtual.points.picks import points_of
from copickfs.virtual.points.single import PicksRenderer, object_of, radius_of

if TYPE_CHECKING:
    from copickfs.virtual.sources import Source

_TAIL = "</marker_set>\n"
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MARKER = '<marker id="%d" x="%r" y="%r" z="%r"'
_WIDTH = len('<marker id="" x="" y="" z=""') + text.INTEGER_WIDTH + 3 * text.EXACT_WIDTH


class Cmm(PicksRenderer):
    """Makes ``.cmm``."""

    suffix: ClassVar[str] = ".cmm"
    is_in_voxels: ClassVar[bool] = False

    def length(self, source: Source, points: int) -> int:
        """See `PicksRenderer.length`."""
        return len(text.encoded(_head(source))) + points * (_WIDTH + len(_look(source)) + 1) + len(_TAIL)

    def contents(self, source: Source, points: int) -> bytes:
        """See `PicksRenderer.contents`."""
        look = _look(source)
        centers = points_of(source, points).centers.tolist()
        width = _WIDTH + len(look)
        lines = [
            f"{_MARKER % (number, *center) + look:<{width}}\n"
            for number, center in enumerate(centers, start=1)
        ]
        return text.encoded("".join([_head(source), *lines, _TAIL]))


def _head(source: Source) -> str:
    name = quoteattr(_NOT_IN_XML.sub("\ufffd", source.stem))
    return f"<marker_set name={name}>\n"


def _look(source: Source) -> str:
    """The attributes that all markers share."""
    shown = object_of(source)
    red, green, blue = (round(component / 255, 4) for component in shown.color[:3])
    return f' r="{red!r}" g="{green!r}" b="{blue!r}" radius="{float(radius_of(shown))!r}"/>'

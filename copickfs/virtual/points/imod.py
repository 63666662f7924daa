"""``.mod``: models of IMOD (https://bio3d.colorado.edu/imod/doc/binspec.html), big-endian.

One object of scattered points, drawn as spheres of the object's radius in its colour. A point is at its
particle's centre, position plus shift, in voxels of the run's tomogram, counted as copick's other exports
do: angstrom divided by the size of a voxel. 3dmod draws the centre of the first voxel at 0.5 in x and y, so
that it shows them half a voxel aside. The chunk ``MINX`` tells the size of a voxel and the origin of the
tomogram, by which 3dmod shows the model in its place on the other levels of the pyramid, too.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, ClassVar

from copickfs.virtual.points.picks import points_of
from copickfs.virtual.points.single import PicksRenderer, needed_tomogram, object_of, radius_of
from copickfs.virtual.points.text import encoded

if TYPE_CHECKING:
    from copickfs.virtual.points.tomograms import Tomogram
    from copickfs.virtual.project import Pickable
    from copickfs.virtual.sources import Source

_MODEL = struct.Struct(">8s 128s 4i I 4i 3f 3f 3i 2i f i i 3f")
_OBJECT = struct.Struct(">4s 64s 64x i I 2i 3f i 8B 2i")
_CONTOUR = struct.Struct(">4s i I 2i")
_MINX = struct.Struct(">4s i 18f")
_END = b"IEOF"
_POINT_BYTES = 12
_FIXED_BYTES = _MODEL.size + _OBJECT.size + _CONTOUR.size + _MINX.size + len(_END)

_Z_FROM_MINUS_HALF, _NOT_BY_3DMOD = 1 << 10, 1 << 11
_ORIGIN_IS_STORED, _TILTS_ARE_STORED = 1 << 14, 1 << 15
_SCATTERED = 1 << 9
_ANGSTROM = -10
_CIRCLE = 0
_DRAW = 1
_MODEL_MODE = 1
_MAX_INT = 2**31 - 1


class Mod(PicksRenderer):
    """Makes ``.mod``."""

    suffix: ClassVar[str] = ".mod"

    def length(self, source: Source, points: int) -> int:  # noqa: ARG002 -- the same for all
        """See `PicksRenderer.length`."""
        return _FIXED_BYTES + points * _POINT_BYTES

    def contents(self, source: Source, points: int) -> bytes:
        """See `PicksRenderer.contents`."""
        import numpy as np

        tomogram = needed_tomogram(source)
        centers = points_of(source, points).centers
        with np.errstate(over="ignore"):
            places = (centers / tomogram.voxel_angstrom).astype(">f4")
        return b"".join([
            _model(source.stem, tomogram),
            _object(object_of(source), tomogram.voxel_angstrom),
            _CONTOUR.pack(b"CONT", points, 0, 0, 0),
            places.tobytes(),
            _image(tomogram),
            _END,
        ])  # fmt: skip


def _model(name: str, tomogram: Tomogram) -> bytes:
    flags = _Z_FROM_MINUS_HALF | _NOT_BY_3DMOD | _ORIGIN_IS_STORED | _TILTS_ARE_STORED
    size = (min(voxels, _MAX_INT) for voxels in tomogram.size())
    return _MODEL.pack(
        b"IMODV1.2", encoded(name)[:127], *size, 1, flags,
        _DRAW, _MODEL_MODE, 0, 255,  # contrast
        0, 0, 0, 1, 1, 1,  # offsets, which are not used, and scales
        0, 0, -1,  # current object, contour and point
        3, 128,  # spacing of points that are drawn, threshold
        tomogram.voxel_angstrom, _ANGSTROM, 0, 0, 0, 0,
    )  # fmt: skip


def _object(shown: Pickable, voxel_angstrom: float) -> bytes:
    red, green, blue = (component / 255 for component in shown.color[:3])
    radius = min(max(1, round(radius_of(shown) / voxel_angstrom)), _MAX_INT)
    return _OBJECT.pack(
        b"OBJT", encoded(shown.name)[:63], 1, _SCATTERED, 0, 0, red, green, blue, radius,
        _CIRCLE, 3, 1, 1, 0, 0, 0, 0,  # symbol, its size, widths and styles of lines, transparency
        0, 0,
    )  # fmt: skip


def _image(tomogram: Tomogram) -> bytes:
    """``ctrans`` and ``otrans`` are the origin with the opposite sign: image = model * cscale - ctrans."""
    x, y, z = (-part + 0.0 for part in tomogram.origin_angstrom())
    scale = tomogram.voxel_angstrom
    unused = (0.0, 0.0, 0.0)
    return _MINX.pack(
        b"MINX", _MINX.size - 8, *unused, x, y, z, *unused, scale, scale, scale, x, y, z, *unused
    )

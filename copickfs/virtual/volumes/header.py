"""The first 1024 bytes of an MRC file.

As MRC2014 has them (https://www.ccpem.ac.uk/mrc-format/mrc2014/), and, where that leaves a choice, as mrcfile
1.5 writes a volume: space group 1, ``mz`` = ``nz``, no extended header, version 20141.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from copickfs.virtual.volumes.voxels import MODES

if TYPE_CHECKING:
    from copickfs.virtual.project import Statistics

HEADER_BYTES = 1024
MAX_EXTENT = 2**31 - 1
"""Extents are 32-bit integers."""

LABEL = "Made by copickfs from a zarr array"
"""The one text in the header; it has no time in it, for the bytes have to be the same each time."""

_VERSION = 20141
_LAYOUT = struct.Struct("<10i 6f 3i 3f 2i 8x 4s i 84x 3f 4s 4s f i 80s 720x")
assert _LAYOUT.size == HEADER_BYTES  # noqa: S101 -- the format is in the line above


def header(
    shape: tuple[int, int, int],
    dtype: np.dtype[Any],
    *,
    voxel_size_angstrom: tuple[float, float, float],
    origin_angstrom: tuple[float, float, float],
    statistics: Statistics | None,
) -> bytes:
    """The header of a volume.

    Args:
        shape: ``(z, y, x)``.
        dtype: Type of the voxels, one of those in `MODES`.
        voxel_size_angstrom: ``(z, y, x)``; zeros if it is not known.
        origin_angstrom: Position of the first voxel, ``(z, y, x)``.
        statistics: None if they are not known, which the format has values for.

    Returns:
        `HEADER_BYTES` bytes, little-endian.
    """
    extent = shape[::-1]
    cell = [n * size for n, size in zip(extent, voxel_size_angstrom[::-1], strict=True)]
    known = statistics
    density = (0.0, -1.0, -2.0) if known is None else (known.minimum, known.maximum, known.mean)
    return _LAYOUT.pack(
        *extent, MODES[dtype.name], 0, 0, 0, *extent,
        *_float32(*cell), 90.0, 90.0, 90.0, 1, 2, 3,
        *_float32(*density), 1, 0, b"", _VERSION,
        *_float32(*origin_angstrom[::-1]), b"MAP ", b"\x44\x44\0\0",
        *_float32(-1.0 if known is None else known.rms), 1, LABEL.encode().ljust(80),
    )  # fmt: skip


def _float32(*values: float) -> list[float]:
    """The nearest float32 values; what is beyond them is the largest."""
    largest = float(np.finfo(np.float32).max)
    return [max(-largest, min(largest, value)) for value in values]

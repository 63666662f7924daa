"""``.em``: the motive list of the TOM toolbox, as PyTom, Artiatomi and ArtiaX read it.

As ``copick.util.formats.write_em_motivelist`` and the package ``emfile`` write it: 512 bytes of header and
20 float32 for each particle, little-endian; positions from 1 and shifts in voxels of the run's tomogram,
which has the number 1.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, ClassVar

from copickfs.virtual.points import angles
from copickfs.virtual.points.dynamo import all_rotations
from copickfs.virtual.points.picks import points_of
from copickfs.virtual.points.single import PicksRenderer, needed_tomogram

if TYPE_CHECKING:
    from copickfs.virtual.sources import Source

_HEADER_BYTES = 512
_COLUMNS = 20
_MACHINE_PC = 6
_FLOAT32 = 5

_SCORE, _TOMOGRAM, _CLASS, _NUMBER = 3, 4, 5, 6
_POSITION, _SHIFT = slice(7, 10), slice(10, 13)
_PHI, _PSI, _THETA = 16, 17, 18


class Em(PicksRenderer):
    """Makes ``.em``."""

    suffix: ClassVar[str] = ".em"

    def length(self, source: Source, points: int) -> int:  # noqa: ARG002 -- the same for all
        """See `PicksRenderer.length`."""
        return _HEADER_BYTES + points * _COLUMNS * 4

    def contents(self, source: Source, points: int) -> bytes:
        """See `PicksRenderer.contents`."""
        import numpy as np

        voxel_angstrom = needed_tomogram(source).voxel_angstrom
        found = points_of(source, points)
        degrees = all_rotations(source, angles.tom(found.rotations))
        rows = np.zeros((points, _COLUMNS), dtype="<f4")
        with np.errstate(over="ignore"):
            rows[:, _SCORE] = found.scores
            rows[:, _POSITION] = found.positions / voxel_angstrom + 1
            rows[:, _SHIFT] = found.shifts / voxel_angstrom
        rows[:, _TOMOGRAM] = rows[:, _CLASS] = 1
        rows[:, _NUMBER] = np.arange(1, points + 1)
        rows[:, [_PHI, _THETA, _PSI]] = degrees
        header = struct.pack("<4b3i", _MACHINE_PC, 0, 0, _FLOAT32, _COLUMNS, points, 1)
        return header.ljust(_HEADER_BYTES, b"\0") + rows.tobytes()

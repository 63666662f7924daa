"""RELION's tables of particles and tomograms, as STAR files (https://relion.readthedocs.io, release 5).

Particles are as ``copick.util.formats.build_relion_particles_df`` has them when the centre of the tomogram
is known and nothing else: the name of the tomogram, which is the run's, the angles, and the coordinates
from the centre in angstrom, position plus shift. There is no table of optics: it would have to tell the
size of a pixel of the tilt series, which no copick project knows; RELION makes it of ``tomograms.star``.
Particles of filaments have RELION's columns for these besides.

Every row of a run is equally long (`copickfs.virtual.points.text.Decimals`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from copickfs.errors import Unreadable
from copickfs.virtual.points import angles
from copickfs.virtual.points.single import run_of
from copickfs.virtual.points.text import Decimals, encoded

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np

    from copickfs.virtual.points.picks import Points
    from copickfs.virtual.points.tomograms import Tomogram

TAIL = b"\n"

_ANGLES = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")
_CENTERED = ("rlnCenteredCoordinateXAngst", "rlnCenteredCoordinateYAngst", "rlnCenteredCoordinateZAngst")
_FRAME = ("rlnTomoSubtomogramRot", "rlnTomoSubtomogramTilt", "rlnTomoSubtomogramPsi")
_PRIORS = ("rlnAngleTiltPrior", "rlnAnglePsiPrior")
_HELICAL = ("rlnHelicalTubeID", "rlnHelicalTrackLengthAngst", "rlnAnglePsiFlipRatio")

_RY90 = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (-1.0, 0.0, 0.0))
"""``copick.util.relion.RY90``: RELION's poses of filaments are turned by it."""

_IMPOSSIBLE = re.compile(r'["\x00-\x1f\x7f]')
_TO_QUOTE = re.compile(r"\s|^[_#;']|^(data|loop|save|global|stop)_", re.IGNORECASE)


class Particles:
    """The table of particles of one kind.

    Args:
        is_filament: They are of filaments: with their frames, and where they are along them.
    """

    def __init__(self, *, is_filament: bool) -> None:
        self.is_filament = is_filament
        self._angles = 8 if is_filament else 3
        helical = ("integer", "length", "angle") if is_filament else ()
        self._decimals = Decimals(*("angle",) * self._angles, *helical, *("length",) * 3)
        more = (*_FRAME, *_ANGLES, *_PRIORS, *_HELICAL) if is_filament else _ANGLES
        self.labels = ("rlnTomoName", *more, *_CENTERED)

    def head(self, comments: Iterable[str]) -> bytes:
        """What stands before the rows; ``comments`` first."""
        return _head(comments, "particles", self.labels)

    def row_bytes(self, run: str) -> int:
        """The length of each row of a run. Raises `Unreadable` if its name cannot stand in one."""
        return len(encoded(word(run))) + self._decimals.row_bytes + 2

    def rows(
        self, run: str, points: Points, center_angstrom: tuple[float, float, float], is_polar: np.ndarray
    ) -> bytes:
        """The rows of a run's particles.

        Args:
            run: Name of the run.
            points: The particles.
            center_angstrom: The centre of the tomogram, x, y, z.
            is_polar: bool (n,): the order of a filament's points is known to follow its polarity.
        """
        import numpy as np

        with np.errstate(over="ignore"):
            centered = points.centers - np.asarray(center_angstrom)
        columns = self._filament_columns(points, is_polar) if self.is_filament else []
        columns = columns or list(angles.relion(points.rotations).degrees.T)
        begin = word(run)
        rows = self._decimals.rows(*columns, *centered.T)
        return encoded("".join([f"{begin} {row}\n" for row in rows]))

    def _filament_columns(self, points: Points, is_polar: np.ndarray) -> list[np.ndarray]:
        """As ``copick.util.relion.filament_relion_angles`` and ``filament_track_lengths``."""
        import numpy as np

        frame = angles.relion(points.rotations @ np.array(_RY90)).degrees
        zero, right = np.zeros(len(frame)), np.full(len(frame), 90.0)
        tracks = _tracks(points.centers, points.instances)
        flips = np.where(is_polar, 0.0, 0.5)
        return [*frame.T, zero, right, zero, right, zero, points.instances, tracks, flips]


def tomogram_list(tomograms: Sequence[Tomogram], sizes: Iterable[tuple[int, int, int]]) -> bytes:
    """``tomograms.star``.

    The tilt series of a tomogram is not known, so its pixels are taken to be the voxels of the tomogram:
    size times size of a pixel is the extent by which RELION finds the centre, whatever the pixel is. The
    files of the tomograms are named as they are in ``Views``, from there.

    Args:
        tomograms: One for each run.
        sizes: Their sizes in voxels: x, y, z.
    """
    labels = (
        "rlnTomoName", "rlnTomoTiltSeriesPixelSize", "rlnTomoTomogramBinning", "rlnTomoSizeX", "rlnTomoSizeY",
        "rlnTomoSizeZ", "rlnTomoReconstructedTomogram",
    )  # fmt: skip
    rows = []
    for (source, voxel_angstrom), size in zip(tomograms, sizes, strict=True):
        spacing, name = source.path.split("/")[-2:]
        file = f"{run_of(source)}/{spacing}/{name.removesuffix('.zarr')}.mrc"
        begin, end = word(run_of(source)), word(file)
        rows.append(f"{begin} {voxel_angstrom!r} 1.0 {size[0]:19d} {size[1]:19d} {size[2]:19d} {end}\n")
    return _head((), "global", labels) + encoded("".join(rows)) + TAIL


def word(text: str) -> str:
    """``text`` as one field of a row, in quotation marks if it has to be.

    Raises:
        Unreadable: It has characters that no field can have.
    """
    if _IMPOSSIBLE.search(text):
        raise Unreadable(f"{text!a}: no STAR file can have a name with quotation marks or control characters")
    return f'"{text}"' if _TO_QUOTE.search(text) or not text else text


def _head(comments: Iterable[str], block: str, labels: Iterable[str]) -> bytes:
    lines = [f"# {_CONTROL.sub('?', comment)}" for comment in comments]
    numbered = [f"_{label} #{number}" for number, label in enumerate(labels, start=1)]
    return encoded("\n".join([*lines, "", f"data_{block}", "", "loop_", *numbered, ""]))


_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def _tracks(centers: np.ndarray, instances: np.ndarray) -> np.ndarray:
    """The way along each filament, in the order of its points, in angstrom."""
    import numpy as np

    order = np.argsort(instances, kind="stable")
    steps = np.linalg.norm(np.diff(centers[order], axis=0, prepend=centers[order][:1]), axis=1)
    begins = np.diff(instances[order], prepend=instances[order][:1] - 1) != 0
    ways = np.cumsum(np.where(begins, 0.0, steps))
    starts = np.maximum.accumulate(np.where(begins, np.arange(len(ways)), 0))
    tracks = np.empty(len(ways))
    tracks[order] = ways - ways[starts]
    return tracks

"""The tomogram of a run that positions are counted in: its centre, its size in voxels, the size of a voxel.

Of several it is the one that copick's own export takes (``copick.util.relion``): at the smallest voxel
spacing that has a tomogram, and there the first; copick's order is that of the directory, here it is that
of the types' names, so that it is always the same. As there, the size of a voxel is what the voxel spacing
is called by, and the centre is half the shape of the finest level.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from copickfs.arrays import levels_of, pyramid
from copickfs.entities import EntityType
from copickfs.errors import NotFound, Unreadable
from copickfs.virtual.sources import by_run

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from copickfs.arrays import Level
    from copickfs.virtual.sources import Source

_DIMENSIONS = 3


class Tomogram(NamedTuple):
    """A tomogram.

    Attributes:
        source: Where it is.
        voxel_angstrom: The size of a voxel.
    """

    source: Source
    voxel_angstrom: float

    def size(self) -> tuple[int, int, int]:
        """Its size in voxels: x, y, z. Read only if it is not known.

        Raises:
            Unreadable: It has no shape of three dimensions.
            OSError: As `Source.read`.
        """
        z, y, x = _shape(self.source.known().get("shape")) or self._finest().shape[-_DIMENSIONS:]
        return x, y, z

    def center_angstrom(self) -> tuple[float, float, float]:
        """Its centre: x, y, z. Raises as `size`."""
        x, y, z = (voxels / 2 * self.voxel_angstrom for voxels in self.size())
        return x, y, z

    def origin_angstrom(self) -> tuple[float, float, float]:
        """The position of its first voxel: x, y, z. Raises as `size`."""
        z, y, x = self._finest().translation_angstrom
        return x, y, z

    def _finest(self) -> Level:
        known = levels_of(self.source.known().get("pyramid"))
        try:
            finest = (known or pyramid(self.source.read))[0]
        except NotFound as error:
            raise Unreadable(f"{self.source.path}: has no array") from error
        except Unreadable as error:
            raise Unreadable(f"{self.source.path}: {error}") from error
        if len(finest.shape) < _DIMENSIONS:
            raise Unreadable(f"{self.source.path}: its array has no three dimensions")
        return finest


def tomogram_of(source: Source) -> Tomogram | None:
    """The tomogram of the run that ``source`` is, or is of; None if the run has none."""
    run = "" if source.identity is None else source.identity.run
    return _first(source.entities(EntityType.TOMOGRAM, run))


def by_runs(source: Source) -> Mapping[str, Tomogram]:
    """The tomogram of each run of the project that has one, by the runs' names, in their order."""
    groups = by_run(source.entities(EntityType.TOMOGRAM))
    firsts = {run: _first(tomograms) for run, tomograms in groups.items()}
    return {run: first for run, first in firsts.items() if first is not None}


def _first(sources: Iterable[Source]) -> Tomogram | None:
    sized = [
        (each.identity.voxel_size, each.identity.name, each)
        for each in sources
        if each.identity is not None and each.identity.voxel_size
    ]
    if not sized:
        return None
    size, _, source = min(sized, key=lambda one: one[:2])
    return Tomogram(source, size)


def _shape(known: object) -> tuple[int, ...] | None:
    """A shape that is known; None if it is not."""
    if not isinstance(known, list | tuple) or len(known) != _DIMENSIONS:
        return None
    return tuple(known) if all(type(voxels) is int and voxels > 0 for voxels in known) else None

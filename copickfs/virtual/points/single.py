"""What the renderers of one file of picks share: a head, and a record of fixed length for each point."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from copickfs.entities import EntityType
from copickfs.errors import Unreadable
from copickfs.virtual.points.picks import count
from copickfs.virtual.points.tomograms import tomogram_of
from copickfs.virtual.project import Pickable
from copickfs.virtual.rendering import Renderer

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from copickfs.virtual.points.tomograms import Tomogram
    from copickfs.virtual.sources import Source

DEFAULT_COLOR = (100, 100, 100, 255)
"""Of objects that the configuration does not give one; copick's."""

DEFAULT_RADIUS_ANGSTROM = 50.0
"""Of objects that have none: without one, a marker cannot be seen."""


class PicksRenderer(Renderer):
    """Makes one file of each file of picks. Derive from it, and override `length` and `contents`.

    Attributes:
        is_in_voxels: The file counts in voxels of the run's tomogram; where there is none, neither is the
            file.
    """

    makes_of: ClassVar[Collection[EntityType | None]] = (EntityType.PICKS,)
    is_in_voxels: ClassVar[bool] = True

    def files(self, source: Source) -> Sequence[str]:
        """See `Renderer.files`."""
        if self.is_in_voxels and tomogram_of(source) is None:
            return []
        return super().files(source)

    def size_bytes(self, source: Source, name: str) -> int:  # noqa: ARG002 -- there is one file
        """See `Renderer.size_bytes`."""
        return self.length(source, count(source))

    def render(self, source: Source, name: str) -> bytes:
        """See `Renderer.render`."""
        expected = count(source)
        data = self.contents(source, expected)
        if len(data) != self.length(source, expected):
            raise AssertionError(f"{name}: has another length than it was said to have")
        return data

    def length(self, source: Source, points: int) -> int:
        """The length in bytes of a file of so many points."""
        raise NotImplementedError

    def contents(self, source: Source, points: int) -> bytes:
        """The file; `points_of` tells if there are not so many points any more."""
        raise NotImplementedError


def object_of(source: Source) -> Pickable:
    """The object that picks are of; where it is not configured, one with copick's defaults."""
    name = "" if source.identity is None else source.identity.object
    default = Pickable(name, None, DEFAULT_COLOR, None, is_particle=True)
    return source.project.objects.get(name, default)


def radius_of(shown: Pickable) -> float:
    """The radius of an object, in angstrom."""
    return shown.radius_angstrom or DEFAULT_RADIUS_ANGSTROM


def run_of(source: Source) -> str:
    """The name of the run that picks are of."""
    return "" if source.identity is None else source.identity.run


def needed_tomogram(source: Source) -> Tomogram:
    """The tomogram of a run. Raises `Unreadable` if it has none."""
    tomogram = tomogram_of(source)
    if tomogram is None:
        raise Unreadable(f"{source.path}: its run has no tomogram whose voxels could be counted in")
    return tomogram

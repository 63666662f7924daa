"""A project as renderers are given it: its tree, what is known of it, its objects, and what they may take."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from copickfs.entities import EntityType, Identity
    from copickfs.layers.base import Layer, LayerFile
    from copickfs.model import Entry


class Found(Protocol):
    """See `copickfs.view.merged.Found`."""

    @property
    def entry(self) -> Entry:
        """The entry."""
        ...

    @property
    def layer(self) -> Layer:
        """The layer that decides."""
        ...


class Names(Protocol):
    """See `copickfs.view.merged.Listing`."""

    @property
    def entries(self) -> Sequence[Entry]:
        """One for each name."""
        ...


class Tree(Protocol):
    """The merged tree, as `copickfs.view.View` has it."""

    def lookup(self, path: str) -> Found:
        """What ``path`` is."""
        ...

    def lookup_nowait(self, path: str) -> Found:
        """Like `lookup`, or `WouldBlock`."""
        ...

    def open(self, path: str) -> tuple[LayerFile, Layer]:
        """Open a file, and the layer that it is of."""
        ...

    def listing(self, path: str) -> Names:
        """The names in a directory."""
        ...


class Statistics(NamedTuple):
    """What the voxels of a volume come to.

    Attributes:
        minimum: Smallest value.
        maximum: Largest value.
        mean: Mean.
        rms: Root of the mean square deviation from the mean.
        exact: Every voxel was counted; otherwise it is an estimate.
    """

    minimum: float
    maximum: float
    mean: float
    rms: float
    exact: bool


class Facts(Protocol):
    """What is known of a project without reading, and what is to be known from now on. Thread-safe."""

    def known(self, path: str, entry: Entry, layer: Layer) -> tuple[str, Mapping[str, Any]] | None:
        """What is known of the entity at ``path``, and a mark of it; None if nothing is, or it is old.

        See `copickfs.entities.EntityRecord.detail`. Asks no source.
        """
        ...

    def distrust(self, path: str) -> None:
        """What is known of the entity at ``path`` is wrong: it is not to be given again."""
        ...

    def entities(self, kind: EntityType, run: str | None = None) -> tuple[str, Sequence[Identity]]:
        """All entities of a kind, in the order of their paths, and a mark of the answer."""
        ...

    def statistics(self, path: str, version: str) -> Statistics | None:
        """The exact statistics of the array at ``path``, if they were kept for this version."""
        ...

    def keep_statistics(self, path: str, version: str, statistics: Statistics) -> None:
        """Remember exact statistics; nothing if that cannot be done now."""
        ...


class Pickable(NamedTuple):
    """An object that the project's configuration names.

    Attributes:
        name: Name.
        label: Its value in multilabel segmentations.
        color: Red, green, blue, alpha, 0 to 255 each.
        radius_angstrom: Radius; None where none is given.
        is_particle: True for points.
        is_filament: True for points along filaments.
    """

    name: str
    label: int | None
    color: tuple[int, int, int, int]
    radius_angstrom: float | None
    is_particle: bool
    is_filament: bool = False


class Limits(NamedTuple):
    """What renderers may take, all together.

    Attributes:
        memory_bytes: Memory for what was decoded.
        spill_bytes: Room on disk for what was decoded and has no place in memory.
        spill_directory: Where; ``""`` for the system's own directory of temporary files.
        floor_bytes: So much room on its file system is left to others.
    """

    memory_bytes: int = 256 << 20
    spill_bytes: int = 8 << 30
    spill_directory: str = ""
    floor_bytes: int = 1 << 30


class Project(NamedTuple):
    """What all sources of a stack share.

    Attributes:
        tree: The merged tree.
        facts: What is known of it.
        objects: The pickable objects, by name.
    """

    tree: Tree
    facts: Facts
    objects: Mapping[str, Pickable]

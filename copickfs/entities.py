"""Entities of a copick project: from a path of the tree to what it is, and what is known of one.

The names are copick's (1.31): ``copick.impl.filesystem`` for files and directories,
``copick.util.segmentation`` for segmentations. They are parsed here once more because importing copick
takes a second; the tests compare the two.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from copickfs.model import UNSIZED
from copickfs.paths import STORE_SUFFIX, split

RUNS_DIRECTORY = "ExperimentRuns"
OBJECTS_DIRECTORY = "Objects"

_SPACING = "VoxelSpacing"
_FEATURES_SUFFIX = "_features.zarr"
_MULTILABEL_SUFFIX = "-multilabel"
_PYRAMID = "pyramid"
_PARTS_OF_A_SEGMENTATION = 4
_PARTS_OF_POINTS = 3


class EntityType(enum.IntEnum):
    """The kinds of entities, in the order in which answers name them."""

    OBJECT = 1
    RUN = 2
    VOXEL_SPACING = 3
    TOMOGRAM = 4
    FEATURE = 5
    SEGMENTATION = 6
    MESH = 7
    FILAMENT = 8
    PICKS = 9

    @property
    def plural(self) -> str:
        """The key under which answers list these: ``"runs"``, ``"picks"``, ..."""
        return _PLURALS[self]

    @classmethod
    def named(cls, word: str) -> EntityType:
        """The kind that a word stands for, in the singular or the plural. Raises `KeyError`."""
        return _BY_WORD[word.lower().replace("-", "_").replace(" ", "_")]


STORES = frozenset({EntityType.OBJECT, EntityType.TOMOGRAM, EntityType.FEATURE, EntityType.SEGMENTATION})
"""The kinds that are zarr stores."""

_PLURALS = {
    EntityType.OBJECT: "objects",
    EntityType.RUN: "runs",
    EntityType.VOXEL_SPACING: "voxel_spacings",
    EntityType.TOMOGRAM: "tomograms",
    EntityType.FEATURE: "features",
    EntityType.SEGMENTATION: "segmentations",
    EntityType.MESH: "meshes",
    EntityType.FILAMENT: "filaments",
    EntityType.PICKS: "picks",
}
_BY_WORD = {plural: kind for kind, plural in _PLURALS.items()} | {
    kind.name.lower(): kind for kind in EntityType
}

_POINT_DIRECTORIES = {
    "Picks": (EntityType.PICKS, ".json"),
    "Meshes": (EntityType.MESH, ".glb"),
}
_SEGMENTATION_DIRECTORIES = {
    "Segmentations": "binary",
    "InstanceSegmentations": "instance",
    "PanopticSegmentations": "panoptic",
}
SEGMENTATION_TYPES = ("binary", "multilabel", "instance", "panoptic")
ENTITY_DIRECTORIES = (*_POINT_DIRECTORIES, "Filaments", *_SEGMENTATION_DIRECTORIES)
"""The directories of a run that hold entities, but for its voxel spacings."""


class Identity(NamedTuple):
    """What a path says by itself.

    Attributes:
        type: The kind.
        path: In the tree.
        run: Name of the run, ``""`` for an object.
        voxel_size: The size of a voxel, in Angstrom; None where it has none.
        name: Type of a tomogram or a feature, name of a segmentation or an object.
        user: User, for what users make.
        session: Session, for what users make.
        object: Name of the object that picks, a mesh, filaments or a segmentation of one object show;
            for features the type of their tomogram.
        segmentation_type: One of `SEGMENTATION_TYPES`.
    """

    type: EntityType
    path: str
    run: str = ""
    voxel_size: float | None = None
    name: str = ""
    user: str = ""
    session: str = ""
    object: str = ""
    segmentation_type: str = ""


Naming = Callable[[str, bool], Identity | None]
"""From a name in one directory, and whether it is a directory's, to the entity; see `naming`."""


@dataclasses.dataclass(frozen=True, slots=True)
class EntityRecord:
    """All that the index knows of one entity.

    Attributes:
        identity: What its path says.
        layers: The layers that have it, the one that decides first.
        size_bytes: Length of a file; 0 for a directory; `copickfs.model.UNSIZED` if its source lists none.
        mtime_ns: When it was changed, ns since the epoch; of a store when a name directly in it was.
            0 for a run and a voxel spacing: they merge from directories with a time each.
        version: Differs when its metadata may have changed.
        detail: What its metadata tells: ``shape`` (z, y, x), ``dtype``, ``chunks``, ``levels``,
            ``voxel_size`` (Angstrom), ``pyramid`` (see `copickfs.arrays.levels_of`), ``points``,
            ``filaments``, ``vertices``, ``faces``, ``drawn`` (both of a mesh's scene), and ``portal``, what
            a data portal tells; whatever is not known is not there.
        run_name: The name that people know its run by, where that is another than its directory's.
    """

    identity: Identity
    layers: tuple[str, ...]
    size_bytes: int = 0
    mtime_ns: int = 0
    version: str = ""
    detail: dict[str, Any] = dataclasses.field(default_factory=dict)
    run_name: str = ""

    def document(self) -> dict[str, Any]:
        """The record as one flat JSON object, without what is empty or not known, or only of use to us."""
        identity = self.identity
        shown = {name: value for name, value in self.detail.items() if name != _PYRAMID}
        known = {
            "type": identity.type.name.lower(),
            "path": identity.path,
            "run": identity.run,
            "run_name": self.run_name,
            "voxel_size": identity.voxel_size,
            "name": identity.name,
            "user": identity.user,
            "session": identity.session,
            "object": identity.object,
            "segmentation_type": identity.segmentation_type,
        }
        return {
            **{key: value for key, value in known.items() if value not in ("", None)},
            "layer": self.layers[0] if self.layers else "",
            "layers": list(self.layers),
            "size_bytes": None if self.size_bytes == UNSIZED else self.size_bytes,
            "mtime_ns": self.mtime_ns,
            **({"metadata": shown} if shown else {}),
        }


def identify(path: str, *, is_dir: bool) -> Identity | None:
    """The entity at ``path`` of the tree; None if there is none, or it is not one that copick finds.

    Args:
        path: Relative, as everywhere.
        is_dir: There is a directory.
    """
    directory, leaf = split(path)
    parse = naming(directory)
    return None if parse is None else parse(leaf, is_dir)


def holds_entities(directory: str) -> bool:
    """True if what is directly in a directory may be entities; then it is listed for the index."""
    return naming(directory) is not None


def naming(directory: str) -> Naming | None:
    """What names in ``directory`` mean: a function of a name and whether it is a directory's.

    None if no entity is directly in such a directory. One call for each directory makes the
    names in it cheap.
    """
    parts = directory.split("/")
    if parts[0] == OBJECTS_DIRECTORY:
        return _object if len(parts) == 1 else None
    if parts[0] != RUNS_DIRECTORY or len(parts) > 3 or parts[1:2] == [""]:  # noqa: PLR2004
        return None
    if len(parts) == 1:
        return _run
    if parts[1].startswith("."):
        return None
    return _names_in_run(directory, *parts[1:])


def spacing_of(name: str) -> float | None:
    """The voxel size, in Angstrom, of a directory ``VoxelSpacing10.000``; None for other names."""
    return _number(name.removeprefix(_SPACING)) if name.startswith(_SPACING) else None


def directory_of(identity: Identity) -> str:
    """The directory that an entity is directly in."""
    return split(identity.path)[0]


def _number(text: str) -> float | None:
    """What copick takes for a voxel size, if it is finite."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _object(leaf: str, is_dir: bool) -> Identity | None:
    name = leaf.removesuffix(STORE_SUFFIX)
    if not is_dir or name == leaf or leaf.startswith("."):
        return None
    return Identity(EntityType.OBJECT, f"{OBJECTS_DIRECTORY}/{leaf}", name=name, object=name)


def _run(leaf: str, is_dir: bool) -> Identity | None:
    return Identity(EntityType.RUN, f"{RUNS_DIRECTORY}/{leaf}", leaf) if is_dir and leaf[:1] != "." else None


def _names_in_run(path: str, run: str, directory: str | None = None) -> Naming | None:
    """`naming` for a run, or a directory in it."""
    if directory is None:
        return functools.partial(_spacing, path, run)
    if directory in _SEGMENTATION_DIRECTORIES:
        return functools.partial(_segmentation, path, run, directory)
    if directory == "Filaments":
        return functools.partial(_filaments, path, run)
    if directory in _POINT_DIRECTORIES:
        return functools.partial(_points, path, run, *_POINT_DIRECTORIES[directory])
    size = spacing_of(directory)
    # copick lists a spacing by what its name says, and then looks for it under the name it would give.
    if size is None or directory != f"{_SPACING}{size:.3f}":
        return None
    return functools.partial(_volume, path, run, size)


def _spacing(path: str, run: str, leaf: str, is_dir: bool) -> Identity | None:
    size = spacing_of(leaf) if is_dir else None
    return None if size is None else Identity(EntityType.VOXEL_SPACING, f"{path}/{leaf}", run, size)


def _points(path: str, run: str, kind: EntityType, suffix: str, leaf: str, is_dir: bool) -> Identity | None:
    """Picks and meshes: copick takes three parts, and does not look at any after them."""
    if is_dir or leaf[:1] == "." or not leaf.endswith(suffix):
        return None
    parts = leaf.replace(suffix, "").split("_")
    if len(parts) < _PARTS_OF_POINTS:
        return None
    return Identity(kind, f"{path}/{leaf}", run, None, "", parts[0], parts[1], parts[2])


def _filaments(path: str, run: str, leaf: str, is_dir: bool) -> Identity | None:
    """Filaments: all after the second ``_`` is the object, and no part is empty."""
    if is_dir or leaf[:1] == "." or not leaf.endswith(".json"):
        return None
    parts = leaf.removesuffix(".json").split("_", 2)
    if len(parts) != _PARTS_OF_POINTS or not all(parts):
        return None
    return Identity(EntityType.FILAMENT, f"{path}/{leaf}", run, None, "", *parts)


def _volume(path: str, run: str, size: float, leaf: str, is_dir: bool) -> Identity | None:
    if not is_dir or leaf[:1] == "." or not leaf.endswith(STORE_SUFFIX):
        return None
    if "features" not in leaf:
        stem = leaf.replace(STORE_SUFFIX, "")  # wherever it stands, as copick does
        return Identity(EntityType.TOMOGRAM, f"{path}/{leaf}", run, size, stem) if stem else None
    if not leaf.endswith(_FEATURES_SUFFIX):
        return None
    tomogram, _, feature = leaf.replace(_FEATURES_SUFFIX, "").partition("_")
    if not tomogram or not feature or feature[0] == ".":
        return None
    return Identity(EntityType.FEATURE, f"{path}/{leaf}", run, size, feature, object=tomogram)


def _segmentation(path: str, run: str, directory: str, leaf: str, is_dir: bool) -> Identity | None:
    """As ``copick.util.segmentation.parse_segmentation_store_name`` has it."""
    if not is_dir or leaf[:1] == "." or not leaf.endswith(STORE_SUFFIX):
        return None
    parts = leaf.removesuffix(STORE_SUFFIX).split("_", 3)
    size = _number(parts[0]) if len(parts) == _PARTS_OF_A_SEGMENTATION else None
    if size is None:
        return None
    _, user, session, name = parts
    kind = _SEGMENTATION_DIRECTORIES[directory]
    if kind == "binary" and name.endswith(_MULTILABEL_SUFFIX):
        kind, name = "multilabel", name.removesuffix(_MULTILABEL_SUFFIX)
    if not (user and session and name):
        return None
    shown = "" if kind in ("multilabel", "panoptic") else name
    return Identity(EntityType.SEGMENTATION, f"{path}/{leaf}", run, size, name, user, session, shown, kind)

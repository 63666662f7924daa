"""Where under ``Views/`` the files made of an entity stand, and which entities a path there is about.

The tree is that of the runs: what is made of ``ExperimentRuns/<run>/Picks`` is in ``Views/<run>/Picks``, and
of the maps in ``Objects`` in ``Views/Objects``. Files of a whole run are in its directory, those of the
project in ``Views`` itself.
"""

from __future__ import annotations

from copickfs.entities import ENTITY_DIRECTORIES, OBJECTS_DIRECTORY, RUNS_DIRECTORY, EntityType, spacing_of
from copickfs.paths import join, split

VIEWS = "Views"

_BEGIN = f"{VIEWS}/"
_VOLUMES = (EntityType.TOMOGRAM, EntityType.FEATURE)
_KINDS = {
    "Picks": (EntityType.PICKS,),
    "Meshes": (EntityType.MESH,),
    "Filaments": (EntityType.FILAMENT,),
}


def is_below(path: str) -> bool:
    """True for ``Views`` and everything in it."""
    return path.startswith(VIEWS) and (path == VIEWS or path.startswith(_BEGIN))


def origins_of(directory: str) -> list[str]:
    """The directories of the project that a directory in ``Views`` shows; empty if it can show none.

    A run may be called as the directory of objects is: both are shown then.
    """
    inner = directory[len(_BEGIN) :]
    parts = inner.split("/") if inner else []
    if (len(parts) == 2 and not is_shown(parts[1])) or len(parts) > 2:  # noqa: PLR2004
        return []
    if parts[:1] and parts[0].startswith("."):
        return []
    objects = [OBJECTS_DIRECTORY] if parts == [OBJECTS_DIRECTORY] else []
    return [join(RUNS_DIRECTORY, inner) if inner else RUNS_DIRECTORY, *objects]


def is_shown(name: str) -> bool:
    """True if a run's directory of this name is one in which entities are."""
    return name in ENTITY_DIRECTORIES or spacing_of(name) is not None


def shown_at(directory: str) -> str:
    """The directory in ``Views`` for what is directly in a directory of the project."""
    return join(VIEWS, directory.removeprefix(RUNS_DIRECTORY).lstrip("/")) if directory else VIEWS


def is_run(directory: str) -> bool:
    """True for a directory directly in ``Views``."""
    return directory.startswith(_BEGIN) and "/" not in directory[len(_BEGIN) :]


def kinds_in(directory: str) -> tuple[EntityType, ...]:
    """The kinds of entities that files in a directory of ``Views`` are made of; all for a run's."""
    if is_run(directory):
        return tuple(EntityType)
    name = split(directory)[1]
    return _KINDS.get(name, (EntityType.SEGMENTATION,) if name in ENTITY_DIRECTORIES else _VOLUMES)

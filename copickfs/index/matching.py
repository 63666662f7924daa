"""Criteria for one entity, without a database; gives what `copickfs.index.queries` gives."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from copickfs.index.queries import GLOB, VOXEL_TOLERANCE_ANGSTROM

if TYPE_CHECKING:
    from copickfs.entities import Identity
    from copickfs.index.queries import Criteria

_NAMES = ("run", "object", "user", "session", "name", "segmentation_type")


def matches(criteria: Criteria, identity: Identity) -> bool:
    """True if an entity is one of those that are looked for, as far as its path tells.

    Its layers may tell otherwise, and the name that people know its run by.
    """
    return (
        identity.type in criteria.types
        and all(is_named(getattr(identity, name), getattr(criteria, name)) for name in _NAMES)
        and _has_size(identity.voxel_size, criteria.voxel_size)
    )


def is_named(name: str, wanted: str | None) -> bool:
    """True if a name is the one that is wanted, or meets the pattern, which no empty name does."""
    if wanted is None:
        return True
    if not GLOB & set(wanted):
        return name == wanted
    return bool(name) and fnmatchcase(name, wanted.replace("[^", "[!"))


def _has_size(size: float | None, wanted: float | str | None) -> bool:
    if wanted is None:
        return True
    if size is None:
        return False
    try:
        return abs(float(wanted) - size) <= VOXEL_TOLERANCE_ANGSTROM
    except ValueError:
        return is_named(f"{size:.3f}", str(wanted))

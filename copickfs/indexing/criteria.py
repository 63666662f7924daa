"""From what somebody asks for to criteria, with every mistake told that can be told beforehand."""

from __future__ import annotations

import dataclasses
import math
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from copickfs.entities import SEGMENTATION_TYPES, EntityType
from copickfs.errors import UserError
from copickfs.index import Criteria

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

_PATTERN = frozenset("*?[")
_WORDS = frozenset({"run", "object", "user", "session", "name", "layer", "segmentation_type"})


def criteria_of(**criteria: Any) -> Criteria:
    """The criteria of a question.

    Raises:
        UserError: One is not known, or has a value that nothing can have.
    """
    known = [field.name for field in dataclasses.fields(Criteria)]
    for name in criteria:
        if name not in known:
            raise UserError(f"{name!r} is nothing that entities are found by; there are: {', '.join(known)}")
    for name in _WORDS & criteria.keys():
        if not isinstance(criteria[name], str | None):
            raise UserError(f"{name} is one name or pattern, in quotation marks (got {criteria[name]!r})")
    kinds = criteria.pop("type", None)
    if kinds is not None:
        kinds = types_of([kinds] if isinstance(kinds, str) else kinds)
    if isinstance(criteria.get("run_name"), str):
        criteria["run_name"] = [criteria["run_name"]]
    _require_size(criteria.get("voxel_size"))
    require_one_of(SEGMENTATION_TYPES, criteria.get("segmentation_type"), "type of segmentations")
    return Criteria(type=kinds, **criteria)


def types_of(words: Collection[str]) -> list[EntityType]:
    """The kinds of entities that some words stand for. Raises `UserError`."""
    try:
        return [EntityType.named(word) for word in words]
    except KeyError as error:
        there_are = ", ".join(kind.plural for kind in EntityType)
        raise UserError(f"{error.args[0]!r} is no kind of entities; there are: {there_are}") from None


def require_one_of(names: Iterable[str], wanted: str | None, what: str) -> None:
    """A name, or a pattern for names, that none of ``names`` is meant by is a mistake.

    Args:
        names: All that there are.
        wanted: The name or the pattern; None for any.
        what: What they are the names of.

    Raises:
        UserError: None is meant.
    """
    there_are = list(names)
    if wanted is None or wanted in there_are or any(fnmatchcase(name, wanted) for name in there_are):
        return
    raise UserError(f"{wanted!r} is no {what}; there are: {', '.join(there_are)}")


def _require_size(size: float | str | None) -> None:
    if size is None or _PATTERN & set(str(size)):
        return
    try:
        is_size = math.isfinite(float(size))
    except ValueError:
        is_size = False
    if not is_size:
        raise UserError(
            f"{size!r} is no voxel size: name a number, such as 7.84, or a pattern, such as '7.*'"
        )

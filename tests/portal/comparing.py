"""The portal's comparisons of one field: as in SQL, nothing is true of a null but that it is null."""

from __future__ import annotations

import operator
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    Test = Callable[[Any], bool]

_ORDERS = {"_gt": operator.gt, "_gte": operator.ge, "_lt": operator.lt, "_lte": operator.le}
_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d")


def pop_keys(comparisons: dict[str, Any]) -> set[Any] | None:
    """Take out what says which values a field may have, and return these; None if nothing does."""
    keys: set[Any] | None = None
    if "_eq" in comparisons:
        keys = {comparisons.pop("_eq")}
    if "_in" in comparisons:
        some = set(comparisons.pop("_in"))
        keys = some if keys is None else keys & some
    return keys


def test(comparisons: dict[str, Any]) -> Test:
    """Whether a value passes all of some comparisons, as ``{"_gt": 3}``."""
    tests = [_test(name, comparable(wanted)) for name, wanted in comparisons.items()]
    return lambda value: all(passes(comparable(value)) for passes in tests)


def comparable(value: Any) -> Any:
    """A date as a date, so that two ways to write it are one value."""
    if isinstance(value, str) and _DATE.match(value):
        return datetime.fromisoformat(value)
    return value


def _test(name: str, wanted: Any) -> Test:
    if name == "_is_null":
        return lambda value: (value is None) == wanted
    if name in _ORDERS:
        holds = _ORDERS[name]
        return lambda value: value is not None and holds(value, wanted)
    if name in {"_eq", "_in"}:
        some = {wanted} if name == "_eq" else {comparable(item) for item in wanted}
        return lambda value: value is not None and value in some
    if name in {"_neq", "_nin"}:
        none = {wanted} if name == "_neq" else {comparable(item) for item in wanted}
        return lambda value: value is not None and value not in none
    return _pattern(name, wanted)


def _pattern(name: str, wanted: str) -> Test:
    found = re.fullmatch(r"_(n?)(i?)(like|regex)", name)
    assert found is not None, name
    negated, any_case, language = found.groups()
    flags = re.DOTALL | (re.IGNORECASE if any_case else 0)
    if language == "like":
        parts = (re.escape(char) if char not in "%_" else {"%": ".*", "_": "."}[char] for char in wanted)
        matches = re.compile("".join(parts), flags).fullmatch
    else:
        matches = re.compile(wanted, flags).search
    return lambda value: value is not None and (matches(value) is None) == bool(negated)

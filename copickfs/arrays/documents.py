"""JSON documents of unknown origin: what can be had of them, never an exception.

Nobody has checked what lies in a layer. A document may be cut short, nested a million times deep, or
say that an array has -1 or 10^1000 voxels; then it tells nothing, or less.
"""

from __future__ import annotations

import json
import math
from typing import Any

import pydantic_core

MAX_SIZE = 1 << 62
"""No array is longer than this in any direction, and nothing has more points."""

_MAX_DIMENSIONS = 16


def parsed(data: bytes) -> Any:
    """The JSON document in ``data``; None if it is none, or is nested too deep."""
    try:
        # A third of the time of the standard library's, but it refuses lone surrogates.
        return pydantic_core.from_json(data)
    except ValueError:
        pass
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def item(document: Any, *keys: str | int) -> Any:
    """What is found in nested objects and arrays by following ``keys``; None if one leads nowhere."""
    for key in keys:
        if isinstance(key, str) and isinstance(document, dict):
            document = document.get(key)
        elif isinstance(key, int) and isinstance(document, list) and key < len(document):
            document = document[key]
        else:
            return None
    return document


def listed(document: Any, *keys: str | int) -> list[Any]:
    """The array that `item` finds; empty if it finds none."""
    found = item(document, *keys)
    return found if isinstance(found, list) else []


def sizes(value: Any) -> list[int] | None:
    """A list of sizes, such as a shape; None for anything else."""
    if not isinstance(value, list) or len(value) > _MAX_DIMENSIONS:
        return None
    return value if all(type(n) is int and 0 <= n <= MAX_SIZE for n in value) else None


def numbers(value: Any) -> list[float] | None:
    """A list of positive finite numbers, such as a scale; None for anything else."""
    if not isinstance(value, list) or len(value) > _MAX_DIMENSIONS:
        return None
    if not all(type(n) in (int, float) and 0 < n < MAX_SIZE and math.isfinite(n) for n in value):
        return None
    return [float(n) for n in value]

"""Grids of parameters of which most runs need a few only; ``pytest -m soak`` has the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable


def in_short(grid: Iterable[Any], *short: Any, are_rows: bool = False) -> list[Any]:
    """The parameters of ``grid``; those that are not in ``short`` are for long runs.

    With ``are_rows``, each is a tuple of values for several arguments.
    """
    parameters = list(grid)
    unknown = [each for each in short if each not in parameters]
    if unknown:
        raise ValueError(f"not in the grid: {unknown}")
    return [each if each in short else soak(*(each if are_rows else (each,))) for each in parameters]


def soak(*values: Any, **options: Any) -> Any:
    """One set of parameters that is for long runs."""
    return pytest.param(*values, marks=pytest.mark.soak, **options)

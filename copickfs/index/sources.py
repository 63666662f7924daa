"""What the source of an entity tells of it beside its names; see `copickfs.layers.base.Layer.known_of`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from copickfs.index.text import words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PORTAL = "portal"
RUN_NAME = "run_name"

_APART = " \ue000 "
"""A word that nobody types, between texts: a phrase is found in one text only."""

_MOST_CHARACTERS = 10_000


def run_name_of(detail: Mapping[str, Any]) -> str:
    """The name that people know a run by; ``""`` where it is that of its directory."""
    told = detail.get(PORTAL)
    name = told.get(RUN_NAME) if isinstance(told, dict) else None
    return words(name) if isinstance(name, str) else ""


def texts_of(detail: Mapping[str, Any]) -> list[str]:
    """The texts that are searched in like names, each once; the same after a way through JSON."""
    return list(dict.fromkeys(text for text in _texts(detail.get(PORTAL)) if text))


def searched(name: str, detail: Mapping[str, Any]) -> str:
    """A name and the texts of a source as one text to search in."""
    texts = texts_of(detail)
    return _APART.join((name, *texts))[:_MOST_CHARACTERS] if texts else name


def _texts(told: Any) -> Iterator[str]:
    if isinstance(told, str):
        yield words(told)
    elif isinstance(told, int) and not isinstance(told, bool):
        yield str(told)
    elif isinstance(told, dict):
        for value in told.values():
            yield from _texts(value)
    elif isinstance(told, list | tuple):
        for value in told:
            yield from _texts(value)

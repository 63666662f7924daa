"""Kinds of layers: the built-in ones, and those that other packages add by an entry point.

An entry point of the group ``copickfs.layers``, named as the ``config_type``, loads to an object with

* ``build(config, context) -> Layer``, and optionally
* ``config_model``: a pydantic model derived from `copickfs.config.LayerConfig` that checks the layer's
  configuration. Without one every key is accepted and kept.
"""

from __future__ import annotations

import importlib.metadata
from typing import Any

from copickfs.errors import ConfigError

GROUP = "copickfs.layers"
RENDERERS = "copickfs.renderers"
"""The entry points of what makes files under ``Views/``; see `copickfs.virtual.rendering`."""

BUILT_IN = ("filesystem", "cryoet_data_portal", "cache", "sqlite_db")


def known_kinds() -> list[str]:
    """Names of all kinds, the built-in ones first. Reads the metadata of all installed packages: slow."""
    return list(dict.fromkeys([*BUILT_IN, *(point.name for point in _entry_points())]))


def find_kind(config_type: str) -> Any:
    """The object that builds layers of a kind that is not built in.

    Raises:
        ConfigError: No installed package has such a kind, two have it, or it cannot be loaded.
    """
    # One package can be found twice, on two directories of sys.path.
    found = {point.value: point for point in _entry_points() if point.name == config_type}
    if not found:
        raise ConfigError(f"unknown kind of layer; known are {', '.join(known_kinds())}", value=config_type)
    if len(found) > 1:
        raise ConfigError(
            f"two packages have this kind of layer: {' and '.join(sorted(found))}; uninstall one",
            value=config_type,
        )
    (point,) = found.values()
    try:
        kind = point.load()
    except Exception as error:  # another package's import may raise anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConfigError(
            f"{point.value}, which has this kind of layer, cannot be loaded: {reason}", value=config_type
        ) from error
    if not callable(getattr(kind, "build", None)):
        raise ConfigError(f"{point.value} has no build(config, context)", value=config_type)
    return kind


def _entry_points() -> list[importlib.metadata.EntryPoint]:
    return list(importlib.metadata.entry_points(group=GROUP))


def renderer_points() -> dict[str, importlib.metadata.EntryPoint]:
    """The renderers that are installed, by their words; of two with one word copickfs's own."""
    found: dict[str, importlib.metadata.EntryPoint] = {}
    for point in importlib.metadata.entry_points(group=RENDERERS):
        if point.name not in found or point.value.startswith("copickfs."):
            found[point.name] = point
    return found

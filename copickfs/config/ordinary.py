"""Ordinary copick configurations as stacks of layers, so that nobody rewrites a file.

The overlay becomes the write layer ``overlay``; the static root, or the portal's datasets, a read-only layer
below it. Keys that copick ignores are ignored here too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from copickfs.config.project import ProjectConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

    from copickfs.config.source import Location

OVERLAY = "overlay"
STATIC = "static"
PORTAL = "portal"
OVERLAY_PRIORITY = 100
LOWER_PRIORITY = 10
FOR_EVER_S = 1e9
"""The longest time that a layer believes anything."""

_PORTAL_TTL = "portal_cache_ttl_seconds"


def is_ordinary(data: Mapping[str, Any]) -> bool:
    """True for a configuration that copick itself opens as a filesystem or portal project."""
    if data.get("config_type") is None:
        return "overlay_root" in data
    return data["config_type"] in ("filesystem", "cryoet_data_portal")


def as_multilayer(data: Mapping[str, Any]) -> tuple[dict[str, Any], dict[Location, str]]:
    """The same as a multilayer configuration, and the names that its keys have in ``data``."""
    stack: dict[str, Any] = {key: data[key] for key in ProjectConfig.model_fields if key in data}
    keys: dict[Location, str] = {}
    layers: dict[str, dict[str, Any]] = {}

    def layer(name: str, fields: dict[str, Any], renamed: dict[str, str]) -> None:
        given = {field: data[key] for field, key in renamed.items() if key in data}
        layers[name] = {**fields, **given}
        keys["layer_configs", name] = next(iter(renamed.values()))
        keys.update({("layer_configs", name, field): key for field, key in renamed.items()})

    upper = {"config_type": "filesystem", "priority": OVERLAY_PRIORITY}
    lower = {"priority": LOWER_PRIORITY, "read_only": True}
    layer(OVERLAY, upper, {"root": "overlay_root", "fs_args": "overlay_fs_args"})
    if data.get("config_type") == "cryoet_data_portal":
        portal = {"config_type": "cryoet_data_portal", **lower}
        renamed = {"dataset_ids": "dataset_ids"}
        if _is_for_ever(data.get(_PORTAL_TTL)):
            portal["ttl"] = FOR_EVER_S
        else:
            renamed["ttl"] = _PORTAL_TTL
        layer(PORTAL, portal, renamed)
    elif data.get("static_root") not in (None, data.get("overlay_root")):
        renamed = {"root": "static_root", "fs_args": "static_fs_args"}
        layer(STATIC, {"config_type": "filesystem", **lower}, renamed)
    stack.update(
        layers=list(layers), layer_configs=layers, default_write_layer=OVERLAY, config_type="multilayer"
    )
    return stack, keys


def _is_for_ever(ttl_s: object) -> bool:
    return isinstance(ttl_s, int) and ttl_s <= 0

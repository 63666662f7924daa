"""Layers that show a local portal, without a mount."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from copickfs.config.layer_schema import PortalConfig
from copickfs.layers.portal.layer import PortalLayer
from copickfs.model import ByteRange
from tests.portal.copick_root import PICKABLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from copickfs.index import Database
    from tests.portal.local import LocalPortal

OBJECTS: Mapping[str, str] = {of["identifier"]: of["name"] for of in PICKABLE}


def made(
    portal: LocalPortal,
    database: Database | None = None,
    *,
    objects: Mapping[str, str] = OBJECTS,
    offline: bool = False,
    **keys: Any,
) -> PortalLayer:
    """A layer of the portal's own dataset, or of what ``keys`` of the configuration say; not connected."""
    if "run_ids" not in keys:
        keys.setdefault("dataset_ids", [portal.dataset["id"]])
    keys = {"graphql_url": portal.url, "fs_args": portal.fs_args, "timeout": 15, **keys}
    config = PortalConfig(layer_name="portal", config_type="cryoet_data_portal", **keys)
    options = {
        "ttl_s": config.ttl,
        "timeout_s": config.timeout,
        "on_unavailable": "error",
        "cache": None,
        "offline": offline,
    }
    return PortalLayer(config, objects, database, options)


@contextlib.contextmanager
def connected(portal: LocalPortal, database: Database | None = None, **keys: Any) -> Iterator[PortalLayer]:
    """The same, connected."""
    layer = made(portal, database, **keys)
    try:
        layer.connect()
        yield layer
    finally:
        layer.close()


def names(layer: PortalLayer, directory: str) -> list[str]:
    """Names in a directory, in order."""
    return sorted(entry.name for entry in layer.scan(directory))


def walked(layer: PortalLayer, top: str = "") -> list[str]:
    """All paths below a directory, but for what is in stores."""
    found = []
    for entry in layer.scan(top):
        path = f"{top}/{entry.name}" if top else entry.name
        found.append(path)
        if entry.is_dir and not entry.name.endswith(".zarr"):
            found += walked(layer, path)
    return sorted(found)


def read(layer: PortalLayer, path: str) -> bytes:
    """A whole file."""
    file = layer.open(path)
    try:
        return file.read(ByteRange(0, file.entry.size_bytes))
    finally:
        file.close()

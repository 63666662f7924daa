"""What ``copickfs cache`` prints of a cache; the keys are documented in docs/cache.md."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from copickfs.cli.table import console, duration, size, table
from copickfs.cli.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from copickfs.cache.inventory import CachedObject
    from copickfs.cache.opened import Opened
    from copickfs.layers.cachelayer import CacheLayer

_SHOWN_PINS = 20


def statistics(layer: CacheLayer, directory: Opened, layers_of: Callable[[str], list[str]]) -> dict[str, Any]:
    """The document of ``cache stat``.

    Args:
        layer: The cache.
        directory: Its directory.
        layers_of: The names of the layers that are called so in the cache.
    """
    ledger = directory.ledger
    root = layer.disk.root
    status = os.statvfs(next(above for above in (root, *root.parents) if above.exists()))
    return {
        "root": str(layer.disk.root),
        "used_bytes": ledger.used_bytes(),
        "max_size_bytes": layer.disk.limit_bytes,
        "free_bytes": status.f_bavail * status.f_frsize,
        "min_free_bytes": layer.config.min_free_bytes,
        "sources": [
            {
                "source": each.source,
                "layers": layers_of(each.source),
                "objects": each.objects,
                "files": each.pieces,
                "size_bytes": each.size_bytes,
                "disk_bytes": each.charge_bytes,
                "pinned_bytes": each.pinned_bytes,
            }
            for each in ledger.summaries()
        ],
        "pins": [
            {"source": source, "layers": layers_of(source), "path": path} for source, path in ledger.pins()
        ],
    }


def show_statistics(document: dict[str, Any]) -> None:
    """Print it for people."""
    left = size(document["min_free_bytes"])
    lines = [
        f"directory  {document['root']}",
        f"used       {size(document['used_bytes'])} of at most {size(document['max_size_bytes'])}",
        f"disk       {size(document['free_bytes'])} free, of which {left} are left to others",
    ]
    pins = document["pins"]
    lines += [f"pinned     {_layer(pin)}: {printable(pin['path']) or '.'}" for pin in pins[:_SHOWN_PINS]]
    if len(pins) > _SHOWN_PINS:
        lines.append(f"           and {len(pins) - _SHOWN_PINS} more")
    out = console()
    for line in lines:
        out.print(line, highlight=False, markup=False)
    rows = [
        [
            _layer(source), str(source["objects"]), str(source["files"]),
            size(source["disk_bytes"]), size(source["pinned_bytes"]),
        ]
        for source in document["sources"]
    ]  # fmt: skip
    if rows:
        out.print(table(["layer", "objects", "files", "on disk", "pinned"], rows))


def documents(objects: Sequence[CachedObject], layers_of: Callable[[str], list[str]]) -> list[dict[str, Any]]:
    """The list of ``cache list``; arguments as for `statistics`."""
    return [
        {
            "path": each.path,
            "source": each.source,
            "layers": layers_of(each.source),
            "cached_bytes": each.cached_bytes,
            "size_bytes": each.object_bytes,
            "pinned": each.is_pinned,
            "used_ns": each.used_ns,
        }
        for each in objects
    ]


def show_objects(listed: Sequence[dict[str, Any]]) -> None:
    """Print them for people."""
    now_ns = time.time_ns()
    rows = [
        [
            printable(each["path"]), _layer(each), size(each["cached_bytes"]), size(each["size_bytes"]),
            "pinned" if each["pinned"] else "", f"{duration(max(0, now_ns - each['used_ns']) / 1e9)} ago",
        ]
        for each in listed
    ]  # fmt: skip
    console().print(table(["path", "layer", "cached", "size", "", "last read"], rows))


def _layer(each: dict[str, Any]) -> str:
    """The layers of this configuration; others are known by what they are called in the cache only."""
    return printable(", ".join(each["layers"]) or each["source"])

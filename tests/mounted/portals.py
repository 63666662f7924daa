"""Mounts of the tests' own portal: configurations, and what copick itself gives of the same datasets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.mounted.test_copick import entities_of_run
from tests.portal.copick_root import PICKABLE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.portal.local import LocalPortal


def portal_layer(portal: LocalPortal, **options: Any) -> dict[str, Any]:
    """The layer of a portal's own dataset."""
    found = {
        "config_type": "cryoet_data_portal",
        "graphql_url": portal.url,
        "fs_args": portal.fs_args,
        "timeout": 15,
        **options,
    }
    if "run_ids" not in found:
        found.setdefault("dataset_ids", [portal.dataset["id"]])
    return found


def configuration(portal: LocalPortal, directory: Path, **options: Any) -> dict[str, Any]:
    """A stack of the portal alone, with a cache and an index of its own in ``directory``.

    Without views that are made: the portal's own files under ``Views`` are there all the same.
    """
    return {
        "config_type": "multilayer",
        "layers": ["portal"],
        "layer_configs": {"portal": portal_layer(portal, **options)},
        "pickable_objects": PICKABLE,
        "views": False,
        "cache_config": {"root": str(directory / "cache"), "prefetch": False, "min_free_bytes": 0},
        "db_config": {"db_path": str(directory / "index.db"), "auto_index": False},
    }


def with_written(config: dict[str, Any], mine: Path) -> dict[str, Any]:
    """The same below a local layer that is written."""
    mine.mkdir(exist_ok=True)
    local = {"config_type": "filesystem", "root": str(mine), "priority": 99}
    layers = {"mine": local, **config["layer_configs"]}
    return {**config, "layers": list(layers), "layer_configs": layers, "default_write_layer": "mine"}


def listed(root: Any) -> Iterator[tuple[str, Any]]:
    """Every entity of a copick project with the path where a mount has it; some may have one path."""
    for run in root.runs:
        yield from entities_of_run(run)


def entities(root: Any) -> dict[str, Any]:
    """The same by path."""
    return dict(listed(root))

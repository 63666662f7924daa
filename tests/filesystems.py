"""Stacks that are used by fsspec: a write layer over a read-only one, and their configuration."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from copickfs.filesystem import CopickFileSystem

PICKS = "ExperimentRuns/TS_1/Picks/alice_1_ribosome.json"
LOWER: dict[str, bytes | None] = {
    PICKS: b'{"points": []}',
    "ExperimentRuns/TS_1/notes/day.txt": b"0123456789",
    "ExperimentRuns/TS_1/VoxelSpacing10.000/wbp.zarr/.zgroup": b'{"zarr_format": 2}',
    "ExperimentRuns/TS_1/empty": None,
    "table.csv": b"run,score\nTS_1,0.5\nTS_2,0.25\n",
}


def configuration(mine: Path | None, lower: Path, **fields: Any) -> dict[str, Any]:
    """A write layer ``mine`` over ``lab``; without it, ``lab`` alone. No views, unless ``fields`` say so."""
    layers: dict[str, Any] = {"lab": {"config_type": "filesystem", "root": str(lower), "priority": 1}}
    if mine is not None:
        layers["mine"] = {"config_type": "filesystem", "root": str(mine), "priority": 10, "read_only": False}
        fields["default_write_layer"] = "mine"
    return {
        "config_type": "multilayer",
        "layers": list(layers),
        "layer_configs": layers,
        "views": False,
        **fields,
    }


def write_configuration(file: Path, config: Mapping[str, Any]) -> Path:
    """Write a configuration to a file."""
    file.write_text(json.dumps(config))
    return file


def leftovers(layer: Path) -> list[str]:
    """Versions in a write layer that were neither published nor given up."""
    staging = layer / ".copickfs" / "staging"
    return [name for name in os.listdir(staging) if not name.endswith(".lock")] if staging.exists() else []


def use_elsewhere(fs: CopickFileSystem, written: str, read: str) -> tuple[int, bytes]:
    """What another process does with a file system that it was given; its number, and what it has read."""
    fs.pipe_file(written, str(os.getpid()).encode())
    return os.getpid(), fs.cat_file(read)

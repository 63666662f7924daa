"""Object stores behind a mount with a cache: configurations, a project to read, and what was asked."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
import zarr

if TYPE_CHECKING:
    from pathlib import Path

RUN = "ExperimentRuns/TS_1/VoxelSpacing10.000"
STORE = f"{RUN}/wbp.zarr"
DIRECTORIES = ("", "ExperimentRuns/", "ExperimentRuns/TS_1/", f"{RUN}/", f"{STORE}/", f"{STORE}/0/")

Voxels = np.ndarray[Any, np.dtype[np.float32]]


def cached(store: Any, directory: Path, **options: Any) -> dict[str, Any]:
    """A stack of one layer of an object store, with a cache and an index of its own in ``directory``.

    Without views: what is asked for them would be counted, too.
    """
    lab = {
        "config_type": "filesystem",
        "root": store.url,
        "fs_args": store.fs_args,
        "read_only": True,
        "timeout": 3,
        **options,
    }
    return {
        "config_type": "multilayer",
        "layers": ["lab"],
        "layer_configs": {"lab": lab},
        "views": False,
        "cache_config": {"root": str(directory / "cache"), "prefetch": False, "min_free_bytes": 0},
        "db_config": {"db_path": str(directory / "index.db"), "auto_index": False},
    }


def with_local(config: dict[str, Any], mine: Path) -> dict[str, Any]:
    """The same below a local layer that is written."""
    mine.mkdir(exist_ok=True)
    local = {"config_type": "filesystem", "root": str(mine), "priority": 9}
    layers = {"mine": local, **config["layer_configs"]}
    return {**config, "layers": list(layers), "layer_configs": layers, "default_write_layer": "mine"}


def tomogram(directory: Path, chunks: tuple[int, int, int] = (3, 3, 3)) -> tuple[Voxels, dict[str, bytes]]:
    """A tomogram of so many chunks, none of them zero: its voxels, and its objects by their keys."""
    edge = 8
    shape = tuple(edge * count for count in chunks)
    voxels = np.random.default_rng(5).random(shape, dtype=np.float32) + 1
    group = zarr.open_group(str(directory / "wbp.zarr"), mode="w")
    group.create_dataset("0", data=voxels, chunks=(edge,) * 3, fill_value=0, dimension_separator="/")
    axes = [{"name": name, "type": "space", "unit": "angstrom"} for name in "zyx"]
    scale = [{"type": "scale", "scale": [10.0, 10.0, 10.0]}]
    group.attrs["multiscales"] = [
        {"version": "0.4", "axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}
    ]
    files = (path for path in directory.rglob("*") if path.is_file())
    return voxels, {f"{RUN}/{path.relative_to(directory)}": path.read_bytes() for path in files}


def asked(requests: list[str]) -> Counter[str]:
    """Requests as ``"GET key"`` and ``"LIST prefix"``, or ``"TREE prefix"`` without a delimiter."""
    counts: Counter[str] = Counter()
    for request in requests:
        method, _, address = request.partition(" ")
        parts = urlsplit(address)
        query = parse_qs(parts.query)
        key = _below_project(unquote(parts.path).lstrip("/").partition("/")[2])
        if "list-type" in query:
            kind = "LIST" if "delimiter" in query else "TREE"
            counts[f"{kind} {_below_project(query.get('prefix', [''])[0])}"] += 1
        else:
            counts[f"{method} {key}"] += 1
    return counts


def _below_project(key: str) -> str:
    return re.sub(r"^project/?", "", key)

"""A project of many small runs and one real tomogram, and its configurations for copick and copickfs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

USER, OBJECT, VOXEL_SIZE = "alice", "ribosome", 10.0
OTHERS = ("proteasome", "virus", "membrane", "actin")
SHAPE, CHUNK = (256, 256, 256), (64, 64, 64)
REGION = slice(96, 160)
TOMOGRAM_RUN = "TS_00000"
TOMOGRAM_STORE = f"ExperimentRuns/{TOMOGRAM_RUN}/VoxelSpacing10.000/wbp.zarr"
_ARRAY = json.dumps(
    {
        "zarr_format": 2, "shape": [8, 8, 8], "chunks": [8, 8, 8], "dtype": "<f4", "compressor": None,
        "fill_value": 0, "order": "C", "filters": None, "dimension_separator": "/",
    }
)  # fmt: skip


def write_project(root: Path, runs: int) -> None:
    """Write ``runs`` runs: one spacing, two tomograms without chunks, five picks and a segmentation each."""
    for number in range(runs):
        run = root / f"ExperimentRuns/TS_{number:05}"
        for store in ("VoxelSpacing10.000/wbp.zarr/0", "VoxelSpacing10.000/denoised.zarr/0",
                      "Segmentations/10.000_alice_1_membrane.zarr/0"):  # fmt: skip
            (run / store).mkdir(parents=True)
            (run / store / ".zarray").write_text(_ARRAY)
            (run / store).with_name(".zgroup").write_text('{"zarr_format": 2}')
        (run / "Picks").mkdir()
        for name in (OBJECT, *OTHERS):
            document = {"pickable_object_name": name, "user_id": USER, "session_id": "1", "points": []}
            (run / f"Picks/{USER}_1_{name}.json").write_text(json.dumps(document))
    _write_tomogram(root / TOMOGRAM_STORE)


def _write_tomogram(store: Path) -> None:
    import shutil

    import zarr

    shutil.rmtree(store)
    group = zarr.open_group(zarr.storage.FSStore(str(store), dimension_separator="/"), mode="w")
    group.create_dataset("0", data=np.random.default_rng(1).random(SHAPE, np.float32), chunks=CHUNK)


def copick_config(file: Path, url: str, fs_args: dict[str, Any]) -> Path:
    """Copick's own configuration of the project at ``url``."""
    document = {
        "config_type": "filesystem", "pickable_objects": _objects(), "user_id": USER, "session_id": "1",
        "overlay_root": url, "overlay_fs_args": fs_args,
    }  # fmt: skip
    file.write_text(json.dumps(document))
    return file


def stack_config(file: Path, root: str, fs_args: dict[str, Any]) -> Path:
    """A stack of an empty layer that is written over the project at ``root``."""
    directory = file.parent / file.stem
    (directory / "mine").mkdir(parents=True)
    lab = {"config_type": "filesystem", "root": root, "read_only": True, "priority": 1}
    if fs_args:
        lab |= {"fs_args": fs_args, "ttl": 3600.0}
    document = {
        "config_type": "multilayer", "pickable_objects": _objects(), "user_id": USER, "session_id": "1",
        "layers": ["mine", "lab"], "default_write_layer": "mine",
        "layer_configs": {
            "mine": {"config_type": "filesystem", "root": str(directory / "mine"), "priority": 2}, "lab": lab,
        },
        "cache_config": {"root": str(directory / "cache"), "min_free_bytes": 0},
        "db_config": {"db_path": str(directory / "index.db"), "auto_index": False},
    }  # fmt: skip
    file.write_text(json.dumps(document))
    return file


def _objects() -> list[dict[str, Any]]:
    return [
        {"name": name, "is_particle": True, "label": label, "color": [0, 0, 255, 255]}
        for label, name in enumerate((OBJECT, *OTHERS), 1)
    ]

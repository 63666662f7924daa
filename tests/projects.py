"""Small copick projects, written by copick itself, and configurations that stack them."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import copick
import numpy as np
import trimesh
import zarr

if TYPE_CHECKING:
    from pathlib import Path

OBJECTS: list[dict[str, Any]] = [
    {"name": "ribosome", "is_particle": True, "label": 1, "color": [0, 117, 220, 255], "radius": 150.0},
    {
        "name": "actin", "is_particle": True, "label": 2, "color": [255, 0, 0, 255],
        "metadata": {"copick": {"filament": {"polar": True}}},
    },
    {"name": "membrane", "is_particle": False, "label": 3, "color": [9, 9, 9, 255]},
]  # fmt: skip

SHAPE = (12, 16, 20)
"""Of every volume: planes, rows, columns."""


def volume(seed: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).random(SHAPE).astype(np.float32)


def labels(seed: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 2, SHAPE).astype(np.uint8)


def points(seed: int, number: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).random((number, 3)) * 100


def copick_root(directory: Path) -> Any:
    """An ordinary copick root of one directory."""
    directory.mkdir(parents=True, exist_ok=True)
    document = {
        "config_type": "filesystem", "pickable_objects": OBJECTS, "user_id": "alice", "session_id": "1",
        "overlay_root": f"local://{directory}", "overlay_fs_args": {"auto_mkdir": True},
    }  # fmt: skip
    return copick.from_string(json.dumps(document))


def write_templates(directory: Path) -> Path:
    """The layers as every `Project` begins with them; written once, for copick takes a second."""
    _write_lab(copick_root(directory / "lab"))
    _write_mine(copick_root(directory / "mine"))
    return directory


def _write_lab(root: Any) -> None:
    for seed, name in enumerate(("TS_001", "TS_002")):
        run = root.new_run(name)
        tomogram = run.new_voxel_spacing(10.0).new_tomogram("wbp")
        tomogram.from_numpy(volume(seed), levels=2)
        run.new_picks("ribosome", "1").from_numpy(points(seed, 5))
    run = root.get_run("TS_001")
    tomogram = run.get_voxel_spacing(10.0).tomograms[0]
    features = tomogram.new_features("edges")
    zarr.group(features.zarr()).create_dataset("0", data=volume(7), chunks=SHAPE)
    run.new_filaments("actin", "1").from_numpy([points(3, 4)])
    mesh = run.new_mesh("membrane", "1")
    mesh.mesh = trimesh.creation.box()
    mesh.store()
    run.new_segmentation(10.0, "membrane", "1").from_numpy(labels(1))
    run.new_segmentation(10.0, "all", "1", is_multilabel=True).from_numpy(labels(2) * 3)
    run.new_segmentation(10.0, "ribosome", "1", is_instance=True).from_numpy(labels(3) * 7)
    both = np.stack([labels(4), labels(4) * 5])
    run.new_segmentation(10.0, "scene", "1", is_panoptic=True).from_numpy(both)
    root.get_object("ribosome").from_numpy(volume(9), 10.0)


def _write_mine(root: Any) -> None:
    run = root.new_run("TS_001")
    run.new_picks("ribosome", "1").from_numpy(points(11, 2))
    run.new_picks("ribosome", "2").from_numpy(points(12, 3))
    root.new_run("TS_900")


class Project:
    """A layer ``mine``, which is written, over a layer ``lab``, which is not.

    Attributes:
        directory: Where they are.
        file: The configuration.
    """

    def __init__(self, templates: Path, directory: Path) -> None:
        self.directory = directory
        self.file = directory / "config.json"
        for name in ("mine", "lab"):
            shutil.copytree(templates / name, directory / name)
        self.configure()

    def configure(self, lab: dict[str, Any] | None = None, **fields: Any) -> Path:
        """Write the configuration anew; ``fields`` are its keys, ``lab`` those of that layer."""
        layers: dict[str, dict[str, Any]] = {
            "mine": {"config_type": "filesystem", "root": "mine", "priority": 50},
            "lab": {
                "config_type": "filesystem", "root": "lab", "priority": 10, "read_only": True, **(lab or {}),
            },
        }  # fmt: skip
        layers |= fields.pop("more_layers", {})
        document = {
            "config_type": "multilayer", "pickable_objects": OBJECTS, "user_id": "alice", "session_id": "1",
            "layers": list(layers), "layer_configs": layers, "default_write_layer": "mine",
            "db_config": {"db_path": "index.db", "auto_index": False}, **fields,
        }  # fmt: skip
        self.file.write_text(json.dumps({key: value for key, value in document.items() if value is not ...}))
        return self.file

    def path(self, layer: str, path: str = "") -> Path:
        """A path in a layer."""
        return self.directory / layer / path

    def copick(self, layer: str) -> Any:
        """What copick itself sees in a layer."""
        return copick_root(self.directory / layer)

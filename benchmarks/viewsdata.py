"""The tomograms that are read as MRC files: one that is read through, and one of which only planes are."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.remotedata import BUCKET, PREFIX

if TYPE_CHECKING:
    from pathlib import Path

SPACING_ANGSTROM = 10.0
COARSE = 4
"""Voxels of the second level, and the last one, are so many times as large."""


@dataclass(frozen=True, slots=True)
class Tomograms:
    """What was made.

    Attributes:
        served: What a server's buckets are in.
        size: Voxels along y and x.
        flat: Planes of the tomogram that is read through.
        tall: Planes of the other one.
        chunk: Voxels along each axis of a chunk.
    """

    served: Path
    size: int
    flat: int
    tall: int
    chunk: int

    @property
    def root(self) -> Path:
        """The project."""
        return self.served / BUCKET / PREFIX

    def store(self, run: str) -> Path:
        """The zarr store of a run, ``flat`` or ``tall``."""
        return self.root / f"ExperimentRuns/{run}/VoxelSpacing{SPACING_ANGSTROM:.3f}/wbp.zarr"

    @staticmethod
    def view(run: str) -> str:
        """The MRC file of a run, in a mount."""
        return f"Views/{run}/VoxelSpacing{SPACING_ANGSTROM:.3f}/wbp.mrc"

    def copick_config(self) -> Path:
        """A configuration for copick itself."""
        path = self.served / "copick.json"
        document = {
            "config_type": "filesystem", "name": "views", "version": "1.0.0", "pickable_objects": [],
            "overlay_root": f"local://{self.root}", "overlay_fs_args": {},
        }  # fmt: skip
        path.write_text(json.dumps(document))
        return path


def make_tomograms(served: Path, size: int, planes: int, chunk: int, codec: str) -> Tomograms:
    """Write both: noise that compresses about as well as a tomogram does, one layer of chunks repeated.

    Args:
        served: Where.
        size: Voxels along y and x, and z of the tall one.
        planes: Of the flat one.
        chunk: Voxels along each axis of a chunk.
        codec: ``lz4``, ``zstd`` or ``zlib``.
    """
    made = Tomograms(served, size, planes, size, chunk)
    generator = np.random.default_rng(0)
    for run, height in (("flat", planes), ("tall", size)):
        store = made.store(run)
        for factor, level in ((1, "0"), (COARSE, "1")):
            extent = (max(1, height // factor), max(1, size // factor), max(1, size // factor))
            if run == "tall" and factor == 1:
                _link_layers(made.store("flat") / level, store / level, extent, chunk)
            else:
                _write_array(store, level, extent, chunk, codec, generator)
        _write_metadata(store)
    return made


def _write_array(
    store: Path, level: str, extent: tuple[int, ...], chunk: int, codec: str, generator: np.random.Generator
) -> None:
    import numcodecs
    import zarr

    compressor = numcodecs.Zlib(1) if codec == "zlib" else numcodecs.Blosc(codec, 5, numcodecs.Blosc.SHUFFLE)
    array = zarr.open_group(str(store), mode="a").create_dataset(
        level, shape=extent, chunks=(chunk,) * 3, dtype="f4", compressor=compressor, dimension_separator="/"
    )
    layer = (generator.standard_normal((min(chunk, extent[0]), *extent[1:]), "f4") * 20).astype("i2")
    array[: len(layer)] = layer.astype("f4")
    _link_layers(store / level, store / level, extent, chunk)


def _link_layers(source: Path, target: Path, extent: tuple[int, ...], chunk: int) -> None:
    """The first layer of chunks of an array in all places of another one; writes its metadata, too."""
    target.mkdir(parents=True, exist_ok=True)
    document = json.loads((source / ".zarray").read_text())
    (target / ".zarray").write_text(json.dumps(document | {"shape": list(extent)}))
    for file in [path for path in (source / "0").rglob("*") if path.is_file()]:
        for number in range(-(-extent[0] // chunk)):
            place = target / str(number) / file.relative_to(source / "0")
            if not place.exists():
                place.parent.mkdir(parents=True, exist_ok=True)
                os.link(file, place)


def _write_metadata(store: Path) -> None:
    import zarr

    axes = [{"name": axis, "type": "space", "unit": "angstrom"} for axis in "zyx"]
    datasets = [
        {
            "path": level,
            "coordinateTransformations": [{"type": "scale", "scale": [SPACING_ANGSTROM * factor] * 3}],
        }
        for factor, level in ((1, "0"), (COARSE, "1"))
    ]
    zarr.open_group(str(store), mode="a").attrs["multiscales"] = [
        {"version": "0.4", "axes": axes, "datasets": datasets}
    ]

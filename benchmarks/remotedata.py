"""The project that is served: many small runs, and one with a tomogram that is large."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import xxhash

if TYPE_CHECKING:
    from pathlib import Path

BUCKET, PREFIX = "bucket", "project"
RUNS, SPACING, STORE = "ExperimentRuns", "VoxelSpacing10.000", "wbp.zarr"
LARGE_RUN = "TS_0000"
PICKS = ("ribosome_lab_1.json", "ribosome_lab_2.json", "ribosome_me_1.json")
ARRAY = f"{RUNS}/{LARGE_RUN}/{SPACING}/{STORE}/0"
CHUNK_SHAPE = (64, 64, 128)  # 2 MiB of float32
CHUNK_BYTES = 2 << 20


@dataclass(frozen=True, slots=True)
class RemoteScale:
    """How much is made: runs, and the chunks of the large tomogram along each axis."""

    runs: int
    chunks: tuple[int, int, int]


FULL = RemoteScale(runs=200, chunks=(8, 8, 8))
QUICK = RemoteScale(runs=20, chunks=(4, 2, 4))


@dataclass(frozen=True, slots=True)
class Project:
    """What was made.

    Attributes:
        served: The directory of the server: the bucket is in it.
        root: The project's own directory.
        scale: Its size.
        digests: Checksum of each layer of chunks of the large tomogram, along z: of its voxels, and of the
            checksums of its objects.
    """

    served: Path
    root: Path
    scale: RemoteScale
    digests: tuple[tuple[str, str], ...]

    @property
    def layers(self) -> int:
        """Layers of chunks along z."""
        return self.scale.chunks[0]

    @property
    def layer_chunks(self) -> int:
        """Chunks in each."""
        return self.scale.chunks[1] * self.scale.chunks[2]

    @property
    def array_bytes(self) -> int:
        """The large tomogram."""
        return self.layers * self.layer_chunks * CHUNK_BYTES

    @property
    def listed(self) -> dict[str, int]:
        """How much each way of listing must find: ``find -maxdepth 3``, copick's objects, the keys."""
        runs = self.scale.runs
        files = len(PICKS) + 3  # .zattrs, .zgroup and .zarray
        return {
            "mount": 1 + runs * (1 + 2 + 1 + len(PICKS)),
            "copick": runs * (1 + 1 + 1 + len(PICKS)),
            "obstore": runs * (files + 1) - 1 + self.layers * self.layer_chunks,
        }


def make_project(served: Path, scale: RemoteScale, seed: int = 7) -> Project:
    """Write the project below an empty directory."""
    root = served / BUCKET / PREFIX
    for number in range(scale.runs):
        run = root / RUNS / f"TS_{number:04}"
        (run / "Picks").mkdir(parents=True)
        for name in PICKS:
            (run / "Picks" / name).write_text(_picks(run.name, name))
        store = run / SPACING / STORE
        is_large = run.name == LARGE_RUN
        _write_metadata(store, scale.chunks if is_large else (1, 1, 1))
        if not is_large:
            _write_chunk(store / "0/0/0/0", b"\1" * 4096)
    generator = np.random.default_rng(seed)
    digests = tuple(_write_layer(root / ARRAY, z, scale, generator) for z in range(scale.chunks[0]))
    return Project(served, root, scale, digests)


def _write_layer(array: Path, z: int, scale: RemoteScale, generator: np.random.Generator) -> tuple[str, str]:
    """Write the chunks of one layer; return the checksums of its voxels and of its objects."""
    _, rows, columns = scale.chunks
    depth, height, width = CHUNK_SHAPE
    voxels = np.frombuffer(generator.bytes(CHUNK_BYTES * rows * columns), dtype="<u4")
    voxels = voxels.reshape(depth, rows * height, columns * width)
    objects = []
    for y in range(rows):
        for x in range(columns):
            chunk = voxels[:, y * height : (y + 1) * height, x * width : (x + 1) * width].tobytes()
            _write_chunk(array / f"{z}/{y}/{x}", chunk)
            objects.append(xxhash.xxh3_64_digest(chunk))
    return xxhash.xxh3_64_hexdigest(voxels), xxhash.xxh3_64_hexdigest(b"".join(objects))


def _write_chunk(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _write_metadata(store: Path, chunks: tuple[int, int, int]) -> None:
    (store / "0").mkdir(parents=True)
    scale = [{"type": "scale", "scale": [10.0, 10.0, 10.0]}]
    axes = [{"name": name, "type": "space", "unit": "angstrom"} for name in "zyx"]
    levels = [{"path": "0", "coordinateTransformations": scale}]
    attributes = {"multiscales": [{"version": "0.4", "axes": axes, "datasets": levels}]}
    is_small = chunks == (1, 1, 1)
    shape = (8, 8, 16) if is_small else CHUNK_SHAPE
    array = {
        "zarr_format": 2,
        "shape": [count * size for count, size in zip(chunks, shape, strict=True)],
        "chunks": list(shape),
        "dtype": "<u4",
        "compressor": None,
        "filters": None,
        "fill_value": 0,
        "order": "C",
        "dimension_separator": "/",
    }
    (store / ".zgroup").write_text(json.dumps({"zarr_format": 2}))
    (store / ".zattrs").write_text(json.dumps(attributes))
    (store / "0/.zarray").write_text(json.dumps(array))


def _picks(run: str, name: str) -> str:
    item, user, session = name.removesuffix(".json").split("_")
    points = [{"location": {"x": i * 1.0, "y": i * 2.0, "z": i * 3.0}, "score": 1.0} for i in range(40)]
    return json.dumps(
        {"pickable_object_name": item, "user_id": user, "session_id": session, "run_name": run,
         "voxel_spacing": None, "unit": "angstrom", "points": points}
    )  # fmt: skip

"""What is in the files of a record: a function of the record, so that a test knows what it must read."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mrcfile
import numpy as np
import zarr

from tests.portal.records import LEVELS, POINTS, SHAPE_ZYX

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.portal.store import Row

CHUNK_ZYX = (16, 16, 16)
_COMPRESSOR = zarr.Blosc(cname="lz4", clevel=5, shuffle=1)
_POINT_TYPES = {"OrientedPoint": "orientedPoint", "InstanceSegmentation": "instancePoint"}


def volume(tomogram: Row) -> NDArray[np.float32]:
    """Densities (z, y, x) of a tomogram's OME-Zarr."""
    shape = tomogram["sizeZ"], tomogram["sizeY"], tomogram["sizeX"]
    return np.random.default_rng(tomogram["id"]).normal(size=shape).astype(np.float32)


def mrc_volume(tomogram: Row) -> NDArray[np.int16]:
    """Densities (z, y, x) of a tomogram's MRC file, which need not have its OME-Zarr's type."""
    return np.round(volume(tomogram) * 1000).astype(np.int16)


def mask(file: Row, shape_type: str) -> NDArray[Any]:
    """Labels (z, y, x) of a segmentation: one, or one an instance; the same in each of a shape's files."""
    rng = np.random.default_rng(file["annotationShapeId"])
    coarse = tuple(-(-size // 4) for size in SHAPE_ZYX)
    instances = shape_type == "InstanceSegmentationMask"
    labels = rng.integers(0, 9 if instances else 2, coarse, np.uint16 if instances else np.int8)
    for axis in range(3):
        labels = labels.repeat(4, axis)
    return labels[tuple(slice(size) for size in SHAPE_ZYX)]


def points(file: Row, shape_type: str, count: int = POINTS) -> list[dict[str, Any]]:
    """Lines of an ndjson file, in voxels."""
    rng = np.random.default_rng(file["annotationShapeId"])
    found = []
    for number in range(count):
        x, y, z = (float(round(rng.uniform(0, size - 1), 3)) for size in reversed(SHAPE_ZYX))
        line: dict[str, Any] = {
            "type": _POINT_TYPES.get(shape_type, "point"),
            "location": {"x": x, "y": y, "z": z},
        }
        if shape_type == "OrientedPoint":
            rotation, upper = np.linalg.qr(rng.normal(size=(3, 3)))
            rotation *= np.sign(np.diag(upper))
            rotation[:, 0] *= np.sign(np.linalg.det(rotation))
            line["xyz_rotation_matrix"] = rotation.tolist()
        if shape_type == "InstanceSegmentation":
            line["instance_id"] = number // 2 + 1
        found.append(line)
    return found


def ndjson(lines: list[dict[str, Any]]) -> bytes:
    """The file of some points."""
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def pyramid(base: NDArray[Any], levels: int = LEVELS) -> list[NDArray[Any]]:
    """A volume (z, y, x) and every second voxel of it, as often as there are levels."""
    found = [base]
    for _ in range(1, levels):
        found.append(np.ascontiguousarray(found[-1][::2, ::2, ::2]))
    return found


def ome_zarr(base: NDArray[Any], voxel_spacing: float, levels: int = LEVELS) -> dict[str, bytes]:
    """The files of an OME-Zarr 0.4 as the portal has them, but for the chunks' size."""
    files: dict[str, bytes] = {}
    store = zarr.storage.KVStore(files)
    group = zarr.group(store=store)
    datasets = []
    for level, array in enumerate(pyramid(base, levels)):
        group.create_dataset(
            str(level), data=array, chunks=CHUNK_ZYX, compressor=_COMPRESSOR, dimension_separator="/"
        )
        scale = {"type": "scale", "scale": [voxel_spacing * 2**level] * 3}
        datasets.append({"path": str(level), "coordinateTransformations": [scale]})
    axes = [{"name": name, "type": "space", "unit": "angstrom"} for name in "zyx"]
    group.attrs["multiscales"] = [{"axes": axes, "datasets": datasets, "name": "/", "version": "0.4"}]
    return {key: bytes(value) for key, value in files.items()}


def mrc(data: NDArray[Any], voxel_spacing: float) -> bytes:
    """An MRC file."""
    with tempfile.NamedTemporaryFile(suffix=".mrc") as file:
        mrcfile.write(file.name, data, overwrite=True, voxel_size=voxel_spacing)
        return Path(file.name).read_bytes()

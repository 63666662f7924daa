"""What the metadata documents of zarr arrays and of OME-Zarr say, of both formats."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from copickfs import paths
from copickfs.errors import InvalidName
from copickfs.indexing.documents import item, listed, numbers, sizes

_MAX_NAME = 64
_ANGSTROM_OF = {"angstrom": 1.0, "nanometer": 10.0, "micrometer": 10_000.0}
_SPACE = "zyx"
_SAME = 1e-4
"""Sizes of a voxel that differ less, as a share, are one size."""


class Levels(NamedTuple):
    """What the multiscales of an OME-Zarr say.

    Attributes:
        finest: The path of the largest level in the store; ``""`` is the store itself.
        detail: ``levels`` and ``voxel_size``, as far as they are known.
    """

    finest: str
    detail: dict[str, Any]


def levels(attributes: Any) -> Levels | None:
    """The multiscales in the attributes of a group; None if there are none."""
    multiscale = item(attributes, "ome", "multiscales", 0) or item(attributes, "multiscales", 0)
    datasets = item(multiscale, "datasets")
    finest = _inner(item(datasets, 0, "path"))
    if finest is None:
        return None
    detail: dict[str, Any] = {"levels": len(datasets)}
    voxel_size = _voxel_size(multiscale)
    if voxel_size is not None:
        detail["voxel_size"] = voxel_size
    return Levels(finest, detail)


def level_paths(attributes: Any) -> list[str]:
    """The paths in a store of the levels of its multiscales, the finest first; none if one is not sound."""
    multiscale = item(attributes, "ome", "multiscales", 0) or item(attributes, "multiscales", 0)
    found = [_inner(item(dataset, "path")) for dataset in listed(multiscale, "datasets")]
    inner = [path for path in found if path]
    return inner if len(inner) == len(found) else []


def array_2(document: Any) -> dict[str, Any]:
    """What a ``.zarray`` says: ``shape``, ``chunks``, ``dtype``."""
    return _known(item(document, "shape"), item(document, "chunks"), item(document, "dtype"))


def array_3(document: Any) -> dict[str, Any]:
    """What the ``zarr.json`` of an array says: ``shape``, ``chunks``, ``dtype``, ``shards`` if there are."""
    if item(document, "node_type") != "array":
        return {}
    chunks = item(document, "chunk_grid", "configuration", "chunk_shape")
    shards = None
    for codec in listed(document, "codecs"):
        if item(codec, "name") == "sharding_indexed":
            chunks, shards = item(codec, "configuration", "chunk_shape"), chunks
    known = _known(item(document, "shape"), chunks, item(document, "data_type"))
    return known if sizes(shards) is None else {**known, "shards": shards}


def _known(shape: Any, chunks: Any, dtype: Any) -> dict[str, Any]:
    known: dict[str, Any] = {}
    if sizes(shape) is not None:
        known["shape"] = shape
    if sizes(chunks) is not None:
        known["chunks"] = chunks
    if isinstance(dtype, str) and 0 < len(dtype) <= _MAX_NAME and dtype.isprintable():
        known["dtype"] = dtype
    return known


def _inner(path: Any) -> str | None:
    """A path inside of the store, as it is asked for; None for all that is not one."""
    if not isinstance(path, str) or not path.isprintable():
        return None
    try:
        inner = paths.normalise(path.removeprefix("./") if path != "." else "")
    except InvalidName:
        return None
    return None if paths.is_reserved(inner) else inner


def _voxel_size(multiscale: Any) -> float | None:
    """The size in Angstrom, where it is one for all directions in space."""
    scales = numbers(_scale(item(multiscale, "datasets", 0)))
    if not scales:
        return None
    common = numbers(_scale(multiscale)) or [1.0] * len(scales)
    axes = item(multiscale, "axes")
    if not isinstance(axes, list):
        axes = [None] * (len(scales) - len(_SPACE)) + list(_SPACE)  # of versions before 0.4
    if not len(axes) == len(scales) == len(common):
        return None
    found = [
        scale * shared * _unit_angstrom(axis)
        for axis, scale, shared in zip(axes, scales, common, strict=True)
        if _is_of_space(axis)
    ]
    if not found or max(found) - min(found) > _SAME * max(found) or not math.isfinite(max(found)):
        return None
    return found[0]


def _scale(holder: Any) -> Any:
    for transformation in listed(holder, "coordinateTransformations"):
        if item(transformation, "type") == "scale":
            return item(transformation, "scale")
    return None


def _is_of_space(axis: Any) -> bool:
    name = item(axis, "name") if isinstance(axis, dict) else axis
    return isinstance(name, str) and name in tuple(_SPACE)


def _unit_angstrom(axis: Any) -> float:
    unit = item(axis, "unit")
    return _ANGSTROM_OF.get(unit, 1.0) if isinstance(unit, str) else 1.0

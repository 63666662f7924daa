"""What the multiscales of an OME-Zarr say: levels, axes, sizes of voxels.

Of versions 0.1 to 0.4 (https://ngff.openmicroscopy.org/0.4/#multiscale-md), where they stand in the
attributes, and of 0.5, where they stand in ``ome`` in them. Nothing here raises anything, whatever the
documents are.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from copickfs import paths
from copickfs.arrays.documents import MAX_SIZE, item, listed, numbers
from copickfs.errors import InvalidName

SPACE = "zyx"
"""The axes in space, as they follow each other in an array."""

_ANGSTROM_OF = {
    "picometer": 0.01,
    "angstrom": 1.0,
    "nanometer": 10.0,
    "micrometer": 1e4,
    "millimeter": 1e7,
    "meter": 1e10,
}
_MAX_NAME = 64
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


class Placed(NamedTuple):
    """Where the voxels of a level are; each as ``(z, y, x)``.

    Attributes:
        scale_angstrom: The size of a voxel; None if it is not known.
        translation_angstrom: The position of the first voxel.
    """

    scale_angstrom: tuple[float, float, float] | None
    translation_angstrom: tuple[float, float, float]


def multiscale_of(attributes: Any) -> Any:
    """The first multiscale in the attributes of a group; None if there is none."""
    return item(attributes, "ome", "multiscales", 0) or item(attributes, "multiscales", 0)


def levels(attributes: Any) -> Levels | None:
    """The multiscales in the attributes of a group; None if there are none."""
    multiscale = multiscale_of(attributes)
    datasets = item(multiscale, "datasets")
    finest = inner_path(item(datasets, 0, "path"))
    if finest is None:
        return None
    detail: dict[str, Any] = {"levels": len(datasets)}
    voxel_size = _voxel_size(multiscale)
    if voxel_size is not None:
        detail["voxel_size"] = voxel_size
    return Levels(finest, detail)


def level_paths(attributes: Any) -> list[str]:
    """The paths in a store of the levels of its multiscales, the finest first; none if one is not sound."""
    found = [inner_path(item(dataset, "path")) for dataset in listed(multiscale_of(attributes), "datasets")]
    inner = [path for path in found if path]
    return inner if len(inner) == len(found) else []


def inner_path(path: Any) -> str | None:
    """A path inside of the store, as it is asked for; None for all that is not one."""
    if not isinstance(path, str) or not path.isprintable():
        return None
    try:
        inner = paths.normalise(path.removeprefix("./") if path != "." else "")
    except InvalidName:
        return None
    return None if paths.is_reserved(inner) else inner


def axes_of(multiscale: Any, dimensions: int) -> tuple[str, ...]:
    """The names of an array's axes; the last three are ``z``, ``y``, ``x`` where nothing is said of them."""
    names = tuple(_name(axis) for axis in listed(multiscale, "axes"))
    if len(names) == dimensions and all(0 < len(name) <= _MAX_NAME and name.isprintable() for name in names):
        return names
    guessed = ("t", "c", *SPACE)[-dimensions:] if dimensions else ()
    return tuple(f"dim_{number}" for number in range(dimensions - len(guessed))) + guessed


def placed(multiscale: Any, dataset: Any, dimensions: int) -> Placed:
    """Where the voxels of the level ``dataset`` are: its own transformations, then the common ones."""
    common, own = _numbers(multiscale, "scale", dimensions), _numbers(dataset, "scale", dimensions)
    moved, shifted = (_numbers(each, "translation", dimensions) for each in (multiscale, dataset))
    units = _units(multiscale, dimensions)
    if units is None or own is None or not all(n > 0 for n in (*own, *(common or ()))):
        return Placed(None, (0.0, 0.0, 0.0))
    ones, zeros = [1.0] * dimensions, [0.0] * dimensions
    scale, translation = [], []
    parts = zip(own, common or ones, shifted or zeros, moved or zeros, units, strict=True)
    for size, factor, shift, more, unit in list(parts)[-len(SPACE) :]:
        scale.append(size * factor * unit)
        translation.append((shift * factor + more) * unit)
    if not all(0 < n < MAX_SIZE for n in scale) or not all(abs(n) < MAX_SIZE for n in translation):
        return Placed(None, (0.0, 0.0, 0.0))
    return Placed((scale[0], scale[1], scale[2]), (translation[0], translation[1], translation[2]))


def _units(multiscale: Any, dimensions: int) -> list[float] | None:
    """The unit of each axis in Angstrom; None if the last three are no axes in space."""
    axes = item(multiscale, "axes")
    if dimensions < len(SPACE) or not isinstance(axes, list):
        return [1.0] * dimensions if dimensions >= len(SPACE) else None  # of versions before 0.4
    if len(axes) != dimensions:
        return None
    if not all(_is_of_space(axis) or item(axis, "type") == "space" for axis in axes[-len(SPACE) :]):
        return None
    return [_unit_angstrom(axis) for axis in axes]


def _numbers(holder: Any, kind: str, dimensions: int) -> list[float] | None:
    """The numbers of the first transformation of a kind; None if there is none, or it is not sound."""
    for transformation in listed(holder, "coordinateTransformations"):
        if item(transformation, "type") == kind:
            found = item(transformation, kind)
            if not isinstance(found, list) or len(found) != dimensions:
                return None
            if not all(type(n) in (int, float) and abs(n) < MAX_SIZE for n in found):  # NaN is not less
                return None
            return [float(n) for n in found]
    return None


def _voxel_size(multiscale: Any) -> float | None:
    """The size in Angstrom, where it is one for all directions in space."""
    scales = numbers(_scale(item(multiscale, "datasets", 0)))
    if not scales:
        return None
    common = numbers(_scale(multiscale)) or [1.0] * len(scales)
    axes = item(multiscale, "axes")
    if not isinstance(axes, list):
        axes = [None] * (len(scales) - len(SPACE)) + list(SPACE)  # of versions before 0.4
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


def _name(axis: Any) -> str:
    name = item(axis, "name") if isinstance(axis, dict) else axis
    return name if isinstance(name, str) else ""


def _is_of_space(axis: Any) -> bool:
    return _name(axis) in tuple(SPACE)


def _unit_angstrom(axis: Any) -> float:
    unit = item(axis, "unit")
    return _ANGSTROM_OF.get(unit, 1.0) if isinstance(unit, str) else 1.0

"""Types of voxels: which an MRC file has for each, and conversion without changing a value.

The modes are those of MRC2014 (Cheng et al., J. Struct. Biol. 192, 2015, 146-150,
https://www.ccpem.ac.uk/mrc-format/mrc2014/), with mode 12 for 16-bit floating point as in
https://bio3d.colorado.edu/imod/doc/mrc_format.txt; unsigned bytes are widened to mode 6, as mrcfile
writes them.
For segmentations the type is that of ``copick.ops.export``, but by the type of the array and not by the
values that are in it, so that it is known before any is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from copickfs.errors import Unreadable

if TYPE_CHECKING:
    from numpy.typing import NDArray

MODES = {"int8": 0, "int16": 1, "float32": 2, "uint16": 6, "float16": 12}
"""The mode of each type that voxels of a file have."""

_VOLUMES = {
    "float32": "float32", "float16": "float16", "int8": "int8", "int16": "int16", "uint16": "uint16",
    "uint8": "uint16", "bool": "uint16",
    "float64": "float32", "int32": "float32", "uint32": "float32", "int64": "float32", "uint64": "float32",
}  # fmt: skip
_LABELS = _VOLUMES | {"bool": "int16", "int8": "int16", "uint8": "int16", "float16": "float32"}
_EXACT_FLOAT32 = 1 << 24
"""All integers up to this one are float32 values."""


def type_in_file(dtype: str, *, labels: bool) -> np.dtype[Any]:
    """The little-endian type that voxels of an array have in its file.

    Args:
        dtype: The type as the array's metadata names it, such as ``">f4"`` or ``"float32"``.
        labels: The voxels are labels of a segmentation.

    Raises:
        Unreadable: No MRC file can have such voxels.
    """
    try:
        name = np.dtype(dtype).name
    except (TypeError, ValueError):
        name = dtype
    found = (_LABELS if labels else _VOLUMES).get(name)
    if found is None:
        raise Unreadable(f"an MRC file cannot have voxels of the type {dtype}")
    return np.dtype(found).newbyteorder("<")


def converted(voxels: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """The same values in another type; the same array where they have that already.

    Args:
        voxels: ``(z, y, x)``.
        dtype: What `type_in_file` has found for their type.

    Raises:
        Unreadable: A value is not one of ``dtype``.
    """
    if voxels.dtype == dtype:
        return voxels
    if np.can_cast(voxels.dtype, dtype, "safe"):
        return voxels.astype(dtype)
    with np.errstate(over="ignore"):
        result = voxels.astype(dtype)
    same = _same_float(voxels, result) if voxels.dtype.kind == "f" else _same_integer(voxels, result)
    if not same.all():
        value = voxels[np.unravel_index(int(np.argmin(same)), same.shape)]
        raise Unreadable(
            f"the value {value} of type {voxels.dtype} has no equal of type {dtype.name},"
            f" which is all that an MRC file could have for it"
        )
    return result


def _same_float(voxels: NDArray[Any], result: NDArray[Any]) -> NDArray[np.bool_]:
    same: NDArray[np.bool_] = result.astype(voxels.dtype) == voxels
    return same if same.all() else same | np.isnan(voxels)


def _same_integer(voxels: NDArray[Any], result: NDArray[Any]) -> NDArray[np.bool_]:
    limit = _EXACT_FLOAT32
    if voxels.size and -limit <= int(voxels.min()) and int(voxels.max()) <= limit:
        return np.ones((1,), np.bool_)
    # A float beyond the integers' range must not be cast back: what comes of that is not defined.
    fits = result < float(1 << (8 * voxels.dtype.itemsize - (voxels.dtype.kind == "i")))
    back: NDArray[Any] = np.where(fits, result, 0).astype(voxels.dtype)
    same: NDArray[np.bool_] = fits & (back == voxels)
    return same

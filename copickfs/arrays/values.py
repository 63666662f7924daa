"""Types of voxels and fill values, as the documents of both formats name them."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from copickfs.errors import Unreadable

if TYPE_CHECKING:
    import numpy as np

_TYPE_2 = re.compile(r"[<>|](b1|[iu][1248]|f[248]|c(8|16))")
_TYPES_3 = {
    "bool": "b1", "int8": "i1", "int16": "i2", "int32": "i4", "int64": "i8", "uint8": "u1", "uint16": "u2",
    "uint32": "u4", "uint64": "u8", "float16": "f2", "float32": "f4", "float64": "f8", "complex64": "c8",
    "complex128": "c16",
}  # fmt: skip
_FLOATS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_HEX = re.compile(r"0x[0-9a-fA-F]{1,16}")


def dtype_2(name: Any) -> np.dtype[Any]:
    """The type that a ``.zarray`` names, in the byte order in which it is stored.

    Raises:
        Unreadable: It is none of a number.
    """
    import numpy as np

    if not isinstance(name, str) or not _TYPE_2.fullmatch(name):
        raise Unreadable(f"dtype {_short(name)} is none of a number")
    return np.dtype(name)


def dtype_3(name: Any) -> np.dtype[Any]:
    """The type that a ``zarr.json`` names, in native byte order. Raises as `dtype_2`."""
    import numpy as np

    if not isinstance(name, str) or name not in _TYPES_3:
        raise Unreadable(f"data_type {_short(name)} is none of a number")
    return np.dtype(_TYPES_3[name])


def fill_value_of(value: Any, dtype: np.dtype[Any]) -> Any:
    """What voxels are that are in no file: a scalar of ``dtype`` in native byte order.

    Of both formats: numbers, ``"NaN"``, ``"Infinity"``, ``"-Infinity"``, a string of hexadecimal digits
    for the bits of a float (format 3), two of any of these for a complex number, null for zero (format 2).

    Raises:
        Unreadable: It is no value of this type.
    """
    native = dtype.newbyteorder("=")
    try:
        return native.type(_plain(value, native))
    except (ValueError, TypeError, OverflowError):
        raise Unreadable(f"fill_value {_short(value)} is no {native}") from None


def _plain(value: Any, dtype: np.dtype[Any]) -> Any:
    import numpy as np

    if value is None:
        return 0
    if dtype.kind == "b":
        if value not in (0, 1):
            raise ValueError
        return bool(value)
    if dtype.kind in "iu":
        if isinstance(value, str) or int(value) != value:
            raise ValueError
        limits = np.iinfo(dtype)
        if not limits.min <= value <= limits.max:
            raise OverflowError
        return int(value)
    if dtype.kind == "c" and isinstance(value, list):
        real, imaginary = value
        part = np.dtype(f"f{dtype.itemsize // 2}")
        return complex(_float(real, part), _float(imaginary, part))
    return _float(value, np.dtype(f"f{dtype.itemsize // 2}") if dtype.kind == "c" else dtype)


def _float(value: Any, dtype: np.dtype[Any]) -> float:
    import numpy as np

    if isinstance(value, str):
        if _HEX.fullmatch(value):
            bits = int(value, 16).to_bytes(dtype.itemsize, "little")
            return float(np.frombuffer(bits, dtype.newbyteorder("<"))[0])
        if value not in _FLOATS:
            raise ValueError
        return _FLOATS[value]
    if not isinstance(value, (int, float)):
        raise TypeError
    return float(value)


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits
        return "given"
    return text if len(text) <= 40 else f"{text[:37]}..."  # noqa: PLR2004 - of one line

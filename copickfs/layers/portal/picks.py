"""From a portal's file of points to the picks of copick.

The portal's file has a JSON object in each line, with coordinates in voxels; copick's is one JSON document,
in Angstrom. What is made has a point in each line too, so that it is small, and that two of them can be
compared line by line. pydantic's own JSON takes half the time of the standard library's here.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json, to_json

from copickfs.errors import Unreadable
from copickfs.layers.portal.naming import USER

if TYPE_CHECKING:
    from collections.abc import Iterator

ORIENTED = "OrientedPoint"
"""The type of shapes whose points have an orientation."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LAST_ROW = [0.0, 0.0, 0.0, 1.0]
_NOT_TURNED = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], _LAST_ROW]
_INSTANCES = range(-(2**63), 2**63)
"""Instances that fit into copick's arrays of them."""


def copick_picks(
    ndjson: bytes,
    *,
    run: str,
    object_name: str,
    session: str,
    voxel_spacing_angstrom: float,
    shape_type: str,
) -> bytes:
    """The picks of copick that a portal's file of points stands for; the same bytes for the same arguments.

    Args:
        ndjson: The file. Empty lines of it are passed over.
        run: Name of the run.
        object_name: Name of the object.
        session: The session of the picks: the number of the file.
        voxel_spacing_angstrom: Size of the voxels that the coordinates count.
        shape_type: `ORIENTED`, or any other type of points.

    Raises:
        Unreadable: A line is not a point, and which; or the size of a voxel is none.
    """
    if not (math.isfinite(voxel_spacing_angstrom) and voxel_spacing_angstrom > 0):
        raise Unreadable(f"the voxel spacing is {voxel_spacing_angstrom}, so these points are nowhere")
    is_oriented = shape_type == ORIENTED
    head = {
        "pickable_object_name": object_name,
        "user_id": USER,
        "session_id": session,
        "run_name": run,
        "voxel_spacing": voxel_spacing_angstrom,
        "unit": "angstrom",
    }
    points = b",\n".join(_points(ndjson, float(voxel_spacing_angstrom), is_oriented=is_oriented))
    tail = b'],"trust_orientation":' + to_json(is_oriented) + b"}\n"
    return to_json(head)[:-1] + b',"points":[\n' + points + b"\n" + tail


def _points(ndjson: bytes, spacing: float, *, is_oriented: bool) -> Iterator[bytes]:
    """The points as copick has them, each as one line."""
    for number, line in enumerate(ndjson.removeprefix(_BYTE_ORDER_MARK).split(b"\n"), 1):
        if not line or line.isspace():
            continue
        try:
            yield to_json(_point(from_json(line, allow_inf_nan=False), spacing, is_oriented=is_oriented))
        except (ValueError, OverflowError) as error:
            reason = str(error).replace("at line 1 column", "at column")
            raise Unreadable(f"line {number} is not a point: {reason}") from None


def _point(record: Any, spacing: float, *, is_oriented: bool) -> dict[str, Any]:
    """One point. Raises `ValueError` or `OverflowError` if ``record`` is none."""
    try:
        location = record["location"]
        x, y, z = location["x"], location["y"], location["z"]
        rotation = record["xyz_rotation_matrix"] if is_oriented else None
        instance, score = record.get("instance_id"), record.get("score")
    except KeyError as error:
        raise ValueError(f"it has no {error.args[0]}") from None
    except (TypeError, AttributeError):
        raise ValueError("its parts are not those of a point") from None
    if score is None:
        score = record.get("confidence")
    return {
        "location": {
            "x": _finite(_number(x) * spacing), "y": _finite(_number(y) * spacing),
            "z": _finite(_number(z) * spacing),
        },
        "transformation_": _transformation(rotation) if is_oriented else _NOT_TURNED,
        "instance_id": 0 if instance is None else _instance(instance),
        "score": 1.0 if score is None else _number(score),
    }  # fmt: skip


def _transformation(rotation: Any) -> list[list[float]]:
    """A 3 x 3 matrix in the upper left corner of a 4 x 4 one."""
    match rotation:
        case [[_, _, _], [_, _, _], [_, _, _]]:
            return [[*map(_number, row), 0.0] for row in rotation] + [_LAST_ROW]
        case _:
            raise ValueError("its rotation is not a matrix of 3 x 3")


def _number(value: Any) -> float:
    """A number of JSON as a float; ``true`` and ``"1"`` are none, though Python takes them for numbers."""
    if type(value) is float or type(value) is int:
        return _finite(float(value))
    raise ValueError("there is something else where a number has to be")


def _finite(value: float) -> float:
    if value - value == 0.0:  # in half the time of a call
        return value
    raise ValueError("a number is too large")


def _instance(value: Any) -> int:
    number = int(value) if type(value) is float and value.is_integer() else value
    if type(number) is int and number in _INSTANCES:
        return number
    raise ValueError("its instance is not a whole number")

"""From a portal's file of points to the picks of copick.

The portal's file has a JSON object in each line, with coordinates in voxels; copick's is one JSON document,
in Angstrom. What is made has a point in each line too, so that it is small, and that two of them can be
compared line by line.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, NoReturn

from copickfs.errors import Unreadable
from copickfs.layers.portal.naming import USER

if TYPE_CHECKING:
    from collections.abc import Iterator

ORIENTED = "OrientedPoint"
"""The type of shapes whose points have an orientation."""

_AXES = ("x", "y", "z")
_SIDE = 3
_NOT_TURNED = "[[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]"
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
        ndjson: The file.
        run: Name of the run.
        object_name: Name of the object.
        session: The session of the picks: the number of the file.
        voxel_spacing_angstrom: Size of the voxels that the coordinates count.
        shape_type: `ORIENTED`, or any other type of points.

    Raises:
        Unreadable: A line is not a point, or the size of a voxel is none; names the line.
    """
    if not (math.isfinite(voxel_spacing_angstrom) and voxel_spacing_angstrom > 0):
        raise Unreadable(f"the voxel spacing is {voxel_spacing_angstrom}, so these points are nowhere")
    is_oriented = shape_type == ORIENTED
    points = ",\n".join(_points(ndjson, float(voxel_spacing_angstrom), is_oriented=is_oriented))
    head = {
        "pickable_object_name": object_name,
        "user_id": USER,
        "session_id": session,
        "run_name": run,
        "voxel_spacing": voxel_spacing_angstrom,
        "unit": "angstrom",
    }
    return (
        f"{json.dumps(head)[:-1]},\n"
        f'"points": [\n{points}\n],\n'
        f'"trust_orientation": {json.dumps(is_oriented)}}}\n'
    ).encode()


def _points(ndjson: bytes, spacing: float, *, is_oriented: bool) -> Iterator[str]:
    """The points as copick writes them, each on one line."""
    decode = json.JSONDecoder(parse_constant=_refuse_constant).decode
    for number, line in enumerate(_text(ndjson).split("\n"), 1):
        if not line or line.isspace():
            continue
        try:
            yield _point(decode(line), spacing, is_oriented=is_oriented)
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            raise Unreadable(f"line {number} is not a point: {_reason(error)}") from None


def _text(ndjson: bytes) -> str:
    try:
        return ndjson.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = ndjson.count(b"\n", 0, error.start) + 1
        raise Unreadable(f"line {number} is not a point: it is not UTF-8 text") from None


def _point(record: Any, spacing: float, *, is_oriented: bool) -> str:
    location = record["location"]
    x, y, z = [_number(location[axis]) * spacing for axis in _AXES]
    if not math.isfinite(x + y + z) and not all(map(math.isfinite, (x, y, z))):
        raise ValueError("a coordinate is too large")
    turned = _rotation(record["xyz_rotation_matrix"]) if is_oriented else _NOT_TURNED
    instance = record.get("instance_id")
    score = record.get("score")
    if score is None:
        score = record.get("confidence")
    return (
        f'{{"location": {{"x": {x!r}, "y": {y!r}, "z": {z!r}}}, "transformation_": {turned}, '
        f'"instance_id": {0 if instance is None else _instance(instance)}, '
        f'"score": {1.0 if score is None else _number(score)!r}}}'
    )


def _rotation(matrix: Any) -> str:
    """A 3 x 3 matrix in the upper left corner of a 4 x 4 one."""
    if not isinstance(matrix, list) or len(matrix) != _SIDE:
        raise ValueError("its rotation is not a matrix of 3 x 3")
    rows = []
    for row in matrix:
        if not isinstance(row, list) or len(row) != _SIDE:
            raise ValueError("its rotation is not a matrix of 3 x 3")
        a, b, c = [_number(value) for value in row]
        rows.append(f"[{a!r}, {b!r}, {c!r}, 0.0]")
    return f"[{', '.join(rows)}, [0.0, 0.0, 0.0, 1.0]]"


def _number(value: Any) -> float:
    """A JSON number. ``true`` is none, and neither is one beyond what a float holds."""
    if type(value) is float:
        if value - value == 0.0:  # finite, in the time that a call would take
            return value
        raise ValueError("a number is too large")
    if type(value) is int:
        return float(value)
    raise ValueError("there is something else where a number has to be")


def _instance(value: Any) -> int:
    number = int(value) if type(value) is float and value.is_integer() else value
    if type(number) is int and number in _INSTANCES:
        return number
    raise ValueError("its instance is not a whole number")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def _reason(error: Exception) -> str:
    """What is wrong, without anything of what the line says."""
    match error:
        case json.JSONDecodeError():
            return f"not valid JSON ({error.msg} at column {error.colno})"
        case KeyError():
            return f"it has no {error.args[0]}"
        case RecursionError() | TypeError():
            return "its parts are not those of a point"
        case OverflowError():
            return "a number is too large"
        case _:
            return str(error)

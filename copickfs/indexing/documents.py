"""Documents of unknown origin: what can be had of them, never an exception.

Nobody has checked what lies in a layer. A document may be cut short, nested a million times deep, or
say that an array has -1 or 10^1000 voxels; then it tells nothing, or less.
"""

from __future__ import annotations

import json
import math
import struct
from typing import Any

import pydantic_core

from copickfs.virtual.meshes import drawn

MAX_SIZE = 1 << 62
"""No array is longer than this in any direction, and nothing has more points."""

_MAX_DIMENSIONS = 16
_GLB_HEADER = struct.Struct("<4sIIII")
_GLB_MAGIC = b"glTF"
_GLB_JSON = 0x4E4F534A
_TRIANGLES = 4
_CORNERS = 3

GLB_HEADER_BYTES = _GLB_HEADER.size


def parsed(data: bytes) -> Any:
    """The JSON document in ``data``; None if it is none, or is nested too deep."""
    try:
        # A third of the time of the standard library's, but it refuses lone surrogates.
        return pydantic_core.from_json(data)
    except ValueError:
        pass
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def item(document: Any, *keys: str | int) -> Any:
    """What is found in nested objects and arrays by following ``keys``; None if one leads nowhere."""
    for key in keys:
        if isinstance(key, str) and isinstance(document, dict):
            document = document.get(key)
        elif isinstance(key, int) and isinstance(document, list) and key < len(document):
            document = document[key]
        else:
            return None
    return document


def listed(document: Any, *keys: str | int) -> list[Any]:
    """The array that `item` finds; empty if it finds none."""
    found = item(document, *keys)
    return found if isinstance(found, list) else []


def sizes(value: Any) -> list[int] | None:
    """A list of sizes, such as a shape; None for anything else."""
    if not isinstance(value, list) or len(value) > _MAX_DIMENSIONS:
        return None
    return value if all(type(n) is int and 0 <= n <= MAX_SIZE for n in value) else None


def numbers(value: Any) -> list[float] | None:
    """A list of positive finite numbers, such as a scale; None for anything else."""
    if not isinstance(value, list) or len(value) > _MAX_DIMENSIONS:
        return None
    if not all(type(n) in (int, float) and 0 < n < MAX_SIZE and math.isfinite(n) for n in value):
        return None
    return [float(n) for n in value]


def picks(data: bytes) -> dict[str, Any]:
    """What a file of picks tells: the number of ``points``."""
    points = item(parsed(data), "points")
    return {"points": len(points)} if isinstance(points, list) else {}


def filaments(data: bytes) -> dict[str, Any]:
    """What a file of filaments tells: the number of ``filaments``, and of ``points`` in all of them."""
    found = item(parsed(data), "filaments")
    if not isinstance(found, list):
        return {}
    points = [item(filament, "points") for filament in found]
    return {"filaments": len(found), "points": sum(len(part) for part in points if isinstance(part, list))}


def glb_json_bytes(header: bytes) -> int:
    """Length of the JSON that follows the header of a binary glTF; 0 if ``header`` is none."""
    if len(header) < GLB_HEADER_BYTES:
        return 0
    magic, _version, _size, length, kind = _GLB_HEADER.unpack_from(header)
    return int(length) if magic == _GLB_MAGIC and kind == _GLB_JSON else 0


def mesh(document: bytes) -> dict[str, Any]:
    """What the JSON of a glTF tells: the number of ``vertices`` and ``faces``, and ``drawn``.

    That is how many of both its views have, where each mesh stands as often as the scene shows it.
    """
    gltf = parsed(document)
    meshes, accessors = item(gltf, "meshes"), item(gltf, "accessors")
    if not isinstance(meshes, list) or not isinstance(accessors, list):
        return {}
    vertices = faces = 0
    seen = set()
    for part in meshes:
        for primitive in listed(part, "primitives"):
            position, indices = item(primitive, "attributes", "POSITION"), item(primitive, "indices")
            corners = _count(accessors, position)
            if corners is None:
                return {}
            vertices += 0 if position in seen else corners
            seen.add(position)
            if item(primitive, "mode") in (None, _TRIANGLES):
                faces += (corners if indices is None else _count(accessors, indices) or 0) // _CORNERS
    counts = drawn(document)
    return {"vertices": vertices, "faces": faces, **({"drawn": list(counts)} if counts else {})}


def _count(accessors: list[Any], index: Any) -> int | None:
    """How many elements an accessor has; None if there is no such accessor."""
    count = item(accessors, index, "count") if type(index) is int and index >= 0 else None
    return count if type(count) is int and 0 <= count <= MAX_SIZE else None

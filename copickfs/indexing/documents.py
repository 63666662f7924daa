"""What files of points and meshes tell, of whatever origin; never an exception.

See `copickfs.arrays.documents` for the JSON in them.
"""

from __future__ import annotations

import struct
from typing import Any

from copickfs.arrays.documents import MAX_SIZE, item, listed, parsed
from copickfs.virtual.meshes import drawn

_GLB_HEADER = struct.Struct("<4sIIII")
_GLB_MAGIC = b"glTF"
_GLB_JSON = 0x4E4F534A
_TRIANGLES = 4
_CORNERS = 3

GLB_HEADER_BYTES = _GLB_HEADER.size


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

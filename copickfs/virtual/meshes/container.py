"""Binary glTF: a header, a chunk of JSON, and one of numbers (section 4 of the glTF 2.0 specification)."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

from copickfs.errors import Unreadable
from copickfs.model import ByteRange
from copickfs.virtual.meshes.gltf import Scene

MAX_JSON_BYTES = 16 << 20
"""A longer document is not parsed: it becomes thirty times as long in memory."""

_HEADER = struct.Struct("<4sIIII")
_CHUNK_HEADER_BYTES = 8
_VERSION = 2
_JSON = 0x4E4F534A
_BIN = 0x004E4942

Read = Callable[[ByteRange], bytes]
"""The bytes of a range of the file, fewer only at its end."""


def drawn(document: bytes) -> tuple[int, int] | None:
    """How many vertices and faces a view of a mesh has.

    Args:
        document: The JSON of its glTF.

    Returns:
        None if that is not sure.
    """
    try:
        scene = Scene(parsed(document, ""), "")
    except Unreadable:
        return None
    return scene.vertices, scene.faces


def parsed(document: bytes, path: str) -> Any:
    """The JSON in ``document``. Raises `Unreadable`."""
    try:
        return json.loads(document)
    except (ValueError, RecursionError):
        raise Unreadable(f"{path}: is no glTF: its JSON cannot be parsed") from None


def container(read: Read, size_bytes: int, path: str) -> tuple[Scene, int]:
    """The scene of a binary glTF, and where its binary chunk begins in the file.

    Args:
        read: Reads from the file.
        size_bytes: Length of the file.
        path: Of the file, for messages.

    Raises:
        Unreadable: It is none, or cut short.
    """
    start = read(ByteRange(0, _HEADER.size))
    if len(start) < _HEADER.size or start[:4] != b"glTF":
        raise Unreadable(f"{path}: is no binary glTF")
    _, version, length, json_bytes, kind = _HEADER.unpack(start)
    if version != _VERSION or kind != _JSON:
        raise Unreadable(f"{path}: is binary glTF of version {version}, which is not supported")
    if json_bytes > MAX_JSON_BYTES:
        raise Unreadable(f"{path}: has {json_bytes:,} bytes of JSON, which is too much to read")
    end = _HEADER.size + json_bytes
    data = read(ByteRange(_HEADER.size, end + _CHUNK_HEADER_BYTES))
    if max(length, end) > size_bytes or len(data) < json_bytes:
        raise Unreadable(f"{path}: is cut short: it has {size_bytes:,} bytes of {max(length, end):,}")
    room_bytes = 0
    if len(data) == json_bytes + _CHUNK_HEADER_BYTES and end + _CHUNK_HEADER_BYTES <= length:
        room_bytes, kind = struct.unpack_from("<II", data, json_bytes)
        room_bytes = min(room_bytes, length - end - _CHUNK_HEADER_BYTES) if kind == _BIN else 0
    return Scene(parsed(data[:json_bytes], path), path, room_bytes), end + _CHUNK_HEADER_BYTES

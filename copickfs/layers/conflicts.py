"""Names for the version of an object that comes second when two machines have changed it."""

from __future__ import annotations

import re
import socket
from datetime import UTC, datetime

from copickfs.paths import NAME_MAX_BYTES, join, split, store_of

_OTHER = re.compile(r"[^A-Za-z0-9]+")
_ENTITIES = {"Picks": ".json", "Filaments": ".json", "Meshes": ".glb"}
_ENTITY_PARTS = 3
_SHORTEST_HOST = 8


def conflict_path(path: str, mtime_ns: int, count: int = 0) -> str:
    """Where the version of ``path`` goes that was written here at ``mtime_ns``.

    Picks, filaments and meshes become ones of another session, ``<session>-conflict-<host>-<time>``, so
    that copick lists them; a file in a store gets a dot-name that zarr ignores; any other file a suffix
    by which no program takes it for data.

    Args:
        path: The name that somebody else has taken.
        mtime_ns: When our version was written, ns since the epoch.
        count: Makes another name where this one is taken, too.
    """
    directory, name = split(path)
    host = _OTHER.sub("-", socket.gethostname()).strip("-") or "host"
    stamp = datetime.fromtimestamp(mtime_ns / 1e9, UTC).strftime("%Y%m%dT%H%M%S%f")
    mark = f"conflict-{host}-{stamp}" + (f"-{count}" if count else "")
    if len(name.encode(errors="surrogateescape")) + len(mark) + 2 > NAME_MAX_BYTES:
        mark = f"conflict-{host[:_SHORTEST_HOST]}-{stamp}" + (f"-{count}" if count else "")
    return join(directory, _named(directory, name, mark))


def _named(directory: str, name: str, mark: str) -> str:
    suffix = _ENTITIES.get(split(directory)[1], "")
    parts = name.removesuffix(suffix).split("_", _ENTITY_PARTS - 1)
    if store_of(directory):
        return _cut(f".{name}", f".{mark}")
    if suffix and name.endswith(suffix) and not name.startswith(".") and len(parts) == _ENTITY_PARTS:
        user, session, entity = parts
        return f"{user}_{session}-{mark}_{entity}{suffix}"
    return _cut(name, f".{mark}")


def _cut(name: str, end: str) -> str:
    """``name`` and ``end``, with as much of the name as a file system allows."""
    room = NAME_MAX_BYTES - len(end)
    raw = name.encode(errors="surrogateescape")
    return (name if len(raw) <= room else raw[:room].decode(errors="ignore")) + end

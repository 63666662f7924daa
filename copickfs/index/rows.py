"""Rows of the table of entities: which columns make a record, and how rows are numbered."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from copickfs.entities import EntityRecord, EntityType, Identity
from copickfs.index.text import shown
from copickfs.paths import join

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

_STACK_BITS, _TYPE_BITS = 44, 40
_TYPES = {int(kind): kind for kind in EntityType}
_decode = json.JSONDecoder().raw_decode
MOST_STACKS = 1 << (62 - _STACK_BITS)

COLUMNS = """
    d.path, e.leaf, e.type, run.text, name.text, user.text, session.text, object.text, e.voxel_size,
    e.segmentation_type, layers.text, e.size_bytes, e.mtime_ns, e.version, e.detail,
    (SELECT text FROM run_name WHERE stack = e.stack AND run = e.run), e.id
"""
JOINED = """
    entity e CROSS JOIN directory d ON d.id = e.directory CROSS JOIN name run ON run.id = e.run
    CROSS JOIN name ON name.id = e.name CROSS JOIN name user ON user.id = e.user
    CROSS JOIN name session ON session.id = e.session CROSS JOIN name object ON object.id = e.object
    CROSS JOIN name layers ON layers.id = e.layers
"""
"""`COLUMNS` of entities; the order of the tables is the order in which SQLite goes through them."""


def record_of(row: Sequence[Any]) -> EntityRecord:
    """The record in a row of `COLUMNS`. An answer may have thousands: each takes some microseconds."""
    if bytes in map(type, row):
        row = [shown(value) if isinstance(value, bytes) else value for value in row]
    path, leaf, kind, run, name, user, session, shows, size, segmentation_type, layers = row[:11]
    identity = Identity(
        _TYPES[kind], join(path, leaf), run, size, name, user, session, shows, segmentation_type
    )
    detail = {} if row[14] == "{}" else _decode(row[14])[0]
    layers = tuple(layers.split("/"))
    return EntityRecord(identity, layers, row[11], row[12], row[13], detail, row[15] or "")


def ids_of(stack: int, kind: EntityType) -> tuple[int, int]:
    """The first and the last row number that an entity of this kind and stack can have."""
    first = (stack << _STACK_BITS) + (kind << _TYPE_BITS)
    return first, first + (1 << _TYPE_BITS) - 1


def kind_of(number: int) -> int:
    """The kind of the entity with this row number."""
    return (number >> _TYPE_BITS) & ((1 << (_STACK_BITS - _TYPE_BITS)) - 1)


def stack_id(connection: sqlite3.Connection, key: str) -> int | None:
    """The number of a stack in this database; None if nothing was stored of it."""
    row = connection.execute("SELECT id FROM stack WHERE key = ?", (key,)).fetchone()
    return None if row is None else int(row[0])

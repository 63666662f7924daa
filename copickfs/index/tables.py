"""Databases of other parts of the program: the same way of opening, tables of their own."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from typing import TYPE_CHECKING, NamedTuple

from copickfs.errors import IndexUnavailable

if TYPE_CHECKING:
    from pathlib import Path

SOUND = "sound"
DAMAGED = "damaged"
OLD = "old"
FOREIGN = "foreign"
"""Another program's, or made by a newer version."""

_BUSY_S = 2.0


class Tables(NamedTuple):
    """What makes a database the one that is wanted.

    Attributes:
        application_id: ``PRAGMA application_id``.
        version: ``PRAGMA user_version``.
        statements: SQL that makes the tables.
    """

    application_id: int
    version: int
    statements: str


def prepare(path: Path, tables: Tables) -> str:
    """Make a file that is absent or empty into a database with ``tables``; what the file is then.

    Only one process may do so at a time; the caller sees to that.

    Raises:
        IndexUnavailable: The file cannot be read or written.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666))
        with contextlib.closing(sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)) as connection:
            return _prepared(connection, tables)
    except sqlite3.OperationalError as error:  # locked, no permission, no room
        raise IndexUnavailable(f"{path}: {error}") from error
    except sqlite3.DatabaseError:
        return DAMAGED
    except OSError as error:
        raise IndexUnavailable(f"{error.filename or path}: {error.strerror}") from error


def _prepared(connection: sqlite3.Connection, tables: Tables) -> str:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    is_empty = not connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if is_empty and not version:
        connection.execute("PRAGMA journal_mode = WAL")
        script = (
            f"BEGIN IMMEDIATE; {tables.statements}; PRAGMA application_id = {tables.application_id};"
            f"PRAGMA user_version = {tables.version}; COMMIT;"
        )
        connection.executescript(script)
        return SOUND
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    if application != tables.application_id or version > tables.version:
        return FOREIGN
    return SOUND if version == tables.version else OLD

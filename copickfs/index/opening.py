"""Opening the database of the index, whatever is found in its place."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from typing import TYPE_CHECKING

from copickfs.errors import IndexUnavailable
from copickfs.index.database import BUSY_S, Database
from copickfs.index.faults import LOCKED, unavailable
from copickfs.index.forking import passing
from copickfs.index.schema import APPLICATION_ID, MIGRATIONS, TABLES, VERSION
from copickfs.index.setaside import require_database, set_aside
from copickfs.turns import Taken, turn

if TYPE_CHECKING:
    import contextlib
    from pathlib import Path

_log = logging.getLogger(__name__)

OPEN_BUSY_S = 2.0
"""How long opening waits for other processes, all in all: a mount waits for it."""


def open_database(path: Path, *, busy_s: float = BUSY_S) -> Database:
    """Open the index at ``path``, made if it is not there.

    A database that is damaged, or of an older version that cannot be brought up to date, is renamed to
    ``<name>.damaged`` (or ``.old``; see `set_aside`) and made anew, with a WARNING. One of a newer version,
    or another program's, is left alone, and a database beside it is used.

    Raises:
        IndexUnavailable: It cannot be made, read or written, another process keeps it locked, or the
            file was never a database.
    """
    deadline_s = time.monotonic() + OPEN_BUSY_S
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        require_database(path)
        with passing(), _turn(path, deadline_s):
            return _opened(path, busy_s, deadline_s)
    except Taken as error:
        raise IndexUnavailable(f"{error.filename}: {LOCKED}") from error
    except (OSError, sqlite3.Error) as error:
        raise unavailable(path, error) from error


def in_memory() -> Database:
    """An empty database in memory."""
    database = Database(None)
    with database.reading() as connection:
        connection.executescript(TABLES)
    return database


def _opened(path: Path, busy_s: float, deadline_s: float) -> Database:
    try:
        state = _state(path, deadline_s)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):  # locked, no permission, no room
            raise
        set_aside(path, "damaged", str(error))
        state = _state(path, deadline_s)
    if state == "foreign":
        beside = path.with_name(f"{path.name}.v{VERSION}")
        _log.warning(
            "the index %s was made by a newer version of copickfs, or by another program; %s is used instead",
            path, beside.name,
        )  # fmt: skip
        path = beside
        if _state(path, deadline_s) == "foreign":
            raise IndexUnavailable(f"{path}: is of another program, too; name another 'db_path'")
    elif state == "old":
        set_aside(path, "old", "it is of an older version")
        _state(path, deadline_s)
    return Database(path, busy_s=busy_s)


def _state(path: Path, deadline_s: float) -> str:
    """Make the tables where there are none: ``"sound"``, ``"old"`` or ``"foreign"``."""
    os.close(
        os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    )  # what credentials may list is nobody else's business
    connection = sqlite3.connect(str(path), isolation_level=None)
    try:
        _wait_until(deadline_s, connection)
        if _is_foreign(connection):
            return "foreign"
        _wait_until(deadline_s, connection)
        connection.execute("PRAGMA journal_mode = WAL")
        _wait_until(deadline_s, connection)
        connection.execute("BEGIN IMMEDIATE")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if _is_empty(connection) and not version:
            _make(connection)
        elif not _migrate(connection, version):
            return "old"
        connection.execute("COMMIT")
        return "sound"
    finally:
        connection.close()


def _wait_until(deadline_s: float, connection: sqlite3.Connection) -> None:
    """The next statement waits for other processes as long as there is time."""
    left_ms = max(0, int((deadline_s - time.monotonic()) * 1000))
    connection.execute(f"PRAGMA busy_timeout = {left_ms}")


def _is_foreign(connection: sqlite3.Connection) -> bool:
    """True for another program's database, or a newer one; looking at it changes nothing in it."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    if not version and _is_empty(connection):
        return False
    return bool(application != APPLICATION_ID or version > VERSION)


def _is_empty(connection: sqlite3.Connection) -> bool:
    return not connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]


def _make(connection: sqlite3.Connection) -> None:
    _execute_all(connection, TABLES)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {VERSION}")


def _migrate(connection: sqlite3.Connection, version: int) -> bool:
    """Bring the tables up to date, in the transaction that is open; False if there is no way."""
    while version < VERSION:
        statements = MIGRATIONS.get(version)
        if statements is None:
            return False
        _execute_all(connection, statements)
        version += 1
        connection.execute(f"PRAGMA user_version = {version}")
    return True


def _execute_all(connection: sqlite3.Connection, statements: str) -> None:
    """Statement by statement: ``executescript`` would commit first."""
    pending = ""
    for line in statements.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            connection.execute(pending)
            pending = ""


def rebuild(database: Database) -> None:
    """Make a database anew that SQLite has found damaged, or that is gone; the object stays.

    What another process has made in its place meanwhile is used as it is.

    Raises:
        IndexUnavailable: As `open_database`.
    """
    path = database.path
    assert path is not None  # noqa: S101 -- nothing is read from a disk otherwise
    deadline_s = time.monotonic() + BUSY_S
    try:
        require_database(path)
        with passing(), _turn(path, deadline_s):
            if not _is_sound(path):
                set_aside(path, "damaged", "SQLite's check has failed")
            _state(path, deadline_s)
    except Taken as error:
        raise IndexUnavailable(f"{error.filename}: {LOCKED}") from error
    except (OSError, sqlite3.Error) as error:
        raise unavailable(path, error) from error
    database.renew()


def _is_sound(path: Path) -> bool:
    """False if SQLite's own check finds something: another process may have made it anew already."""
    database = Database(path)
    try:
        return not database.problems() and not database.is_damaged
    finally:
        database.close()


def _turn(path: Path, deadline_s: float) -> contextlib.AbstractContextManager[None]:
    """Only one process at a time makes, migrates or sets aside a database."""
    return turn(path.with_name(f"{path.name}.lock"), deadline_s - time.monotonic(), 0o600)

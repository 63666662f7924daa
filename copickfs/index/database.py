"""One SQLite file: connections, transactions, and one kind of error."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from typing import TYPE_CHECKING

from copickfs.errors import IndexBusy, IndexFull, IndexUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BUSY_S = 10.0
"""How long a writer waits for another one, in this process or another, before it gives up."""

_PRAGMAS = (
    "PRAGMA synchronous = NORMAL",  # a power cut may take the last transactions, never the database
    "PRAGMA temp_store = MEMORY",
    "PRAGMA mmap_size = 1073741824",
    "PRAGMA cache_size = -16384",
    "PRAGMA journal_size_limit = 67108864",
)
_MOMENT_MS = 20
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_KINDS = {sqlite3.SQLITE_BUSY: IndexBusy, sqlite3.SQLITE_LOCKED: IndexBusy, sqlite3.SQLITE_FULL: IndexFull}


class Database:
    """An open database. Thread-safe: see the package.

    Args:
        path: The file; None for a database in memory, which this object alone sees.
        busy_s: How long to wait for other processes.
        pragmas: More settings for every connection.

    Attributes:
        path: As given.
        is_damaged: SQLite has said that the file is not what was written.
    """

    def __init__(self, path: Path | None, *, busy_s: float = BUSY_S, pragmas: tuple[str, ...] = ()) -> None:
        self.path = path
        self.is_damaged = False
        self._busy_s = busy_s
        self._pragmas = (*_PRAGMAS, *pragmas)
        self._local = threading.local()
        self._lock = threading.Lock()
        self._open: list[tuple[threading.Thread, sqlite3.Connection]] = []
        self._writing = threading.Lock()
        self._is_closed = False
        self._generation = 0
        self._file = _file_at(path)
        self._memory = self._connected() if path is None else None
        self._writer: sqlite3.Connection | None = self._memory

    def __repr__(self) -> str:
        return f"<Database {self.path or 'in memory'}>"

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection for reading, in one state of the database throughout.

        Raises:
            IndexUnavailable: It cannot be read.
        """
        if self._memory is not None:
            with self._writing, self._faults():
                yield self._memory
            return
        with self._faults():
            connection = self._own_connection()
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.execute("ROLLBACK")

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A connection for writing, in a transaction that is whole, or undone if an exception leaves it.

        Raises:
            IndexUnavailable: It cannot be written; nothing was changed.
        """
        if not self._writing.acquire(timeout=self._busy_s):
            raise IndexBusy(f"{self.path}: busy for more than {self._busy_s:.0f} s")
        try:
            with self._faults():
                if self._writer is None:
                    self._writer = self._connected()
                self._begin(self._writer)
                try:
                    yield self._writer
                except BaseException:
                    self._writer.rollback()
                    raise
                try:
                    self._writer.execute("COMMIT")
                except BaseException:
                    self._writer.rollback()
                    raise
        finally:
            self._writing.release()

    def shorten(self) -> None:
        """Have the journal begin anew if nobody reads for longer than a moment.

        Raises:
            IndexUnavailable: It cannot be read or written.
        """
        with self._writing, self._faults():
            if self._writer is not None:
                self._writer.execute(f"PRAGMA busy_timeout = {_MOMENT_MS}")
                try:
                    self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                finally:
                    self._writer.execute(f"PRAGMA busy_timeout = {int(self._busy_s * 1000)}")

    def problems(self) -> list[str]:
        """What SQLite's own check finds wrong. Takes seconds where the database is large."""
        try:
            with self.reading() as connection:
                found = [row[0] for row in connection.execute("PRAGMA quick_check(5)")]
        except IndexUnavailable as error:
            return [str(error)] if self.is_damaged else []
        wrong = [line for line in found if line != "ok"]
        self.is_damaged = self.is_damaged or bool(wrong)
        return wrong

    @property
    def is_replaced(self) -> bool:
        """True if somebody has removed the file since it was opened, or put another one in its place."""
        return self.path is not None and _file_at(self.path) != self._file

    def close(self) -> None:
        """Let go of the file. Idempotent."""
        with self._lock:
            self._is_closed = True
        self._let_go()

    def renew(self) -> None:
        """Another file has the name by now: go on with that one."""
        with self._writing:
            self._let_go()
            self._file = _file_at(self.path)
            self.is_damaged = False

    def _let_go(self) -> None:
        with self._lock:
            opened, self._open = self._open, []
            self._generation += 1
            self._writer = self._memory
        for _, connection in opened:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def _begin(self, connection: sqlite3.Connection) -> None:
        """SQLite gives up at once where waiting could not help one of two; another try does."""
        deadline_s = time.monotonic() + self._busy_s
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if not _is_busy(error) or time.monotonic() > deadline_s:
                    raise
                time.sleep(0.01)
            else:
                return

    def _own_connection(self) -> sqlite3.Connection:
        generation = self._generation
        own: tuple[int, sqlite3.Connection] | None = getattr(self._local, "own", None)
        if own is None or own[0] != generation:
            own = self._local.own = (generation, self._connected(threading.current_thread()))
        return own[1]

    def _connected(self, owner: threading.Thread | None = None) -> sqlite3.Connection:
        """A new connection, which ends with the thread that owns it."""
        with self._lock:
            if self._is_closed:
                raise IndexUnavailable(f"{self.path}: closed")
            self._close_abandoned()
            connection = sqlite3.connect(
                ":memory:" if self.path is None else str(self.path),
                timeout=self._busy_s,
                isolation_level=None,
                check_same_thread=False,
            )
            self._open.append((owner or threading.main_thread(), connection))
        for pragma in self._pragmas:
            connection.execute(pragma)
        return connection

    def _close_abandoned(self) -> None:
        """Close the connections of threads that have ended."""
        for thread, connection in self._open:
            if not thread.is_alive():
                connection.close()
        self._open = [(thread, connection) for thread, connection in self._open if thread.is_alive()]

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code in _DAMAGE or (code == sqlite3.SQLITE_ERROR and str(error).startswith("no such ")):
                self.is_damaged = True
            kind = _KINDS.get(code, IndexUnavailable)
            raise kind(f"{self.path or 'index in memory'}: {error}") from error


def _file_at(path: Path | None) -> tuple[int, int] | None:
    try:
        status = None if path is None else path.stat()
    except OSError:
        return None
    return None if status is None else (status.st_dev, status.st_ino)


def _is_busy(error: sqlite3.Error) -> bool:
    return (getattr(error, "sqlite_errorcode", 0) & 0xFF) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)

"""One SQLite file: connections, transactions, and one kind of error."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from typing import TYPE_CHECKING

from copickfs.errors import IndexBusy, IndexUnavailable
from copickfs.index.faults import code_of, unavailable
from copickfs.index.forking import passing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BUSY_S = 10.0
"""How long a writer waits for another one, in this process or another, before it gives up."""

_PATIENCE_S = 2.0
"""How long SQLite itself waits; a writer asks it again until its time is over."""

_PRAGMAS = (
    "PRAGMA synchronous = NORMAL",  # a power cut may take the last transactions, never the database
    "PRAGMA temp_store = MEMORY",
    "PRAGMA cache_size = -16384",
    "PRAGMA journal_size_limit = 67108864",
)
_MOMENT_MS = 20
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class Database:
    """An open database. Thread-safe: see the package.

    Args:
        path: The file; None for a database in memory, which this object alone sees.
        busy_s: How long to wait for other processes.
        pragmas: More settings for every connection.

    Attributes:
        path: As given.
        busy_s: As given; may be changed at any time.
        is_damaged: SQLite has said that the file is not what was written.
    """

    def __init__(self, path: Path | None, *, busy_s: float = BUSY_S, pragmas: tuple[str, ...] = ()) -> None:
        self.path = path
        self.busy_s = busy_s
        self.is_damaged = False
        self._pragmas = (*_PRAGMAS, *pragmas)
        self._local = threading.local()
        self._lock = threading.Lock()
        self._open: dict[sqlite3.Connection, threading.Thread] = {}
        self._used: set[sqlite3.Connection] = set()
        self._writing = threading.Lock()
        self._writer: sqlite3.Connection | None = None
        self._is_closed = False
        self._file = _file_at(path)
        self._memory: sqlite3.Connection | None = None
        if path is None:
            with self._using(None) as self._memory:
                pass

    def __repr__(self) -> str:
        return f"<Database {self.path or 'in memory'}>"

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection for reading, in one state of the database throughout.

        Raises:
            IndexUnavailable: It cannot be read.
        """
        if self._memory is not None:
            with self._writing, self._faults(), self._using(self._memory) as connection:
                yield connection
            return
        with self._faults(), self._using(getattr(self._local, "own", None)) as connection:
            self._local.own = connection
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
        if not self._writing.acquire(timeout=self.busy_s):
            raise IndexBusy(f"{self.path}: busy for more than {self.busy_s:.0f} s")
        try:
            with self._faults(), self._using(self._memory or self._writer) as connection:
                self._writer = connection
                self._begin(connection)
                try:
                    yield connection
                    connection.execute("COMMIT")
                except BaseException:
                    connection.rollback()
                    raise
        finally:
            self._writing.release()

    def shorten(self) -> None:
        """Have the journal begin anew if nobody reads for longer than a moment.

        Raises:
            IndexUnavailable: It cannot be read or written.
        """
        with self._writing, self._faults(), self._using(self._memory or self._writer) as connection:
            self._writer = connection
            connection.execute(f"PRAGMA busy_timeout = {_MOMENT_MS}")
            try:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            finally:
                connection.execute(f"PRAGMA busy_timeout = {int(min(self.busy_s, _PATIENCE_S) * 1000)}")

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
        """Let go of the file; what is being done with it ends with an error. Idempotent."""
        with self._lock:
            self._is_closed = True
            for connection in self._used:
                connection.interrupt()
        self._let_go()

    def renew(self) -> None:
        """Another file has the name by now: go on with that one."""
        with self._writing:
            self._let_go()
            self._file = _file_at(self.path)
            self.is_damaged = False

    def _let_go(self) -> None:
        """Close what nobody uses. To close the others would crash the interpreter: their users do that."""
        with passing(), self._lock:
            unused, self._open = self._open.keys() - self._used, {}
            for connection in unused:
                connection.close()

    @contextlib.contextmanager
    def _using(self, connection: sqlite3.Connection | None) -> Iterator[sqlite3.Connection]:
        """``connection``, or a new one if that was let go of; nobody closes it meanwhile."""
        with passing():
            with self._lock:
                if self._is_closed:
                    raise IndexUnavailable(f"{self.path}: closed")
                if connection is None or connection not in self._open:
                    connection = self._connected()
                self._used.add(connection)
            try:
                yield connection
            finally:
                with self._lock:
                    self._used.discard(connection)
                    if connection not in self._open:
                        connection.close()

    def _begin(self, connection: sqlite3.Connection) -> None:
        """SQLite gives up at once where waiting could not help one of two, or soon; another try does."""
        deadline_s = time.monotonic() + self.busy_s
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if not _is_busy(error) or time.monotonic() > deadline_s:
                    raise
                time.sleep(0.01)
            else:
                return

    def _connected(self) -> sqlite3.Connection:
        """A new connection, which ends with the thread that made it; one in memory with the process."""
        self._close_abandoned()
        connection = sqlite3.connect(
            ":memory:" if self.path is None else str(self.path),
            timeout=min(self.busy_s, _PATIENCE_S),
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            for pragma in self._pragmas:
                connection.execute(pragma)
        except sqlite3.Error:
            connection.close()
            raise
        self._open[connection] = threading.main_thread() if self.path is None else threading.current_thread()
        return connection

    def _close_abandoned(self) -> None:
        """Close the connections of threads that have ended, but not the writer's while another writes."""
        unused = [item for item in self._open.items() if item[0] not in self._used]
        for connection in [one for one, thread in unused if not thread.is_alive()]:
            del self._open[connection]
            connection.close()

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            code = code_of(error)
            if code in _DAMAGE or (code == sqlite3.SQLITE_ERROR and str(error).startswith("no such ")):
                self.is_damaged = True
            raise unavailable(self.path or "index in memory", error) from error


def _file_at(path: Path | None) -> tuple[int, int] | None:
    try:
        status = None if path is None else path.stat()
    except OSError:
        return None
    return None if status is None else (status.st_dev, status.st_ino)


def _is_busy(error: sqlite3.Error) -> bool:
    return code_of(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)

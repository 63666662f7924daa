"""The entities of one stack of layers, as an indexing run stores them."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from copickfs.entities import EntityRecord, EntityType
from copickfs.index.entitychange import EntityChange
from copickfs.index.rows import COLUMNS, JOINED, MOST_STACKS, ids_of, record_of, stack_id
from copickfs.index.text import shown, stored

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from copickfs.index.database import Database

_MARKED_EVERY_NS = 86_400 * 10**9
_INCREMENTAL, _FULL = 1, 2


class StackState(NamedTuple):
    """How far the index of a stack is.

    Attributes:
        entities: How many there are.
        directories: Directories that hold them.
        scanned_ns: When the last whole indexing run ended, ns since the epoch; 0: there was none.
        is_scanning: A run is under way, or was interrupted.
    """

    entities: int = 0
    directories: int = 0
    scanned_ns: int = 0
    is_scanning: bool = False


class EntityTable:
    """Stores entities; see `copickfs.indexing.crawl.Records`. Thread-safe.

    Every method raises `IndexUnavailable`, and has done nothing then.

    Args:
        database: Where they are stored.
        key: The stack; see `copickfs.index.stack_key`.
    """

    def __init__(self, database: Database, key: str) -> None:
        self.database = database
        self.key = key
        self._marked_ns = 0

    def state(self) -> StackState:
        """How far the index is."""
        with self.database.reading() as connection:
            stack = stack_id(connection, self.key)
            if stack is None:
                return StackState()
            spans = [ids_of(stack, kind) for kind in EntityType]
            counted = "SELECT count(*) FROM entity WHERE id BETWEEN ? AND ?"
            entities = sum(connection.execute(counted, span).fetchone()[0] for span in spans)
            counted = "SELECT count(*) FROM directory WHERE stack = ?"
            directories = connection.execute(counted, (stack,)).fetchone()[0]
            state = "SELECT scanned_ns, is_scanning FROM stack WHERE id = ?"
            scanned_ns, is_scanning = connection.execute(state, (stack,)).fetchone()
            return StackState(entities, directories, scanned_ns, bool(is_scanning))

    def scanned_ns(self) -> int:
        """When the last whole indexing run ended, ns since the epoch; 0: there was none."""
        with self.database.reading() as connection:
            ended = "SELECT scanned_ns FROM stack WHERE key = ?"
            row = connection.execute(ended, (self.key,)).fetchone()
            return 0 if row is None else int(row[0])

    def mark_used(self) -> None:
        """Note that the stack is in use, so that `prune_stacks` keeps it: once a day, not for each reader."""
        now_ns = time.time_ns()
        if abs(now_ns - self._marked_ns) < _MARKED_EVERY_NS:
            return
        with self.database.reading() as connection:
            row = connection.execute("SELECT used_ns FROM stack WHERE key = ?", (self.key,)).fetchone()
        if row is None:
            return
        if abs(now_ns - row[0]) >= _MARKED_EVERY_NS:
            with self.database.writing() as connection:
                connection.execute("UPDATE stack SET used_ns = ? WHERE key = ?", (now_ns, self.key))
        self._marked_ns = now_ns

    def begin(self, *, full: bool = False) -> tuple[int, bool]:
        """Begin an indexing run, or go on with one that was interrupted.

        Returns:
            Its number, and whether it reads all again: one that was begun so goes on so.
        """
        wanted = _FULL if full else _INCREMENTAL
        with self.database.writing() as connection:
            stack = self._stack(connection)
            under_way = "SELECT scan, is_scanning FROM stack WHERE id = ?"
            scan, kind = connection.execute(under_way, (stack,)).fetchone()
            if kind < wanted:
                scan, kind = scan + 1, wanted
                started = "UPDATE stack SET scan = ?, is_scanning = ? WHERE id = ?"
                connection.execute(started, (scan, kind, stack))
            return int(scan), kind == _FULL

    def done(self, scan: int) -> set[str]:
        """The directories that run ``scan`` has seen already."""
        with self.database.reading() as connection:
            rows = connection.execute(
                "SELECT path FROM directory WHERE stack = ? AND scan = ?",
                (stack_id(connection, self.key), scan),
            )
            return {shown(path) for (path,) in rows}

    def directories(self) -> list[str]:
        """Every directory that is in the index."""
        with self.database.reading() as connection:
            found = "SELECT path FROM directory WHERE stack = ? ORDER BY path"
            return [shown(path) for (path,) in connection.execute(found, (stack_id(connection, self.key),))]

    def directories_with(self, layer: str) -> list[str]:
        """The directories that hold an entity which ``layer`` has."""
        with self.database.reading() as connection:
            found = (
                "SELECT path FROM directory WHERE stack = ? AND id IN (SELECT directory FROM entity"
                " WHERE layers IN (SELECT id FROM name WHERE typeof(text) = 'text'"
                " AND instr('/' || text || '/', ?)))"
            )
            values = (stack_id(connection, self.key), f"/{layer}/")
            return [shown(path) for (path,) in connection.execute(found, values)]

    def known(self, directory: str) -> tuple[str, Mapping[str, EntityRecord]]:
        """The stamp of a directory (``""`` if it is not in the index) and its records by name.

        The records are read when somebody looks at them.
        """
        with self.database.reading() as connection:
            row = self._directory(connection, directory)
        return ("", {}) if row is None else (row[1], _Known(self.database, row[0]))

    def replace(self, scan: int, batch: Sequence[tuple[str, str, Sequence[EntityRecord]]]) -> None:
        """Store all entities of some directories, in one step.

        Args:
            scan: The indexing run that has seen them; 0 outside of one: then a directory that was seen
                before keeps its run, and a new one is of the run under way, or of the last.
            batch: Each directory with its stamp and its records; of one that comes twice the last counts.
        """
        with self.database.writing() as connection:
            EntityChange(connection, self._stack(connection)).replace(scan, batch)

    def touch(self, scan: int, directories: Sequence[str]) -> None:
        """Run ``scan`` has seen these directories, and found them unchanged."""
        with self.database.writing() as connection:
            stack = self._stack(connection)
            seen = (
                "UPDATE directory SET scan = max(scan, ?) WHERE stack = ? AND path = ?"  # not by a later run
            )
            connection.executemany(
                seen,
                ((scan, stack, stored(directory)) for directory in directories),
            )

    def remove_below(self, directory: str) -> None:
        """Forget a directory and all below it."""
        with self.database.writing() as connection:
            stack = self._stack(connection)
            text, raw = directory, directory.encode(errors="surrogateescape")
            rows = connection.execute(
                "SELECT id FROM directory WHERE stack = ? AND (path = ? OR path = ?"
                " OR (path > ? AND path < ?) OR (path > ? AND path < ?))",
                (stack, stored(text), raw, stored(f"{text}/"), stored(f"{text}0"), raw + b"/", raw + b"0"),
            ).fetchall()
            EntityChange(connection, stack).remove(number for (number,) in rows)

    def finish(self, scan: int) -> None:
        """Run ``scan`` is whole: what it has not seen is forgotten."""
        with self.database.writing() as connection:
            stack = self._stack(connection)
            unseen = "SELECT id FROM directory WHERE stack = ? AND scan < ?"
            rows = connection.execute(unseen, (stack, scan)).fetchall()
            EntityChange(connection, stack).remove(number for (number,) in rows)
            ended = "UPDATE stack SET is_scanning = 0, scanned_ns = ? WHERE id = ? AND scan = ?"
            connection.execute(ended, (time.time_ns(), stack, scan))

    def _directory(self, connection: sqlite3.Connection, directory: str) -> tuple[int, str] | None:
        found: tuple[int, str] | None = connection.execute(
            "SELECT id, stamp FROM directory WHERE stack = ? AND path = ?",
            (stack_id(connection, self.key), stored(directory)),
        ).fetchone()
        return found

    def _stack(self, connection: sqlite3.Connection) -> int:
        number = stack_id(connection, self.key)
        if number is None:
            made = "INSERT INTO stack (key, used_ns) VALUES (?, ?)"
            number = connection.execute(made, (self.key, time.time_ns())).lastrowid
        if number is None or number >= MOST_STACKS:
            raise sqlite3.OperationalError("too many stacks of layers; name another 'db_path'")
        return number


class _Known(Mapping[str, EntityRecord]):
    """The records of one directory by name, read at the first look.

    Args:
        database: Where they are.
        directory: The number of the directory.
    """

    def __init__(self, database: Database, directory: int) -> None:
        self._database = database
        self._directory = directory

    def __getitem__(self, leaf: str) -> EntityRecord:
        return self._records[leaf]

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)

    @cached_property
    def _records(self) -> dict[str, EntityRecord]:
        found = f"SELECT {COLUMNS} FROM {JOINED} WHERE e.directory = ?"
        with self._database.reading() as connection:
            rows = connection.execute(found, (self._directory,))
            return {shown(row[1]): record_of(row) for row in rows}

"""What comes to the disk and what goes: the only place that decides it.

What is removed is first given over to the process that removes it, in a transaction of its own: should
that process be killed between the files and the database, whoever opens the directory next knows what
it was at (`Ledger.abandon_all`). Nothing is done in transactions of unbounded length, for the journal of
the database counts against the limit.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from copickfs.cache.files import charge_of
from copickfs.cache.inventory import OF_OBJECT, REMOVING, Inventory, Row, below, page
from copickfs.errors import IndexUnavailable
from copickfs.index.text import shown, stored

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator

    from copickfs.cache.files import Files
    from copickfs.cache.inventory import Held, Used
    from copickfs.cache.piece import Piece
    from copickfs.index.database import Database

STEP = 64
"""So many pieces are changed in a transaction."""

_SLACK_SHARE = 100
_SLACK_MOST_BYTES = 16 << 20
_VICTIMS = f"{OF_OBJECT} WHERE p.is_pinned = 0 AND p.owner = '' ORDER BY p.used_ns LIMIT ?"
_INSERT = "INSERT INTO piece VALUES (?, ?, ?, ?, ?, ?, ?, ?)"


class _Place(NamedTuple):
    """What is in the place of a piece that is to be written."""

    number: int | None
    is_taken: bool
    obsolete: list[Row]


class Ledger(Inventory):
    """The database of one cache directory. Thread-safe; raises `IndexUnavailable`.

    Args:
        database: The database, with `copickfs.cache.tables`.
        files: The files that it tells of; they are changed within its transactions only.
        owner: What this process is called.
    """

    def __init__(self, database: Database, files: Files, owner: str) -> None:
        super().__init__(database, files)
        self._owner = owner
        self._booking = threading.Lock()

    def reserve(
        self, piece: Piece, digest: int, limit: Callable[[sqlite3.Connection, Used], int]
    ) -> int | None:
        """Book the room for a piece, and make that room: the number of its object, or None if there is none.

        Another version of the object is removed. Nothing is booked for what is here, or is being written.

        Args:
            piece: What is to be written.
            digest: Of its contents.
            limit: From what is used now, what may be used at most.
        """
        with self._booking:  # else each thread would make room for what the others make room for as well
            return self._reserve(piece, digest, limit)

    def _reserve(
        self, piece: Piece, digest: int, limit: Callable[[sqlite3.Connection, Used], int]
    ) -> int | None:
        charge_bytes = charge_of(piece.size_bytes)
        goal_bytes = 0  # a little more is removed than is needed, so that it is not needed each time
        while True:
            with self._changing() as connection:
                place = self._place_of(connection, piece)
                if place.is_taken:
                    return None
                used = self._used(connection)
                most = limit(connection, used)
                if charge_bytes > most - used.pinned_bytes:
                    return None  # nothing is removed for what cannot be kept after all
                lacks_bytes = used.charge_bytes + charge_bytes - most
                if lacks_bytes > 0 and goal_bytes <= 0:
                    goal_bytes = lacks_bytes + min(most // _SLACK_SHARE, _SLACK_MOST_BYTES)
                going = place.obsolete or self._victims(connection, goal_bytes)
                if not going:
                    return None if lacks_bytes > 0 else self._book(connection, piece, place.number, digest)
                self._give_over(connection, going)
            self._take_away(going)
            goal_bytes -= sum(row.charge_bytes for row in going)

    def settle(self, number: int, piece: Piece, temporary: str) -> bool:
        """Put a file that was written in its place; False if its object has gone meanwhile."""
        key = (number, piece.start, self._owner)
        with self._changing() as connection:
            update = "UPDATE piece SET owner = '' WHERE object = ? AND start = ? AND owner = ?"
            if connection.execute(update, key).rowcount != 1:
                return False
            final = self._files.path_of(piece.source, piece.path, piece.start, is_whole=piece.is_whole)
            self._files.place(temporary, final)
            return True

    def abandon(self, number: int, start: int) -> None:
        """Give the room of a piece back that could not be written."""
        with self._changing() as connection:
            rows = _rows(connection, "WHERE p.object = ? AND p.start = ?", (number, start))
            self._remove(connection, rows, self._owner)

    def abandon_all(self, owner: str) -> None:
        """Remove what a process was writing or removing that has ended."""
        with self._changing() as connection:
            rows = _rows(connection, "WHERE p.owner = ?", (owner,))
            self._remove(connection, rows, owner)

    @staticmethod
    def process_of(owner: str) -> str:
        """The process that `owners` means."""
        return owner.removesuffix(REMOVING)

    def touch(self, uses: Iterable[tuple[int, int, int]]) -> None:
        """Remember when pieces were read: ``(used_ns, object, start)`` each."""
        update = "UPDATE piece SET used_ns = ? WHERE object = ? AND start = ?"
        rest = iter(uses)
        while step := list(itertools.islice(rest, STEP)):
            with self._changing() as connection:
                connection.executemany(update, step)

    def forget(self, source: str | None, path: str, *, keep_pinned: bool = False) -> tuple[int, int]:
        """Remove ``path`` and all below it, of one source or all: how many pieces, and bytes on the disk."""
        where, values = below(source, path)
        if keep_pinned:
            where += " AND p.is_pinned = 0"
        count = charge_bytes = 0
        while going := self._given_over(f"{where} AND p.owner NOT LIKE '%{REMOVING}'", values):
            self._take_away(going)
            count += len(going)
            charge_bytes += sum(row.charge_bytes for row in going)
        return count, charge_bytes

    def pin(self, source: str, path: str, *, is_pinned: bool) -> None:
        """Have ``path`` and all below it stay, also what comes later, or let it go again.

        What comes later heeds it at once, what is there one after the other: if this does not return, it
        is to be said again.
        """
        key = (source, stored(path))
        with self._changing() as connection:
            if is_pinned:
                connection.execute("INSERT OR IGNORE INTO pin VALUES (?, ?)", key)
            else:
                connection.execute("DELETE FROM pin WHERE source = ? AND path = ?", key)
        update = "UPDATE piece SET is_pinned = ? WHERE object = ? AND start = ? AND is_pinned <> ?"
        after = (-1, -1)
        while True:
            with self._changing() as connection:
                rows = [row for row, _ in page(connection, *below(source, path), after, STEP)]
                stay = [is_pinned or _is_pinned(connection, source, shown(row.path)) for row in rows]
                changes = [(n, row.object, row.start, n) for row, n in zip(rows, map(int, stay), strict=True)]
                connection.executemany(update, changes)
            if not rows:
                return
            after = (rows[-1].object, rows[-1].start)

    def drop_held(self, held: Held) -> bool:
        """Remove a piece that `held` has told of; False if another has its place by now."""
        where = "WHERE p.object = ? AND p.start = ? AND p.digest = ? AND p.owner = ''"
        going = self._given_over(where, (held.object, held.start, held.digest))
        self._take_away(going)
        return bool(going)

    def remove_strays(self) -> int:
        """Remove the files that the database does not tell of, and empty directories; how many files."""
        removed = 0
        files = self._files.walk()
        while batch := list(itertools.islice(files, STEP)):
            with self._database.reading() as connection:
                strays = [file for file in batch if not self._is_known(connection, file)]
            for file in strays:
                with self._changing() as connection:  # it may have been put there since
                    if not self._is_known(connection, file):
                        self._files.remove(file)
                        removed += 1
        directories = self._files.empty_directories()
        while batch := list(itertools.islice(directories, STEP)):
            with self._changing():  # nobody puts a file there meanwhile
                for directory in batch:
                    self._files.remove_empty(directory)
        return removed

    def recount(self) -> None:
        """Sum up again what files take. Pieces of nothing do not count: their files are strays."""
        with self._changing() as connection:
            connection.execute("DELETE FROM piece WHERE object NOT IN (SELECT id FROM object)")
            connection.execute("DELETE FROM object WHERE id NOT IN (SELECT object FROM piece)")
            connection.execute("DELETE FROM used")
            connection.execute(
                "INSERT INTO used SELECT CAST(total(charge_bytes) AS INTEGER), "
                "CAST(total(charge_bytes * is_pinned) AS INTEGER) FROM piece"
            )

    @contextlib.contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        """A transaction of the database that others use as well, not of one that was removed."""
        with self._database.writing() as connection:
            if self._database.is_replaced:
                raise IndexUnavailable(f"{self._database.path}: somebody has removed it")
            yield connection

    def _place_of(self, connection: sqlite3.Connection, piece: Piece) -> _Place:
        key = (piece.source, stored(piece.path))
        query = "SELECT id, version, size_bytes FROM object WHERE source = ? AND path = ?"
        found = connection.execute(query, key).fetchone()
        if found is None:
            return _Place(None, is_taken=False, obsolete=[])
        number, *version = found
        if version != [stored(piece.version), piece.object_bytes]:
            rows = _rows(connection, "WHERE p.object = ? LIMIT ?", (number, STEP))
            _drop_if_empty(connection, number)
            return _Place(None, is_taken=False, obsolete=rows)
        rows = _rows(connection, "WHERE p.object = ? AND p.start = ?", (number, piece.start))
        is_taken = any(row.size_bytes == piece.size_bytes for row in rows)
        return _Place(number, is_taken, [] if is_taken else rows)

    def _victims(self, connection: sqlite3.Connection, goal_bytes: int) -> list[Row]:
        """What was not used for the longest time: so much of it, or as much as one step may be."""
        rows: list[Row] = []
        if goal_bytes <= 0:
            return rows
        for row in itertools.starmap(Row, connection.execute(_VICTIMS, (STEP,))):
            rows.append(row)
            goal_bytes -= row.charge_bytes
            if goal_bytes <= 0:
                break
        return rows

    def _book(self, connection: sqlite3.Connection, piece: Piece, number: int | None, digest: int) -> int:
        if number is None:
            insert = "INSERT INTO object (source, path, version, size_bytes) VALUES (?, ?, ?, ?)"
            key = (piece.source, stored(piece.path), stored(piece.version), piece.object_bytes)
            number = int(connection.execute(insert, key).lastrowid or 0)
        is_pinned = _is_pinned(connection, piece.source, piece.path)
        size_bytes, charge_bytes = piece.size_bytes, charge_of(piece.size_bytes)
        row = (number, piece.start, size_bytes, charge_bytes, digest, time.time_ns(), is_pinned, self._owner)
        connection.execute(_INSERT, row)
        return number

    def _given_over(self, where: str, values: tuple[object, ...]) -> list[Row]:
        with self._changing() as connection:
            rows = _rows(connection, f"{where} LIMIT ?", (*values, STEP))
            self._give_over(connection, rows)
        return rows

    def _give_over(self, connection: sqlite3.Connection, rows: list[Row]) -> None:
        """Whoever is writing one of these will find that it has gone."""
        update = "UPDATE piece SET owner = ? WHERE object = ? AND start = ?"
        owner = self._owner + REMOVING
        connection.executemany(update, [(owner, row.object, row.start) for row in rows])

    def _take_away(self, rows: list[Row]) -> None:
        if rows:
            with self._changing() as connection:
                self._remove(connection, rows, self._owner + REMOVING)

    def _remove(self, connection: sqlite3.Connection, rows: list[Row], owner: str) -> None:
        """Remove files, then what the database tells of them, but for what is somebody else's by now."""
        delete = "DELETE FROM piece WHERE object = ? AND start = ? AND owner = ?"
        for row in rows:
            if connection.execute(delete, (row.object, row.start, owner)).rowcount:
                file = self._file(row)
                if file is not None:
                    self._files.remove(file)
                _drop_if_empty(connection, row.object)

    def _is_known(self, connection: sqlite3.Connection, file: str) -> bool:
        """True if a file may be that of a piece."""
        for source, path, start in self._files.pieces_at(file):
            where = "WHERE o.source = ? AND o.path = ? AND p.start = ?"
            if any(
                self._file(row) == file for row in _rows(connection, where, (source, stored(path), start))
            ):
                return True
        return self._files.is_abridged(file)


def _rows(connection: sqlite3.Connection, where: str, values: tuple[object, ...]) -> list[Row]:
    return [Row(*row) for row in connection.execute(f"{OF_OBJECT} {where}", values)]


def _drop_if_empty(connection: sqlite3.Connection, number: object) -> None:
    delete = "DELETE FROM object WHERE id = ? AND NOT EXISTS (SELECT 1 FROM piece WHERE object = ?)"
    connection.execute(delete, (number, number))


def _is_pinned(connection: sqlite3.Connection, source: str, path: str) -> bool:
    pins = connection.execute("SELECT path FROM pin WHERE source = ?", (source,))
    return any(not pin or f"{path}/".startswith(f"{pin}/") for pin in (shown(row[0]) for row in pins))

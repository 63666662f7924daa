"""What is on the disk, in the database: the only place that decides what comes and what goes."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, NamedTuple

from copickfs.cache.files import charge_of
from copickfs.index.text import shown, stored

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable

    from copickfs.cache.files import Files
    from copickfs.cache.piece import Piece
    from copickfs.index.database import Database

_STEP = 64
"""So many files are removed at a time to make room."""

_SLACK_SHARE = 100
_SLACK_MOST_BYTES = 16 << 20

_COLUMNS = "o.source, o.path, o.size_bytes, p.object, p.start, p.size_bytes, p.charge_bytes"
_JOINED = "FROM piece p JOIN object o ON o.id = p.object"
_OF_OBJECT = f"SELECT {_COLUMNS} {_JOINED}"
_OF_PIECE = f"SELECT {_COLUMNS}, p.digest {_JOINED}"
_VICTIMS = f"{_OF_OBJECT} WHERE p.is_pinned = 0 AND p.owner = '' ORDER BY p.used_ns LIMIT ?"
_HELD_OF = """
SELECT p.object, p.start, p.size_bytes, p.digest FROM object o JOIN piece p ON p.object = o.id
WHERE o.source = ? AND o.path = ? AND o.version = ? AND (p.size_bytes = o.size_bytes) = ? AND p.owner = ''
"""
_FIND = """
SELECT p.object, p.start, p.size_bytes, p.digest FROM object o JOIN piece p ON p.object = o.id
WHERE o.source = ? AND o.path = ? AND o.version = ? AND p.start = ? AND p.owner = ''
"""


class _Row(NamedTuple):
    """What `_VICTIMS` and `_OF_OBJECT` tell of a piece."""

    source: str
    path: str | bytes
    object_bytes: int
    object: int
    start: int
    size_bytes: int
    charge_bytes: int


class Held(NamedTuple):
    """A piece that is on the disk."""

    object: int
    start: int
    size_bytes: int
    digest: int


class Summary(NamedTuple):
    """What a source has in the cache.

    Attributes:
        source: Its name; ``""`` for all together.
        objects: Objects of which something is here.
        pieces: Files.
        size_bytes: Length of the files.
        charge_bytes: What they take on the disk.
        pinned_bytes: Of that, what stays.
    """

    source: str
    objects: int
    pieces: int
    size_bytes: int
    charge_bytes: int
    pinned_bytes: int


class CachedObject(NamedTuple):
    """An object of which something is in the cache."""

    source: str
    path: str
    object_bytes: int
    cached_bytes: int
    is_pinned: bool
    used_ns: int
    charge_bytes: int


class Ledger:
    """The database of one cache directory. Thread-safe; raises `IndexUnavailable`.

    Args:
        database: The database, with `copickfs.cache.tables`.
        files: The files that it tells of; they are changed within its transactions only.
    """

    def __init__(self, database: Database, files: Files) -> None:
        self._database = database
        self._files = files

    def find(self, piece: Piece) -> Held | None:
        """The piece, if it is on the disk."""
        key = (piece.source, stored(piece.path), piece.version, piece.start)
        with self._database.reading() as connection:
            row = connection.execute(_FIND, key).fetchone()
        return None if row is None or row[2] != piece.size_bytes else Held(*row)

    def held_of(self, piece: Piece) -> list[Held]:
        """What is here of the object of ``piece``, in its version: whole, or in blocks, as ``piece`` is."""
        key = (piece.source, stored(piece.path), piece.version, piece.is_whole)
        with self._database.reading() as connection:
            return [Held(*row) for row in connection.execute(_HELD_OF, key)]

    def reserve(self, piece: Piece, digest: int, owner: str, limit: Callable[[int], int]) -> int | None:
        """Book the room for a piece, and make that room: the number of its object, or None if there is none.

        Another version of the object is removed. Nothing is booked for what is here, or is being written.

        Args:
            piece: What is to be written.
            digest: Of its contents.
            owner: Who writes it.
            limit: From what is used now, what may be used at most.
        """
        charge_bytes = charge_of(piece.size_bytes)
        with self._database.writing() as connection:
            number = self._object(connection, piece)
            query = "SELECT 1 FROM piece WHERE object = ? AND start = ?"
            is_here = connection.execute(query, (number, piece.start)).fetchone() is not None
            if is_here or not self._make_room(connection, charge_bytes, limit):
                _drop_if_empty(connection, number)
                return None
            is_pinned = _is_pinned(connection, piece.source, piece.path)
            connection.execute(
                "INSERT INTO piece VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    number,
                    piece.start,
                    piece.size_bytes,
                    charge_bytes,
                    digest,
                    time.time_ns(),
                    is_pinned,
                    owner,
                ),
            )
            return number

    def settle(self, number: int, piece: Piece, owner: str, temporary: str) -> bool:
        """Put a file that was written in its place; False if its object has gone meanwhile."""
        key = (number, piece.start, owner)
        with self._database.writing() as connection:
            update = "UPDATE piece SET owner = '' WHERE object = ? AND start = ? AND owner = ?"
            if connection.execute(update, key).rowcount != 1:
                return False
            final = self._final(piece)
            try:
                self._files.place(temporary, final)
            except (NotADirectoryError, IsADirectoryError, FileExistsError):
                self._files.clear_way(final)
                self._files.place(temporary, final)
            return True

    def abandon(self, number: int, start: int, owner: str) -> None:
        """Give the room of a piece back that could not be written."""
        with self._database.writing() as connection:
            where = "WHERE p.object = ? AND p.start = ? AND p.owner = ?"
            self._remove(connection, where, (number, start, owner))

    def abandon_all(self, owner: str) -> int:
        """Remove what a process was writing that has ended; how many pieces."""
        with self._database.writing() as connection:
            return self._remove(connection, "WHERE p.owner = ?", (owner,))

    def owners(self) -> list[str]:
        """The processes that are writing something, or were when they ended."""
        with self._database.reading() as connection:
            return [
                row[0] for row in connection.execute("SELECT DISTINCT owner FROM piece WHERE owner <> ''")
            ]

    def touch(self, uses: Iterable[tuple[int, int, int]]) -> None:
        """Remember when pieces were read: ``(used_ns, object, start)`` each."""
        with self._database.writing() as connection:
            connection.executemany("UPDATE piece SET used_ns = ? WHERE object = ? AND start = ?", uses)

    def forget(self, source: str | None, path: str, *, keep_pinned: bool = False) -> tuple[int, int]:
        """Remove ``path`` and all below it, of one source or all: how many pieces, and bytes on the disk."""
        where, values = _below(source, path)
        if keep_pinned:
            where += " AND p.is_pinned = 0"
        with self._database.writing() as connection:
            before = _used(connection)
            return self._remove(connection, where, values), before - _used(connection)

    def pin(self, source: str, path: str, *, is_pinned: bool) -> None:
        """Have ``path`` and all below it stay, also what comes later, or let it go again."""
        key = (source, stored(path))
        with self._database.writing() as connection:
            if is_pinned:
                connection.execute("INSERT OR IGNORE INTO pin VALUES (?, ?)", key)
            else:
                connection.execute("DELETE FROM pin WHERE source = ? AND path = ?", key)
            where, values = _below(source, path)
            objects = connection.execute(f"SELECT o.id, o.path FROM object o {where}", values).fetchall()
            for number, name in objects:
                stays = is_pinned or _is_pinned(connection, source, shown(name))
                connection.execute("UPDATE piece SET is_pinned = ? WHERE object = ?", (stays, number))

    def pins(self) -> list[tuple[str, str]]:
        """What was pinned: source and path."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT source, path FROM pin ORDER BY source, path").fetchall()
        return [(source, shown(path)) for source, path in rows]

    def summaries(self) -> list[Summary]:
        """What each source has here, in the order of their names."""
        query = """
        SELECT o.source, count(DISTINCT o.id), count(p.start), total(p.size_bytes), total(p.charge_bytes),
               total(p.charge_bytes * p.is_pinned)
        FROM object o JOIN piece p ON p.object = o.id GROUP BY o.source ORDER BY o.source
        """
        with self._database.reading() as connection:
            rows = connection.execute(query).fetchall()
        return [Summary(source, *map(int, numbers)) for source, *numbers in rows]

    def objects(self, source: str | None, path: str) -> list[CachedObject]:
        """The objects at ``path`` and below, in the order of their paths."""
        where, values = _below(source, path)
        query = f"""
        SELECT o.source, o.path, o.size_bytes, sum(p.size_bytes), max(p.is_pinned), max(p.used_ns),
               sum(p.charge_bytes)
        FROM object o JOIN piece p ON p.object = o.id {where} AND p.owner = ''
        GROUP BY o.id ORDER BY o.source, o.path
        """
        with self._database.reading() as connection:
            rows = connection.execute(query, values).fetchall()
        return [
            CachedObject(source, shown(name), size, cached, bool(is_pinned), used_ns, charge)
            for source, name, size, cached, is_pinned, used_ns, charge in rows
        ]

    def used_bytes(self) -> int:
        """What all files take, with those that are being written."""
        with self._database.reading() as connection:
            return _used(connection)

    def held(self, after: tuple[int, int], limit: int) -> list[tuple[Held, str]]:
        """Pieces in a fixed order with their files, from the one after ``after`` (object and start) on."""
        query = f"{_OF_PIECE} WHERE p.owner = '' AND (p.object, p.start) > (?, ?) "
        query += "ORDER BY p.object, p.start LIMIT ?"
        with self._database.reading() as connection:
            rows = connection.execute(query, (*after, limit)).fetchall()
        found = [(_Row(*row[:-1]), row[-1]) for row in rows]
        return [
            (Held(row.object, row.start, row.size_bytes, digest), self._file(row)) for row, digest in found
        ]

    def drop_held(self, held: Held) -> bool:
        """Remove a piece that `held` has told of; False if another has its place by now."""
        where = "WHERE p.object = ? AND p.start = ? AND p.digest = ? AND p.owner = ''"
        with self._database.writing() as connection:
            return bool(self._remove(connection, where, (held.object, held.start, held.digest)))

    def remove_strays(self) -> int:
        """Remove the files that the database does not tell of; how many."""
        with self._database.reading() as connection:
            strays = [file for file, _ in self._files.walk() if not self._is_known(connection, file)]
        removed = 0
        for file in strays:
            with self._database.writing() as connection:  # it may have been put there since
                if not self._is_known(connection, file):
                    self._files.remove(file)
                    removed += 1
        return removed

    def _is_known(self, connection: sqlite3.Connection, file: str) -> bool:
        """True if a file may be that of a piece."""
        query = f"{_OF_OBJECT} WHERE o.source = ? AND o.path = ? AND p.start = ?"
        for source, path, start in self._files.pieces_at(file):
            row = connection.execute(query, (source, stored(path), start)).fetchone()
            if row is not None and self._file(_Row(*row)) == file:
                return True
        return self._files.is_abridged(file)

    def _object(self, connection: sqlite3.Connection, piece: Piece) -> int:
        key = (piece.source, stored(piece.path))
        query = "SELECT id, version, size_bytes FROM object WHERE source = ? AND path = ?"
        row = connection.execute(query, key).fetchone()
        if row is not None and row[1:] == (piece.version, piece.object_bytes):
            return int(row[0])
        if row is not None:
            self._remove(connection, "WHERE p.object = ?", (row[0],))
            connection.execute("DELETE FROM object WHERE id = ?", (row[0],))
        insert = "INSERT INTO object (source, path, version, size_bytes) VALUES (?, ?, ?, ?)"
        added = connection.execute(insert, (*key, piece.version, piece.object_bytes))
        return int(added.lastrowid or 0)

    def _make_room(
        self, connection: sqlite3.Connection, charge_bytes: int, limit: Callable[[int], int]
    ) -> bool:
        used = _used(connection)
        most = limit(used)
        if used + charge_bytes <= most:
            return True
        if charge_bytes > most:
            return False
        slack = min(most // _SLACK_SHARE, _SLACK_MOST_BYTES)
        wanted = max(0, most - charge_bytes - slack)
        while used > wanted:
            victims = connection.execute(_VICTIMS, (_STEP,)).fetchall()
            if not victims:
                break
            for victim in itertools.starmap(_Row, victims):
                self._delete(connection, victim)
                used -= victim.charge_bytes
                if used <= wanted:
                    break
        return used + charge_bytes <= most

    def _remove(self, connection: sqlite3.Connection, where: str, values: tuple[object, ...]) -> int:
        rows = connection.execute(f"{_OF_OBJECT} {where}", values).fetchall()
        for row in rows:
            self._delete(connection, _Row(*row))
        return len(rows)

    def _delete(self, connection: sqlite3.Connection, row: _Row) -> None:
        connection.execute("DELETE FROM piece WHERE object = ? AND start = ?", (row.object, row.start))
        _drop_if_empty(connection, row.object)
        self._files.remove(self._file(row))

    def _file(self, row: _Row) -> str:
        is_whole = row.size_bytes == row.object_bytes
        return self._files.path_of(row.source, shown(row.path), row.start, is_whole=is_whole)

    def _final(self, piece: Piece) -> str:
        return self._files.path_of(piece.source, piece.path, piece.start, is_whole=piece.is_whole)


def _used(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT charge_bytes FROM used").fetchone()[0])


def _drop_if_empty(connection: sqlite3.Connection, number: object) -> None:
    delete = "DELETE FROM object WHERE id = ? AND NOT EXISTS (SELECT 1 FROM piece WHERE object = ?)"
    connection.execute(delete, (number, number))


def _is_pinned(connection: sqlite3.Connection, source: str, path: str) -> bool:
    pins = connection.execute("SELECT path FROM pin WHERE source = ?", (source,))
    return any(not pin or f"{path}/".startswith(f"{pin}/") for pin in (shown(row[0]) for row in pins))


def _below(source: str | None, path: str) -> tuple[str, tuple[str | bytes, ...]]:
    """The condition for ``path`` and all below it. As text and as bytes, for a name may not be UTF-8."""
    conditions = ["1 = 1"]
    values: list[str | bytes] = []
    if source is not None:
        conditions.append("o.source = ?")
        values.append(source)
    if path:
        raw = path.encode(errors="surrogateescape")
        between: list[str | bytes] = [raw + b"/", raw + b"0"]
        if isinstance(stored(path), str):
            between += [f"{path}/", f"{path}0"]
        ranges = " OR ".join(["(o.path > ? AND o.path < ?)"] * (len(between) // 2))
        conditions.append(f"(o.path = ? OR {ranges})")
        values += [stored(path), *between]
    return f"WHERE {' AND '.join(conditions)}", tuple(values)

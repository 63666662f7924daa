"""What is on the disk, as the database tells it: the questions, none of which changes anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from copickfs.errors import IndexUnavailable
from copickfs.index.text import shown, stored

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from copickfs.cache.files import Files
    from copickfs.cache.piece import Piece
    from copickfs.index.database import Database

REMOVING = "!"
"""Ends the name of an owner who is removing a piece."""

COLUMNS = "o.source, o.path, o.size_bytes, p.object, p.start, p.size_bytes, p.charge_bytes"
OF_OBJECT = f"SELECT {COLUMNS} FROM piece p JOIN object o ON o.id = p.object"
# CROSS JOIN: by the key of the pieces, so that all pages together look at each piece once.
_PAGE = f"""
SELECT {COLUMNS}, p.digest FROM piece p CROSS JOIN object o ON o.id = p.object
%s AND p.owner = '' AND (p.object, p.start) > (?, ?) ORDER BY p.object, p.start LIMIT ?
"""
_HELD_OF = """
SELECT p.object, p.start, p.size_bytes, p.digest FROM object o JOIN piece p ON p.object = o.id
WHERE o.source = ? AND o.path = ? AND o.version = ? AND (p.size_bytes = o.size_bytes) = ? AND p.owner = ''
"""
_FIND = """
SELECT p.object, p.start, p.size_bytes, p.digest FROM object o JOIN piece p ON p.object = o.id
WHERE o.source = ? AND o.path = ? AND o.version = ? AND p.start = ? AND p.owner = ''
"""


class Row(NamedTuple):
    """What `COLUMNS` tell of a piece."""

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


class Used(NamedTuple):
    """What files take, with those that are being written.

    Attributes:
        charge_bytes: All of them.
        pinned_bytes: Those that stay.
        booked_bytes: Those that are being written just now.
    """

    charge_bytes: int
    pinned_bytes: int
    booked_bytes: int


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


class Inventory:
    """Answers from the database of one cache directory. Thread-safe; raises `IndexUnavailable`.

    Args:
        database: The database, with `copickfs.cache.tables`.
        files: The files that it tells of.
    """

    def __init__(self, database: Database, files: Files) -> None:
        self._database = database
        self._files = files

    def find(self, piece: Piece) -> Held | None:
        """The piece, if it is on the disk."""
        key = (piece.source, stored(piece.path), stored(piece.version), piece.start)
        with self._database.reading() as connection:
            row = connection.execute(_FIND, key).fetchone()
        return None if row is None or row[2] != piece.size_bytes else Held(*row)

    def held_of(self, piece: Piece) -> list[Held]:
        """What is here of the object of ``piece``, in its version: whole, or in blocks, as ``piece`` is."""
        key = (piece.source, stored(piece.path), stored(piece.version), piece.is_whole)
        with self._database.reading() as connection:
            return [Held(*row) for row in connection.execute(_HELD_OF, key)]

    def owners(self) -> list[str]:
        """Who is writing or removing something, or was when it ended."""
        query = "SELECT DISTINCT owner FROM piece WHERE owner <> ''"
        with self._database.reading() as connection:
            return [row[0] for row in connection.execute(query)]

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
        where, values = below(source, path)
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
            return self._used(connection).charge_bytes

    def most_bytes(self, limit: Callable[[sqlite3.Connection, Used], int]) -> int:
        """What files may take at most, as things are just now. ``limit``: see `Ledger.reserve`."""
        with self._database.reading() as connection:
            return limit(connection, self._used(connection))

    def held(self, after: tuple[int, int], limit: int) -> list[tuple[Held, str | None]]:
        """Pieces in a fixed order with their files, from the one after ``after`` (object and start) on."""
        with self._database.reading() as connection:
            rows = page(connection, *below(None, ""), after, limit)
        return [
            (Held(row.object, row.start, row.size_bytes, digest), self._file(row)) for row, digest in rows
        ]

    def _used(self, connection: sqlite3.Connection) -> Used:
        """The sums. Raises `IndexUnavailable` if they cannot be true."""
        sums = connection.execute("SELECT charge_bytes, pinned_bytes FROM used").fetchone()
        query = f"SELECT total(charge_bytes) FROM piece WHERE owner <> '' AND owner NOT LIKE '%{REMOVING}'"
        booked = connection.execute(query).fetchone()
        if sums is None or not all(isinstance(n, int) for n in sums) or not 0 <= sums[1] <= sums[0]:
            self._database.is_damaged = True
            raise IndexUnavailable(f"{self._database.path}: its sums are wrong")
        return Used(sums[0], sums[1], int(booked[0]))

    def _file(self, row: Row) -> str | None:
        """Where a piece is; None if nothing can be there, for a row may be damaged as well."""
        try:
            is_whole = row.size_bytes == row.object_bytes
            return self._files.path_of(row.source, shown(row.path), row.start, is_whole=is_whole)
        except (OSError, TypeError, ValueError, AttributeError):
            return None


def page(
    connection: sqlite3.Connection,
    where: str,
    values: tuple[str | bytes, ...],
    after: tuple[int, int],
    limit: int,
) -> list[tuple[Row, int]]:
    """Pieces and their digests in the order of their keys, from the one after ``after`` on."""
    rows = connection.execute(_PAGE % where, (*values, *after, limit)).fetchall()
    return [(Row(*row[:-1]), row[-1]) for row in rows]


def below(source: str | None, path: str) -> tuple[str, tuple[str | bytes, ...]]:
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

"""Changing entities within one transaction.

The words of an entity are in a full-text table that keeps no text (``entity_words``): to take a row out
of it, it has to be told once more what was put in. So every change of an entity goes through here.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from copickfs.entities import EntityType
from copickfs.index.rows import ids_of, kind_of
from copickfs.index.sources import run_name_of, searched
from copickfs.index.text import shown, stored, words
from copickfs.paths import split

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence

    from copickfs.entities import EntityRecord

_WORD_COLUMNS = "name, object, run, user, session"


class EntityChange:
    """One transaction on the entities of a stack.

    Args:
        connection: In a transaction.
        stack: Its number.
    """

    def __init__(self, connection: sqlite3.Connection, stack: int) -> None:
        self._connection = connection
        self._stack = stack
        # No longer than the transaction: another process may forget a name that nothing has.
        self._names: dict[str, int] = {}
        self._next: dict[EntityType, int] = {}

    def replace(self, scan: int, batch: Iterable[tuple[str, str, Sequence[EntityRecord]]]) -> None:
        """See `EntityTable.replace`."""
        added: list[tuple[Any, ...]] = []
        texts: list[tuple[Any, ...]] = []
        latest = {path: (stamp, records) for path, stamp, records in batch}
        for path, (stamp, records) in latest.items():
            directory = self._keep_directory(path, stamp, scan)
            before = self._rows(directory)
            for record in records:
                leaf = split(record.identity.path)[1]
                row = self._row(directory, leaf, record)
                old = before.pop(leaf, None)
                if old is not None and old[1:] == row:
                    continue
                if old is not None:
                    self._take_out([old])
                number = self._number(record.identity.type)
                added.append((number, *row))
                texts.append((number, *self._words(record)))
                self._keep_run_name(row, record)
            self._take_out(before.values())
        self._connection.executemany(f"INSERT INTO entity VALUES ({','.join('?' * 17)})", added)
        self._connection.executemany(
            f"INSERT INTO entity_words (rowid, {_WORD_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)",
            texts,
        )

    def remove(self, directories: Iterable[int]) -> None:
        """Forget directories with their entities."""
        for directory in directories:
            self._take_out(self._rows(directory).values())
            self._connection.execute("DELETE FROM directory WHERE id = ?", (directory,))

    def _keep_directory(self, path: str, stamp: str, scan: int) -> int:
        row = self._connection.execute(
            "INSERT INTO directory (stack, path, stamp, scan) "
            "VALUES (?1, ?2, ?3, CASE ?4 WHEN 0 THEN (SELECT scan FROM stack WHERE id = ?1) ELSE ?4 END) "
            "ON CONFLICT (stack, path) DO UPDATE SET stamp = ?3, scan = max(scan, ?4) RETURNING id",
            (self._stack, stored(path), stamp, scan),
        ).fetchone()
        return int(row[0])

    def _rows(self, directory: int) -> dict[str, tuple[Any, ...]]:
        rows = self._connection.execute("SELECT * FROM entity WHERE directory = ?", (directory,))
        return {shown(row[2]): row for row in rows}

    def _row(self, directory: int, leaf: str, record: EntityRecord) -> tuple[Any, ...]:
        """The columns of ``entity`` but for its number."""
        identity = record.identity
        name = self._name
        return (
            directory, stored(leaf), self._stack, int(identity.type), name(identity.run), name(identity.name),
            name(identity.user), name(identity.session), name(identity.object), identity.voxel_size,
            identity.segmentation_type, name("/".join(record.layers)), record.size_bytes, record.mtime_ns,
            record.version, json.dumps(record.detail, separators=(",", ":")) if record.detail else "{}",
        )  # fmt: skip

    def _keep_run_name(self, row: Sequence[Any], record: EntityRecord) -> None:
        """Note the name that people know a run by."""
        run_name = run_name_of(record.detail) if record.identity.type is EntityType.RUN else ""
        if run_name:
            kept = "INSERT OR REPLACE INTO run_name (stack, run, text) VALUES (?, ?, ?)"
            self._connection.execute(kept, (self._stack, row[4], run_name))

    def _take_out(self, rows: Iterable[Sequence[Any]]) -> None:
        for row in rows:
            self._connection.execute("DELETE FROM entity WHERE id = ?", (row[0],))
            name, *texts = self._texts(row[6], row[9], row[5], row[7], row[8])
            if row[16] != "{}":
                name = searched(name, json.loads(row[16]))
                if kind_of(row[0]) == EntityType.RUN:
                    gone = "DELETE FROM run_name WHERE stack = ? AND run = ?"
                    self._connection.execute(gone, (self._stack, row[5]))
            self._connection.execute(
                f"INSERT INTO entity_words (entity_words, rowid, {_WORD_COLUMNS}) "
                "VALUES ('delete', ?, ?, ?, ?, ?, ?)",
                (row[0], name, *texts),
            )

    def _texts(self, *names: int) -> Iterator[str]:
        for number in names:
            (text,) = self._connection.execute("SELECT text FROM name WHERE id = ?", (number,)).fetchone()
            yield words(shown(text))

    @staticmethod
    def _words(record: EntityRecord) -> tuple[str, ...]:
        identity = record.identity
        found = (identity.name, identity.object, identity.run, identity.user, identity.session)
        name, *others = (words(text) for text in found)
        return searched(name, record.detail), *others

    def _number(self, kind: EntityType) -> int:
        number = self._next.get(kind)
        if number is None:
            first, last = ids_of(self._stack, kind)
            highest = "SELECT max(id) FROM entity WHERE id BETWEEN ? AND ?"
            found = self._connection.execute(highest, (first, last)).fetchone()[0]
            number = first if found is None else found + 1
        self._next[kind] = number + 1
        return number

    def _name(self, text: str) -> int:
        number = self._names.get(text)
        if number is None:
            value = stored(text)
            row = self._connection.execute("SELECT id FROM name WHERE text = ?", (value,)).fetchone()
            if row is None:
                made = "INSERT INTO name (text) VALUES (?)"
                number = self._connection.execute(made, (value,)).lastrowid or 0
                parts = "INSERT INTO name_parts (rowid, text) VALUES (?, ?)"
                self._connection.execute(parts, (number, words(text)))
            else:
                number = int(row[0])
            self._names[text] = number
        return number

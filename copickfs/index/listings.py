"""Listings of remote directories, kept beyond the end of the process.

A row holds one listing: of an ordinary directory, or of an array with all that is below it. A row never
takes the place of one whose source was asked later, also not another process's. A change that is made
through a mount is added to the listing that tells of it, if that is not too long, and leaves a row with its
time in any case, so that a listing that was under way meanwhile, and may lack the change, is not kept.

Nothing is believed that is not what was written: `entries` has a checksum, and says itself which directory
it is of and when it was fetched. It is no program: no pickle, no marshal.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from copickfs.index.columns import StoredListing, decoded, digest_of, encoded
from copickfs.index.text import stored

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable

    from copickfs.index.database import Database

_log = logging.getLogger(__name__)

KEPT_S = 90 * 86_400.0
"""What was not fetched for so long is dropped by `prune`."""

_REVISED_BYTES = 64 << 10
"""A longer listing is forgotten when something in it changes: each change writes it anew."""

_SAVE = """
INSERT INTO listing (source, directory, fetched_ns, digest, entries) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (source, directory) DO UPDATE
SET fetched_ns = excluded.fetched_ns, digest = excluded.digest, entries = excluded.entries
WHERE abs(listing.fetched_ns) < excluded.fetched_ns OR abs(listing.fetched_ns) > ?
"""

_CHANGE = """
INSERT OR REPLACE INTO listing (source, directory, fetched_ns, digest, entries) VALUES (?, ?, ?, ?, ?)
"""


class ListingStore:
    """The listings of one source in the index. Thread-safe.

    Every method raises `IndexUnavailable` if the database cannot be used; nothing is changed then.

    Args:
        database: The index.
        source_key: Tells this source from others.
    """

    def __init__(self, database: Database, source_key: str) -> None:
        self._database = database
        self._source = source_key

    def __repr__(self) -> str:
        return f"<ListingStore {self._source} in {self._database}>"

    def load(self, directory: str) -> StoredListing | None:
        """The listing of ``directory``, or None. A row that is damaged counts as none, and is removed."""
        key = (self._source, stored(directory))
        query = "SELECT fetched_ns, digest, entries FROM listing WHERE source = ? AND directory = ?"
        with self._database.reading() as connection:
            row = connection.execute(query, key).fetchone()
        if row is None or row[2] == b"":
            return None
        fetched_ns, digest, entries = row
        found = decoded(directory, entries, digest)
        if found is not None and fetched_ns in (found.fetched_ns, -found.fetched_ns):
            return found._replace(is_trusted=fetched_ns > 0)
        _log.info("a listing in the index is damaged: %r is asked for anew", directory)
        with self._database.writing() as connection:
            delete = "DELETE FROM listing WHERE source = ? AND directory = ? AND fetched_ns IS ?"
            connection.execute(delete, (*key, fetched_ns))  # and no other that has come meanwhile
        return None

    def save(self, directory: str, listing: StoredListing, holds: Callable[[], bool]) -> None:
        """Keep a listing, unless there is a later one or the directory was changed since it was asked for.

        Args:
            directory: What it is of.
            listing: The listing.
            holds: Asked when no other change of the index can come in between; False: it is not kept.
        """
        entries = encoded(directory, listing)
        if entries is None:
            return
        with self._database.writing() as connection:
            if holds():
                self._put(connection, directory, listing.fetched_ns, entries, time.time_ns())

    def changed(
        self,
        path: str,
        directories: Iterable[str],
        origin: str | None,
        at_ns: int,
        revised: Callable[[str, StoredListing], StoredListing | None],
    ) -> None:
        """Something was put at ``path``, or removed, through a mount.

        What is kept with the change in it is not trusted: it stands in for a source that cannot be asked.

        Args:
            path: What was changed: nothing is known of it and what is below it any more.
            directories: Those whose listings may tell of it.
            origin: The only one of them that can be being listed just now; None if it may be any.
            at_ns: A time after the change; no listing asked for before that is kept.
            revised: A directory's listing with the change; the same if it does not tell of ``path``; None to
                have it forgotten.
        """
        with self._database.writing() as connection:
            self._delete(connection, path)
            self._delete_below(connection, path)
            for directory in directories:
                before = self._short(connection, directory)
                after = None if before is None else revised(directory, before)
                if origin in (None, directory):
                    self._change(connection, directory, at_ns, after)
                elif after is None:
                    self._delete(connection, directory)
                elif after is not before:
                    self._change(connection, directory, at_ns, after)

    def made(self, directory: str, listing: StoredListing) -> None:
        """A mount has made a directory, which nobody else has listed; like a change, it is not trusted."""
        with self._database.writing() as connection:
            self._change(connection, directory, listing.fetched_ns, listing)

    def forget(self, directory: str) -> None:
        """The source says that ``directory`` is not there."""
        with self._database.writing() as connection:
            self._delete(connection, directory)
            self._delete_below(connection, directory)

    def forget_all(self) -> None:
        """Nothing is known of the source any more."""
        with self._database.writing() as connection:
            connection.execute("DELETE FROM listing WHERE source = ?", (self._source,))

    def distrust(self, directories: Iterable[str] | None) -> None:
        """The source was seen to differ (None: may differ anywhere) from what is kept of ``directories``."""
        mark = "UPDATE listing SET fetched_ns = -abs(fetched_ns) WHERE entries <> x'' AND source = ?"
        with self._database.writing() as connection:
            if directories is None:
                connection.execute(mark, (self._source,))
                return
            for directory in directories:
                connection.execute(f"{mark} AND directory = ?", (self._source, stored(directory)))

    def _put(
        self, connection: sqlite3.Connection, directory: str, at_ns: int, entries: bytes, now_ns: int
    ) -> None:
        """Store a row, unless there is a later one; one from the future is a clock's mistake."""
        row = (self._source, stored(directory), at_ns, digest_of(entries), entries, now_ns)
        connection.execute(_SAVE, row)

    def _short(self, connection: sqlite3.Connection, directory: str) -> StoredListing | None:
        """The listing of ``directory`` if it is sound and not too long to be written at every change."""
        query = (
            "SELECT digest, entries FROM listing WHERE source = ? AND directory = ? AND length(entries) <= ?"
        )
        row = connection.execute(query, (self._source, stored(directory), _REVISED_BYTES)).fetchone()
        return None if row is None else decoded(directory, row[1], row[0])

    def _change(
        self, connection: sqlite3.Connection, directory: str, at_ns: int, listing: StoredListing | None
    ) -> None:
        """Store a listing that holds a change of that time, or that there is none."""
        key = (self._source, stored(directory))
        query = "SELECT abs(fetched_ns) FROM listing WHERE source = ? AND directory = ?"
        row = connection.execute(query, key).fetchone()
        if row is not None and row[0] <= time.time_ns():  # others have changed the same, and are in it, too
            at_ns = max(at_ns, row[0])
        entries = b"" if listing is None else encoded(directory, listing._replace(fetched_ns=at_ns)) or b""
        values = (*key, -at_ns if entries else at_ns, digest_of(entries), entries)
        connection.execute(_CHANGE, values)

    def _delete(self, connection: sqlite3.Connection, directory: str) -> None:
        key = (self._source, stored(directory))
        connection.execute("DELETE FROM listing WHERE source = ? AND directory = ?", key)

    def _delete_below(self, connection: sqlite3.Connection, directory: str) -> None:
        """As text and as bytes: what is below may not be UTF-8 though the directory's own name is."""
        delete = "DELETE FROM listing WHERE source = ?"
        if not directory:
            connection.execute(delete, (self._source,))
            return
        between = f"{delete} AND directory > ? AND directory < ?"
        raw = directory.encode(errors="surrogateescape")
        connection.execute(between, (self._source, raw + b"/", raw + b"0"))
        if isinstance(stored(directory), str):
            connection.execute(between, (self._source, f"{directory}/", f"{directory}0"))


def prune(database: Database, older_than_s: float = KEPT_S) -> int:
    """Drop the listings of all sources that were not fetched for so long; how many those were.

    Raises:
        IndexUnavailable: The database cannot be written.
    """
    limit_ns = time.time_ns() - int(older_than_s * 1e9)
    with database.writing() as connection:
        return connection.execute("DELETE FROM listing WHERE abs(fetched_ns) < ?", (limit_ns,)).rowcount

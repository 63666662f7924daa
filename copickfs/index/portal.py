"""What a portal has told, kept for the next process and shared by all of this machine.

A *selection* is what was asked for at one time: a dataset, or some runs. Its runs are kept one in a row, so
that a mount reads those only that somebody looks at. A selection is replaced as a whole, in one
transaction: a reader finds the runs of the old answer or of the new one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import xxhash

from copickfs.index.text import shown, stored

if TYPE_CHECKING:
    from collections.abc import Iterable

    from copickfs.index.database import Database

_SELECTION = "SELECT id, fetched_ns, digest, about, failed_ns, failure FROM portal_selection WHERE key = ?"
_ANSWERED = """
INSERT INTO portal_selection (key, fetched_ns, digest, about, failed_ns, failure) VALUES (?, ?, ?, ?, 0, '')
ON CONFLICT (key) DO UPDATE SET fetched_ns = excluded.fetched_ns, digest = excluded.digest,
about = excluded.about, failed_ns = 0, failure = ''
"""
_FAILED = """
INSERT INTO portal_selection (key, fetched_ns, digest, about, failed_ns, failure) VALUES (?, 0, '', x'', ?, ?)
ON CONFLICT (key) DO UPDATE SET failed_ns = excluded.failed_ns, failure = excluded.failure
"""


class RunRow(NamedTuple):
    """A run as it is kept.

    Attributes:
        run: The portal's number of it.
        dataset: Number of the dataset that it belongs to.
        name: The portal's name of it.
        record: All that the portal tells of it, in the form that is kept.
    """

    run: int
    dataset: int
    name: str
    record: bytes


class Selection(NamedTuple):
    """What is known of a selection without its runs.

    Attributes:
        number: Its key in the tables.
        fetched_ns: When the portal was asked, ns since the epoch; 0 if it has never answered.
        digest: Differs when one of the runs, or `about`, does.
        about: What the portal tells of all of it, in the form that is kept.
        failed_ns: When the portal was asked last and did not answer; 0 if it did.
        failure: Why, in one line.
    """

    number: int
    fetched_ns: int
    digest: str
    about: bytes
    failed_ns: int
    failure: str


class PortalTable:
    """The selections of one portal. Thread-safe. Every method raises `IndexUnavailable`.

    Args:
        database: The index.
        portal: What tells this portal from others.

    Attributes:
        database: As given.
        portal: As given.
    """

    def __init__(self, database: Database, portal: str) -> None:
        self.database = database
        self.portal = portal

    def selection(self, name: str) -> Selection | None:
        """What is known of a selection; None if the portal was never asked for it."""
        with self.database.reading() as connection:
            row = connection.execute(_SELECTION, (self._key(name),)).fetchone()
        if row is None:
            return None
        number, fetched_ns, digest, about, failed_ns, failure = row
        return Selection(number, fetched_ns, digest, about, failed_ns, failure)

    def rows(self, number: int) -> list[RunRow]:
        """The runs of a selection, in the order of their numbers.

        Raises:
            ValueError: One of them is not as it was kept; all of them are forgotten.
        """
        query = "SELECT run, dataset, name, record, digest FROM portal_run WHERE selection = ? ORDER BY run"
        with self.database.reading() as connection:
            found = connection.execute(query, (number,)).fetchall()
        rows = [RunRow(run, dataset, shown(name), record) for run, dataset, name, record, _ in found]
        if _digests(rows) != {row[0]: row[4] for row in found}:
            with self.database.writing() as connection:
                connection.execute("DELETE FROM portal_run WHERE selection = ?", (number,))
                connection.execute("DELETE FROM portal_selection WHERE id = ?", (number,))
            raise ValueError("what is stored of its runs is damaged")
        return rows

    def replace(self, name: str, fetched_ns: int, about: bytes, runs: Iterable[RunRow]) -> None:
        """Keep a whole answer."""
        rows = sorted(runs)
        digests, whole = _digests(rows), digest_of(about, rows)
        with self.database.writing() as connection:
            connection.execute(_ANSWERED, (self._key(name), fetched_ns, whole, about))
            number = connection.execute(_SELECTION, (self._key(name),)).fetchone()[0]
            had = dict(
                connection.execute("SELECT run, digest FROM portal_run WHERE selection = ?", (number,))
            )
            gone = [(number, run) for run in had.keys() - digests.keys()]
            connection.executemany("DELETE FROM portal_run WHERE selection = ? AND run = ?", gone)
            changed = {run for run, digest in digests.items() if had.get(run) != digest}
            connection.executemany(
                "INSERT OR REPLACE INTO portal_run (selection, run, dataset, name, digest, record) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (
                    (number, row.run, row.dataset, stored(row.name), digests[row.run], row.record)
                    for row in rows
                    if row.run in changed
                ),
            )

    def failed(self, name: str, at_ns: int, failure: str) -> None:
        """The portal was asked for a selection, and has not answered."""
        with self.database.writing() as connection:
            connection.execute(_FAILED, (self._key(name), at_ns, stored(failure)))

    def _key(self, name: str) -> str:
        return f"{self.portal} {name}"


def prune(database: Database, older_than_ns: int) -> int:
    """Drop what was not fetched since; how many selections that were. Raises `IndexUnavailable`."""
    with database.writing() as connection:
        old = "SELECT id FROM portal_selection WHERE max(fetched_ns, failed_ns) < ?"
        connection.execute(f"DELETE FROM portal_run WHERE selection IN ({old})", (older_than_ns,))
        return connection.execute(
            f"DELETE FROM portal_selection WHERE id IN ({old})", (older_than_ns,)
        ).rowcount


def digest_of(about: bytes, runs: Iterable[RunRow]) -> str:
    """What tells a whole answer from others."""
    return _digest(about + repr(sorted(_digests(runs).items())).encode())


def _digests(runs: Iterable[RunRow]) -> dict[int, str]:
    return {row.run: _digest(row.record + row.name.encode(errors="surrogateescape")) for row in runs}


def _digest(data: bytes) -> str:
    return xxhash.xxh3_128_hexdigest(data)

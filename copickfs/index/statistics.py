"""What all voxels of a volume come to: taken once, for the headers of the files that show it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from copickfs.index.rows import stack_id
from copickfs.index.text import stored

if TYPE_CHECKING:
    from copickfs.index.database import Database

Numbers = tuple[float, float, float, float]
"""Minimum, maximum, mean, root of the mean square deviation."""

_KEEP = """
INSERT INTO volume_statistics (stack, path, version, minimum, maximum, mean, rms) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (stack, path) DO UPDATE SET version = excluded.version, minimum = excluded.minimum,
maximum = excluded.maximum, mean = excluded.mean, rms = excluded.rms
"""


class StatisticsTable:
    """The statistics of the volumes of one stack. Thread-safe. Every method raises `IndexUnavailable`.

    Args:
        database: The index.
        key: The stack; see `copickfs.index.stack_key`.
    """

    def __init__(self, database: Database, key: str) -> None:
        self._database = database
        self._key = key

    def get(self, path: str, version: str) -> Numbers | None:
        """What is known of this version of a volume."""
        found = (
            "SELECT minimum, maximum, mean, rms FROM volume_statistics"
            " WHERE stack = ? AND path = ? AND version = ?"
        )
        with self._database.reading() as connection:
            values = (stack_id(connection, self._key), stored(path), version)
            row = connection.execute(found, values).fetchone()
        return None if row is None else (float(row[0]), float(row[1]), float(row[2]), float(row[3]))

    def put(self, path: str, version: str, numbers: Numbers) -> None:
        """Keep it, in place of that of other versions."""
        with self._database.writing() as connection:
            number = stack_id(connection, self._key)
            if number is None:
                made = "INSERT INTO stack (key, used_ns) VALUES (?, ?)"
                number = connection.execute(made, (self._key, time.time_ns())).lastrowid
            connection.execute(_KEEP, (number, stored(path), version, *numbers))

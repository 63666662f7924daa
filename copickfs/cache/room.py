"""How much room the files of the cache may take: what its database and others leave of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    from copickfs.cache.inventory import Used

_JOURNAL_MOST_BYTES = 4 << 20
_JOURNAL_SHARE = 4
_PAGE_BYTES = 4096
_FRAME_BYTES = _PAGE_BYTES + 24
_SHARED_BYTES = 32 << 10
_MARGIN_BYTES = 64 << 10


class Room:
    """The limit of one cache directory.

    The journal of the database grows and shrinks with what is done. Its room is set aside, so that the
    directory is below its limit at any time, not only when a piece is booked.

    Args:
        root: The cache directory.
        database_file: Its database.
        limit_bytes: Most that all files may take.
        floor_bytes: So much room on the file system is left to others.
    """

    def __init__(self, root: Path, database_file: Path, limit_bytes: int, floor_bytes: int) -> None:
        self._root = str(root)
        self._database_file = str(database_file)
        self._limit_bytes = limit_bytes
        self._floor_bytes = floor_bytes
        self._journal_bytes = min(_JOURNAL_MOST_BYTES, limit_bytes // _JOURNAL_SHARE)

    @property
    def pragmas(self) -> tuple[str, ...]:
        """Settings of the database with which its journal keeps to its room.

        The database is not mapped into memory: reading what somebody has cut off would end the process.
        """
        return (
            f"PRAGMA wal_autocheckpoint = {max(1, self._journal_bytes // 2 // _FRAME_BYTES)}",
            f"PRAGMA journal_size_limit = {self._journal_bytes}",
            "PRAGMA mmap_size = 0",
            "PRAGMA cache_size = -2048",
        )

    @property
    def is_journal_long(self) -> bool:
        """True if readers have kept the journal from being begun anew for long."""
        return _size_of(f"{self._database_file}-wal") > self._journal_bytes

    def most(self, connection: sqlite3.Connection, used: Used) -> int:
        """What files may take at most, within a transaction. Raises `OSError`."""
        pages = int(connection.execute("PRAGMA page_count").fetchone()[0])
        journal_bytes = _size_of(f"{self._database_file}-wal")
        own_bytes = max(pages * _PAGE_BYTES, _size_of(self._database_file))
        own_bytes += max(journal_bytes, self._journal_bytes) + _SHARED_BYTES + _MARGIN_BYTES
        status = os.statvfs(self._root)
        free_bytes = status.f_bavail * status.f_frsize - max(0, self._journal_bytes - journal_bytes)
        # What is being written counts as used, and has not taken its room yet.
        return min(
            self._limit_bytes - own_bytes,
            used.charge_bytes - used.booked_bytes + free_bytes - self._floor_bytes,
        )


def _size_of(file: str) -> int:
    try:
        return os.stat(file).st_size  # noqa: PTH116 - for every piece
    except OSError:
        return 0

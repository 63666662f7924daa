"""Why the database cannot be used, and what helps: one line of both."""

from __future__ import annotations

import errno
import sqlite3

from copickfs.errors import IndexBusy, IndexFull, IndexUnavailable

LOCKED = "another process keeps it locked; try again when that has ended"
_DENIED = "make it writable, or name another file by 'db_path'"
_FULL = "make room, or name a file on another disk by 'db_path'"

_BY_ERRNO = {
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR), _DENIED),
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), _FULL),
}
_BY_CODE = {
    **dict.fromkeys((sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED), LOCKED),
    **dict.fromkeys((sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM), _DENIED),
    sqlite3.SQLITE_FULL: _FULL,
}


def unavailable(where: object, error: OSError | sqlite3.Error) -> IndexUnavailable:
    """The error to raise for one that using the database at ``where`` has raised."""
    if isinstance(error, OSError):
        said = f"{error.filename or where}: {error.strerror}"
        remedy = _BY_ERRNO.get(error.errno or 0)
    else:
        said = f"{where}: {error}"
        remedy = _BY_CODE.get(code_of(error))
    kind = {LOCKED: IndexBusy, _FULL: IndexFull}.get(remedy or "", IndexUnavailable)
    return kind(f"{said}; {remedy}" if remedy else said)


def code_of(error: sqlite3.Error) -> int:
    """SQLite's primary result code; 0 for what Python's module itself complains of."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF

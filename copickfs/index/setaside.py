"""What stands in the index's place and is none: a user's own file is left alone, a damaged index renamed."""

from __future__ import annotations

import contextlib
import logging
import stat
from typing import TYPE_CHECKING

from copickfs.errors import IndexUnavailable

if TYPE_CHECKING:
    from pathlib import Path

_log = logging.getLogger(__name__)

MOST_KEPT = 5
"""How many files that were set aside are kept beside an index."""

_MAGIC = b"SQLite format 3\0"
_PIECE_BYTES = 1 << 20
_COMPANIONS = ("", "-wal", "-shm")


def require_database(path: Path) -> None:
    """Nothing is done to a file that was never a database: it is somebody's notes, or data.

    What is empty, cut off within the first bytes or all zeros may be what a crash has left of an index.

    Raises:
        IndexUnavailable: It is such a file.
        OSError: It cannot be read.
    """
    try:
        is_regular = stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        return
    if not (is_regular and _may_be_database(path)):
        raise IndexUnavailable(
            f"{path}: is no SQLite database, and is left as it is; name another file by 'db_path', or "
            "move this one away"
        )


def set_aside(path: Path, suffix: str, reason: str) -> None:
    """Rename a database, with what SQLite has put beside it, to a name that nothing has, with a WARNING.

    Raises:
        IndexUnavailable: `MOST_KEPT` are there already.
    """
    names = [f"{path.name}.{suffix}", *(f"{path.name}.{suffix}.{n}" for n in range(2, MOST_KEPT + 1))]
    free = (name for name in names if not any(path.with_name(name + c).exists() for c in _COMPANIONS))
    kept = next(free, None)
    if kept is None:
        raise IndexUnavailable(
            f"{path}: cannot be used ({reason}), and {MOST_KEPT} such files are kept beside it: see to the "
            f"disk, then remove {names[0]} to {names[-1]}"
        )
    for companion in _COMPANIONS:
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + companion).rename(path.with_name(kept + companion))
    _log.warning("the index %s cannot be used (%s): it is made anew; the file is kept as %s",
                 path, reason, kept)  # fmt: skip


def _may_be_database(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(len(_MAGIC))
        if _MAGIC.startswith(head):
            return True
        piece = head
        while piece and not piece.strip(b"\0"):
            piece = file.read(_PIECE_BYTES)
    return not piece

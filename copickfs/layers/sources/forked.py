"""Whether obstore can be used in this process: its threads do not survive a fork, and calls would hang."""

from __future__ import annotations

import os

_used_in: list[int] = []


def note_use() -> None:
    """This process begins to use obstore."""
    if not _used_in:
        _used_in.append(os.getpid())


def is_usable() -> bool:
    """False in a process that was forked from one which had used obstore."""
    return not _used_in or _used_in[0] == os.getpid()

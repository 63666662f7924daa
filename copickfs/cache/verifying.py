"""Whether what is on the disk is what was written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import xxhash

from copickfs.cache.opened import give_back
from copickfs.errors import CacheUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from copickfs.cache.inventory import Held
    from copickfs.cache.opened import Opened

_BATCH = 256


def digest(data: bytes) -> int:
    """What the database remembers of contents; signed, as SQLite's integers are."""
    number = xxhash.xxh3_64_intdigest(data)
    return number - (1 << 64) if number >> 63 else number


def contents(opened: Opened, file: str, held: Held) -> bytes | None:
    """What is in a file if it is what was written."""
    try:
        data = opened.files.read(file, held.size_bytes)
    except OSError:  # removed meanwhile, or not readable: fetched anew in any case
        return None
    return data if len(data) == held.size_bytes and digest(data) == held.digest else None


def verified(opened: Opened, progress: Callable[[int], object]) -> tuple[int, int, int]:
    """See `Disk.verify`. Raises `CacheUnavailable` and `IndexUnavailable`."""
    for problem in opened.database.problems():
        raise CacheUnavailable(f"{opened.database.path}: {problem}")
    give_back(opened)
    opened.ledger.recount()
    sound = damaged = 0
    after = (-1, -1)
    while batch := opened.ledger.held(after, _BATCH):
        for held, file in batch:
            if file is not None and contents(opened, file, held) is not None:
                sound += 1
            elif opened.ledger.drop_held(held):
                damaged += 1
            progress(held.size_bytes)
        after = (batch[-1][0].object, batch[-1][0].start)
    return sound, damaged, opened.ledger.remove_strays()

"""Reading a local directory with the attributes of everything in it."""

from __future__ import annotations

import contextlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_THREADS = 8
_BLOCK = 64
_MANY = 256
_COLD_S = 20e-6
"""An attribute that takes longer comes from the disk: from the kernel's memory it takes 1.5 µs."""


def statuses(descriptor: int, limit: int | None = None) -> Iterator[tuple[str, os.stat_result] | None]:
    """Each name of a directory and what it is, links themselves; names that have just gone are passed over.

    The attributes of many names that are not in memory are read by several threads, in the order of the
    disk: it can do more at a time than one reader asks of it.

    Args:
        descriptor: The directory, open.
        limit: None is yielded, and nothing more, where there are more names than that, or where many are
            to be read from the disk: the caller must not wait.
    """
    with os.scandir(descriptor) as names:
        items = list(names if limit is None else islice(names, limit + 1))
    is_long = len(items) >= _MANY and _are_cold(items[:_BLOCK])
    if limit is not None and (is_long or len(items) > limit):
        yield None
        return
    if is_long:
        _read_ahead(items)
    for item in items:
        try:
            yield item.name, item.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue  # gone since the directory was read


def _are_cold(items: list[os.DirEntry[str]]) -> bool:
    """True as soon as these have taken longer than they would from memory."""
    until_s = time.perf_counter() + _COLD_S * len(items)
    for item in items:
        _look_at([item])
        if time.perf_counter() > until_s:
            return True
    return False


def _read_ahead(items: list[os.DirEntry[str]]) -> None:
    in_order = sorted(items, key=os.DirEntry.inode)  # as they lie on the disk
    blocks = [in_order[first : first + _BLOCK] for first in range(0, len(in_order), _BLOCK)]
    with ThreadPoolExecutor(_THREADS, "copickfs-scan") as pool:
        for _ in pool.map(_look_at, blocks):
            pass


def _look_at(items: list[os.DirEntry[str]]) -> None:
    """Have the entries keep their attributes."""
    for item in items:
        with contextlib.suppress(OSError):  # whoever asks again is told
            item.stat(follow_symlinks=False)

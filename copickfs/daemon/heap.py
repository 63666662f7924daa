"""How the C library deals with the memory of chunks: megabytes each, made by one thread, dropped by another.

As it comes, it gives such memory back to the system with each chunk and asks for it anew with the next, whose
pages the kernel has to clear; and it gives nearly every thread a heap of its own, in which gaps remain.
"""

from __future__ import annotations

import contextlib
import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
"""Of ``malloc.h``."""

_KEPT_BYTES = 64 << 20
_LARGEST_BYTES = 32 << 20
_HEAPS = 2


def suit_chunks() -> None:
    """Keep a little of what was dropped for what comes next. To be called before there are threads.

    Other C libraries than GNU's do not know of it, and are left as they are.
    """
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_ARENA_MAX, _HEAPS)
        library.mallopt(_MMAP_THRESHOLD, _LARGEST_BYTES)
        library.mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)

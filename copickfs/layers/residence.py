"""Is a range of a file in the page cache? Asked where `RWF_NOWAIT` stops although nothing need be read.

A read with `RWF_NOWAIT` ends at every page that the kernel has marked for its own read-ahead, also if all
pages behind it are in memory. cachestat(2) (Linux 6.5) tells how many of them are; Python has no call for it.
"""

from __future__ import annotations

import ctypes
import mmap

_CACHESTAT = 451  # the number is the same on all architectures that Python's wheels exist for

_libc = ctypes.CDLL(None, use_errno=True)


class _Range(ctypes.Structure):
    _fields_ = (("start", ctypes.c_uint64), ("size_bytes", ctypes.c_uint64))


class _Statistics(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_uint64) for name in ("cached", "dirty", "writeback", "evicted", "recently_evicted")
    )


def is_resident(descriptor: int, start: int, stop: int) -> bool:
    """True if every page of ``start <= i < stop`` is in memory; False also where the kernel cannot tell."""
    first = start // mmap.PAGESIZE
    last = -(-stop // mmap.PAGESIZE)
    span = _Range(start, stop - start)
    found = _Statistics()
    if _libc.syscall(_CACHESTAT, descriptor, ctypes.byref(span), ctypes.byref(found), 0):
        return False
    return int(found.cached) >= last - first

"""Writing files around the kernel's page cache.

What is written down is in memory already: in the cache's own tier, and in the kernel's pages of the mount. A
third copy would push out what others have there, and to make it costs as much as all else that is done for
a chunk, on virtual machines more. Writers that come while one is at it, or a file system that cannot do
it, are referred to the ordinary way.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import threading

LEAST_BYTES = 256 << 10
"""Smaller files are written sooner, and more of them at once, by way of the page cache."""

_UNIT_BYTES = 4096
_STEP_BYTES = 1 << 20
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_DIRECT


class Bypass:
    """Writes whole files, one at a time. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._buffer: mmap.mmap | None = None
        self._is_possible = True

    def write(self, file: str, data: bytes) -> bool:
        """Make ``file`` with ``data``; False if it is to be made in the ordinary way.

        Raises:
            OSError: It cannot be made. Nothing is left then.
        """
        if len(data) < LEAST_BYTES or not self._is_possible or not self._lock.acquire(blocking=False):
            return False
        try:
            self._write(file, data)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                raise
            self._is_possible = False
            return False
        finally:
            self._lock.release()
        return True

    def _write(self, file: str, data: bytes) -> None:
        try:
            descriptor = os.open(file, _FLAGS, 0o666)
            try:
                self._fill(descriptor, data)
            finally:
                os.close(descriptor)
        except FileExistsError:
            raise
        except BaseException:
            with contextlib.suppress(OSError):  # a file may have been made by a call that has failed
                os.unlink(file)
            raise

    def _fill(self, descriptor: int, data: bytes) -> None:
        if self._buffer is None:
            self._buffer = mmap.mmap(-1, _STEP_BYTES)  # aligned, as the kernel wants it
        rest = memoryview(data)
        while rest:
            part, rest = rest[:_STEP_BYTES], rest[_STEP_BYTES:]
            self._buffer[: len(part)] = part
            with memoryview(self._buffer) as aligned:
                whole_units = aligned[: -(-len(part) // _UNIT_BYTES) * _UNIT_BYTES]
                if os.write(descriptor, whole_units) != len(whole_units):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.ftruncate(descriptor, len(data))

"""Taking turns with other processes of this machine."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_POLL_S = 0.02


class Taken(OSError):
    """Another process has had its turn for too long."""


@contextlib.contextmanager
def turn(lock: Path, wait_s: float, mode: int) -> Iterator[None]:
    """Only one process at a time comes in; the system lets go of the lock when one ends.

    Args:
        lock: A file that is for nothing else; made if it is not there, and left.
        wait_s: How long to wait.
        mode: Of the file, if it is made.

    Raises:
        Taken: It was not to be had in time.
        OSError: The file cannot be made.
    """
    deadline_s = time.monotonic() + wait_s
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, mode)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline_s:
                    raise Taken(errno.EAGAIN, "another process keeps it locked", str(lock)) from None
                time.sleep(_POLL_S)
        yield
    finally:
        os.close(descriptor)

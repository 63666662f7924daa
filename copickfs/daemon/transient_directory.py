"""A mount point that is made for one mount and removed with it.

The kernel lets a directory be removed that is a mount point in another mount namespace, and takes that
mount down with it. So all who mount on such a directory share a lock on it, and it is removed only by
one who has it alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import NamedTuple

from copickfs.errors import MountError


class MadeDirectory(NamedTuple):
    """A directory that is there for as long as it is needed.

    Attributes:
        made: What had to be made, the innermost first; empty if it was there.
        lock: Descriptor that holds the lock.
    """

    made: tuple[str, ...]
    lock: int


def make_directory(path: str) -> MadeDirectory:
    """Make ``path`` with the directories above it where they are missing, and lock it.

    Args:
        path: Absolute.

    Raises:
        MountError: It cannot be made.
    """
    while True:
        made = _make_missing(path)
        try:
            lock = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:  # removed in between by the mount that had made it
            continue
        except OSError as error:
            raise MountError(f"{path}: the mount point cannot be used: {error.strerror}") from None
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(lock, fcntl.LOCK_SH)
        if os.path.exists(path):  # noqa: PTH110
            return MadeDirectory(made, lock)
        os.close(lock)


def remove_directories(made: tuple[str, ...], lock: int | None) -> None:
    """Remove what `make_directory` made, unless somebody else mounts there. Never raises."""
    if not made:
        return
    with contextlib.suppress(OSError):
        if lock is not None:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for directory in made:
            os.rmdir(directory)  # noqa: PTH106


def _make_missing(path: str) -> tuple[str, ...]:
    made: list[str] = []
    missing = path
    parents = []
    while not os.path.lexists(missing):
        parents.append(missing)
        missing = os.path.dirname(missing)  # noqa: PTH120
    for directory in reversed(parents):
        try:
            os.mkdir(directory)  # noqa: PTH102
        except FileExistsError:
            continue
        except OSError as error:
            raise MountError(f"{path}: the mount point cannot be made: {error.strerror}") from None
        made.insert(0, directory)
    return tuple(made)

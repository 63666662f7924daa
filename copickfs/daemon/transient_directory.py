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

_MAX_ATTEMPTS = 100


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
    for _ in range(_MAX_ATTEMPTS):
        try:
            made = _make_missing(path)
            lock = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:  # removed in between by the mount that had made it
            continue
        except OSError as error:
            raise MountError(f"{path}: the mount point cannot be made or used: {error.strerror}") from None
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(lock, fcntl.LOCK_SH)
        if _is_at(lock, path):
            return MadeDirectory(made, lock)
        os.close(lock)
    raise MountError(f"{path}: the mount point is removed as often as it is made")


def remove_directories(made: tuple[str, ...], lock: int | None) -> None:
    """Remove what `make_directory` made, unless somebody else mounts there. Never raises.

    May be called again, also when others have made the same directories anew.
    """
    if not made or lock is None:
        return
    with contextlib.suppress(OSError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_at(lock, made[0]):
            for directory in made:
                os.rmdir(directory)  # noqa: PTH106


def _is_at(descriptor: int, path: str) -> bool:
    """True if ``path`` is still the directory that is open."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))  # noqa: PTH116
    except FileNotFoundError:
        return False


def _make_missing(path: str) -> tuple[str, ...]:
    missing = []
    current = path
    while not os.path.lexists(current):
        missing.append(current)
        current = os.path.dirname(current)  # noqa: PTH120
    made: list[str] = []
    for directory in reversed(missing):
        with contextlib.suppress(FileExistsError):
            os.mkdir(directory)  # noqa: PTH102
            made.insert(0, directory)
    return tuple(made)

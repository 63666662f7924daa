"""System calls that Python has no function for, and the few lines that every test here needs."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2

FALLOC_KEEP_SIZE = 1
FALLOC_PUNCH_HOLE = 2

UTIME_NOW = (1 << 30) - 1
UTIME_OMIT = (1 << 30) - 2

NAME_MAX_BYTES = 255

_AT_FDCWD = -100
_libc = ctypes.CDLL(None, use_errno=True)


class _Timespec(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


@contextlib.contextmanager
def fails(*numbers: int) -> Iterator[None]:
    """Assert that the block ends with an `OSError` of one of these numbers."""
    names = [errno.errorcode[number] for number in numbers]
    with pytest.raises(OSError) as caught:  # noqa: PT011 -- the errno is looked at
        yield
    assert errno.errorcode[caught.value.errno or 0] in names, caught.value


@contextlib.contextmanager
def opened(path: Path | str, flags: int = os.O_RDONLY, mode: int = 0o644) -> Iterator[int]:
    """A descriptor, closed at the end of the block."""
    fd = os.open(path, flags, mode)
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def umask(mask: int) -> Iterator[None]:
    """Set the mask of this process in the block."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def make(path: Path | str, data: bytes = b"", mode: int = 0o644) -> None:
    """Make a new file through the tree under test."""
    with opened(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode) as fd:
        assert os.write(fd, data) == len(data)


def contents(path: Path | str) -> bytes:
    """All of a file, and its size must be that."""
    with opened(path) as fd:
        size = os.fstat(fd).st_size
        data = os.pread(fd, size + 1, 0)
    assert len(data) == size
    return data


def permissions(path: Path | str) -> int:
    """The permission bits of what has the name, a link too."""
    return os.lstat(path).st_mode & 0o7777


def renameat2(old: Path | str, new: Path | str, flags: int) -> None:
    """rename(2) with flags."""
    _call(_libc.renameat2, _AT_FDCWD, os.fsencode(old), _AT_FDCWD, os.fsencode(new), flags)


def fallocate(fd: int, mode: int, offset: int, length: int) -> None:
    """fallocate(2), without the C library's emulation."""
    _call(_libc.fallocate, fd, mode, ctypes.c_long(offset), ctypes.c_long(length))


def utimensat(path: Path | str, atime_ns: int | None, mtime_ns: int | None, *, now: bool = False) -> None:
    """utimensat(2): None leaves a time as it is, or sets it to now."""
    special = UTIME_NOW if now else UTIME_OMIT
    times = (_Timespec * 2)(
        *(
            _Timespec(0, special) if time is None else _Timespec(*divmod(time, 10**9))
            for time in (atime_ns, mtime_ns)
        )
    )
    _call(_libc.utimensat, _AT_FDCWD, os.fsencode(path), times, 0)


def syncfs(fd: int) -> None:
    """Write out a whole file system."""
    _call(_libc.syncfs, fd)


def getxattr_into(path: Path | str, name: str, size: int) -> int:
    """getxattr(2) with a buffer of ``size``, which Python's own call would retry with a larger one."""
    buffer = ctypes.create_string_buffer(max(size, 1))
    return _call(_libc.getxattr, os.fsencode(path), name.encode(), buffer, ctypes.c_size_t(size))


def _call(function: object, *arguments: object) -> int:
    done = function(*arguments)  # type: ignore[operator]
    if done < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return int(done)

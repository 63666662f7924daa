"""Calls of the operating system that Python has no function for, and the copying of contents."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
from typing import TYPE_CHECKING

from copickfs.layers.localfile import LocalFile
from copickfs.model import ByteRange

if TYPE_CHECKING:
    from copickfs.layers.base import LayerFile

RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2

_AT_FDCWD = -100
_UTIME_OMIT = (1 << 30) - 2
_FICLONE = 0x40049409
_PIECE_BYTES = 1 << 20
_ZEROS = bytes(_PIECE_BYTES)
_CANNOT = frozenset(
    {errno.EOPNOTSUPP, errno.ENOTTY, errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EBADF}
)
"""What the kernel says where two files cannot share blocks, or where it cannot copy by itself."""

_libc = ctypes.CDLL(None, use_errno=True)


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


def rename(source: int, name: str, target: int, new_name: str, flags: int) -> None:
    """renameat2(2): rename ``name`` in directory ``source`` to ``new_name`` in directory ``target``."""
    if _libc.renameat2(source, os.fsencode(name), target, os.fsencode(new_name), ctypes.c_uint(flags)):
        _raise(new_name)


def set_times(path: str, atime_ns: int | None, mtime_ns: int | None) -> None:
    """utimensat(2): set the times of a file; None leaves one as it is."""
    times = (_Timespec * 2)()
    for time, value_ns in zip(times, (atime_ns, mtime_ns), strict=True):
        time.seconds, time.nanoseconds = (
            (0, _UTIME_OMIT) if value_ns is None else divmod(value_ns, 1_000_000_000)
        )
    if _libc.utimensat(_AT_FDCWD, os.fsencode(path), times, 0):
        _raise(path)


def descriptor_path(descriptor: int) -> str:
    """A path of what a descriptor is, also of one that was opened with ``O_PATH``."""
    return f"/proc/self/fd/{descriptor}"


def link_descriptor(descriptor: int, directory: int, name: str) -> None:
    """Give the file that a descriptor is, which may have no name at all, the name ``directory/name``."""
    os.link(
        descriptor_path(descriptor), name,
        src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=True,
    )  # fmt: skip


def copy_descriptor(source: int, target: int) -> None:
    """Make ``target``, which is empty, hold what ``source`` holds, in the same blocks where possible."""
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
    else:
        return
    size_bytes = os.fstat(source).st_size
    done = 0
    with contextlib.suppress(_CannotCopy):
        while done < size_bytes:
            copied = _copy_range(source, target, done, size_bytes - done)
            if not copied:
                return  # it was cut while it was copied
            done += copied
        return
    while piece := os.pread(source, _PIECE_BYTES, done):
        write_whole(target, done, piece)
        done += len(piece)


def copy_file(source: LayerFile, target: int) -> None:
    """Make ``target``, which is empty, hold what an open file of any layer holds; zeros become holes."""
    if isinstance(source, LocalFile):
        copy_descriptor(source.fileno(), target)
        return
    done, size_bytes = 0, source.entry.size_bytes
    while done < size_bytes:
        piece = source.read(ByteRange(done, min(done + _PIECE_BYTES, size_bytes)))
        if not piece:
            break  # it was cut while it was copied
        if piece != _ZEROS:
            write_whole(target, done, piece)
        done += len(piece)
    os.ftruncate(target, done)


def write(descriptor: int, offset: int, data: bytes | memoryview) -> int:
    """Put ``data`` at ``offset``; less than all of it only where there is no more room."""
    done = os.pwrite(descriptor, data, offset)
    while done < len(data):
        try:
            done += os.pwrite(descriptor, memoryview(data)[done:], offset + done)
        except OSError:
            break  # whoever goes on writing is told
    return done


def write_whole(descriptor: int, offset: int, data: bytes | memoryview) -> None:
    """Put all of ``data`` at ``offset``, or raise."""
    done = 0
    while done < len(data):
        done += os.pwrite(descriptor, memoryview(data)[done:], offset + done)


class _CannotCopy(Exception):
    """The kernel does not copy between these two files."""


def _copy_range(source: int, target: int, offset: int, size_bytes: int) -> int:
    try:
        return os.copy_file_range(source, target, size_bytes, offset, offset)
    except OSError as error:
        if error.errno in _CANNOT:
            raise _CannotCopy from None
        raise


def _raise(path: str) -> None:
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number), path)

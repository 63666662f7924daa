"""System calls that Python's standard library does not have (or has only from 3.12 on), by libc."""

from __future__ import annotations

import ctypes
import os

_MS_REC = 0x4000
_MS_SLAVE = 1 << 19
_MNT_FORCE = 1
_MNT_DETACH = 2
_UMOUNT_NOFOLLOW = 8
_CLONE_NEWNS = 0x00020000
_CLONE_NEWUSER = 0x10000000
_PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)


def umount(mountpoint: str, *, lazy: bool, abort: bool = False) -> None:
    """umount2(2). It needs no answer of the file system that is mounted there.

    Args:
        mountpoint: Absolute path without symbolic links.
        lazy: Detach it now, let go of it when the last user has; else EBUSY while it is used.
        abort: End the FUSE connection first: whoever waits for an answer gets an error.

    Raises:
        OSError: EPERM for an ordinary user, EBUSY, EINVAL if it is not a mount point.
    """
    flags = _UMOUNT_NOFOLLOW | (_MNT_DETACH if lazy else 0) | (_MNT_FORCE if abort else 0)
    _check(_libc.umount2(os.fsencode(mountpoint), flags), mountpoint)


def end_with_parent(signal_number: int) -> None:
    """Have the kernel send ``signal_number`` to this process when its parent dies."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal_number), 0, 0, 0), "prctl")


def enter_mount_namespace() -> None:
    """Move this process, which has only one thread, into mounts of its own.

    An ordinary user needs a user namespace for that, in which user and group keep their numbers.
    Mounts made outside still appear inside (automounters), not the other way round.

    Raises:
        OSError: The system does not permit it; the process may then be of little use.
    """
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        _check(_libc.unshare(_CLONE_NEWNS), "unshare")
    else:
        _check(_libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNS), "unshare")
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"{uid} {uid} 1")
        _write("/proc/self/gid_map", f"{gid} {gid} 1")
    _check(_libc.mount(b"none", b"/", None, ctypes.c_ulong(_MS_REC | _MS_SLAVE), None), "/")


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _check(result: int, subject: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), subject)

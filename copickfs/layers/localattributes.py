"""Owner, mode, times and extended attributes of files on a local disk.

A target is a descriptor, or the path of one (`localcalls.descriptor_path`) that was opened with ``O_PATH``.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING

from copickfs.layers import localcalls

if TYPE_CHECKING:
    from copickfs.layers.writable import Change, Owner

USER_PREFIX = "user."
OWN_PREFIX = "user.copickfs."
"""Names that the mount answers for itself: never stored, never shown."""

_ACCESS_ACL = "system.posix_acl_access"
_DEFAULT_ACL = "system.posix_acl_default"


def give(target: int | str, directory: int, parent: os.stat_result, mode: int | None, owner: Owner) -> None:
    """Make something new in ``directory``, which is ``parent``, the caller's, with the caller's mode.

    A symbolic link has no mode of its own: None. Only root can give anything away. A default access
    control list of the directory has decided the mode; elsewhere this process's umask must not.
    """
    status = os.stat(target)
    inherits = bool(parent.st_mode & stat.S_ISGID)
    gid = parent.st_gid if inherits else owner.gid
    if os.geteuid() == 0 and (status.st_uid, status.st_gid) != (owner.uid, gid):
        _chown(target, owner.uid, gid)
    elif inherits and status.st_gid != gid:
        _chown(target, -1, gid)  # made elsewhere
    if mode is None:
        return
    mode = stat.S_IMODE(mode)
    if inherits and stat.S_ISDIR(status.st_mode):
        mode |= stat.S_ISGID
    if stat.S_IMODE(os.stat(target).st_mode) != mode and not _has_default_acl(directory):
        os.chmod(target, mode)


def imitate(descriptor: int, model: int) -> None:
    """Give a file the owner, mode and extended attributes of another, as far as we may."""
    status, wanted = os.fstat(descriptor), os.fstat(model)
    if status.st_uid != wanted.st_uid:
        _chown(descriptor, wanted.st_uid, -1)
    if status.st_gid != wanted.st_gid:
        _chown(descriptor, -1, wanted.st_gid)
    present, names = _xattr_names(descriptor), _xattr_names(model)
    for name in present - names:
        with contextlib.suppress(OSError):
            os.removexattr(descriptor, name)
    for name in names:
        with contextlib.suppress(PermissionError):
            os.setxattr(descriptor, name, os.getxattr(model, name))
    if os.fstat(descriptor).st_mode != wanted.st_mode:
        os.chmod(descriptor, stat.S_IMODE(wanted.st_mode))


def apply(target: int | str, change: Change) -> None:
    """Change attributes. The mode comes after the owner, which takes the setuid and setgid bits away."""
    if change.uid is not None or change.gid is not None:
        os.chown(
            target,
            -1 if change.uid is None else change.uid,
            -1 if change.gid is None else change.gid,
        )
    if change.mode is not None:
        os.chmod(target, stat.S_IMODE(change.mode))
    if change.atime_ns is not None or change.mtime_ns is not None:
        path = localcalls.descriptor_path(target) if isinstance(target, int) else target
        localcalls.set_times(path, change.atime_ns, change.mtime_ns)


def get_xattr(target: str, name: str) -> bytes:
    """One extended attribute. Raises ENODATA for those that are not the user's."""
    if not _is_users(name):
        raise OSError(errno.ENODATA, os.strerror(errno.ENODATA), name)
    try:
        return os.getxattr(target, name)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EPERM):  # no such attributes here at all
            raise OSError(errno.ENODATA, os.strerror(errno.ENODATA), name) from None
        raise


def list_xattrs(target: str) -> list[str]:
    """The names of the extended attributes that are the user's."""
    try:
        return [name for name in os.listxattr(target) if _is_users(name)]
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            return []
        raise


def check_xattr(name: str) -> None:
    """Raise `OSError` if an attribute of this name is never stored."""
    if name.startswith(OWN_PREFIX):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), name)
    if not name.startswith(USER_PREFIX):
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP), name)


def _is_users(name: str) -> bool:
    return name.startswith(USER_PREFIX) and not name.startswith(OWN_PREFIX)


def _xattr_names(descriptor: int) -> set[str]:
    try:
        names = os.listxattr(descriptor)
    except OSError:
        return set()
    return {name for name in names if name.startswith(USER_PREFIX) or name == _ACCESS_ACL}


def _has_default_acl(directory: int) -> bool:
    try:
        os.getxattr(localcalls.descriptor_path(directory), _DEFAULT_ACL)
    except OSError:
        return False
    return True


def _chown(target: int | str, uid: int, gid: int) -> None:
    """Change the owner where we may: a source that keeps no owners forgets them."""
    with contextlib.suppress(PermissionError):
        os.chown(target, uid, gid)

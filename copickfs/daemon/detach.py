"""Taking a mount out of the tree, without a call that its daemon would have to answer."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
from pathlib import Path

from copickfs.daemon import kernel
from copickfs.daemon.mounts import mounts_at
from copickfs.errors import MountError

_LIMIT_S = 20.0


class Busy(MountError):
    """The mount is in use."""


def detach(mountpoint: str, *, lazy: bool = True, abort: bool = False) -> None:
    """Unmount what is on top at ``mountpoint``.

    Args:
        mountpoint: Absolute path without symbolic links.
        lazy: Take it out of the tree even if it is in use.
        abort: End the connection, too, as far as this user may: a daemon that waits for itself
            cannot even be killed before that.

    Raises:
        Busy: It is in use, and ``lazy`` is False.
        MountError: It cannot be unmounted.
    """
    try:
        kernel.umount(mountpoint, lazy=lazy, abort=abort)
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise Busy(f"{mountpoint}: is in use") from None
        if error.errno != errno.EPERM:
            raise MountError(f"{mountpoint}: cannot be unmounted: {error.strerror}") from None
        if abort:
            _abort_as_user(mountpoint)
        _detach_as_user(mountpoint, lazy=lazy)


def _abort_as_user(mountpoint: str) -> None:
    """The owner of a mount may end its connection where fusectl is mounted, as systemd does it."""
    connection = mounts_at(mountpoint)[-1].device.partition(":")[2]
    with contextlib.suppress(OSError):
        Path(f"/sys/fs/fuse/connections/{connection}/abort").write_text("1", encoding="ascii")


def _detach_as_user(mountpoint: str, *, lazy: bool) -> None:
    """An ordinary user unmounts by fusermount3, which is setuid root and checks whose mount it is."""
    command = ["fusermount3", "-u", *(["-z"] if lazy else []), "--", mountpoint]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=_LIMIT_S,
            text=True, errors="replace", env={**os.environ, "LC_ALL": "C"},
        )  # fmt: skip
    except FileNotFoundError:
        raise MountError(
            "fusermount3 is not on PATH: install the package fuse3 (apt install fuse3)"
        ) from None
    except subprocess.TimeoutExpired:
        raise MountError(f"{mountpoint}: fusermount3 did not end within {_LIMIT_S:.0f} s") from None
    if done.returncode == 0:
        return
    message = done.stderr.strip().rpartition("\n")[2]
    if "resource busy" in message:
        raise Busy(f"{mountpoint}: is in use")
    raise MountError(f"{mountpoint}: cannot be unmounted: {message or 'fusermount3 failed'}")

"""Unmounting, also where the daemon is dead or stuck. No call here waits for the mount itself."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, Any

from copickfs.daemon import registry
from copickfs.daemon.detach import Busy, detach
from copickfs.daemon.finding import find_daemon, find_mount
from copickfs.daemon.mounts import mounts_at, resolve
from copickfs.daemon.probe import State, ask
from copickfs.daemon.process import users_of
from copickfs.daemon.questions import Farewell
from copickfs.errors import MountError

if TYPE_CHECKING:
    from pathlib import Path

    from copickfs.daemon.mounts import Mount
    from copickfs.daemon.process import Process

DEFAULT_LIMIT_S = 30.0
_TERMINATION_LIMIT_S = 3.0
_SHOWN_PROCESSES = 8
_LETTING_GO_S = 2.0
_POLL_S = 0.05


def unmount(
    path: str | Path, *, force: bool = False, limit_s: float = DEFAULT_LIMIT_S
) -> dict[str, dict[str, Any]]:
    """Unmount and wait until the daemon has ended.

    Args:
        path: The mount point, as the user wrote it.
        force: Detach the mount even if it is in use or its daemon is stuck, and end the daemon.
        limit_s: How long to wait for the daemon.

    Returns:
        For each layer that was not sent everything, what is kept for the next mount: see
        `copickfs.daemon.pending`. Empty also where the daemon could not say.

    Raises:
        MountError: It is no mount of copickfs, it is in use, or the daemon has not ended.
    """
    mountpoint = resolve(str(path))
    mount = find_mount(mountpoint)
    daemon = find_daemon(mount)
    with Farewell(registry.find(mountpoint)) as farewell:
        if force:
            _unmount_by_force(mount, daemon, limit_s)
        elif daemon is None:
            detach(mountpoint)  # nobody is there who could still answer
        else:
            _unmount_in_order(mountpoint, daemon, limit_s)
        _remove_dead_below(mountpoint)
        return farewell.pending()


def _unmount_in_order(mountpoint: str, daemon: Process, limit_s: float) -> None:
    _detach_unused(mountpoint)
    if not daemon.wait(limit_s):
        raise MountError(
            f"{mountpoint}: is unmounted, but its daemon {daemon.pid} has not ended within {limit_s:g} s; "
            f"end it with: kill -9 {daemon.pid}"
        )


def _detach_unused(mountpoint: str) -> None:
    """Detach a mount that nobody uses. What has just ended holds on to it for a moment more."""
    deadline_s = time.monotonic() + _LETTING_GO_S
    while True:
        try:
            return detach(mountpoint, lazy=False)
        except Busy:
            users = users_of(mountpoint)
            if not users and time.monotonic() < deadline_s:
                time.sleep(_POLL_S)
                continue
        shown = ", ".join(users[:_SHOWN_PROCESSES]) + (", ..." if len(users) > _SHOWN_PROCESSES else "")
        raise MountError(
            f"{mountpoint}: is in use by {shown or 'processes that this user cannot see'}; "
            "end them first, or detach it with --force"
        )


def _unmount_by_force(mount: Mount, daemon: Process | None, limit_s: float) -> None:
    try:
        if daemon is not None:
            daemon.send(signal.SIGTERM)
            daemon.send(signal.SIGCONT)  # a stopped process would not hear it
            daemon.wait(min(limit_s, _TERMINATION_LIMIT_S))
        if mount in mounts_at(mount.mountpoint):
            detach(mount.mountpoint, abort=True)
        if daemon is not None:
            daemon.send(signal.SIGKILL)
    except PermissionError:
        raise MountError(f"{mount.mountpoint}: its daemon is another user's") from None
    if daemon is not None and not daemon.wait(limit_s):
        raise MountError(f"{mount.mountpoint}: is detached, but its daemon {daemon.pid} cannot be ended")


def _remove_dead_below(mountpoint: str) -> None:
    """What a killed daemon left under a later mount would now come to light."""
    while (stack := mounts_at(mountpoint)) and stack[-1].is_copickfs:
        if registry.find(mountpoint) is not None or ask(mountpoint).state is not State.DEAD:
            return
        detach(mountpoint)

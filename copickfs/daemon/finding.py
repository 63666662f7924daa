"""From a mount point to its mount and its daemon. No call here waits for the mount itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from copickfs.daemon import registry
from copickfs.daemon.mounts import mount_above, mounts_at
from copickfs.daemon.probe import State, ask
from copickfs.daemon.process import Process
from copickfs.errors import MountError

if TYPE_CHECKING:
    from copickfs.daemon.mounts import Mount


def find_mount(mountpoint: str) -> Mount:
    """The mount of copickfs on top at ``mountpoint``.

    Raises:
        MountError: There is none; says what is there instead.
    """
    stack = mounts_at(mountpoint)
    if stack and stack[-1].is_copickfs:
        return stack[-1]
    if stack:
        raise MountError(f"{mountpoint}: is a mount of kind {stack[-1].kind}, not of copickfs")
    above = mount_above(mountpoint)
    if above is not None:
        raise MountError(f"{mountpoint}: is not a mount point, but lies inside of {above.mountpoint}")
    for record in registry.living():
        if record.mountpoint == mountpoint:
            raise MountError(
                f"{mountpoint}: is mounted for a running 'copickfs run' only (daemon {record.process.pid}); "
                "it ends with its command"
            )
    raise MountError(f"{mountpoint}: is not mounted")


def find_daemon(mount: Mount) -> Process | None:
    """The living daemon of a mount: by its state file, else by asking the mount.

    A process of another user than who mounted is not believed to be it: what a mount says of itself
    must not make root end just any process.
    """
    record = registry.find(mount.mountpoint)
    if record is not None:
        return record.process
    answer = ask(mount.mountpoint)
    if answer.state is State.DEAD or "pid" not in answer.document:
        return None
    try:
        process = Process.of(int(answer.document["pid"]))
    except (ProcessLookupError, ValueError, TypeError):
        return None
    return process if process.user_id() == mount.user_id else None

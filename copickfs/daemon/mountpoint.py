"""Is this a place to mount on? Cleans what a killed daemon left there."""

from __future__ import annotations

import os
import shutil
import stat
from typing import TYPE_CHECKING, Any

from copickfs.daemon import registry
from copickfs.daemon.detach import detach
from copickfs.daemon.mounts import is_within, mounts_at, resolve
from copickfs.daemon.probe import State, ask
from copickfs.errors import MountError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from copickfs.daemon.mounts import Mount

_FUSE_DEVICE = "/dev/fuse"
_FUSE_CONF = "/etc/fuse.conf"
_SHOWN_NAMES = 3


def prepare_mountpoint(path: str | Path, config: Any) -> str:
    """Check that ``path`` can be mounted on; stale mounts of copickfs are removed from it first.

    Args:
        path: As the user wrote it.
        config: The configuration: none of its layers may meet the mount point.

    Returns:
        The absolute path without symbolic links.

    Raises:
        MountError: It cannot, and why.
    """
    mountpoint = resolve(os.fspath(path))
    clean_stale_mounts(mountpoint)
    _require_empty_directory(mountpoint)
    require_apart(mountpoint, config)
    return mountpoint


def require_apart(mountpoint: str, config: Any) -> None:
    """Check that no layer meets the mount point.

    Args:
        mountpoint: Absolute path without symbolic links.
        config: The configuration.

    Raises:
        MountError: The root of a layer is it, lies in it, or contains it.
    """
    for key, root in _local_roots(config):
        if is_within(mountpoint, root) or is_within(root, mountpoint):
            raise MountError(
                f"{mountpoint}: the layer root {root} ({key}) and the mount point would contain each other; "
                "mount somewhere else"
            )


def clean_stale_mounts(mountpoint: str) -> None:
    """Remove dead mounts of copickfs from ``mountpoint``, however many are stacked there.

    Raises:
        MountError: A living one is there, or it cannot be removed.
    """
    while stack := mounts_at(mountpoint):
        top = stack[-1]
        if not top.is_copickfs:
            _require_alive(mountpoint, top)
            return
        record = registry.find(mountpoint)
        if record is not None:
            raise MountError(
                f"{mountpoint}: already mounted by process {record.process.pid} ({record.configuration}); "
                f"unmount it with: copickfs umount {mountpoint}"
            )
        state = ask(mountpoint).state
        if state is State.SILENT:
            raise MountError(
                f"{mountpoint}: a copickfs mount is there that does not answer; "
                f"remove it with: copickfs umount --force {mountpoint}"
            )
        if state is not State.DEAD:
            raise MountError(f"{mountpoint}: already mounted (from {top.source})")
        detach(mountpoint)


def require_fuse(*, allow_other: bool) -> None:
    """Check what a mount needs of the machine.

    Raises:
        MountError: Something is missing, and how to get it.
    """
    if not os.path.exists(_FUSE_DEVICE):  # noqa: PTH110
        raise MountError(
            f"{_FUSE_DEVICE} is missing: load the kernel module with 'modprobe fuse'; "
            "a container needs '--device /dev/fuse --cap-add SYS_ADMIN'"
        )
    if not os.access(_FUSE_DEVICE, os.R_OK | os.W_OK):
        raise MountError(
            f"{_FUSE_DEVICE} may not be opened by this user: ask the administrator for its mode to be 666"
        )
    if os.geteuid() == 0:
        return
    if shutil.which("fusermount3") is None:
        raise MountError("fusermount3 is not on PATH: install the package fuse3 (apt install fuse3)")
    if allow_other and "user_allow_other" not in _configuration_lines():
        raise MountError(
            "allow_other is not permitted to this user: "
            f"ask the administrator to add the line 'user_allow_other' to {_FUSE_CONF}"
        )


def _require_empty_directory(mountpoint: str) -> None:
    try:
        if not stat.S_ISDIR(os.stat(mountpoint).st_mode):  # noqa: PTH116
            raise MountError(f"{mountpoint}: the mount point is not a directory")
        names = sorted(os.listdir(mountpoint))  # noqa: PTH208
        if not os.access(mountpoint, os.W_OK):  # fusermount3 asks for it
            raise MountError(f"{mountpoint}: this user must be able to write to the mount point")
    except FileNotFoundError:
        raise MountError(
            f"{mountpoint}: the mount point does not exist; make it with: mkdir -p {mountpoint}"
        ) from None
    except OSError as error:
        raise MountError(f"{mountpoint}: the mount point cannot be used: {error.strerror}") from None
    if names:
        shown = ", ".join(names[:_SHOWN_NAMES]) + (", ..." if len(names) > _SHOWN_NAMES else "")
        raise MountError(
            f"{mountpoint}: the mount point is not empty and a mount would hide what is in it ({shown}); "
            "use an empty directory"
        )


def _require_alive(mountpoint: str, mount: Mount) -> None:
    """A dead mount of another FUSE program fails any call on it; say so instead."""
    if not mount.kind.startswith("fuse"):
        return
    state = ask(mountpoint).state
    if state in (State.DEAD, State.SILENT):
        raise MountError(
            f"{mountpoint}: a dead mount of another program ({mount.kind}) is there; "
            f"remove it with: fusermount3 -u -z {mountpoint}"
        )


def _local_roots(config: Any) -> Iterator[tuple[str, str]]:
    for name in config.layers:
        root = getattr(config.layer_configs[name], "root", None)
        if isinstance(root, str) and os.path.isabs(root):  # noqa: PTH117 -- URLs are not absolute paths
            yield f"layer_configs.{name}.root", resolve(root)


def _configuration_lines() -> list[str]:
    try:
        with open(_FUSE_CONF, encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            return [line.strip() for line in file]
    except OSError:
        return []

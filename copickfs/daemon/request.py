"""What a daemon is asked to do."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from copickfs.daemon.mountpoint import prepare_mountpoint, require_fuse
from copickfs.daemon.userdirs import default_log_file

if TYPE_CHECKING:
    from pathlib import Path

    from copickfs.daemon.options import MountOptions


@dataclasses.dataclass(frozen=True, slots=True)
class MountRequest:
    """A mount that has been checked and can be made.

    Attributes:
        config: The configuration, a `MultilayerConfig`.
        config_file: Its absolute path.
        mountpoint: Absolute path without symbolic links.
        options: How to mount.
        log_file: Where the daemon logs; None for standard error.
        private: The mount is in a mount namespace of its own.
        made_directories: Directories made for the mount point, the innermost first, to be removed
            when it ends.
        directory_lock: Descriptor of the mount point's directory with a shared lock on it, held
            while it must not be removed; None if it stays in any case.
    """

    config: Any
    config_file: str
    mountpoint: str
    options: MountOptions
    log_file: Path | None
    private: bool = False
    made_directories: tuple[str, ...] = ()
    directory_lock: int | None = None


def check_request(config: Any, config_file: str, mountpoint: str, options: MountOptions) -> MountRequest:
    """Check all that can be checked before a daemon exists, and clean a stale mount point.

    Raises:
        MountError: The mount cannot be made, and why.
    """
    require_fuse(allow_other=options.allow_other)
    resolved = prepare_mountpoint(mountpoint, config)
    log_file = options.log_file
    if log_file is None and not options.foreground:
        log_file = default_log_file(resolved)
    return MountRequest(config, config_file, resolved, options, log_file)

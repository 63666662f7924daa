"""The options of a mount, as flags of the command line and as ``-o`` of mount(8) and fstab pass them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from copickfs.errors import MountError

LOG_LEVELS = ("debug", "info", "warning", "error")

_FLAGS = {
    "ro": ("read_only", True),
    "rw": ("read_only", False),
    "allow_other": ("allow_other", True),
    "degraded": ("degraded", True),
    "offline": ("offline", True),
    "foreground": ("foreground", True),
    "debug": ("debug", True),
    "noexec": ("no_exec", True),
    "exec": ("no_exec", False),
}
_VALUES = ("log_file", "log_level")
# What mount(8), systemd and fstab put there for themselves, what copickfs does in any case
# (default_permissions, nosuid, nodev), and what has no bearing on a tree of data files.
_IGNORED = frozenset(
    {
        "defaults", "auto", "noauto", "nofail", "user", "nouser", "users", "owner", "group", "_netdev",
        "default_permissions", "suid", "nosuid", "dev", "nodev", "async", "sync", "atime",
        "noatime", "relatime", "norelatime", "strictatime", "nostrictatime", "diratime", "nodiratime",
        "lazytime", "nolazytime", "dirsync", "iversion", "noiversion", "mand", "nomand", "silent", "loud",
        "symfollow", "nosymfollow",
    }
)  # fmt: skip
_IGNORED_PREFIXES = ("x-", "X-", "comment=", "user=", "helper=", "uhelper=", "subtype=", "fsname=")


@dataclasses.dataclass(frozen=True, slots=True)
class MountOptions:
    """How to mount.

    Attributes:
        read_only: Refuse all writes. False leaves it to the layers.
        allow_other: Serve other users, too.
        degraded: Mount although a layer is out of reach.
        offline: Reach for nothing on a network.
        foreground: Do not go to the background.
        debug: Log every FUSE request to standard error, which only a daemon in the foreground has.
        no_exec: Nothing in the mount may be executed.
        log_file: Where to log; None for the default.
        log_level: One of `LOG_LEVELS`.
    """

    read_only: bool = False
    allow_other: bool = False
    degraded: bool = False
    offline: bool = False
    foreground: bool = False
    debug: bool = False
    no_exec: bool = False
    log_file: Path | None = None
    log_level: str = "info"


def parse_options(texts: tuple[str, ...], *, sloppy: bool = False) -> dict[str, object]:
    """Fields of `MountOptions` from ``-o`` arguments; of contradicting ones the last counts.

    Args:
        texts: Each a comma-separated list.
        sloppy: Pass over unknown options, as ``mount -s`` asks for.

    Raises:
        MountError: An option is not known, or its value is none.
    """
    fields: dict[str, object] = {}
    for option in (option for text in texts for option in text.split(",") if option):
        name, has_value, value = option.partition("=")
        if name in _FLAGS and not has_value:
            key, flag = _FLAGS[name]
            fields[key] = flag
        elif name in _VALUES and value:
            fields[name] = Path(value).absolute() if name == "log_file" else check_level(value)
        elif not sloppy and option not in _IGNORED and not option.startswith(_IGNORED_PREFIXES):
            known = ", ".join([*_FLAGS, *(f"{value}=" for value in _VALUES)])
            raise MountError(f"unknown mount option {option!r}; known are {known}")
    return fields


def check_level(level: str) -> str:
    """``level`` in lower case. Raises `MountError` if it is not one of `LOG_LEVELS`."""
    if level.lower() not in LOG_LEVELS:
        raise MountError(f"log_level {level!r} is not one of {', '.join(LOG_LEVELS)}")
    return level.lower()

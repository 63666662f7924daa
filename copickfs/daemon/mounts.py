"""The kernel's table of mounts, read without touching any mount.

A system call on the mount point of a stuck daemon can wait for ever and cannot be killed, so everything
here works on ``/proc/self/mountinfo`` and on path names alone.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import NamedTuple

from copickfs.layers.mounts import unescape

FILESYSTEM_TYPE = "fuse.copickfs"
_MAX_LINKS = 40  # as in the kernel's path walk


class Mount(NamedTuple):
    """One line of mountinfo, unescaped.

    Attributes:
        device: ``major:minor`` of ``st_dev``; for FUSE the minor number is that of the connection.
        mountpoint: Absolute path.
        kind: File system type, such as ``fuse.copickfs``.
        source: What was mounted: for copickfs the configuration's path.
        super_options: Options of the file system, such as ``user_id=1000``.
    """

    device: str
    mountpoint: str
    kind: str
    source: str
    super_options: tuple[str, ...]

    @property
    def is_copickfs(self) -> bool:
        """True for a mount of ours, alive or dead."""
        return self.kind == FILESYSTEM_TYPE

    @property
    def user_id(self) -> int | None:
        """The user who mounted a FUSE file system; None for other kinds."""
        for option in self.super_options:
            if option.startswith("user_id="):
                return int(option.removeprefix("user_id="))
        return None


def mounts() -> list[Mount]:
    """Every mount this process can see; of several on one path the last one is on top."""
    table = Path("/proc/self/mountinfo").read_bytes().decode(errors="surrogateescape")
    return [parse_line(line) for line in table.split("\n") if line]


def parse_line(line: str) -> Mount:
    """One line of mountinfo: see proc(5)."""
    before, _, after = line.partition(" - ")
    fields = before.split(" ")
    kind, source, super_options = [*after.split(" "), "", ""][:3]
    return Mount(fields[2], unescape(fields[4]), kind, unescape(source), tuple(super_options.split(",")))


def mounts_at(mountpoint: str) -> list[Mount]:
    """The mounts on exactly this path, the one on top last."""
    return [mount for mount in mounts() if mount.mountpoint == mountpoint]


def mount_above(path: str) -> Mount | None:
    """The copickfs mount that ``path`` is, or lies in."""
    above = [mount for mount in mounts() if mount.is_copickfs and is_within(path, mount.mountpoint)]
    return max(above, key=lambda mount: len(mount.mountpoint), default=None)


def is_within(path: str, directory: str) -> bool:
    """True if ``path`` is ``directory`` or lies below it; both absolute and without symbolic links."""
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def resolve(path: str) -> str:
    """The absolute path without symbolic links, found without a system call on any copickfs mount.

    Components below a mount of copickfs are taken as they are.

    Raises:
        OSError: ELOOP, too many symbolic links.
    """
    ours = {mount.mountpoint for mount in mounts() if mount.is_copickfs}
    pending = os.path.join(os.getcwd(), path).split("/")[::-1]  # noqa: PTH109, PTH118 -- no ".." may be folded
    current, inside, links = "/", False, 0
    while pending:
        name = pending.pop()
        if name in ("", "."):
            continue
        if name == "..":
            current = os.path.dirname(current)  # noqa: PTH120 -- lexical on purpose
            inside = any(is_within(current, point) for point in ours)
            continue
        candidate = current.rstrip("/") + "/" + name
        inside = inside or candidate in ours
        target = None if inside else _link_text(candidate)
        if target is None:
            current = candidate
            continue
        links += 1
        if links > _MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        pending.extend(target.split("/")[::-1])
        current = "/" if target.startswith("/") else current
    return current


def _link_text(path: str) -> str | None:
    try:
        return os.readlink(path)  # noqa: PTH115 -- keeps surrogate escapes and trailing dots as they are
    except OSError:  # not a link, or not there: the caller will find out
        return None

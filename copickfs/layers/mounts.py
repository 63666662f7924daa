"""What kind of file system a local path lies on: may a call make its caller wait for a network?"""

from __future__ import annotations

import os
import re

_NETWORK_TYPES = frozenset(
    {
        "9p", "afs", "beegfs", "ceph", "cifs", "coda", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs",
        "nfs4", "ocfs2", "orangefs", "panfs", "pvfs2", "smb3", "smbfs", "virtiofs", "wekafs", "autofs",
    }
)  # fmt: skip
_MEMORY_TYPES = frozenset({"tmpfs", "ramfs", "devtmpfs"})
_ESCAPE = re.compile(r"\\([0-7]{3})")


def unescape(field: str) -> str:
    """A field of mountinfo with its octal escapes undone (proc(5))."""
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), field)


def type_of_device(device: int) -> str:
    """File system type of the mounted device ``st_dev``; ``""`` if it is not in the mount table.

    The mount table is read, not the path, so that a hung server cannot hang the question.
    """
    wanted = f"{os.major(device)}:{os.minor(device)}"
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
        for line in table:
            fields = line.split(" ")
            if fields[2] == wanted:
                return fields[fields.index("-") + 1]
    return ""


def is_network(fs_type: str) -> bool:
    """True if calls may wait for another machine or for a user-space daemon."""
    return fs_type in _NETWORK_TYPES or fs_type == "fuse" or fs_type.startswith("fuse.")


def is_memory(fs_type: str) -> bool:
    """True if no call ever waits for a disk."""
    return fs_type in _MEMORY_TYPES

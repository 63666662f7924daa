"""Who writes: what the kernel says of the processes that have files open for writing."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

_EXITING = 0x4
"""PF_EXITING of ``include/linux/sched.h``."""

_FLAGS, _EXIT_CODE = 6, 49
"""Positions in ``/proc/PID/stat`` after the name: fields 9 and 52 of proc(5)."""

_SIGNAL = 0x7F


def process_of(thread: int) -> int:
    """The process that a thread belongs to; 0 if it is gone or cannot be seen from here."""
    try:
        status = Path(f"/proc/{thread}/status").read_bytes()
    except OSError:
        return 0
    return int(status.partition(b"\nTgid:")[2].split(None, 1)[0])


def was_killed(process: int) -> bool:
    """True if a process is ending by a signal, so that its files are closed by the kernel.

    What it was writing is then not what it meant to leave behind. A process that ends by itself has
    its files closed by the kernel as well, and means it.
    """
    try:
        text = Path(f"/proc/{process}/stat").read_bytes()
    except OSError:
        return False
    fields = text.rpartition(b")")[2].split()
    return bool(int(fields[_FLAGS]) & _EXITING and int(fields[_EXIT_CODE]) & _SIGNAL)


def still_writes(process: int, number: int, name: bytes) -> bool:
    """True if a process has a descriptor left by which it writes an inode of this mount.

    The kernel sends a FLUSH for every descriptor that is closed, also when a child closes what it
    has inherited, which subprocesses of Python do first of all, or a shell what it had duplicated.

    Args:
        process: Whose descriptors are looked at; 0 has none.
        number: The inode.
        name: The last component of its path.
    """
    directory = b"/proc/%d/fd/" % process
    try:
        descriptors = os.listdir(directory) if process else []  # noqa: PTH208 -- for every file closed
    except OSError:
        return False
    ends = (b"/" + name, b"/" + name + b" (deleted)")
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            path = os.readlink(directory + descriptor)  # noqa: PTH115
            if path.endswith(ends) and _writes(process, int(descriptor), number):
                return True
    return False


def _writes(process: int, descriptor: int, number: int) -> bool:
    fields = dict(
        line.split(":", 1)
        for line in Path(f"/proc/{process}/fdinfo/{descriptor}").read_text().splitlines()
        if ":" in line
    )
    if int(fields["flags"], 8) & os.O_ACCMODE == os.O_RDONLY:
        return False
    return int(fields.get("ino", number)) == number  # Linux 5.14 and newer say which inode it is

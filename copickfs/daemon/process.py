"""Processes, named by id and start time so that a reused id is never taken for the process it was."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from pathlib import Path
from typing import NamedTuple

from copickfs.daemon.mounts import is_within

_START_TICKS = 19  # starttime in stat_fields()


class Process(NamedTuple):
    """A process of this machine.

    Attributes:
        pid: Process id.
        start_ticks: Start time in clock ticks since the machine's boot.
    """

    pid: int
    start_ticks: int

    @classmethod
    def of(cls, pid: int) -> Process:
        """The process that has the id ``pid`` now. Raises ProcessLookupError if there is none."""
        stat = stat_fields(pid)
        if stat is None:
            raise ProcessLookupError(pid)
        return cls(pid, int(stat[_START_TICKS]))

    def alive(self) -> bool:
        """True until the process ends, whether or not its parent has taken note of the end."""
        stat = stat_fields(self.pid)
        return stat is not None and int(stat[_START_TICKS]) == self.start_ticks and stat[0] not in ("Z", "X")

    def user_id(self) -> int | None:
        """The user it runs as; None if it has ended."""
        try:
            lines = Path(f"/proc/{self.pid}/status").read_text(errors="replace").splitlines()
        except (FileNotFoundError, ProcessLookupError):
            return None
        (numbers,) = [line for line in lines if line.startswith("Uid:")]
        return int(numbers.split()[1])

    def send(self, signal_number: int) -> None:
        """Send a signal, if the process is still there.

        Raises:
            PermissionError: It belongs to another user.
        """
        descriptor = self._open()
        if descriptor is None:
            return
        try:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, signal_number)
        finally:
            os.close(descriptor)

    def wait(self, limit_s: float) -> bool:
        """Wait until the process has ended; False if it has not after ``limit_s`` seconds."""
        descriptor = self._open()
        if descriptor is None:
            return True
        try:
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            return bool(poll.poll(max(0, int(limit_s * 1000))))
        finally:
            os.close(descriptor)

    def _open(self) -> int | None:
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return None
        if self.alive():  # checked after opening: from here on the id cannot change hands
            return descriptor
        os.close(descriptor)
        return None


def stat_fields(pid: int) -> list[str] | None:
    """Fields of ``/proc/PID/stat`` from the third one (the state) on; None if there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(b")")[2].decode().split()


def users_of(mountpoint: str) -> list[str]:
    """Processes that keep ``mountpoint`` busy, as ``name (pid)``; only those this user may look into."""
    found = []
    for name in os.listdir("/proc"):  # noqa: PTH208 -- only the names are wanted
        if name.isdigit() and int(name) != os.getpid() and _uses(int(name), mountpoint):
            with contextlib.suppress(OSError):
                command = Path(f"/proc/{name}/comm").read_text(errors="replace").strip()
                found.append(f"{command} ({name})")
    return found


def _uses(pid: int, mountpoint: str) -> bool:
    """Looks at names that the kernel keeps; no file of the mount is touched."""
    directory = f"/proc/{pid}"
    with contextlib.suppress(OSError):
        links = [f"{directory}/cwd", f"{directory}/root"]
        links += [f"{directory}/fd/{descriptor}" for descriptor in os.listdir(f"{directory}/fd")]  # noqa: PTH208
        for link in links:
            with contextlib.suppress(OSError):
                if is_within(os.readlink(link), mountpoint):  # noqa: PTH115 -- the text is no path to follow
                    return True
        stat = stat_fields(pid)
        if stat is None or stat[0] == "D":  # the maps of a process that waits in the kernel may be locked
            return False
        with open(f"{directory}/maps", "rb") as maps:  # noqa: PTH123
            wanted = os.fsencode(mountpoint)
            return any(
                is_within(os.fsdecode(fields[5].rstrip(b"\n")), mountpoint)
                for fields in (line.split(None, 5) for line in maps if wanted in line)
                if len(fields) == 6  # noqa: PLR2004 -- a line with a path: see proc(5)
            )
    return False

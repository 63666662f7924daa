"""The state files of running daemons: who serves which mount point.

One small JSON file for each daemon, written before it mounts and removed when it ends, and beside it the
socket by which the daemon's user asks it for something (`copickfs.daemon.channel`). What a killed daemon
leaves behind is told from the living by process id and start time, and removed by whoever finds it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import stat
from typing import TYPE_CHECKING, Any, Self

from copickfs.daemon.process import Process
from copickfs.daemon.userdirs import own_runtime_directories, runtime_directories, runtime_directory

if TYPE_CHECKING:
    from pathlib import Path

_MAX_FILE_CHARACTERS = 100_000
_SOCKET_SUFFIX = ".sock"


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    """What the state file of one daemon says.

    Attributes:
        process: The daemon.
        mountpoint: Absolute path without symbolic links.
        configuration: Path of the configuration file.
        log_file: Where it logs; None if to standard error.
        started_s: Start of the daemon, in seconds since the epoch.
        private: True if the mount is in a mount namespace of its own, where only
            ``copickfs run`` and its command see it.
        uid: The user it runs as.
        socket: Its socket: beside the state file, wherever that was found.
    """

    process: Process
    mountpoint: str
    configuration: str
    log_file: str | None
    started_s: float
    private: bool
    uid: int
    socket: str = ""

    def visible(self) -> bool:
        """True if this process has the same mounts as the daemon, so that the mount point is the same."""
        try:
            return os.readlink("/proc/self/ns/mnt") == os.readlink(f"/proc/{self.process.pid}/ns/mnt")  # noqa: PTH115
        except OSError:  # another user's process: private mounts are shown to their owner only
            return not self.private

    def to_json(self) -> str:
        """The contents of the state file."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Parse a state file. Raises ValueError, TypeError or KeyError if it is none."""
        fields: dict[str, Any] = json.loads(text)
        return cls(**{**fields, "process": Process(*fields["process"])})


class Registration:
    """This daemon's own state file.

    Args:
        record: What to write.

    Attributes:
        socket: Where its socket belongs.
    """

    def __init__(self, record: Record) -> None:
        self._file = runtime_directory() / f"{record.process.pid}.json"
        self.socket = self._file.with_suffix(_SOCKET_SUFFIX)
        temporary = self._file.with_name(f".{self._file.name}.new")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(record.to_json())
        temporary.replace(self._file)

    def remove(self) -> None:
        """Remove the file and the socket. Idempotent, never raises."""
        _remove(self._file)


def living() -> list[Record]:
    """The records of running daemons; this user's records of dead ones are removed on the way."""
    records = []
    own = own_runtime_directories()
    for directory in runtime_directories():
        for file in sorted(directory.glob("*.json")):
            if not file.stem.isdigit():
                continue
            record = _read(file)
            if record is not None:
                records.append(record)
            elif directory in own:
                _remove(file)
    return records


def find(mountpoint: str) -> Record | None:
    """The running daemon that serves ``mountpoint`` as this process sees it."""
    found = [record for record in living() if record.mountpoint == mountpoint and record.visible()]
    return max(found, key=lambda record: record.started_s, default=None)


def _read(file: Path) -> Record | None:
    """The record of a running daemon; None if there is none any more.

    Root reads files of other users: nothing is followed, nothing waited for, and a file speaks only for
    a process of its own owner.
    """
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, encoding="utf-8", errors="surrogateescape") as opened:  # noqa: PTH123
            status = os.fstat(descriptor)
            record = (
                Record.from_json(opened.read(_MAX_FILE_CHARACTERS)) if stat.S_ISREG(status.st_mode) else None
            )
    except (OSError, ValueError, TypeError, KeyError):
        return None
    if record is None or not record.process.alive() or record.process.user_id() != status.st_uid:
        return None
    return dataclasses.replace(record, socket=str(file.with_suffix(_SOCKET_SUFFIX)))


def _remove(file: Path) -> None:
    for left in (file.with_suffix(_SOCKET_SUFFIX), file):
        with contextlib.suppress(OSError):
            left.unlink()

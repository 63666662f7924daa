"""What the benchmark of the index measures with: processes, cold caches, rows of a table."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.mounts import PeerFailed
from benchmarks.report import table
from benchmarks.session import DROP_CACHES, say

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

COMMAND_TIMEOUT_S = 3600.0
LOOK_MS = 10
"""How often the memory of a process is looked at."""


class Failed(Exception):
    """A command failed; the text is the last thing that it said."""


class Missing(Exception):
    """What was to be measured is not installed, or not in this version."""


@dataclass(frozen=True, slots=True)
class Ran:
    """A command that has come to its end.

    Attributes:
        seconds: How long it took.
        peak_bytes: The most memory that it had resident.
        output: What it printed.
    """

    seconds: float
    peak_bytes: int
    output: bytes


@dataclass(slots=True)
class Rows:
    """The table, as it grows; each row is told to who waits."""

    rows: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def add(self, what: str, value: str, remark: str = "") -> None:
        """Add a row."""
        say(f"  {what}: {value} {remark}")
        self.rows.append([what, value, remark])

    def note(self, text: str) -> None:
        """Add a remark, once."""
        say(f"  {text}")
        if text not in self.notes:
            self.notes.append(text)

    def fault(self, text: str) -> None:
        """An answer was not what it must be: the figures beside it mean nothing."""
        say(f"  WRONG: {text}")
        self.wrong.append(text)

    @contextlib.contextmanager
    def section(self, title: str) -> Iterator[None]:
        """Whatever cannot be measured in here is noted, and the next section begins."""
        say(f"{title} ...")
        try:
            yield
        except Missing as missing:
            self.note(f"{title}: {missing}.")
        except (Failed, PeerFailed) as failed:
            self.fault(f"{title}: {failed}")

    def markdown(self) -> str:
        """The table."""
        return table(["what", "value", "remark"], self.rows)


def run(command: Sequence[str], *, cwd: Path | None = None) -> Ran:
    """Run a command to its end.

    Raises:
        Failed: It failed, or took too long.
        Missing: There is no such program.
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        started = time.perf_counter()
        try:
            process = subprocess.Popen(command, stdout=output, stderr=errors, cwd=cwd, start_new_session=True)
        except FileNotFoundError as error:
            raise Missing(f"`{error.filename}` is not installed") from error
        peak = _wait(process)
        duration_s = time.perf_counter() - started
        output.seek(0)
        errors.seek(0)
        if process.returncode:
            said = errors.read().decode(errors="replace").strip() or "no message"
            raise Failed(f"{Path(command[0]).name}: {said.splitlines()[-1]}")
        return Ran(duration_s, peak, output.read())


def worker(module: str, *arguments: object) -> dict[str, Any]:
    """Run a module of the benchmarks in a process of its own; return the JSON object that it prints.

    Raises:
        Failed: It failed.
    """
    ran = run([sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)])
    answer: dict[str, Any] = json.loads(ran.output.splitlines()[-1])
    return answer


def can_drop_caches() -> bool:
    """True for root: figures from cold caches can be had."""
    return os.access(DROP_CACHES, os.W_OK)


def drop_caches() -> None:
    """Let the kernel forget every page, name and inode; a mount forgets the inodes with it."""
    os.sync()
    DROP_CACHES.write_text("3")


def seconds(value: float) -> str:
    """A time for people."""
    return f"{value * 1000:,.1f} ms" if value < 1 else f"{value:,.2f} s"


def mebibytes(value: float) -> str:
    """A size for people."""
    return f"{value / (1 << 20):,.1f} MiB"


def memory_of(process: int | str, key: str) -> int:
    """``VmRSS`` or ``VmHWM`` (the peak) of a process, in bytes; 0 if it has ended.

    Not ``ru_maxrss``: that begins with the memory of the process that started this one.
    """
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith(key):
                return int(line.split()[1]) * 1024
    return 0


def _wait(process: subprocess.Popen[bytes]) -> int:
    """Wait for a process; return the peak of its resident memory, as last seen, in bytes."""
    deadline_s = time.monotonic() + COMMAND_TIMEOUT_S
    peak = 0
    ended = select.poll()
    descriptor = os.pidfd_open(process.pid)
    try:
        ended.register(descriptor, select.POLLIN)
        while not ended.poll(LOOK_MS):
            peak = memory_of(process.pid, "VmHWM") or peak
            if time.monotonic() > deadline_s:
                os.killpg(process.pid, signal.SIGKILL)
    finally:
        os.close(descriptor)
    process.wait()
    return peak

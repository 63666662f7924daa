"""Mounting one peer for the time of a ``with`` block, and what is asked of it while it is up.

This process never waits on a mount itself: the work runs in processes of their own, and when one of them
takes too long the daemon is killed first, because a process that waits for a dead daemon cannot be.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from benchmarks.data import RUNS
from benchmarks.peers import READ_AHEAD_KIB, write_config

if TYPE_CHECKING:
    from types import TracebackType

    from benchmarks.data import Tree
    from benchmarks.peers import Peer

READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
WORK_TIMEOUT_S = 1200.0
POLL_S = 0.002
WORKER = Path(__file__).with_name("worker.py")
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


class PeerFailed(Exception):
    """A peer could not be mounted or did not do the work; the text says why."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a worker did."""

    seconds: float
    operations: int
    bytes_done: int
    daemon_cpu_s: float


@dataclass(frozen=True, slots=True)
class Memory:
    """A daemon's memory, the processes it has started included."""

    rss_bytes: int
    pss_bytes: int
    anonymous_bytes: int


class Mount:
    """A peer over the layers of a tree, mounted from ``__enter__`` to ``__exit__``.

    Attributes:
        peer: The file system.
        tree: What is mounted.
        root: The directory in which the work finds ``ExperimentRuns``.
        ready_s: Time from the start of its command until the mount answered.
    """

    def __init__(self, peer: Peer, tree: Tree, scratch: Path) -> None:
        self.peer = peer
        self.tree = tree
        self.root = Path(tree.layers.lower)
        self.ready_s = 0.0
        self._directory = Path(tempfile.mkdtemp(prefix=f"{peer.name}-", dir=scratch))
        self._log = self._directory / "log"
        self._daemon: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Mount.

        Raises:
            PeerFailed: It ended or did not answer in time.
        """
        if self.peer.kind == "bare":
            return self
        try:
            self._mount()
        except BaseException:
            self._unmount()
            remove(self._directory)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.peer.kind != "bare":
            self._unmount()
        remove(self._directory)

    def run_worker(
        self, work: str, paths: list[str], number: int = 1, worker: Path = WORKER, root: Path | None = None
    ) -> Measured:
        """Do ``work`` in a process of its own, on ``paths`` of this mount; without any, on all of its runs.

        Args:
            work: What the worker is told to do.
            paths: Relative to the root.
            number: Its last argument: readers at once, or the size of what is written.
            worker: The program.
            root: Where it works, if not in the mount.

        Raises:
            PeerFailed: It failed, or took longer than ``WORK_TIMEOUT_S``.
        """
        listing = self._directory / "paths"
        listing.write_text("\n".join(paths))
        root = root or (self.root if paths else self.root / RUNS)
        command = [sys.executable, "-I", str(worker), work, str(root), str(listing), str(number)]
        cpu_s = self._cpu_s()
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        try:
            output, errors = process.communicate(timeout=WORK_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise PeerFailed(f"{work} took longer than {WORK_TIMEOUT_S:.0f} s") from None
        finally:
            if process.poll() is None:
                self._kill_daemon()
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if process.returncode:
            raise PeerFailed(f"{work}: {(errors.strip() or 'no message').splitlines()[-1]}")
        result = json.loads(output)
        return Measured(result["seconds"], result["operations"], result["bytes"], self._cpu_s() - cpu_s)

    def memory(self) -> Memory | None:
        """The daemon's memory now; None where there is no daemon."""
        if self._daemon is None:
            return None
        total = dict.fromkeys(("Rss", "Pss", "Anonymous"), 0)
        for text in self._of_processes("smaps_rollup"):
            for line in text.splitlines():
                key, _, value = line.partition(":")
                if key in total:
                    total[key] += int(value.split()[0]) * 1024
        return Memory(total["Rss"], total["Pss"], total["Anonymous"])

    def _mount(self) -> None:
        point = self._directory / "mnt"
        point.mkdir()
        self.root = point
        write_config(self.tree.layers, self._directory / "config.json")
        command = self.peer.command(self.tree.layers, str(point), self._directory)
        started = time.perf_counter()
        with self._log.open("wb") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        if self.peer.kind == "fuse":
            self._daemon = process
        elif process.wait(timeout=READY_TIMEOUT_S):
            raise PeerFailed(self._last_words())
        while str(point) not in mounted_below(point):
            if process.poll():
                raise PeerFailed(self._last_words())
            if time.perf_counter() - started > READY_TIMEOUT_S:
                raise PeerFailed(f"not mounted after {READY_TIMEOUT_S:.0f} s")
            time.sleep(POLL_S)
        if not _answers(point / RUNS):
            raise PeerFailed(f"does not answer; {self._last_words()}")
        self.ready_s = time.perf_counter() - started
        if self.peer.tuned_read_ahead:
            self._raise_read_ahead()

    def _unmount(self) -> None:
        """Unmount and end the daemon, whatever state they are in."""
        unmount(self.root, fuse=self.peer.kind == "fuse")
        if self._daemon is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._daemon.wait(STOP_TIMEOUT_S)
            self._kill_daemon()

    def _kill_daemon(self) -> None:
        if self._daemon is not None and self._daemon.poll() is None:
            self._daemon.kill()
            self._daemon.wait()

    def _raise_read_ahead(self) -> None:
        """Raise the read-ahead of this mount where that is permitted."""
        device = mounted_below(self.root)[str(self.root)]
        with contextlib.suppress(OSError):
            Path(f"/sys/class/bdi/{device}/read_ahead_kb").write_text(str(READ_AHEAD_KIB))

    def _cpu_s(self) -> float:
        """CPU time the daemon has used so far."""
        ticks = 0
        for text in self._of_processes("stat"):
            fields = text.rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / CLOCK_TICKS

    def _of_processes(self, name: str) -> list[str]:
        """The file ``name`` in /proc of the daemon and of every process below it."""
        if self._daemon is None:
            return []
        try:
            return [Path(f"/proc/{pid}/{name}").read_text() for pid in with_descendants(self._daemon.pid)]
        except OSError:
            raise PeerFailed(f"its daemon has ended: {self._last_words()}") from None

    def _last_words(self) -> str:
        """What its command said: mount(8) begins with the reason, a daemon ends with it."""
        lines = self._log.read_text(errors="replace").strip().splitlines() or ["ended without a message"]
        return lines[0] if self.peer.kind == "kernel" else lines[-1]


def mounted_below(directory: Path) -> dict[str, str]:
    """Mount points at and below ``directory``, each with its device as ``major:minor``."""
    found = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        point = fields[4].encode().decode("unicode_escape")
        if Path(point).is_relative_to(directory):
            found[point] = fields[2]
    return found


def unmount(point: Path, *, fuse: bool) -> None:
    """Unmount ``point`` if it is mounted; detach it when it stays busy."""
    plain = ["fusermount3", "-u"] if fuse else ["umount"]
    lazy = ["fusermount3", "-uz"] if fuse else ["umount", "-l"]
    for command in [plain] * 20 + [lazy]:
        if str(point) not in mounted_below(point):
            return
        done = subprocess.run([*command, str(point)], capture_output=True, check=False)
        if done.returncode:
            time.sleep(0.1)


def remove(directory: Path) -> None:
    """Remove a directory of the benchmark with what is mounted in it; never the data behind a mount."""
    for point in sorted(mounted_below(directory), reverse=True):
        unmount(Path(point), fuse=os.geteuid() != 0)
    if not mounted_below(directory):
        shutil.rmtree(directory, ignore_errors=True)


def _answers(path: Path) -> bool:
    """True if ``path`` can be listed in time; the wait is in a thread that a dead mount may keep."""
    answered = threading.Event()

    def ask() -> None:
        with contextlib.suppress(OSError):
            os.listdir(path)  # noqa: PTH208 -- the answer is not used
            answered.set()

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(READY_TIMEOUT_S)
    return answered.is_set()


def with_descendants(pid: int) -> list[int]:
    """``pid`` and every process below it."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
    return found

"""The command line of copickfs in an environment of one test, and what the kernel says it leaves behind."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from copickfs.daemon.survey import survey_one
from copickfs.daemon.unmount import unmount
from copickfs.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Run = Callable[..., subprocess.CompletedProcess[str]]

MARKER = "COPICKFS_TEST_ID"
COMMAND_LIMIT_S = 60

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can prepare this")


def wait_until(condition: Callable[[], Any], limit_s: float = 10.0, what: str = "the condition") -> Any:
    """Poll until ``condition()`` is true and return its value; fail after ``limit_s``.

    The last look is begun after that: one that was begun in time may take long, and be of what was before.
    """
    deadline = time.monotonic() + limit_s
    while True:
        last = time.monotonic() > deadline
        value = condition()
        if value:
            return value
        if last:
            pytest.fail(f"{what} did not come true within {limit_s:g} s")
        time.sleep(0.02)


def mounted_below(directory: Path) -> list[str]:
    """Mount points of copickfs at or below ``directory``, as the kernel lists them."""
    found = []
    table = Path("/proc/self/mountinfo").read_bytes().decode(errors="surrogateescape")
    for line in table.splitlines():
        before, _, after = line.partition(" - ")
        point = re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), before.split(" ")[4])
        if after.startswith("fuse.copickfs ") and Path(point).is_relative_to(directory):
            found.append(point)
    return found


def processes_marked(marker: str) -> list[int]:
    """Processes, this one excepted, that were started with ``marker`` in their environment."""
    wanted = f"{MARKER}={marker}".encode()
    found = []
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            environment = Path(entry.path, "environ").read_bytes().split(b"\0")
            if wanted in environment and state_of(int(entry.name)) != "Z":
                found.append(int(entry.name))
    return found


def state_of(pid: int) -> str | None:
    """The state letter of a process, None if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0].decode()
    except (FileNotFoundError, ProcessLookupError):
        return None


class Sandbox:
    """An environment of one test: its own HOME and XDG directories, and the command line in it.

    Attributes:
        directory: Where the test may write.
        env: Environment variables of the commands.
        python: The interpreter that runs them.
        program: The module that it runs.
        identity: Arguments of `subprocess.Popen` that make a command another user's.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.python = sys.executable
        self.program = "copickfs"
        self.identity: dict[str, Any] = {}
        self.started: list[subprocess.Popen[str]] = []
        self.marker = uuid.uuid4().hex
        private = directory / ".sandbox"
        self.home = private / "home"
        self.state = private / "state"
        self.runtime = private / "runtime"
        for each in (private, self.home, self.state, self.runtime):
            each.mkdir(mode=0o700, exist_ok=True)
        self.env = {
            **os.environ,
            "HOME": str(self.home),
            "XDG_STATE_HOME": str(self.state),
            "XDG_RUNTIME_DIR": str(self.runtime),
            "XDG_CACHE_HOME": str(private / "cache"),
            "XDG_CONFIG_HOME": str(private / "config"),
            MARKER: self.marker,
        }

    def command(self, *arguments: str | Path) -> list[str]:
        """The argument list of a copickfs command."""
        return [self.python, "-m", self.program, *map(str, arguments)]

    def start(self, command: Sequence[str | Path], **options: Any) -> subprocess.Popen[str]:
        """Start any program in this environment, its output in pipes unless ``options`` say otherwise."""
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen(
            [str(part) for part in command],
            **{"env": self.env, "text": True, **streams, **self.identity, **options},
        )
        self.started.append(process)
        return process

    def finish(
        self, command: Sequence[str | Path], *, timeout: float = COMMAND_LIMIT_S, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run any program to its end; the test fails if that takes more than ``timeout`` seconds."""
        with self.start(command, **options) as process:
            try:
                output, errors = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                pytest.fail(f"{' '.join(map(str, command))} took longer than {timeout} s\n{self.log()}")
        return subprocess.CompletedProcess(process.args, process.returncode, output, errors)

    def run(
        self, *arguments: str | Path, check: bool = False, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a copickfs command to its end; with ``check``, a failure fails the test and shows why."""
        done = self.finish(self.command(*arguments), **options)
        if check and done.returncode:
            shown = " ".join(map(str, arguments))
            pytest.fail(f"copickfs {shown} failed with {done.returncode}:\n{done.stderr}\n{self.log()}")
        return done

    def unmount(self, mountpoint: Path) -> str:
        """Unmount as ``copickfs umount`` does it; what went wrong, or nothing.

        Without a process of its own where this one is the same user: hundreds of tests end like this.
        """
        if self.identity:
            done = self.run("umount", mountpoint)
            return done.stderr.strip() if done.returncode else ""
        try:
            with self.environment():
                unmount(mountpoint)
        except UserError as error:
            return str(error)
        return ""

    def status(self, mountpoint: Path) -> dict[str, Any]:
        """The mount's entry in ``copickfs status --json``, whatever its state.

        Without a process of its own where this one is the same user: many tests ask until something is true.
        """
        if self.identity:
            (entry,) = json.loads(self.run("status", mountpoint, "--json").stdout)["mounts"]
        else:
            with self.environment():
                entry = json.loads(json.dumps(survey_one(str(mountpoint))))
        return dict(entry)

    @contextlib.contextmanager
    def environment(self) -> Iterator[None]:
        """The variables of the commands are this process's own."""
        before = dict(os.environ)
        os.environ.update(self.env)
        try:
            yield
        finally:
            for name in self.env.keys() - before.keys():
                del os.environ[name]
            os.environ.update(before)

    def give_away(self) -> None:
        """Make the user of the commands the owner of all that is in the sandbox."""
        if "user" not in self.identity:
            return
        for place, _, files in os.walk(self.directory):
            for path in (place, *(os.path.join(place, file) for file in files)):
                os.chown(path, self.identity["user"], self.identity["group"])

    def close(self) -> None:
        """Kill what a failed test has left running."""
        for point in mounted_below(self.directory):  # first: a daemon that waits for itself cannot be killed
            subprocess.run(["umount", "-c", "-f", "-l", point], check=False, timeout=COMMAND_LIMIT_S)
        for pid in processes_marked(self.marker):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in self.started:
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    stream.close()

    def log(self) -> str:
        """All that the daemons of this test have logged to their usual place."""
        files = sorted((self.state / "copickfs").glob("*.log*"))
        return "\n".join(file.read_text(errors="replace") for file in files)

    def leftovers(self) -> list[str]:
        """Processes, mounts and state files of this test that are there now."""
        processes = [f"process {pid}" for pid in processes_marked(self.marker)]
        mounts = [f"mount {point}" for point in mounted_below(self.directory)]
        files = [f"state file {file}" for file in (self.runtime / "copickfs").glob("*")]
        return processes + mounts + files

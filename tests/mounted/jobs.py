"""Jobs: commands that run with a mount of their own."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.sandbox import processes_marked, wait_until

if TYPE_CHECKING:
    import subprocess

    from tests.sandbox import Sandbox

CHECKOUT = Path(__file__).parent.parent.parent
NOTICE = "copickfs: private mounts are not permitted here: mounting for all processes to see\n"
RUNS = "TS_001\nTS_002\nTS_003\nTS_004\n"


class Job:
    """Starts commands with ``copickfs run`` in a sandbox.

    Attributes:
        private: The system permits mounts of its own to this user. Many containers do not.
        notice: What ``copickfs run`` says where it does not.
    """

    def __init__(self, sandbox: Sandbox, config: Path) -> None:
        self.sandbox = sandbox
        self.config = config
        self.point = sandbox.directory / "deep" / "mnt"
        self.run_without_namespaces = False
        user = ["-r"] if sandbox.identity.get("user", os.getuid()) else []
        self.private = sandbox.finish(["unshare", "-m", *user, "true"]).returncode == 0
        self.notice = "" if self.private else NOTICE

    def run(self, *command: str | Path, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; the mount point is gone afterwards."""
        done = self.sandbox.run("run", self.config, self.point, *options, "--", *command)
        assert not self.point.parent.exists()
        return done

    def start(self, script: str, **options: object) -> subprocess.Popen[str]:
        """Start a shell script and wait for the first line of its output, ``ready``."""
        command = self.sandbox.command("run", self.config, self.point, "--", "sh", "-c", script)
        if self.run_without_namespaces:
            identity = self.sandbox.identity
            self.sandbox.env["COPICKFS_TEST_USER"] = str(identity.get("user", ""))
            command = [sys.executable, "-m", "tests.mounted.without_namespaces", *command]
            options = {"user": None, "group": None, "extra_groups": None, "cwd": CHECKOUT, **options}
        process = self.sandbox.start(command, **options)
        assert process.stdout
        line = process.stdout.readline()
        assert line == "ready\n", (line, process.communicate(timeout=10))
        return process

    def require_private(self) -> None:
        """Skip the test where mounts are for all to see."""
        if not self.private:
            pytest.skip("this system permits no mount namespaces to this user")

    def kill_all(self) -> None:
        """Kill every process of the job, before any of them can react."""
        pids = processes_marked(self.sandbox.marker)
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in pids:
                os.kill(pid, number)

    def gone(self) -> None:
        """Wait until nothing is left: no process, no mount, no state file, no directory."""
        wait_until(lambda: not self.sandbox.leftovers(), 20, f"the end of {self.sandbox.leftovers()}")
        wait_until(lambda: not self.point.parent.exists(), what="the end of the mount point")

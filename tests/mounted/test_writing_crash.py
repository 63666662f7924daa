"""The daemon is killed in the middle of writing: what it acknowledged is there afterwards."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import crashload
from tests.mounted.conftest import put
from tests.sandbox import state_of, wait_until
from tests.servers import SftpServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.sandbox import Run
    from tests.writing import WritableStack

CHECKOUT = Path(__file__).parents[2]
WORKERS = 3
LONGEST_LOAD_S = 0.8
OUTAGE_S = 2.0
LIMIT_S = 30


class Crashes:
    """A mounted stack whose daemon is killed under load."""

    def __init__(self, stack: WritableStack, directory: Path, **fields: str) -> None:
        self.stack = stack
        self.directory = directory
        self.fields = fields
        files = crashload.lower_files(WORKERS)
        for path, data in files.items():
            put(stack.lower[0] / path, data)
        self.state = crashload.State(files)
        self.random = random.Random(0)
        stack.mount(**fields)

    def cycle(self, number: int) -> None:
        """Write, kill the daemon at a random moment, mount again, and compare."""
        pid = self.stack.mounter.pid(self.stack.point)
        logs = [self.directory / f"log-{number}-{worker}" for worker in range(WORKERS)]
        workers = [self._start(worker, number, log) for worker, log in enumerate(logs)]
        wait_until(
            lambda: all(log.exists() and log.stat().st_size for log in logs), LIMIT_S, "the first writes"
        )
        time.sleep(self.random.uniform(0, LONGEST_LOAD_S))
        os.kill(pid, signal.SIGKILL)
        for worker in workers:
            _, errors = worker.communicate(timeout=LIMIT_S)
            assert worker.returncode == 0, errors
        wait_until(lambda: state_of(pid) in (None, "Z"), what="the end of the daemon")
        self.stack.mount(point=self.stack.point, **self.fields)
        problems = self.state.check(self.stack.point, logs)
        assert not problems, f"after crash {number}:\n" + "\n".join(problems)
        if not self.stack.far:
            self.stack.assert_nothing_left()
        self.stack.assert_lower_unchanged()

    def outage(self, server: SftpServer) -> None:
        """Write, have the server of the write layer go away and come back meanwhile, and compare."""
        logs = [self.directory / f"log-{worker}" for worker in range(WORKERS)]
        workers = [self._start(worker, 1, log) for worker, log in enumerate(logs)]
        wait_until(
            lambda: all(log.exists() and log.stat().st_size for log in logs), LIMIT_S, "the first writes"
        )
        server.stop()
        time.sleep(OUTAGE_S)
        server.start()
        time.sleep(OUTAGE_S)
        for worker in workers:
            worker.kill()
            worker.communicate(timeout=LIMIT_S)
        problems = self.state.check(self.stack.point, logs)
        assert not problems, "\n".join(problems)

    def assert_all_is_there(self) -> None:
        """The write layer itself has what the mount shows, and no temporary file."""
        self.stack.assert_nothing_left()
        for path, data in self.state.files.items():
            there = self.stack.mine / path
            assert not there.exists() or there.read_bytes() == data, path

    def _start(self, worker: int, cycle: int, log: Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.crashload", self.stack.point, worker, cycle, log]
        return subprocess.Popen(
            [str(part) for part in command], cwd=CHECKOUT, stderr=subprocess.PIPE, text=True
        )


@pytest.fixture
def crashes(writable: WritableStack, tmp_path: Path) -> Crashes:
    """A mounted stack whose daemon is killed under load; see `Crashes`."""
    return Crashes(writable, tmp_path)


STRATEGIES = ("default", "cache_and_propagate")


@pytest.fixture
def server(writable: WritableStack) -> Iterator[SftpServer]:
    """A server of the write layer."""
    with SftpServer(writable.mine) as made:
        yield made


@pytest.fixture(params=STRATEGIES)
def far_crashes(
    request: pytest.FixtureRequest, writable: WritableStack, server: SftpServer, tmp_path: Path
) -> Iterator[Crashes]:
    """The same with a write layer behind a server."""
    writable.far = {"root": server.url, "fs_args": server.fs_args, "timeout": 5.0}
    yield Crashes(writable, tmp_path, write_strategy=request.param)
    writable.umount()


def test_ten_kills(crashes: Crashes) -> None:
    for number in range(1, 11):
        crashes.cycle(number)
    assert crashes.state.acknowledged > 100


def test_five_kills_with_a_remote_write_layer(far_crashes: Crashes, copickfs: Run) -> None:
    """Afterwards all that was acknowledged is on the server, too, and no temporary file."""
    for number in range(1, 6):
        far_crashes.cycle(number)
    assert far_crashes.state.acknowledged > 50
    done = copickfs("flush", far_crashes.stack.point)
    assert done.returncode == 0, done.stderr
    far_crashes.assert_all_is_there()


def test_server_of_the_write_layer_gone_and_back(
    far_crashes: Crashes, server: SftpServer, copickfs: Run
) -> None:
    """Writers wait, or are told; what they were told is safe is there."""
    for expected in ("layer mine is down", "could not be sent", "kept in the journal"):
        far_crashes.stack.mounter.expect_warning(expected)
    far_crashes.outage(server)
    done = copickfs("flush", far_crashes.stack.point)
    assert done.returncode == 0, done.stderr
    far_crashes.assert_all_is_there()


SOAK_SEEDS = range(1, 9)
SOAK_KILLS = 25
"""Times the seeds: 200 with a local write layer, and 200 with a remote one and each strategy."""


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", SOAK_SEEDS)
def test_two_hundred_kills(crashes: Crashes, seed: int) -> None:
    crashes.random.seed(seed)
    for number in range(1, SOAK_KILLS + 1):
        crashes.cycle(number)


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", SOAK_SEEDS)
def test_two_hundred_kills_with_a_remote_write_layer(far_crashes: Crashes, copickfs: Run, seed: int) -> None:
    far_crashes.random.seed(seed)
    for number in range(1, SOAK_KILLS + 1):
        far_crashes.cycle(number)
    done = copickfs("flush", far_crashes.stack.point)
    assert done.returncode == 0, done.stderr
    far_crashes.assert_all_is_there()


def test_the_exerciser_of_crashes_finds_what_is_wrong(tmp_path: Path) -> None:
    """On a disk all is well; a version that is cut, lost, or of nobody is found."""
    root, log = tmp_path / "root", tmp_path / "log"
    files = crashload.lower_files(1)
    for path, data in files.items():
        put(root / path, data)
    worker = crashload.Worker(str(root), 0, 1, str(log))
    (root / "notes").mkdir(exist_ok=True)
    (root / crashload.RUN / "Filaments").mkdir()
    for _ in range(10):
        worker.version += 1
        for action in (
            worker.picks,
            worker.delete,
            worker.append,
            worker.new_plain,
            worker.save,
            worker.in_place,
        ):
            action()
    worker.version += 1
    worker.new_picks()
    state = crashload.State(files)
    assert state.check(root, [log]) == []
    log.write_text("")
    assert state.check(root, [log]) == []
    right = dict(state.files)
    (made,) = (root / crashload.RUN / "Filaments").iterdir()
    whole = made.read_bytes()
    for wrong in (b"", whole[:-1], whole + b"x", None):
        if wrong is None:
            made.unlink()
        else:
            made.write_bytes(wrong)
        assert len(crashload.State(right).check(root, [log])) == 1
    made.write_bytes(whole)
    put(root / "notes" / "of nobody")
    assert len(crashload.State(right).check(root, [log])) == 1

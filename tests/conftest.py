"""Fixtures every test may use: a real mount by the real command line, and proof that nothing stays behind.

* ``mount(config, *options, mountpoint=None)`` mounts with ``copickfs mount`` in a subprocess and returns the
  mount point. ``config`` is a path, a dictionary, or a pydantic model. At the end of the test every mount is
  unmounted, and the daemon's log may hold no WARNING or ERROR that ``mount.expect_warning(regex)`` has not
  announced.
* ``copickfs(*arguments)`` runs any command in the same environment and returns the finished process.
* ``isolated`` gives the test's own process a home of its own, for what is built in it without a mount.
* A test that leaves a mount, a process or a state file behind fails.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.measuring import Measuring
from tests.ordinary_user import Interpreter, reachable_interpreter, user_sandbox
from tests.sandbox import Sandbox, mounted_below

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

_FAULT = re.compile(r"^\S+ \S+ (WARNING|ERROR|CRITICAL) ")
_LEFTOVERS_LIMIT_S = 5.0
_measuring = Measuring()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before the fixtures of a test: start or stop to measure; see `tests.measuring`."""
    _measuring.turn(item.path)


class Mounter:
    """The ``mount`` fixture. See the module's docstring."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._mounted: list[Path] = []
        self._expected: list[re.Pattern[str]] = []

    def __call__(self, config: Any, *options: str, mountpoint: Path | None = None) -> Path:
        """Mount ``config`` and return the mount point, made if it is not there."""
        point = mountpoint or self._sandbox.directory / f"mnt{len(self._mounted)}"
        with contextlib.suppress(FileExistsError):  # a stale mount does not even say that it is a directory
            point.mkdir(parents=True)
        self._mounted.append(point)
        self._sandbox.run("mount", self.config_file(config), point, *options, check=True)
        return point

    def config_file(self, config: Any) -> Path:
        """The path of ``config``, written to a file first if it is a dictionary or a model."""
        if isinstance(config, str | Path):
            return Path(config)
        text = json.dumps(config) if isinstance(config, dict) else config.model_dump_json()
        number = len(list(self._sandbox.directory.glob("config*.json")))
        file = self._sandbox.directory / f"config{number}.json"
        file.write_text(text)
        return file

    def expect_warning(self, regex: str) -> None:
        """Allow warnings and errors in the daemon's log whose line matches ``regex``."""
        self._expected.append(re.compile(regex))

    def umount(self, mountpoint: Path, *options: str) -> None:
        """Unmount now, rather than at the end of the test."""
        if options:
            self._sandbox.run("umount", mountpoint, *options, check=True)
        elif wrong := self._sandbox.unmount(mountpoint):
            pytest.fail(f"umount {mountpoint}: {wrong}\n{self.log()}")

    def status(self, mountpoint: Path) -> dict[str, Any]:
        """The mount's entry in ``copickfs status --json``; its daemon must answer."""
        entry = self._sandbox.status(mountpoint)
        if entry["state"] != "serving":
            pytest.fail(f"{mountpoint} is {entry['state']}\n{self.log()}")
        return entry

    def pid(self, mountpoint: Path) -> int:
        """Process id of the daemon that serves ``mountpoint``."""
        return int(self.status(mountpoint)["pid"])

    def log(self) -> str:
        """All that the daemons of this test have logged."""
        return self._sandbox.log()

    def faults(self) -> list[str]:
        """Lines of the log at WARNING and above that nobody announced."""
        lines = [line for line in self.log().splitlines() if _FAULT.match(line)]
        return [line for line in lines if not any(regex.search(line) for regex in self._expected)]

    def close(self) -> None:
        """Unmount what is left and fail on what went wrong."""
        problems = []
        for point in reversed(self._mounted):
            if str(point) not in mounted_below(point):
                continue
            if wrong := self._sandbox.unmount(point):
                problems.append(f"umount {point}: {wrong}")
                self._sandbox.run("umount", "--force", point)
        if faults := self.faults():
            problems.append("unexpected in the daemon's log:\n" + "\n".join(faults) + "\n\n" + self.log())
        if problems:
            pytest.fail("\n".join(problems))


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    """The environment in which this test's commands run; fails the test if something stays behind."""
    made = Sandbox(tmp_path)
    yield made
    fail_on_leftovers(made)


@pytest.fixture
def isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home of this process in the test's directory."""
    for name in ("XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home" / name))


@pytest.fixture
def copickfs(sandbox: Sandbox) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a copickfs command; see `Sandbox.run`."""
    return sandbox.run


@pytest.fixture
def mount(sandbox: Sandbox) -> Iterator[Mounter]:
    """Mount configurations; see `Mounter`."""
    mounter = Mounter(sandbox)
    yield mounter
    mounter.close()


@pytest.fixture(scope="session")
def _reachable_interpreter() -> Iterator[Interpreter]:
    with reachable_interpreter() as found:
        yield found


@pytest.fixture
def ordinary_user(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """Like `sandbox`, but its commands run as an ordinary user; skips the test if this one is no other."""
    if os.getuid() != 0:
        pytest.skip("these tests run as an ordinary user already")
    with user_sandbox(request.getfixturevalue("_reachable_interpreter")) as made:
        yield made
        fail_on_leftovers(made)


def fail_on_leftovers(sandbox: Sandbox) -> None:
    """Fail if a mount, a process or a state file stays behind, and clean up after it."""
    deadline = time.monotonic() + _LEFTOVERS_LIMIT_S
    while (leftovers := sandbox.leftovers()) and time.monotonic() < deadline:
        time.sleep(0.02)
    sandbox.close()
    if leftovers:
        pytest.fail("left behind: " + "; ".join(leftovers) + "\n" + sandbox.log())

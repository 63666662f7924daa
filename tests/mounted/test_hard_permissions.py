"""Layers of which the daemon may not read everything: an ordinary user mounts and reads."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests import model
from tests.conftest import Mounter, fail_on_leftovers
from tests.mounted.conftest import put
from tests.ordinary_user import reachable_interpreter, user_sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.ordinary_user import Interpreter
    from tests.sandbox import Sandbox

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user and deny it things")


@pytest.fixture(scope="module")
def interpreter() -> Iterator[Interpreter]:
    with reachable_interpreter() as found:
        yield found


class Private(NamedTuple):
    """Two layers of an ordinary user, with what the test takes away from that user."""

    sandbox: Sandbox
    mounter: Mounter
    top: Path
    low: Path

    def mount(self, *forbidden: Path, mode: int = 0) -> Path:
        """Mount after giving everything to the user, except ``forbidden``, which become root's."""
        self.sandbox.give_away()
        for path in forbidden:
            os.chown(path, 0, 0)
            path.chmod(mode)
        config = self.mounter.config_file(model.configuration([self.top, self.low], ["top", "low"]))
        os.chown(config, 65534, 65534)
        point = self.sandbox.directory / "mnt"
        point.mkdir()
        os.chown(point, 65534, 65534)
        return self.mounter(config, mountpoint=point)

    def read(self, *command: str | Path) -> str:
        """What a program of the user prints, errors included."""
        done = self.sandbox.finish(command, env={**self.sandbox.env, "LC_ALL": "C"})
        return done.stdout + done.stderr


@pytest.fixture
def private(interpreter: Interpreter) -> Iterator[Private]:
    with user_sandbox(interpreter) as sandbox:
        mounter = Mounter(sandbox)
        top, low = sandbox.directory / "top", sandbox.directory / "low"
        top.mkdir()
        low.mkdir()
        yield Private(sandbox, mounter, top, low)
        mounter.close()
        fail_on_leftovers(sandbox)


def test_private_run_is_listed_and_denied_and_disturbs_no_other(private: Private) -> None:
    put(private.low / "ExperimentRuns/secret/Picks/a_1_b.json")
    put(private.low / "ExperimentRuns/open/Picks/a_1_b.json", b"open")
    mountpoint = private.mount(private.low / "ExperimentRuns/secret")
    runs = mountpoint / "ExperimentRuns"
    assert private.read("ls", runs).split() == ["open", "secret"]
    assert "Permission denied" in private.read("ls", runs / "secret")
    assert "Permission denied" in private.read("cat", runs / "secret/Picks/a_1_b.json")
    assert private.read("cat", runs / "open/Picks/a_1_b.json") == "open"
    assert private.read("stat", "-c", "%a %U", runs / "secret") == "0 root\n"


def test_unreadable_file_does_not_let_the_lower_one_through(private: Private) -> None:
    put(private.top / "file", b"top")
    put(private.low / "file", b"low")
    mountpoint = private.mount(private.top / "file")
    found = private.read("cat", mountpoint / "file")
    assert "Permission denied" in found
    assert "low" not in found.replace(str(mountpoint), "")
    assert private.read("stat", "-c", "%s %U", mountpoint / "file") == "3 root\n"


@pytest.mark.parametrize("hidden", ["top", "low"])
def test_half_of_a_directory_is_never_shown_as_the_whole(private: Private, hidden: str) -> None:
    """A merged directory that one layer may not list is an error, not a listing with names missing."""
    put(private.top / "run/from top")
    put(private.low / "run/from low")
    mountpoint = private.mount(private.sandbox.directory / hidden / "run", mode=0)
    assert "Permission denied" in private.read("ls", mountpoint / "run")


def test_directory_that_may_be_entered_but_not_listed(private: Private) -> None:
    put(private.low / "dir/known", b"by its name")
    mountpoint = private.mount(private.low / "dir", mode=0o711)
    assert private.read("cat", mountpoint / "dir/known") == "by its name"
    assert "Permission denied" in private.read("ls", mountpoint / "dir")
    assert "No such file" in private.read("cat", mountpoint / "dir/unknown")


def test_permission_that_is_given_later_is_seen(private: Private) -> None:
    put(private.low / "dir/file", b"at last")
    mountpoint = private.mount(private.low / "dir")
    assert "Permission denied" in private.read("ls", mountpoint / "dir")
    (private.low / "dir").chmod(0o755)
    script = f"for i in $(seq 15); do cat {mountpoint}/dir/file 2>/dev/null && exit; sleep 0.1; done"
    assert private.read("sh", "-c", script) == "at last"

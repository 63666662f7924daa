"""An ordinary user's mounts, made and unmade by fusermount3."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from copickfs.demo import write_demo
from tests.mounted.test_lifecycle import wait_for_end
from tests.mounted.test_lifecycle_mountpoints import refused
from tests.sandbox import mounted_below

if TYPE_CHECKING:
    from tests.sandbox import Run, Sandbox


class Place:
    """A demo project and a mount point of the ordinary user."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.config = write_demo(sandbox.directory / "demo")
        self.point = sandbox.directory / "mnt"
        self.point.mkdir()
        sandbox.give_away()

    def mount(self, *options: str) -> None:
        self.sandbox.run("mount", self.config, self.point, *options, check=True)

    def listing(self) -> list[str]:
        """The runs, as the user sees them."""
        return self.sandbox.finish(["ls", self.point / "ExperimentRuns"]).stdout.split()

    def status(self) -> dict[str, object]:
        (entry,) = json.loads(self.sandbox.run("status", self.point, "--json").stdout)["mounts"]
        return dict(entry)


@pytest.fixture
def place(ordinary_user: Sandbox) -> Place:
    return Place(ordinary_user)


def test_mount_and_umount(place: Place) -> None:
    place.mount()
    assert place.listing() == ["TS_001", "TS_002", "TS_003", "TS_004"]
    owner = place.sandbox.finish(["stat", "-c", "%u", place.point / "copick_config.json"]).stdout
    assert owner == f"{place.sandbox.identity['user']}\n"
    assert place.status()["state"] == "serving"
    place.sandbox.run("umount", place.point, check=True)
    assert mounted_below(place.point) == []


def test_others_see_nothing_of_it(place: Place, copickfs: Run) -> None:
    place.mount()
    with pytest.raises(PermissionError):
        os.listdir(place.point)
    (entry,) = json.loads(copickfs("status", place.point, "--json").stdout)["mounts"]
    assert entry["state"] == "closed"
    place.sandbox.run("umount", place.point, check=True)


def test_root_unmounts_it(place: Place, copickfs: Run) -> None:
    for options in ([], ["--force"]):
        place.mount()
        pid = int(str(place.status()["pid"]))
        assert copickfs("umount", *options, place.point).returncode == 0
        assert mounted_below(place.point) == []
        wait_for_end(pid)


def test_of_another_user(copickfs: Run, place: Place, sandbox: Sandbox) -> None:
    """Neither seen nor unmounted by one who is not root."""
    point = place.sandbox.directory / "roots"
    point.mkdir()
    assert copickfs("mount", place.config, point).returncode == 0
    try:
        refused(place.sandbox.run("status", point), "no copickfs mount of this user")
        for options in ([], ["--force"]):
            refused(place.sandbox.run("umount", *options, point), point, "cannot be unmounted")
        assert mounted_below(point) == [str(point)]
    finally:
        sandbox.run("umount", point, check=True)


def test_busy(place: Place) -> None:
    place.mount()
    script = f"cd {place.point} && echo in && exec sleep 60"
    with place.sandbox.start(["sh", "-c", script]) as user:
        assert user.stdout
        user.stdout.readline()
        refused(place.sandbox.run("umount", place.point), "in use", f"({user.pid})")
        user.kill()
    place.sandbox.run("umount", place.point, check=True)


def test_after_a_crash(place: Place) -> None:
    place.mount()
    for command in (["mount", place.config, place.point], ["umount", place.point]):
        pid = int(str(place.status()["pid"]))
        os.kill(pid, signal.SIGKILL)
        wait_for_end(pid)
        assert place.status()["state"] == "dead"
        place.sandbox.run(*command, check=True)
    assert mounted_below(place.point) == []


def test_a_stopped_daemon_is_ended_by_force(place: Place) -> None:
    place.mount()
    pid = int(str(place.status()["pid"]))
    os.kill(pid, signal.SIGSTOP)
    place.sandbox.run("umount", "--force", place.point, check=True)
    assert mounted_below(place.point) == []
    wait_for_end(pid)


def test_allow_other_needs_the_administrator(place: Place) -> None:
    if "user_allow_other" in Path("/etc/fuse.conf").read_text().splitlines():
        pytest.skip("this machine permits it")
    refused(
        place.sandbox.run("mount", place.config, place.point, "--allow-other"),
        "'user_allow_other'", "/etc/fuse.conf",
    )  # fmt: skip


def test_a_mount_point_of_somebody_else(place: Place) -> None:
    os.chown(place.point, 0, 0)
    refused(place.sandbox.run("mount", place.config, place.point), place.point, "write to the mount point")

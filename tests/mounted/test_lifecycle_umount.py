"""Unmounting, in order and by force."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.mounted.test_lifecycle import make_stale, wait_for_end
from tests.mounted.test_lifecycle_mountpoints import refused
from tests.sandbox import mounted_below, processes_marked, state_of, wait_until

if TYPE_CHECKING:
    from tests.conftest import Mounter
    from tests.mounted.conftest import Demo
    from tests.sandbox import Run, Sandbox

MAPPING = """
import mmap, os, sys, time
fd = os.open(sys.argv[1], os.O_RDONLY)
m = mmap.mmap(fd, 0, prot=mmap.PROT_READ, flags=mmap.MAP_PRIVATE)
os.close(fd)
os.write(1, b'x')
time.sleep(60)
"""


def test_waits_for_the_daemon(demo: Demo, mount: Mounter, copickfs: Run) -> None:
    point = mount(demo.config)
    pid = mount.pid(point)
    assert copickfs("umount", point).returncode == 0
    assert state_of(pid) in (None, "Z")


def test_says_who_uses_it(demo: Demo, mount: Mounter, copickfs: Run) -> None:
    point = mount(demo.config)
    users = [
        subprocess.Popen(["sleep", "60"], cwd=point),
        subprocess.Popen(["tail", "-f", point / "copick_config.json"], stdout=subprocess.DEVNULL),
        subprocess.Popen(
            [
                sys.executable, "-c",
                MAPPING,
                point / "copick_config.json",
            ],
            stdout=subprocess.PIPE,
        ),
    ]  # fmt: skip
    try:
        assert users[2].stdout
        users[2].stdout.read(1)
        wait_until(lambda: any(fd.readlink().is_relative_to(point) for fd in descriptors(users[1].pid)))
        done = copickfs("umount", point)
        refused(done, point, "in use", f"sleep ({users[0].pid})", f"tail ({users[1].pid})", "--force")
        assert f"({users[2].pid})" in done.stderr
        assert os.listdir(point)
    finally:
        for user in users:
            user.kill()
            user.communicate()
    mount.umount(point)


def descriptors(pid: int) -> list[Path]:
    return list(Path(f"/proc/{pid}/fd").iterdir())


def test_force_detaches_a_mount_in_use(demo: Demo, mount: Mounter, copickfs: Run) -> None:
    point = mount(demo.config)
    pid = mount.pid(point)
    file = os.open(point / "copick_config.json", os.O_RDONLY)
    assert copickfs("umount", "--force", point).returncode == 0
    assert mounted_below(point) == []
    assert state_of(pid) in (None, "Z")
    with pytest.raises(OSError, match="not connected"):
        os.close(file)


def test_a_dead_daemon(demo: Demo, mount: Mounter, copickfs: Run) -> None:
    for options in ([], ["--force"]):
        point = mount(demo.config)
        make_stale(mount, point)
        assert copickfs("umount", *options, point).returncode == 0
        assert mounted_below(point) == []


def test_a_daemon_that_does_not_end_is_named(
    demo: Demo, mount: Mounter, copickfs: Run, sandbox: Sandbox
) -> None:
    point = mount(demo.config)
    pid = mount.pid(point)
    # Who asked the mount and had no answer in time is not waited for; it would wait, and hold the mount.
    wait_until(lambda: processes_marked(sandbox.marker) == [pid], 60, "the end of all but the daemon")
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_until(lambda: state_of(pid) == "T")
        refused(copickfs("umount", "--timeout", "0.5", point, timeout=30), point, f"kill -9 {pid}")
        assert mounted_below(point) == []
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_for_end(pid)


def test_force_ends_a_stopped_daemon(demo: Demo, mount: Mounter, copickfs: Run) -> None:
    point = mount(demo.config)
    pid = mount.pid(point)
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: state_of(pid) == "T")
    with subprocess.Popen(["stat", point / "nonesuch"], stderr=subprocess.DEVNULL) as waiting:
        assert copickfs("umount", "--force", point, timeout=30).returncode == 0
        assert mounted_below(point) == []
        assert state_of(pid) in (None, "Z")
        waiting.wait(timeout=10)


def test_force_without_a_state_file(demo: Demo, mount: Mounter, copickfs: Run, sandbox: Sandbox) -> None:
    """Nobody knows the daemon's process id but the daemon itself."""
    point = mount(demo.config)
    pid = mount.pid(point)
    (state,) = (sandbox.runtime / "copickfs").glob("*.json")
    state.unlink()
    assert copickfs("umount", "--force", point).returncode == 0
    assert state_of(pid) in (None, "Z")


def test_what_is_not_mounted(copickfs: Run, tmp_path: Path) -> None:
    refused(copickfs("umount", tmp_path), tmp_path, "is not mounted")
    refused(copickfs("umount", "--force", tmp_path / "nonesuch"), "is not mounted")


def test_what_is_not_ours(copickfs: Run) -> None:
    refused(copickfs("umount", "/proc"), "/proc", "kind proc", "not of copickfs")


def test_a_directory_inside_of_a_mount(demo: Demo, mount: Mounter, copickfs: Run) -> None:
    point = mount(demo.config)
    refused(copickfs("umount", point / "ExperimentRuns"), "lies inside of", point)


def test_a_hung_mount_hangs_no_command(demo: Demo, mount: Mounter, copickfs: Run) -> None:
    """With the daemon stopped, a call on the mount would wait for ever: mount, status, umount make none."""
    point = mount(demo.config)
    pid = mount.pid(point)
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: state_of(pid) == "T")
    try:
        shown = copickfs("status", point, timeout=30)
        assert shown.returncode == 1
        assert "SILENT" in shown.stdout
        assert "umount --force" in shown.stdout
        refused(copickfs("mount", demo.config, point, timeout=30), "already mounted")
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_until(lambda: mount.status(point)["state"] == "serving")

"""Daemons: how they start, how they end, and what a killed one leaves."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import stat
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.sandbox import mounted_below, needs_root, state_of, wait_until

if TYPE_CHECKING:
    from tests.conftest import Mounter
    from tests.mounted.conftest import Demo
    from tests.sandbox import Sandbox


def wait_for_end(pid: int) -> None:
    wait_until(lambda: state_of(pid) in (None, "Z"), what=f"the end of process {pid}")


def make_stale(mount: Mounter, point: Path) -> None:
    """Kill the daemon of a mount as a crash or the out-of-memory killer would."""
    pid = mount.pid(point)
    os.kill(pid, signal.SIGKILL)
    wait_for_end(pid)
    with pytest.raises(OSError) as caught:  # noqa: PT011 -- the errno is looked at
        os.listdir(point)
    assert caught.value.errno in (errno.ENOTCONN, errno.ECONNABORTED)


def test_mount_answers_when_the_command_returns(demo: Demo, mount: Mounter) -> None:
    point = mount(demo.config)
    assert sorted(os.listdir(point / "ExperimentRuns")) == ["TS_001", "TS_002", "TS_003", "TS_004"]
    mount.umount(point)
    assert os.listdir(point) == []


def test_the_mount_table_names_the_configuration(demo: Demo, mount: Mounter) -> None:
    point = mount(demo.config)
    (line,) = [line for line in Path("/proc/mounts").read_text().splitlines() if f" {point} " in line]
    assert line.startswith(f"{demo.config} {point} fuse.copickfs rw,")


def test_the_daemon_lives_on_its_own(demo: Demo, mount: Mounter) -> None:
    pid = mount.pid(mount(demo.config))
    assert os.getsid(pid) == pid
    assert Path(f"/proc/{pid}/cwd").readlink() == Path("/")
    assert [Path(f"/proc/{pid}/fd/{fd}").readlink() for fd in range(3)] == [Path("/dev/null")] * 3
    limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
    (files,) = [line.split() for line in limits if line.startswith("Max open files")]
    assert files[3] == files[4]


def test_the_log_is_for_its_owner_only(demo: Demo, mount: Mounter, sandbox: Sandbox, tmp_path: Path) -> None:
    mount(demo.config)
    (log,) = (sandbox.state / "copickfs").iterdir()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    chosen = tmp_path / "chosen.log"
    mount(demo.config, "--log-file", str(chosen), "--log-level", "debug")
    assert "mounted" in chosen.read_text()
    assert stat.S_IMODE(chosen.stat().st_mode) == 0o600


def test_a_full_log_is_rotated(demo: Demo, mount: Mounter, tmp_path: Path) -> None:
    chosen = tmp_path / "chosen.log"
    chosen.write_bytes(b"x" * (4 * 1024 * 1024))
    point = mount(demo.config, "--log-file", str(chosen))
    assert (tmp_path / "chosen.log.1").exists()
    assert chosen.stat().st_size < 100_000
    os.kill(mount.pid(point), signal.SIGUSR1)
    wait_until(lambda: "Current thread" in chosen.read_text(), what="the stacks in the new log")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda n: n.name)
def test_a_signal_ends_the_daemon_in_order(number: signal.Signals, demo: Demo, mount: Mounter) -> None:
    point = mount(demo.config)
    pid = mount.pid(point)
    os.kill(pid, number)
    wait_for_end(pid)
    assert mounted_below(point) == []
    assert f"{number.name}: unmounting" in mount.log()
    assert mount.log().rstrip().endswith("ended")


def test_a_busy_mount_does_not_keep_the_daemon(demo: Demo, mount: Mounter) -> None:
    point = mount(demo.config)
    pid = mount.pid(point)
    held = os.open(point / "copick_config.json", os.O_RDONLY)
    os.kill(pid, signal.SIGTERM)
    wait_for_end(pid)
    assert mounted_below(point) == []
    with pytest.raises(OSError):  # noqa: PT011 -- whichever errno the kernel has for it
        os.fstat(held), os.pread(held, 1, 10_000)
    with contextlib.suppress(OSError):  # of a mount that could be written, closing is told the daemon
        os.close(held)


def test_an_unmount_from_outside_ends_the_daemon(demo: Demo, mount: Mounter) -> None:
    point = mount(demo.config)
    pid = mount.pid(point)
    subprocess.run(["fusermount3", "-u", point], check=True)
    wait_for_end(pid)
    assert mount.log().rstrip().endswith("ended")


def test_stacks_are_written_on_request(demo: Demo, mount: Mounter) -> None:
    point = mount(demo.config)
    os.kill(mount.pid(point), signal.SIGUSR1)
    wait_until(lambda: "Current thread" in mount.log(), what="the stacks in the log")
    assert os.listdir(point)


def test_a_stale_mount_is_cleaned_at_the_next_mount(demo: Demo, mount: Mounter) -> None:
    point = mount(demo.config)
    make_stale(mount, point)
    mount(demo.config, mountpoint=point)
    assert mounted_below(point) == [str(point)]
    assert os.listdir(point / "ExperimentRuns")


@needs_root
def test_stacked_stale_mounts_are_all_cleaned(demo: Demo, mount: Mounter) -> None:
    point = mount(demo.config)
    make_stale(mount, point)
    other = mount(demo.config)
    subprocess.run(["mount", "--bind", other, point], check=True)
    make_stale(mount, other)
    assert len(mounted_below(point)) == 2
    mount(demo.config, mountpoint=point)
    assert mounted_below(point) == [str(point)]
    mount.umount(other)


def test_a_daemon_that_is_killed_while_it_starts_is_reported(
    demo: Demo, sandbox: Sandbox, tmp_path: Path
) -> None:
    """A layer that hangs while it is connected: the daemon is killed, the command says so."""
    point = tmp_path / "mnt"
    point.mkdir()
    with sandbox.start(sandbox.command("mount", demo.config, point)) as command:
        children = Path(f"/proc/{command.pid}/task/{command.pid}/children")
        daemon = int(wait_until(children.read_text, what="a daemon").split()[0])
        os.kill(daemon, signal.SIGKILL)
        _, errors = command.communicate(timeout=30)
    assert command.returncode == 1
    assert "the daemon was killed by SIGKILL while" in errors
    assert errors.count("\n") == 1


def test_a_mount_whose_command_is_killed_is_undone(demo: Demo, sandbox: Sandbox, tmp_path: Path) -> None:
    point = tmp_path / "mnt"
    point.mkdir()
    with sandbox.start(sandbox.command("mount", demo.config, point)) as command:
        children = Path(f"/proc/{command.pid}/task/{command.pid}/children")
        daemon = int(wait_until(children.read_text, what="a daemon").split()[0])
        command.kill()
    wait_for_end(daemon)
    assert mounted_below(point) == []


def test_an_interrupted_mount_leaves_nothing(demo: Demo, sandbox: Sandbox, tmp_path: Path) -> None:
    point = tmp_path / "mnt"
    point.mkdir()
    with sandbox.start(sandbox.command("mount", demo.config, point)) as command:
        children = Path(f"/proc/{command.pid}/task/{command.pid}/children")
        wait_until(children.read_text, what="a daemon")
        command.send_signal(signal.SIGINT)
        _, errors = command.communicate(timeout=30)
    assert command.returncode == 130
    assert "Traceback" not in errors
    assert sandbox.leftovers() == []


def test_two_mounts_at_the_same_moment_do_not_stack(demo: Demo, mount: Mounter, sandbox: Sandbox) -> None:
    point = sandbox.directory / "mnt"
    point.mkdir()
    commands = [sandbox.start(sandbox.command("mount", demo.config, point)) for _ in range(3)]
    answers = [(command.communicate(timeout=60)[1], command.returncode) for command in commands]
    assert len(mounted_below(point)) <= 1, answers
    assert sum(status == 0 for _, status in answers) == len(mounted_below(point)), answers
    if mounted_below(point):
        mount.umount(point)


def test_no_zombie_and_no_descriptor_after_a_thousand_opens(demo: Demo, mount: Mounter) -> None:
    point = mount(demo.config)
    pid = mount.pid(point)
    files = [path for path in sorted(point.rglob("*")) if path.is_file()]
    for file in files:
        file.read_bytes()
    os.listdir(point / "ExperimentRuns")
    time.sleep(0.2)
    before = len(os.listdir(f"/proc/{pid}/fd"))
    for turn in range(1_000):
        with open(files[turn % len(files)], "rb") as file:
            file.read(4096)
        os.listdir(point / "ExperimentRuns")
    # RELEASE is sent without waiting for an answer.
    wait_until(lambda: len(os.listdir(f"/proc/{pid}/fd")) <= before, what="all descriptors to be closed")
    assert mount.status(point)["open_files"] == 0
    assert Path(f"/proc/{pid}/task/{pid}/children").read_text() == ""


def test_mounting_again_and_again_leaves_nothing(demo: Demo, mount: Mounter, sandbox: Sandbox) -> None:
    point = sandbox.directory / "mnt"
    for _ in range(5):
        mount(demo.config, mountpoint=point)
        assert os.listdir(point)
        mount.umount(point)
        assert sandbox.leftovers() == []

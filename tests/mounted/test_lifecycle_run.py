"""``copickfs run``: a mount for the time of one command.

Root makes mounts in one way and an ordinary user in another, so that a few tests are of both. The user's runs
of the others are for ``pytest -m soak``.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from copickfs.demo import write_demo
from tests.grids import in_short
from tests.mounted.jobs import NOTICE, RUNS, Job
from tests.sandbox import Sandbox, mounted_below, needs_root, state_of, wait_until


def prepare(sandbox: Sandbox) -> Job:
    config = write_demo(sandbox.directory / "demo")
    sandbox.give_away()
    return Job(sandbox, config)


@pytest.fixture
def job(sandbox: Sandbox) -> Job:
    """Jobs of whoever runs the tests, usually root."""
    return prepare(sandbox)


@pytest.fixture(params=["sandbox", "ordinary_user"])
def any_job(request: pytest.FixtureRequest) -> Job:
    """The same, and jobs of an ordinary user: for all that has to do with namespaces."""
    return prepare(request.getfixturevalue(request.param))


either = pytest.mark.parametrize("any_job", in_short(["sandbox", "ordinary_user"], "sandbox"), indirect=True)
"""What goes on when the mount is there is the same for both."""


def test_the_command_sees_the_mount_and_nobody_else(any_job: Job) -> None:
    inside = f"ls {any_job.point}/ExperimentRuns; grep -c {any_job.point} /proc/self/mountinfo"
    assert any_job.run("sh", "-c", inside).stdout == RUNS + "1\n"
    any_job.require_private()
    process = any_job.start("echo ready; exec sleep 1000")
    assert mounted_below(any_job.sandbox.directory) == []
    assert os.listdir(any_job.point) == []
    process.terminate()
    process.communicate(timeout=30)
    any_job.gone()


@either
def test_a_mount_point_that_is_there_stays(any_job: Job) -> None:
    any_job.point.mkdir(parents=True)
    any_job.sandbox.give_away()
    done = any_job.sandbox.run(
        "run", any_job.config, any_job.point, "--", "ls", any_job.point / "ExperimentRuns"
    )
    assert (done.stdout, done.stderr, done.returncode) == (RUNS, any_job.notice, 0)
    assert os.listdir(any_job.point) == []


def test_the_user_stays_the_user(any_job: Job) -> None:
    uid = any_job.sandbox.identity.get("user", os.getuid())
    assert any_job.run("sh", "-c", "id -u; id -g").stdout == f"{uid}\n{uid}\n"
    owner = any_job.run("stat", "-c", "%u", any_job.point / "copick_config.json").stdout
    assert owner == f"{uid}\n"


def test_exit_status(job: Job) -> None:
    assert job.run("sh", "-c", "exit 0").returncode == 0
    assert job.run("sh", "-c", "exit 3").returncode == 3
    assert job.run("sh", "-c", f"kill -{signal.SIGKILL.value} $$").returncode == 128 + signal.SIGKILL


def test_exit_status_of_a_command_that_cannot_be_run(job: Job) -> None:
    missing = job.run("no-such-command")
    assert (missing.returncode, missing.stderr) == (
        127,
        job.notice + "copickfs: no-such-command: command not found\n",
    )
    refused = job.run("/etc/passwd")
    assert (refused.returncode, refused.stderr) == (
        126,
        job.notice + "copickfs: /etc/passwd: Permission denied\n",
    )


def test_arguments_and_streams_are_the_commands(job: Job) -> None:
    arguments = ["--help", "-o", "ro", "a b", "", "ü", "--"]
    script = "import sys; sys.stderr.write(repr(sys.argv[1:])); sys.stdout.write(sys.stdin.read())"
    read, write = os.pipe()
    os.write(write, b"given\n")
    os.close(write)
    done = job.sandbox.run(
        "run",
        job.config,
        job.point,
        "-o",
        "ro",
        "--",
        job.sandbox.python,
        "-c",
        script,
        *arguments,
        stdin=read,
    )
    os.close(read)
    assert done.stdout == "given\n"
    assert done.stderr == job.notice + repr(arguments)


def test_signals_reach_the_command(job: Job) -> None:
    names = ("INT", "HUP", "QUIT", "USR1", "USR2", "TERM")
    traps = "; ".join(f"trap 'echo {name}' {name}" for name in names[:-1])
    process = job.start(f"{traps}; trap 'echo TERM; exit 9' TERM; echo ready; while :; do sleep 0.05; done")
    for name in names:
        process.send_signal(signal.Signals[f"SIG{name}"])
        assert process.stdout
        assert process.stdout.readline() == f"{name}\n"
    output, errors = process.communicate(timeout=30)
    assert (output, errors, process.returncode) == ("", job.notice, 9)
    job.gone()


def test_stop_and_continue(job: Job) -> None:
    """A shell's job control: the whole job stops, and goes on."""
    # A process group of its own, with its parent outside: the kernel does not stop orphaned groups.
    script = "trap 'echo went on; exit 4' CONT; echo ready; while :; do sleep 0.05; done"
    process = job.start(script, process_group=0)
    command = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[-1])
    process.send_signal(signal.SIGTSTP)
    wait_until(lambda: state_of(command) == "T", what="the command to stop")
    wait_until(lambda: state_of(process.pid) == "T", what="copickfs run to stop")
    assert os.waitpid(process.pid, os.WUNTRACED) == (process.pid, signal.SIGSTOP << 8 | 0x7F)
    process.send_signal(signal.SIGCONT)
    output, _ = process.communicate(timeout=30)
    assert (output, process.returncode) == ("went on\n", 4)
    job.gone()


def test_the_terminal_is_the_commands(job: Job) -> None:
    """An interrupt typed at the terminal reaches the command once."""
    master, slave = os.openpty()
    script = "trap 'n=x$n' INT; stty -echo; echo ready; sleep 1; sleep 1; tty; echo count=$n"
    # A session of its own makes the pseudo-terminal its controlling one.
    command = job.sandbox.command("run", job.config, job.point, "--", "sh", "-c", script)
    process = job.sandbox.start(
        ["setsid", "--ctty", "--wait", *command], stdin=slave, stdout=slave, stderr=slave
    )
    os.close(slave)
    text = b""
    while b"ready" not in text:
        text += os.read(master, 1000)
    os.write(master, b"\x03")
    while b"count" not in text or not text.endswith(b"\n"):
        text += os.read(master, 1000)
    process.wait(timeout=30)
    os.close(master)
    assert b"/dev/pts/" in text
    assert b"count=x\r\n" in text
    job.gone()


@either
def test_killed(any_job: Job) -> None:
    """SIGKILL of ``copickfs run`` alone: the kernel ends daemon and command."""
    process = any_job.start("trap '' TERM HUP INT; echo ready; exec sleep 1000")
    process.kill()
    process.communicate(timeout=30)
    any_job.gone()


@either
def test_the_process_group_is_killed(any_job: Job) -> None:
    """What a batch system does to a job step."""
    process = any_job.start(
        f"ls {any_job.point} >/dev/null; echo ready; exec sleep 1000", start_new_session=True
    )
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    any_job.gone()


def test_everything_is_killed_at_once(any_job: Job) -> None:
    """A cgroup's end: nobody is left to clean up, but neither mount nor process can stay."""
    any_job.require_private()
    process = any_job.start("echo ready; exec sleep 1000")
    any_job.kill_all()
    process.communicate(timeout=30)
    wait_until(lambda: mounted_below(any_job.sandbox.directory) == [])
    assert any_job.sandbox.run("status").stdout.find(str(any_job.point)) == -1
    assert os.listdir(any_job.point) == []
    again = any_job.sandbox.run(
        "run", any_job.config, any_job.point, "--", "ls", any_job.point / "ExperimentRuns"
    )
    assert again.stdout == RUNS
    any_job.point.rmdir()
    any_job.point.parent.rmdir()


def test_a_daemon_that_dies_is_reported_and_the_command_goes_on(job: Job) -> None:
    process = job.start("echo ready; sleep 2; exit 5")
    (state,) = (job.sandbox.runtime / "copickfs").glob("*.json")
    os.kill(int(state.stem), signal.SIGKILL)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 5
    assert "daemon has ended before" in errors
    state.unlink(missing_ok=True)
    job.gone()


@either
def test_children_that_stay_behind_do_not_keep_the_mount(any_job: Job) -> None:
    script = f"(cd {any_job.point}/ExperimentRuns && exec sleep 3) >/dev/null 2>&1 & sleep 0.3; exit 6"
    started = time.monotonic()
    done = any_job.run("sh", "-c", script)
    assert done.returncode == 6
    assert time.monotonic() - started < 60
    wait_until(lambda: not any_job.sandbox.leftovers(), what="the end of the child")


def test_a_mount_that_fails_runs_nothing(job: Job) -> None:
    bad = job.sandbox.directory / "bad.json"
    bad.write_text('{"layers": [')
    done = job.sandbox.run("run", bad, job.point, "--", "touch", job.sandbox.directory / "ran")
    assert done.returncode == 1
    assert done.stderr.startswith("copickfs: ")
    assert not job.point.parent.exists()
    assert not (job.sandbox.directory / "ran").exists()


@either
def test_two_jobs_on_one_mount_point(any_job: Job) -> None:
    """Tasks of an array job on one node: the end of the first must not take the mount from the second."""
    any_job.require_private()
    first = any_job.start(f"echo ready; sleep 1; ls {any_job.point}/ExperimentRuns")
    second = any_job.start(f"echo ready; sleep 4; ls {any_job.point}/ExperimentRuns")
    assert first.communicate(timeout=30)[0] == RUNS
    assert second.communicate(timeout=30)[0] == RUNS
    assert "refused" not in any_job.sandbox.log()
    for directory in (any_job.point, any_job.point.parent):
        if directory.exists():  # the first made it, and found it in use when it ended
            directory.rmdir()


def test_status_shows_jobs(any_job: Job) -> None:
    any_job.require_private()
    process = any_job.start(
        f"echo ready; {sys.executable if not any_job.sandbox.identity else 'true'} -c pass; exec sleep 1000"
    )
    done = any_job.sandbox.run("status", any_job.point)
    assert done.returncode == 0, done
    assert f"{any_job.point} (private to a copickfs run)" in done.stdout
    assert "mine" in done.stdout
    refused = any_job.sandbox.run("umount", any_job.point)
    assert refused.returncode == 1
    assert "it ends with its command" in refused.stderr
    process.terminate()
    process.communicate(timeout=30)
    any_job.gone()


@needs_root
def test_where_namespaces_are_not_permitted(any_job: Job) -> None:
    """The mount is made for all to see, and still nothing stays behind."""
    any_job.run_without_namespaces = True
    process = any_job.start(f"ls {any_job.point}/ExperimentRuns >/dev/null && echo ready; exec sleep 1000")
    assert mounted_below(any_job.sandbox.directory) == [str(any_job.point)]
    process.terminate()
    _, errors = process.communicate(timeout=30)
    assert errors == NOTICE
    any_job.gone()
    process = any_job.start("echo ready; exec sleep 1000")
    process.kill()
    process.communicate(timeout=30)
    any_job.gone()
    process = any_job.start("echo ready; exec sleep 1000")
    any_job.kill_all()
    process.communicate(timeout=30)
    assert mounted_below(any_job.sandbox.directory) == [str(any_job.point)]
    any_job.run_without_namespaces = False
    again = any_job.sandbox.run(
        "run", any_job.config, any_job.point, "--", "ls", any_job.point / "ExperimentRuns"
    )
    assert again.stdout == RUNS
    any_job.point.rmdir()
    any_job.point.parent.rmdir()


def test_killed_before_the_command_runs(job: Job) -> None:
    """A layer that hangs while it is connected."""
    program = (
        "import sys, time, copickfs.layers.manager as l, copickfs.cli.main as m\n"
        "def hang(*_, **__): print('hangs', flush=True), time.sleep(1000)\n"
        "l.LayerManager.connect_layers = hang\n"
        "m.main(sys.argv[1:])"
    )
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGINT):
        log = job.sandbox.directory / f"{number.name}.log"
        process = job.sandbox.start(
            [job.sandbox.python, "-c", program, "run", job.config, job.point, "--log-file", log, "--", "true"]
        )
        wait_until(lambda log=log: log.exists(), what="the daemon")
        time.sleep(0.5)
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
        assert process.returncode == (-number if number == signal.SIGKILL else 128 + number), errors
        assert "Traceback" not in errors
        job.gone()

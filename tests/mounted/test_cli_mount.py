"""The ways to call ``copickfs mount``: fstab, mount helpers, the foreground, copick's command line."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.mounted.test_lifecycle import wait_for_end
from tests.mounted.test_lifecycle_mountpoints import refused
from tests.sandbox import mounted_below, state_of, wait_until

if TYPE_CHECKING:
    from tests.conftest import Mounter
    from tests.mounted.conftest import Demo
    from tests.sandbox import Run, Sandbox

COMMANDS = ["mount", "umount", "status", "flush", "materialize", "run", "check", "demo"]


def test_options_of_fstab(demo: Demo, mount: Mounter, tmp_path: Path) -> None:
    log = tmp_path / "fstab.log"
    ignored = "ro,noauto,nofail,user,_netdev,x-systemd.automount,x-systemd.requires=network.target,nosuid"
    point = mount(
        demo.config,
        "-o",
        f"{ignored},default_permissions",
        "-o",
        f"allow_other,log_file={log},log_level=debug,noexec",
    )
    assert "mounted" in log.read_text()
    assert mount.status(point)["allow_other"] is True
    assert mount.status(point)["log_file"] == str(log)
    (line,) = [line for line in Path("/proc/mounts").read_text().splitlines() if f" {point} " in line]
    assert {"ro", "nosuid", "nodev", "noexec", "allow_other"} <= set(line.split()[3].split(","))


def test_options_that_are_not_known(demo: Demo, copickfs: Run, tmp_path: Path) -> None:
    (tmp_path / "mnt").mkdir()
    done = copickfs("mount", demo.config, tmp_path / "mnt", "-o", "ro,max_raed=3")
    refused(done, "'max_raed=3'", "allow_other", "degraded", "log_file=")
    refused(copickfs("mount", demo.config, tmp_path / "mnt", "--log-level", "loud"), "loud", "debug, info")
    refused(
        copickfs("mount", demo.config, tmp_path / "mnt", "--log-file", tmp_path / "no" / "such" / "log"),
        "cannot write the log",
    )


def test_as_a_mount_helper(demo: Demo, sandbox: Sandbox, mount: Mounter) -> None:
    """As mount(8) calls it, and as the generic helper of libfuse does."""
    point = sandbox.directory / "mnt"
    point.mkdir()
    script = "import sys; from copickfs.cli.main import mount_helper; mount_helper(sys.argv[1:])"
    helper = [sandbox.python, "-c", script, demo.config, point]
    fake = sandbox.finish([*helper, "-f", "-o", "ro"])
    assert (fake.returncode, mounted_below(point)) == (0, [])
    refused(sandbox.finish([*helper, "-o", "nonsense"]), "'nonsense'")
    ways: list[list[str | Path]] = [
        [*helper, "-n", "-v", "-o", "rw,noauto"],
        [*helper, "-s", "-o", "nonsense", "-t", "fuse.copickfs"],
        [*sandbox.command(demo.config, point, "-o", "ro,nofail")],
    ]
    for way in ways:
        done = sandbox.finish(way)
        assert (done.returncode, done.stderr) == (0, "")
        assert os.listdir(point / "ExperimentRuns")
        mount.umount(point)


def test_the_foreground(demo: Demo, sandbox: Sandbox) -> None:
    """For containers: logs to standard error, ends with 0 on SIGTERM, and unmounts."""
    point = sandbox.directory / "mnt"
    point.mkdir()
    with sandbox.start(sandbox.command("mount", "-f", demo.config, point)) as daemon:
        wait_until(lambda: mounted_below(point) and os.listdir(point))
        (entry,) = json.loads(sandbox.run("status", point, "--json", check=True).stdout)["mounts"]
        assert entry["pid"] == daemon.pid
        assert entry["log_file"] is None
        daemon.terminate()
        output, log = daemon.communicate(timeout=30)
    assert (daemon.returncode, output) == (0, "")
    assert "mounted" in log
    assert "SIGTERM: unmounting" in log
    assert sandbox.leftovers() == []


def test_the_service_manager_is_told(demo: Demo, sandbox: Sandbox) -> None:
    point = sandbox.directory / "mnt"
    point.mkdir()
    address = sandbox.directory / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(address))
        manager.settimeout(30)
        sandbox.env["NOTIFY_SOCKET"] = str(address)
        with sandbox.start(sandbox.command("mount", "--foreground", demo.config, point)) as daemon:
            told = ""
            while "READY=1" not in told:
                told = manager.recv(1000).decode()
            assert os.listdir(point / "ExperimentRuns")
            daemon.terminate()
            while "STOPPING=1" not in told:
                told = manager.recv(1000).decode()
            daemon.communicate(timeout=30)
    assert daemon.returncode == 0


def test_an_interrupt_at_the_terminal_ends_the_foreground(demo: Demo, sandbox: Sandbox) -> None:
    point = sandbox.directory / "mnt"
    point.mkdir()
    with sandbox.start(sandbox.command("mount", "-f", demo.config, point)) as daemon:
        wait_until(lambda: mounted_below(point) and os.listdir(point))
        daemon.send_signal(signal.SIGINT)
        daemon.communicate(timeout=30)
    assert daemon.returncode == 0
    assert mounted_below(point) == []


def test_a_second_signal_does_not_wait(demo: Demo, sandbox: Sandbox) -> None:
    """A stuck layer: the first SIGTERM waits for it, the second does not; the mount point is free."""
    point = sandbox.directory / "mnt"
    point.mkdir()
    program = (
        "import sys, time, copickfs.layers.manager as l, copickfs.cli.main as m\n"
        "l.LayerManager.close = lambda self: time.sleep(1000)\n"
        "m.main(sys.argv[1:])"
    )
    with sandbox.start([sandbox.python, "-c", program, "mount", "-f", demo.config, point]) as daemon:
        wait_until(lambda: mounted_below(point) and os.listdir(point))
        daemon.terminate()
        wait_until(lambda: not mounted_below(point))
        assert state_of(daemon.pid) != "Z"
        daemon.terminate()
        _, log = daemon.communicate(timeout=10)
    assert daemon.returncode == 1
    assert "ending at once" in log
    assert sandbox.leftovers() == []


def test_a_layer_that_does_not_close_does_not_keep_the_daemon(demo: Demo, sandbox: Sandbox) -> None:
    point = sandbox.directory / "mnt"
    point.mkdir()
    program = (
        "import sys, time, copickfs.cli.main as m\n"
        "import copickfs.layers.manager as l, copickfs.daemon.service as s\n"
        "s.END_LIMIT_S = 1.0\n"
        "l.LayerManager.close = lambda self: time.sleep(1000)\n"
        "m.main(sys.argv[1:])"
    )
    with sandbox.start([sandbox.python, "-c", program, "mount", "-f", demo.config, point]) as daemon:
        wait_until(lambda: mounted_below(point) and os.listdir(point))
        daemon.terminate()
        _, log = daemon.communicate(timeout=20)
    assert daemon.returncode == 1
    assert "the end took more than" in log
    assert sandbox.leftovers() == []


def test_a_start_that_hangs_is_given_up(demo: Demo, sandbox: Sandbox) -> None:
    point = sandbox.directory / "mnt"
    point.mkdir()
    program = (
        "import sys, time, copickfs.cli.main as m\n"
        "import copickfs.layers.manager as l, copickfs.daemon.launch as d\n"
        "d.START_LIMIT_S = 2.0\n"
        "l.LayerManager.connect_layers = lambda *_, **__: time.sleep(1000)\n"
        "m.main(sys.argv[1:])"
    )
    done = sandbox.finish([sandbox.python, "-c", program, "mount", demo.config, point])
    refused(done, "not ready within 2 s", "connecting the layers", "log: ")
    assert sandbox.leftovers() == []


def test_in_copicks_own_command_line(demo: Demo, sandbox: Sandbox, mount: Mounter) -> None:
    copick = [sandbox.python, "-c", "from copick.cli.cli import main; main()"]
    point = sandbox.directory / "mnt"
    point.mkdir()
    done = sandbox.finish([*copick, "mount", demo.config, point])
    assert done.returncode == 0, done
    assert os.listdir(point / "ExperimentRuns")
    pid = mount.pid(point)
    assert "copick.models" not in sys.modules or mount.status(point)["memory_bytes"] < 100_000_000
    refused = sandbox.finish([*copick, "mount", demo.config, point])
    assert (refused.returncode, "Traceback" in refused.stderr) == (1, False)
    assert "copickfs: " in refused.stderr
    said = in_one_process(sandbox, ["--help"], ["mount", "--help"], ["status", point], ["check", demo.config])
    for command in COMMANDS:
        assert re.search(rf"^  {command} ", said, re.MULTILINE), command
    assert "Mount the layers of CONFIG" in said
    assert f"{point}" in said
    ran = sandbox.finish([*copick, "run", demo.config, sandbox.directory / "job", "--", "sh", "-c", "exit 7"])
    assert ran.returncode == 7, ran
    assert sandbox.finish([*copick, "umount", point]).returncode == 0
    wait_for_end(pid)


def in_one_process(sandbox: Sandbox, *commands: list[str | Path]) -> str:
    """What commands of copick's own command line say, none of which may fail. To load it takes seconds."""
    program = (
        "import json, sys\n"
        "from copick.cli.cli import main\n"
        "for arguments in json.loads(sys.argv.pop()):\n"
        "    sys.argv[1:] = arguments\n"
        "    try:\n"
        "        main()\n"
        "    except SystemExit as end:\n"
        "        assert not end.code, (arguments, end.code)\n"
    )
    arguments = json.dumps([[str(part) for part in command] for command in commands])
    done = sandbox.finish([sandbox.python, "-c", program, arguments])
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_no_clash_with_copicks_own_commands() -> None:
    program = (
        "import copick.cli.ext as e\n"
        "e.load_plugin_commands = lambda *_: []\n"
        "import copick.cli.cli as c\n"
        "print(sorted(c.cli.commands))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    own = json.loads(done.stdout.splitlines()[-1].replace("'", '"'))
    assert "export" in own
    assert not set(own) & set(COMMANDS)

"""The systemd units and the script for a first look."""

from __future__ import annotations

import configparser
import json
import os
import shlex
import shutil
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from copickfs.daemon.finding import find_mount
from copickfs.daemon.service import END_LIMIT_S
from tests.mounted.test_lifecycle import make_stale, wait_for_end
from tests.sandbox import mounted_below, wait_until

if TYPE_CHECKING:
    import subprocess

    from tests.conftest import Mounter
    from tests.mounted.conftest import Demo
    from tests.sandbox import Sandbox

CHECKOUT = Path(__file__).parent.parent.parent
SYSTEM = CHECKOUT / "systemd" / "copickfs@.service"
USER = CHECKOUT / "systemd" / "user" / "copickfs@.service"
PRIVATE_MOUNTS = (
    "ProtectSystem", "ProtectHome", "PrivateTmp", "PrivateDevices", "PrivateMounts", "ReadOnlyPaths",
    "ProtectKernelTunables", "ProtectControlGroups", "ProtectKernelModules", "ProtectKernelLogs",
    "RootDirectory",
)  # fmt: skip


def read_unit(file: Path) -> dict[str, dict[str, str]]:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[method-assign,assignment]
    parser.read(file)
    return {section: dict(parser[section]) for section in parser.sections()}


def stop_commands(file: Path) -> list[str]:
    """The commands that stop a unit, one after the other."""
    lines = file.read_text().splitlines()
    return [line.removeprefix("ExecStop=") for line in lines if line.startswith("ExecStop=")]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize(("unit", "options"), [(SYSTEM, []), (USER, ["--user"])], ids=["system", "user"])
def test_systemd_accepts_the_unit(unit: Path, options: list[str], sandbox: Sandbox) -> None:
    # The machine's own units are read as well, and some do not like where a test's sockets would be.
    done = sandbox.finish(["systemd-analyze", "verify", "--man=no", *options, unit])
    assert (done.returncode, [line for line in done.stderr.splitlines() if "copickfs@" in line]) == (0, [])


@pytest.mark.parametrize("unit", [SYSTEM, USER], ids=["system", "user"])
def test_the_mount_is_for_all_to_see(unit: Path) -> None:
    service = read_unit(unit)["Service"]
    assert not [setting for setting in PRIVATE_MOUNTS if setting in service]
    if unit == USER:
        assert "NoNewPrivileges" not in service


@pytest.mark.parametrize("unit", [SYSTEM, USER], ids=["system", "user"])
def test_a_unit_is_stopped_when_all_is_sent(unit: Path) -> None:
    """First what is pending is sent, then it is unmounted; each has its time, and the daemon its own."""
    service = read_unit(unit)["Service"]
    stops = [shlex.split(line) for line in stop_commands(unit)]
    assert [words[2] for words in stops] == ["flush", "umount"]
    limit_s = float(service["TimeoutStopSec"])
    assert all(float(words[words.index("--timeout") + 1]) < limit_s for words in stops)
    assert limit_s > END_LIMIT_S
    assert service["KillMode"] == "mixed"
    assert "RestrictSUIDSGID" not in service


@pytest.mark.parametrize("unit", [SYSTEM, USER], ids=["system", "user"])
def test_the_commands_of_the_unit(unit: Path, demo: Demo, sandbox: Sandbox, mount: Mounter) -> None:
    """What systemd would do: start, wait for READY, stop; after a crash, start over."""
    service = read_unit(unit)["Service"]
    assert service["Type"] == "notify"
    configs, point = sandbox.directory / "etc", sandbox.directory / "mnt" / "lab"
    (configs / "copickfs").mkdir(parents=True)
    config = json.loads(demo.config.read_text())
    for layer, root in demo.layers.items():
        config["layer_configs"][layer]["root"] = str(root)
    (configs / "copickfs" / "lab.json").write_text(json.dumps(config))
    sandbox.env |= {
        "COPICKFS_MOUNTPOINT": str(point), "COPICKFS_OPTIONS": "--read-only --log-level info",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }  # fmt: skip

    def command(key: str) -> list[str]:
        return parsed(service[key])

    def parsed(line: str) -> list[str]:
        line = line.removeprefix("-").replace("/etc/copickfs", f"{configs}/copickfs")
        line = line.replace("%E", str(configs)).replace("%i", "lab")
        line = line.replace("${COPICKFS_MOUNTPOINT}", shlex.quote(str(point)))
        return shlex.split(line.replace("$COPICKFS_OPTIONS", sandbox.env["COPICKFS_OPTIONS"]))

    def start() -> subprocess.Popen[str]:
        address = str(sandbox.directory / "notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(address)
            manager.settimeout(30)
            sandbox.finish(command("ExecStartPre"))
            daemon = sandbox.start(command("ExecStart"), env={**sandbox.env, "NOTIFY_SOCKET": address})
            while "READY=1" not in manager.recv(1000).decode():
                pass
        Path(address).unlink()
        return daemon

    daemon = start()
    assert os.listdir(point / "ExperimentRuns")
    make_stale(mount, point)
    daemon.wait()
    daemon = start()
    assert os.listdir(point / "ExperimentRuns")
    for line in stop_commands(unit):
        stopped = sandbox.finish(parsed(line))
        assert (stopped.returncode, stopped.stderr) == (0, "")
    assert daemon.wait(timeout=30) == 0


def test_the_script_for_a_first_look(sandbox: Sandbox) -> None:
    """With everything installed: mounts, is quick the second time, and mounts again after a crash."""
    checkout = sandbox.directory / "checkout"
    (checkout / "scripts").mkdir(parents=True)
    (checkout / ".venv" / "bin").mkdir(parents=True)
    for name in ("scripts/mount-dev.sh", "pyproject.toml"):
        shutil.copy(CHECKOUT / name, checkout / name)
    shutil.copy(CHECKOUT / "pyproject.toml", checkout / ".venv" / "copickfs-installed")
    for program, line in (("python", 'exec "$REAL" "$@"'), ("copickfs", 'exec "$REAL" -m copickfs "$@"')):
        file = checkout / ".venv" / "bin" / program
        file.write_text(f"#!/bin/sh\n{line}\n")
        file.chmod(0o755)
    sandbox.env["REAL"] = sandbox.python
    point = sandbox.home / "copickfs-demo"
    script = ["bash", checkout / "scripts" / "mount-dev.sh"]

    first = sandbox.finish(script)
    assert first.returncode == 0, first
    assert mounted_below(sandbox.directory) == [str(point)]
    assert "TS_002/Picks/" in first.stdout
    assert f"copickfs umount {point}" in first.stdout
    assert "\nmine/ExperimentRuns/TS_001/notes.txt:Tilt 17 is blurred.\n" in first.stdout
    assert "already mounted" in sandbox.finish(script).stdout
    (state,) = (sandbox.runtime / "copickfs").glob("*.json")
    os.kill(int(state.stem), 9)
    wait_for_end(int(state.stem))
    again = sandbox.finish(script)
    assert again.returncode == 0, again
    assert find_mount(str(point)).source == f"{checkout}/.venv/demo/config.json"
    sandbox.run("umount", point, check=True)
    wait_until(lambda: not mounted_below(sandbox.directory))

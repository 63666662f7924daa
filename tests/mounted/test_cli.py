"""The commands: what they print, their exit statuses, how they fail."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.mounted.test_lifecycle_mountpoints import refused

if TYPE_CHECKING:
    from tests.conftest import Mounter
    from tests.mounted.conftest import Demo
    from tests.sandbox import Run, Sandbox

COMMANDS = [
    "mount", "umount", "status", "find", "search", "index", "prefetch", "cache", "flush", "materialize",
    "run", "check", "demo",
]  # fmt: skip


def test_version_and_help(copickfs: Run) -> None:
    import copickfs as package

    assert copickfs("--version").stdout == f"copickfs {package.__version__}\n"
    shown = copickfs("--help").stdout
    assert [line.split()[0] for line in shown.split("Commands:\n")[1].splitlines()] == COMMANDS
    for command in COMMANDS:
        assert copickfs(command, "--help").stdout.startswith(f"Usage: copickfs {command} ")


def test_every_command_is_one_of_copick_as_well() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    there = {name: f"copickfs.cli.{name}:{name}" for name in COMMANDS}
    assert project["entry-points"]["copick.commands"] == there


def test_help_imports_no_command(sandbox: Sandbox) -> None:
    program = (
        "import sys; from copickfs.cli.main import group\n"
        "group(['--help'], standalone_mode=False)\n"
        "heavy = ('rich', 'trio', 'pydantic')\n"
        "print(sorted(m for m in sys.modules if m.startswith('copickfs.') or m in heavy))"
    )
    done = sandbox.finish([sandbox.python, "-c", program])
    assert done.stdout.splitlines()[-1] == "['copickfs.cli', 'copickfs.cli.main']"


def test_what_the_daemon_does_not_load(demo: Demo, mount: Mounter) -> None:
    """Each of these costs a start of the daemon more than all the rest of its imports."""
    point = mount(demo.config)
    os.listdir(point / "ExperimentRuns")
    maps = Path(f"/proc/{mount.pid(point)}/maps").read_text()
    for library in ("numpy", "numcodecs", "pandas"):
        assert f"/{library}/" not in maps


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["mount"],
        ["mount", "a", "b", "--nonsense"],
        ["umount"],
        ["run", "a", "b"],
        ["flush"],
        ["flush", "a", "--timeout", "-1"],
        ["materialize"],
        ["prefetch", "a"],
        ["prefetch", "a", "b", "--run", "c"],
        ["prefetch", "a", "--tomogram", "t", "--type", "picks"],
        ["cache", "a"],
        ["cache", "a", "pin"],
    ],
)
def test_usage_errors(arguments: list[str], copickfs: Run) -> None:
    done = copickfs(*arguments)
    assert done.returncode == 2
    assert "Usage: copickfs" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_configuration_that_cannot_be_read(copickfs: Run, tmp_path: Path) -> None:
    (tmp_path / "mnt").mkdir()
    bad = tmp_path / "bad.json"
    bad.write_text('{"layers": [\n  }')
    for command in (
        ["mount", bad, tmp_path / "mnt"],
        ["check", bad],
        ["run", bad, tmp_path / "mnt", "--", "true"],
    ):
        refused(copickfs(*command), bad, "line 2")
    refused(copickfs("check", tmp_path / "none.json"), tmp_path / "none.json")


def test_unforeseen_errors_are_one_line(sandbox: Sandbox) -> None:
    """A defect of copickfs itself: no traceback unless asked for."""
    program = (
        "import copickfs.daemon.survey as s, copickfs.cli.main as m\n"
        "def broken(): raise ZeroDivisionError('planted')\n"
        "s.survey = broken\n"
        "m.main(['status'])"
    )
    done = sandbox.finish([sandbox.python, "-c", program])
    refused(done, "unforeseen error: ZeroDivisionError: planted", "COPICKFS_DEBUG=1")
    sandbox.env["COPICKFS_DEBUG"] = "1"
    assert "Traceback" in sandbox.finish([sandbox.python, "-c", program]).stderr


def test_unforeseen_errors_of_the_daemon_are_logged(demo: Demo, sandbox: Sandbox, mount: Mounter) -> None:
    """A defect in the daemon's start: one line here, the traceback in the log."""
    mount.expect_warning("unforeseen error")
    point = sandbox.directory / "mnt"
    point.mkdir()
    program = (
        "import sys, copickfs.layers.manager as l, copickfs.cli.main as m\n"
        "def broken(*_, **__): raise ZeroDivisionError('planted')\n"
        "l.LayerManager.connect_layers = broken\n"
        "m.main(sys.argv[1:])"
    )
    for options, shown in ([], 1), (["-f", "--log-file", str(sandbox.state / "copickfs" / "f.log")], 0):
        done = sandbox.finish([sandbox.python, "-c", program, "mount", demo.config, point, *options])
        assert done.returncode == 1
        assert done.stderr.count("ZeroDivisionError: planted") == shown, done
        assert "Traceback" not in done.stderr
    assert mount.log().count("Traceback") == 2
    assert "exit status 1" in mount.log()

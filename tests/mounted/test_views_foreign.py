"""Renderers of other packages that never answer: all else goes on."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from tests.sandbox import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Mounter
    from tests.sandbox import Sandbox

SOURCE = """
import os
import time

from copickfs.entities import EntityType
from copickfs.virtual.rendering import Deferred, Renderer


def wait(name):
    open(os.path.join(os.environ["LAB_CALLS"], name), "w").close()
    time.sleep(1000)


class Hanging(Renderer):
    makes_of = (EntityType.PICKS,)
    suffix = ".hanging"

    def size_bytes(self, source, name):
        source.read()
        wait(name)


class Never(Deferred):
    def __init__(self, name):
        self.name = name

    def read(self, span):
        wait(self.name)


class Late(Renderer):
    makes_of = (EntityType.PICKS,)
    suffix = ".late"

    def size_bytes(self, source, name):
        return 100

    def open(self, source, name):
        return Never(name)
"""
EXITS = "raise SystemExit(3)"
POINTS = """
[copickfs.renderers]
hanging = lab_renderers:Hanging
late = lab_renderers:Late
exits = lab_exits:Exits
absent = lab_absent:Absent
"""
LANE = 16
MORE_THAN_A_LANE = LANE + 1


def test_renderers_that_hang_stop_nothing_else(mount: Mounter, sandbox: Sandbox, tmp_path: Path) -> None:
    site = sandbox.directory / "site-packages"
    (site / "lab-1.0.dist-info").mkdir(parents=True)
    (site / "lab-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: lab\nVersion: 1.0\n")
    (site / "lab-1.0.dist-info/entry_points.txt").write_text(POINTS)
    (site / "lab_renderers.py").write_text(SOURCE)
    (site / "lab_exits.py").write_text(EXITS)
    calls = tmp_path / "calls"
    calls.mkdir()
    sandbox.env |= {"PYTHONPATH": str(site), "LAB_CALLS": str(calls)}
    picks = tmp_path / "lab/ExperimentRuns/TS_1/Picks"
    picks.mkdir(parents=True)
    document = json.dumps({"points": [{"location": {"x": 1, "y": 2, "z": 3}}]})
    for number in range(MORE_THAN_A_LANE):
        (picks / f"u_{number}_ribosome.json").write_text(document)
    config: dict[str, Any] = {
        "config_type": "multilayer", "name": "foreign", "layers": ["lab"],
        "layer_configs": {
            "lab": {"config_type": "filesystem", "root": str(tmp_path / "lab"), "read_only": True}
        },
    }  # fmt: skip
    mount.expect_warning("no (exits|absent) under Views: .* does not load")
    point = mount(config)
    shown = point / "Views/TS_1/Picks"
    assert len(list(shown.iterdir())) == 4 * MORE_THAN_A_LANE
    read = [sys.executable, "-c", "import sys; open(sys.argv[1]).read()"]
    waiting = [
        subprocess.Popen([*read, shown / f"u_{number}_ribosome.{end}"], stderr=subprocess.DEVNULL)
        for number in range(MORE_THAN_A_LANE)
        for end in ("hanging", "late")
    ]
    try:
        wait_until(lambda: len(list(calls.iterdir())) == 2 * LANE, what="both lanes are full")
        for number in range(MORE_THAN_A_LANE):
            assert b"x=" in (shown / f"u_{number}_ribosome.cmm").read_bytes()
            assert (point / f"ExperimentRuns/TS_1/Picks/u_{number}_ribosome.json").read_text() == document
        assert len(list(shown.iterdir())) == 4 * MORE_THAN_A_LANE
        assert all(process.poll() is None for process in waiting)
    finally:
        mount.umount(point, "--force")
        for process in waiting:
            process.kill()
            process.wait()

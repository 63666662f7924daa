"""``copickfs status`` and the figures in the mount."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import copickfs
from tests.mounted.test_lifecycle import make_stale
from tests.mounted.test_lifecycle_mountpoints import refused

if TYPE_CHECKING:
    from tests.conftest import Mounter
    from tests.mounted.conftest import Demo
    from tests.sandbox import Run, Sandbox

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "status.md"


def documented(heading: str) -> set[str]:
    """The keys in the table below a heading of docs/status.md."""
    section = DOCUMENT.read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))


def test_status_keys_are_documented(demo: Demo, mount: Mounter) -> None:
    point = mount(demo.config)
    entry = mount.status(point)
    assert set(entry) == documented("Every mount") | documented("A mount that serves")
    for layer in entry["layers"]:
        assert set(layer) == documented("A layer")
    inside = json.loads((point / ".copickfs" / "status.json").read_text())
    assert set(inside) == set(entry) - {"state", "remedy"}
    checked = json.loads(mount._sandbox.run("check", demo.config, "--json").stdout)
    for layer in checked["layers"]:
        assert set(layer) == documented("The document of `copickfs check --json`")
    make_stale(mount, point)
    (dead,) = json.loads(mount._sandbox.run("status", point, "--json").stdout)["mounts"]
    assert set(dead) == documented("Every mount")


def test_status_values(demo: Demo, mount: Mounter) -> None:
    point = mount(demo.config)
    data = (point / "copick_config.json").read_bytes()
    entry = mount.status(point)
    assert entry["mountpoint"] == str(point)
    assert entry["configuration"] == str(demo.config)
    assert entry["version"] == copickfs.__version__
    assert entry["state"] == "serving"
    assert Path(entry["log_file"]).exists()
    assert entry["uptime_s"] > 0
    assert entry["requests"] == sum(entry["operations"].values()) > 0
    assert entry["bytes_read"] >= len(data)
    assert entry["errors"] == {}
    assert entry["faults"] == 0
    assert entry["memory_bytes"] > 10_000_000
    shown = [
        (layer["name"], layer["priority"], layer["state"], layer["location"]) for layer in entry["layers"]
    ]
    assert shown == [("mine", 50, "ok", str(demo.layers["mine"])), ("lab", 10, "ok", str(demo.layers["lab"]))]


def test_status_of_all(demo: Demo, mount: Mounter, copickfs: Run) -> None:
    alive, dead = mount(demo.config), mount(demo.config)
    pid = mount.pid(alive)
    make_stale(mount, dead)
    done = copickfs("status")
    assert done.returncode == 0
    assert f"{alive}\n" in done.stdout
    assert f"daemon         {pid}, up " in done.stdout
    assert f"{dead}: DEAD\n" in done.stdout
    assert f"copickfs umount {dead}" in done.stdout
    states = {
        entry["mountpoint"]: entry["state"]
        for entry in json.loads(copickfs("status", "--json").stdout)["mounts"]
    }
    assert states[str(alive)] == "serving"
    assert states[str(dead)] == "dead"
    assert copickfs("status", dead).returncode == 1


def test_status_of_nothing(copickfs: Run, tmp_path: Path) -> None:
    assert copickfs("status").returncode == 0
    refused(copickfs("status", tmp_path), tmp_path, "no copickfs mount")


def test_state_files_of_dead_daemons_are_removed(demo: Demo, mount: Mounter, sandbox: Sandbox) -> None:
    point = mount(demo.config)
    make_stale(mount, point)
    sandbox.run("status")
    assert list((sandbox.runtime / "copickfs").iterdir()) == []
    (sandbox.runtime / "copickfs" / "7.json").write_text("{broken")
    sandbox.run("status")
    assert list((sandbox.runtime / "copickfs").iterdir()) == []


def test_metrics(demo: Demo, mount: Mounter) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    point = mount(demo.config)
    (point / "copick_config.json").read_bytes()
    text = (point / ".copickfs" / "metrics").read_text()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    up = {sample.labels["layer"]: sample.value for sample in families["copickfs_layer_up"].samples}
    assert up == {"mine": 1.0, "lab": 1.0}
    operations = {sample.labels["operation"] for sample in families["copickfs_requests"].samples}
    assert {"lookup", "open"} <= operations
    assert families["copickfs_memory_bytes"].samples[0].value > 10_000_000

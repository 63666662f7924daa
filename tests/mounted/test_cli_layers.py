"""``copickfs check``, and mounts of layers that cannot be reached."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

from tests.mounted.test_lifecycle_mountpoints import refused
from tests.sandbox import mounted_below

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Mounter
    from tests.mounted.conftest import Demo
    from tests.sandbox import Run


def two_layers(tmp_path: Path, second: dict[str, Any]) -> Path:
    """A configuration of a healthy layer and another one."""
    (tmp_path / "good" / "ExperimentRuns" / "TS_1").mkdir(parents=True, exist_ok=True)
    good = {"config_type": "filesystem", "root": str(tmp_path / "good"), "priority": 2}
    config = {
        "config_type": "multilayer",
        "layers": ["good", "other"],
        "layer_configs": {"good": good, "other": {"config_type": "filesystem", "priority": 1, **second}},
    }
    file = tmp_path / "layers.json"
    file.write_text(json.dumps(config))
    return file


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_check(demo: Demo, copickfs: Run) -> None:
    done = copickfs("check", demo.config)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "mine  filesystem, priority 50, write layer",
        f"      {demo.layers['mine']}",
        "      reachable",
        "lab   filesystem, priority 10, read-only",
        f"      {demo.layers['lab']}",
        "      reachable",
    ]
    document = json.loads(copickfs("check", demo.config, "--json").stdout)
    assert [layer["reachable"] for layer in document["layers"]] == [True, True]
    assert document["layers"][0]["write_layer"] is True


def test_check_names_the_fault(copickfs: Run, tmp_path: Path) -> None:
    config = two_layers(tmp_path, {"root": str(tmp_path / "none")})
    done = copickfs("check", config)
    assert done.returncode == 1
    assert "good" in done.stdout
    assert "reachable" in done.stdout
    refused(done, config, "layer other", tmp_path / "none")
    document = json.loads(copickfs("check", config, "--json").stdout)
    assert [layer["reachable"] for layer in document["layers"]] == [True, False]


def test_check_says_of_a_mount_point_what_mount_says(demo: Demo, copickfs: Run, tmp_path: Path) -> None:
    inside = demo.layers["lab"] / "ExperimentRuns"
    for point in (inside, demo.layers["lab"], demo.layers["lab"].parent):
        checked = copickfs("check", demo.config, point)
        refused(checked, point, "would contain each other")
    (tmp_path / "layer" / "mnt").mkdir(parents=True)
    config = two_layers(tmp_path, {"root": str(tmp_path / "layer")})
    point = tmp_path / "layer" / "mnt"
    assert copickfs("check", config, point).stderr == copickfs("mount", config, point).stderr
    assert copickfs("check", demo.config, tmp_path / "mnt").returncode == 0


def test_a_layer_that_can_never_work_is_no_mount(copickfs: Run, tmp_path: Path) -> None:
    config = two_layers(tmp_path, {"root": str(tmp_path / "none")})
    (tmp_path / "mnt").mkdir()
    for options in ([], ["-o", "degraded"]):
        refused(copickfs("mount", config, tmp_path / "mnt", *options), tmp_path / "none")
    assert mounted_below(tmp_path) == []


def test_a_layer_that_is_out_of_reach(copickfs: Run, mount: Mounter, tmp_path: Path) -> None:
    config = two_layers(tmp_path, {"root": f"http://key:s3cret@127.0.0.1:{closed_port()}/"})
    (tmp_path / "mnt").mkdir()
    done = copickfs("mount", config, tmp_path / "mnt")
    refused(done, "layer other is out of reach", "-o degraded")
    assert "s3cret" not in done.stderr + mount.log()
    checked = copickfs("check", config)
    assert checked.returncode == 1
    assert checked.stderr.startswith(f"copickfs: {config}: layer other: ")
    assert checked.stderr.count("layer other") == 1  # the layer's own messages begin with its name, too
    assert "layer other" not in checked.stdout
    assert "s3cret" not in checked.stdout + checked.stderr
    mount.expect_warning("mounting in spite of it")
    mount.expect_warning("layer other is down")
    point = mount(config, "-o", "degraded")
    state = {layer["name"]: layer["state"] for layer in mount.status(point)["layers"]}
    assert state == {"good": "ok", "other": "down"}
    status = copickfs("status", point, "--json")
    assert "s3cret" not in status.stdout + mount.log()

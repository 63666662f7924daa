"""The API beside a mount of the same configuration: what one writes the other shows at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import copickfs
from tests.projects import labels, points, volume
from tests.sandbox import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Mounter
    from tests.projects import Project

RUN, SIZE = "TS_001", 10.0
SEEN_WITHIN_S = 1.0
"""What is removed beside a mount stays in the kernel's memory until the daemon has heard of it."""


@pytest.fixture
def point(mount: Mounter, project: Project) -> Path:
    return mount(project.file)


def test_what_the_api_writes_the_mount_shows_at_once(point: Path, project: Project) -> None:
    root = copickfs.from_file(project.file)
    run = root.get_run(RUN)
    assert sorted(os.listdir(point / "ExperimentRuns")) == [each.name for each in root.query()]
    for number in range(5):
        picks = run.new_picks("ribosome", f"api{number}")
        picks.from_numpy(points(number, number + 1))
        assert len(json.loads((point / picks.path).read_text())["points"]) == number + 1
        picks.delete()
        wait_until(lambda gone=point / picks.path: not gone.exists(), SEEN_WITHIN_S)
    root.create_run("TS_950").new_voxel_spacing(SIZE).new_tomogram("wbp").from_numpy(volume(3), levels=1)
    assert sorted(os.listdir(point / "ExperimentRuns/TS_950/VoxelSpacing10.000")) == [".meta", "wbp.zarr"]
    root.get_run("TS_002").delete()
    wait_until(lambda: not (point / "ExperimentRuns/TS_002").exists(), SEEN_WITHIN_S)


def test_what_the_mount_writes_the_api_shows_at_once(point: Path, project: Project) -> None:
    root = copickfs.from_file(project.file)
    mounted = copick_of(point)
    run = root.get_run(RUN)
    before = len(run.picks)
    for number in range(5):
        picks = mounted.get_run(RUN).new_picks("ribosome", f"mount{number}")
        picks.from_numpy(points(number, number + 1))
        (found,) = [each for each in run.query_picks() if each.session_id == f"mount{number}"]
        np.testing.assert_array_equal(found.numpy()[0], points(number, number + 1))
    assert len(run.query_picks()) == before + 5
    segmentation = mounted.get_run("TS_002").new_segmentation(SIZE, "membrane", "m")
    segmentation.from_numpy(labels(8))
    (found,) = root.get_run("TS_002").query_segmentations()
    np.testing.assert_array_equal(found.numpy(), labels(8))
    os.unlink(point / f"ExperimentRuns/{RUN}/Meshes/alice_1_membrane.glb")
    assert run.query_meshes() == []


def copick_of(point: Path) -> Any:
    import copick

    return copick.from_file(str(point / "copick_config.json"))


def test_copicks_command_line_on_the_generated_configuration(point: Path, project: Project) -> None:
    """And `copick.ops.deposit`, which names files by links to where they are."""
    config = str(point / "copick_config.json")

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "copick.cli.cli", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    printed = run("stats", "picks", "-c", config, "--output", "json")
    stats = json.loads(printed[printed.index("{") : printed.rindex("}") + 1])
    assert stats["total_picks"] == 10
    run("cp", "picks", "ribosome:alice/1", "ribosome:bob/1", "-c", config)
    users = [each.user_id for each in copickfs.from_file(project.file).get_run("TS_002").picks]
    assert users == ["alice", "bob"]
    target = project.directory / "deposit"
    run(
        "deposit", "-c", config, "--target-dir", str(target), "--run-names", "TS_002",
        "--picks", "ribosome:bob/1",
    )  # fmt: skip
    link = target / "ExperimentRuns/TS_002/Picks/bob_1_ribosome.json"
    assert link.is_symlink()
    assert len(json.loads(link.read_text())["points"]) == 5

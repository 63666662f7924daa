"""The demo project: whole or not there, never over something else, the same every time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
import zarr
from click.testing import CliRunner
from copick.impl.filesystem import CopickConfigFSSpec, CopickRootFSSpec

from copickfs.cli.demo import demo
from copickfs.config.loading import load
from copickfs.demo import phantom, write_demo
from copickfs.errors import UserError
from tests import model

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("written")
    assert write_demo(directory) == directory / "config.json"
    return directory


def project(written: Path, layer: str) -> CopickRootFSSpec:
    objects = json.loads((written / "config.json").read_text())["pickable_objects"]
    config = CopickConfigFSSpec(overlay_root=f"local://{written / layer}", pickable_objects=objects)
    return CopickRootFSSpec(config)


def test_is_small_and_overlaps(written: Path) -> None:
    sizes = [path.stat().st_size for path in written.rglob("*") if path.is_file()]
    assert sum(sizes) < 10_000_000
    shadowed = {
        path for path, node in model.merge([written / "mine", written / "lab"]).items() if node.shadowed
    }
    run = "ExperimentRuns/TS_002"
    assert {f"{run}/Picks/lab_1_ribosome.json", f"{run}/VoxelSpacing20.000/wbp.zarr"} <= shadowed


def test_configuration_is_valid_and_relative(written: Path) -> None:
    config = load(written / "config.json")
    assert list(config.layers) == ["mine", "lab"]
    assert config.default_write_layer == "mine"
    raw = json.loads((written / "config.json").read_text())
    assert {item["root"] for item in raw["layer_configs"].values()} == {"mine", "lab"}


def test_has_every_kind_of_entity(written: Path) -> None:
    for layer, name in (("lab", "TS_001"), ("mine", "TS_004")):
        run = project(written, layer).get_run(name)
        tomogram = run.voxel_spacings[0].get_tomograms("wbp")[0]
        assert list(zarr.open_group(tomogram.zarr(), mode="r").array_keys()) == ["0", "1", "2"]
        assert [features.feature_type for features in tomogram.features] == ["edges"]
        assert {picks.pickable_object_name for picks in run.picks} == {"ribosome", "ferritin"}
        assert len(run.filaments) == len(run.meshes) == 1
        kinds = {segmentation.segmentation_type for segmentation in run.segmentations}
        assert kinds == {"binary", "multilabel", "instance", "panoptic"}


def test_volumes_show_what_was_picked(written: Path) -> None:
    """Protein is dark where the picks and the segmentation say that it is."""
    run = project(written, "lab").get_run("TS_001")
    volume = run.voxel_spacings[0].get_tomograms("wbp")[0].numpy()
    (labels,) = (s.numpy() for s in run.segmentations if s.is_multilabel)
    assert volume.shape == labels.shape == phantom.SHAPE
    background = volume[labels == 0].mean()
    for name in ("ribosome", "ferritin", "membrane"):  # a microtubule is hollow
        assert volume[labels == phantom.LABELS[name]].mean() < background - 0.3, name
    (picks,) = run.get_picks("ribosome")
    z, y, x = np.round(picks.numpy()[0].T[::-1] / phantom.VOXEL_SIZE_ANGSTROM).astype(int)
    assert (labels[z, y, x] == phantom.LABELS["ribosome"]).all()


def test_scene_depends_on_the_name_alone() -> None:
    first = phantom.scene.__wrapped__("TS_001")
    again = phantom.scene.__wrapped__("TS_001")
    other = phantom.scene.__wrapped__("TS_002")
    np.testing.assert_array_equal(
        first.particles["ribosome"].positions, again.particles["ribosome"].positions
    )
    assert not np.array_equal(first.particles["ribosome"].positions, other.particles["ribosome"].positions)
    rotations = first.particles["ribosome"].transforms[:, :3, :3]
    np.testing.assert_allclose(np.linalg.det(rotations), 1.0)


def test_refuses_a_directory_that_is_something_else(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    for force in (False, True):
        with pytest.raises(UserError, match="not empty and not a demo; name a new or empty directory"):
            write_demo(tmp_path, force=force)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_refuses_what_cannot_be_a_demo(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is not a directory"):
        write_demo(tmp_path / "file")
    with pytest.raises(UserError, match="copick cannot work below"):
        write_demo(tmp_path / "set[1]")
    with pytest.raises(UserError, match="cannot write the demo"):
        write_demo(tmp_path / "file" / "below")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_force_writes_a_finished_demo_anew_and_spares_the_rest(written: Path) -> None:
    added = written / "mine" / "ExperimentRuns" / "TS_mine"
    added.mkdir()
    (written / "my notes.txt").write_text("kept")
    with pytest.raises(UserError, match="--force"):
        write_demo(written)
    assert added.exists()
    before = {
        path: shape.content for path, shape in model.snapshot(written / "lab").items() if "zarr" not in path
    }
    write_demo(written, force=True)
    assert not added.exists()
    assert (written / "my notes.txt").read_text() == "kept"
    after = {
        path: shape.content for path, shape in model.snapshot(written / "lab").items() if "zarr" not in path
    }
    assert after == before


def test_interrupted_demo_is_not_taken_for_a_whole_one(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib; from copickfs.demo import write_demo; write_demo(pathlib.Path(sys.argv[1]))"
    )
    with subprocess.Popen([sys.executable, "-c", script, tmp_path / "demo"]) as process:
        deadline = time.monotonic() + 60
        while not (tmp_path / "demo/mine").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
    assert (tmp_path / "demo/lab").exists()
    assert not (tmp_path / "demo/config.json").exists()
    write_demo(tmp_path / "demo")
    assert len(project(tmp_path / "demo", "mine").runs) == 3


def test_command_tells_the_next_commands(tmp_path: Path) -> None:
    done = CliRunner().invoke(demo, [str(tmp_path / "a b")])
    assert done.exit_code == 0
    assert f"copickfs mount '{tmp_path}/a b/config.json'" in done.output
    again = CliRunner().invoke(demo, [str(tmp_path / "a b")])
    assert isinstance(again.exception, UserError)
    assert CliRunner().invoke(demo, [str(tmp_path / "a b"), "--force"]).exit_code == 0

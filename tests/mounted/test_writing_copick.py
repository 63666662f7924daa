"""copick's own write paths, every one, on a mount: over an empty write layer and the demo's two below.

Each step is done on the mount and on a plain copy of the merged tree. Afterwards both must be the same
file by file, and what copick finds on the bare write layer must be what it finds on the mount. Further
kinds of segmentations, and a further run, are for ``pytest -m soak``.
"""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import copick
import numpy as np
import pytest
import trimesh
import zarr
from copick.impl.filesystem import CopickConfigFSSpec, CopickRootFSSpec
from numcodecs import blosc

from copickfs.demo import phantom
from copickfs.demo.layers import _write_everything
from tests.grids import in_short
from tests.mounted.test_copick import assert_same, content, entities
from tests.writing import assert_same_tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.mounted.conftest import Demo
    from tests.writing import WritableStack

VOXEL_SIZE = phantom.VOXEL_SIZE_ANGSTROM
TYPES: dict[str, dict[str, bool]] = {
    "binary": {},
    "multilabel": {"is_multilabel": True},
    "instance": {"is_instance": True},
    "panoptic": {"is_panoptic": True},
}


class Pair:
    """The demo, mounted below an empty write layer, and a plain copy of what the mount shows."""

    def __init__(self, stack: WritableStack, demo: Demo, plain: Path) -> None:
        config = json.loads(demo.config.read_text())
        self._config = {key: config[key] for key in ("pickable_objects", "user_id", "session_id")}
        self.stack = stack
        stack.mount(**self._config)
        shutil.copytree(stack.point, plain, symlinks=True)
        self.plain = plain

    def mounted(self) -> Any:
        """Copick on the mount, with nothing remembered."""
        return copick.from_file(self.stack.point / "copick_config.json")

    def bare(self, root: Path) -> Any:
        """Copick on a plain directory."""
        arguments = {"overlay_root": f"local://{root}", "overlay_fs_args": {"auto_mkdir": True}}
        return CopickRootFSSpec(CopickConfigFSSpec(**arguments, **self._config))

    def do(self, *steps: Callable[[Any], object]) -> None:
        """Do each step on both, with a new copick project each, and compare."""
        for step in steps:
            for project in (self.mounted(), self.bare(self.plain)):
                step(project)
            assert_same_tree(self.stack.point, self.plain)
            self.compare()

    def compare(self) -> None:
        """What the bare write layer has is what the mount shows, at this moment."""
        found, merged = entities(self.bare(self.stack.mine)), entities(self.mounted())
        for path, entity in found.items():
            assert_same(content(entity), content(merged[path]))

    def assert_written(self, *paths: str) -> None:
        """The write layer alone has these entities, whole."""
        self.stack.wait_for_stores()
        self.compare()
        missing = set(paths) - entities(self.bare(self.stack.mine)).keys()
        assert not missing, f"not in the write layer: {missing}"


@pytest.fixture(autouse=True)
def _same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compressed by several threads, a chunk's blocks lie in the order in which they were ready."""
    monkeypatch.setattr(blosc, "use_threads", False)


@pytest.fixture
def pair(writable_demo: WritableStack, demo: Demo, tmp_path: Path) -> Pair:
    """A mounted demo and a plain copy of it; see `Pair`."""
    return Pair(writable_demo, demo, tmp_path / "plain")


def tomogram(project: Any, run: str = "TS_001", tomo_type: str = "wbp") -> Any:
    (found,) = project.get_run(run).get_voxel_spacing(VOXEL_SIZE).get_tomograms(tomo_type)
    return found


def volume(seed: int, size: int = 40) -> Any:
    return np.random.default_rng(seed).normal(size=(size, size, size)).astype(np.float32)


def points(seed: int, number: int = 200) -> Any:
    return np.random.default_rng(seed).uniform(0, 1_000, (number, 3))


def test_new_run_and_spacing(pair: Pair) -> None:
    def twice(project: Any) -> None:
        with pytest.raises(ValueError, match="already exists"):
            project.new_run("TS_001")
        project.new_run("TS_001", exist_ok=True)

    pair.do(
        lambda project: project.new_run("TS_100"),
        twice,
        lambda project: project.get_run("TS_100").new_voxel_spacing(10.0),
        lambda project: project.get_run("TS_001").new_voxel_spacing(7.5),
        lambda project: project.get_run("TS_001").new_voxel_spacing(VOXEL_SIZE, exist_ok=True),
    )
    assert {run.name for run in pair.bare(pair.stack.mine).runs} >= {"TS_100", "TS_001"}


def test_everything_in_a_new_run(pair: Pair) -> None:
    pair.do(lambda project: _write_everything(project.new_run("TS_100")))
    found = entities(pair.bare(pair.stack.mine))
    assert {path.rpartition(".")[2] for path in found} == {"zarr", "json", "glb"}
    wanted = {path for path in entities(pair.bare(pair.plain)) if "/TS_100/" in path}
    assert {path for path in found if "/TS_100/" in path} == wanted
    assert len(wanted) > 8


def test_new_tomogram(pair: Pair) -> None:
    def new(project: Any, run: str, tomo_type: str) -> None:
        spacing = project.get_run(run).get_voxel_spacing(VOXEL_SIZE)
        spacing.new_tomogram(tomo_type).from_numpy(volume(1), levels=3)

    pair.do(lambda project: new(project, "TS_001", "denoised"), lambda project: new(project, "TS_003", "wbp"))
    pair.assert_written(
        "ExperimentRuns/TS_001/VoxelSpacing20.000/denoised.zarr",
        "ExperimentRuns/TS_003/VoxelSpacing20.000/wbp.zarr",
    )


@pytest.mark.parametrize("run", in_short(["TS_001", "TS_002"], "TS_001"))
def test_from_numpy_over_a_lower_tomogram(pair: Pair, run: str) -> None:
    """The new arrays are smaller: no chunk of the old ones may show."""
    pair.do(
        lambda project: tomogram(project, run).from_numpy(volume(2), levels=2),
        lambda project: tomogram(project, run).from_numpy(volume(3, 30), levels=1),
    )
    pair.assert_written(f"ExperimentRuns/{run}/VoxelSpacing20.000/wbp.zarr")


def test_set_region(pair: Pair) -> None:
    window = (slice(3, 9), slice(0, 40), slice(17, 18))

    def set_region(project: Any, run: str, tomo_type: str, value: float) -> None:
        z, y, x = window
        shape = tuple(part.stop - part.start for part in window)
        tomogram(project, run, tomo_type).set_region(np.full(shape, value, np.float32), "0", x, y, z)

    def fresh(project: Any) -> None:
        spacing = project.get_run("TS_001").get_voxel_spacing(VOXEL_SIZE)
        spacing.new_tomogram("fresh").from_numpy(volume(4))

    pair.do(
        lambda project: set_region(project, "TS_001", "wbp", 1.0),
        lambda project: set_region(project, "TS_001", "wbp", 2.0),
        lambda project: set_region(project, "TS_002", "wbp", 3.0),
        fresh,
        lambda project: set_region(project, "TS_001", "fresh", 4.0),
    )
    pair.assert_written(
        *(f"ExperimentRuns/{run}/VoxelSpacing20.000/wbp.zarr" for run in ("TS_001", "TS_002")),
        "ExperimentRuns/TS_001/VoxelSpacing20.000/fresh.zarr",
    )


def test_features(pair: Pair) -> None:
    from copick.util.ome import write_ome_zarr_3d

    region = (slice(0, 4), slice(0, 4), slice(0, 4))
    stem = "ExperimentRuns/TS_001/VoxelSpacing20.000/wbp"
    pair.do(
        lambda p: write_ome_zarr_3d(tomogram(p).new_features("sharp").zarr(), {VOXEL_SIZE: volume(5)}),
        lambda p: tomogram(p).get_features("sharp").set_region(np.ones((4, 4, 4), "f4"), "0", region),
        lambda p: tomogram(p).get_features("edges").set_region(np.ones((4, 4, 4), "f4"), "0", region),
    )
    # copick lists features of the tomograms that it finds, and the bare write layer has none of those.
    pair.stack.wait_for_stores()
    for feature in ("sharp", "edges"):
        written = zarr.open_group(str(pair.stack.mine / f"{stem}_{feature}_features.zarr"), mode="r")
        np.testing.assert_array_equal(written["0"][region], 1)
    pair.do(lambda p: tomogram(p).get_features("sharp").delete())
    pair.do(lambda p: tomogram(p).delete_features())


def test_picks(pair: Pair) -> None:
    def new(project: Any) -> None:
        project.get_run("TS_001").new_picks("ribosome", session_id="2").from_numpy(points(6))

    def lower(project: Any) -> Any:
        (picks,) = project.get_run("TS_001").get_picks("ribosome", session_id="1")
        return picks

    def replace(project: Any) -> None:
        lower(project).from_numpy(points(7))

    def shorten(project: Any) -> None:
        picks = lower(project)
        picks.points = picks.points[:3]
        picks.store()

    pair.do(new, replace, shorten)
    files = {f"ExperimentRuns/TS_001/Picks/demo_{session}_ribosome.json" for session in ("2",)}
    pair.assert_written(*files)
    assert len(lower(pair.mounted()).points) == 3
    pair.do(lambda project: lower(project).delete(), lambda project: project.get_run("TS_001").delete_picks())
    assert pair.mounted().get_run("TS_001").picks == []


def test_filaments(pair: Pair) -> None:
    def new(project: Any) -> None:
        filaments = project.get_run("TS_002").new_filaments("microtubule", session_id="2")
        filaments.from_control_points([points(8, 5), points(9, 7)], voxel_spacing=VOXEL_SIZE)

    def change(project: Any) -> None:
        (filaments,) = project.get_run("TS_001").get_filaments("microtubule")
        filaments.filaments = []
        filaments.store()

    pair.do(new, change)
    assert len(entities(pair.bare(pair.stack.mine))) == 2
    pair.do(lambda project: project.get_run("TS_001").delete_filaments())
    assert pair.mounted().get_run("TS_001").filaments == []


def test_meshes(pair: Pair) -> None:
    def store(mesh: Any, radius: float) -> None:
        mesh.mesh = trimesh.Scene(trimesh.creation.icosphere(subdivisions=2, radius=radius))
        mesh.store()

    pair.do(
        lambda p: store(p.get_run("TS_002").new_mesh("membrane", session_id="2"), 10),
        lambda p: store(p.get_run("TS_001").get_meshes("membrane")[0], 20),
    )
    assert len(entities(pair.bare(pair.stack.mine))) == 2
    pair.do(lambda p: p.get_run("TS_001").delete_meshes(), lambda p: p.get_run("TS_002").delete_meshes())


def labels(kind: str, seed: int, size: int = 32) -> Any:
    random = np.random.default_rng(seed)
    volume = random.integers(0, 2, (size, size, size)).astype(np.uint8)
    if kind == "panoptic":
        return np.stack([volume, volume * random.integers(1, 300, volume.shape)]).astype(np.uint16)
    return volume


@pytest.mark.parametrize("kind", in_short(TYPES, "multilabel", "panoptic"))
def test_segmentations(pair: Pair, kind: str) -> None:
    names = {"binary": "membrane", "multilabel": "objects", "instance": "ribosome", "panoptic": "scene"}
    wanted = {"name": names[kind], "is_instance": False, "is_panoptic": False, **TYPES[kind]}

    def lower(project: Any) -> Any:
        (found,) = project.get_run("TS_001").get_segmentations(**wanted)
        return found

    def new(project: Any) -> None:
        of_one = kind in ("binary", "instance")
        made = project.get_run("TS_002").new_segmentation(
            VOXEL_SIZE, "ribosome" if of_one else "all", "2", **TYPES[kind]
        )
        made.from_numpy(labels(kind, 1))

    def region(project: Any) -> None:
        part = labels(kind, 2, 8)
        lower(project).set_region(part, "0", slice(0, 8), slice(2, 10), slice(4, 12))

    pair.do(new, region, lambda project: lower(project).from_numpy(labels(kind, 3, 16)))
    assert len(entities(pair.bare(pair.stack.mine))) == 2
    pair.do(lambda project: lower(project).delete())
    assert not pair.mounted().get_run("TS_001").get_segmentations(**wanted)


def test_objects(pair: Pair) -> None:
    def region(project: Any, name: str) -> None:
        part = slice(0, 4)
        project.get_object(name).set_region(np.ones((4, 4, 4), "f4"), "0", part, part, part)

    def new(project: Any) -> None:
        project.new_object("proteasome", is_particle=True).from_numpy(volume(10, 20), voxel_size=10.0)

    pair.do(
        lambda project: region(project, "ribosome"),
        lambda project: project.get_object("ferritin").from_numpy(volume(11, 12), voxel_size=10.0),
        new,
    )
    pair.assert_written("Objects/ribosome.zarr", "Objects/ferritin.zarr")
    array = zarr.open_group(str(pair.stack.mine / "Objects/proteasome.zarr"), mode="r")["0"]
    np.testing.assert_array_equal(array[:], volume(10, 20))
    with pytest.raises(NotImplementedError):
        pair.mounted().get_object("ribosome").delete()  # copick itself cannot
    for root in (pair.stack.point, pair.plain):
        shutil.rmtree(root / "Objects/ribosome.zarr")
    assert_same_tree(pair.stack.point, pair.plain)


def test_deletes(pair: Pair) -> None:
    def run(project: Any, name: str) -> None:
        found = project.get_run(name)
        # copick looks at what it has listed before.
        assert all(spacing.tomograms is not None for spacing in found.voxel_spacings)
        found.delete()

    pair.do(
        lambda project: tomogram(project, "TS_003", "denoised").delete(),
        lambda project: project.get_run("TS_002").get_voxel_spacing(VOXEL_SIZE).delete(),
        lambda project: project.get_run("TS_001").delete_segmentations(is_instance=None, is_panoptic=None),
        lambda project: run(project, "TS_003"),
        lambda project: run(project, "TS_004"),
    )
    assert [found.name for found in pair.mounted().runs] == ["TS_001", "TS_002"]
    pair.do(lambda project: _write_everything(project.new_run("TS_003")))
    assert not list(pair.stack.mine.rglob("TS_004"))[1:]

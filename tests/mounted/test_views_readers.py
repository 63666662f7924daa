"""The programs and packages of the field read the views of a mount, and find what copick gives."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Any, NamedTuple

import copick
import dynamotable
import emfile
import imodmodel
import mrcfile
import napari_mrcfile_reader
import numpy as np
import pytest
import starfile
import trimesh
import zarr
from copick.ops import add, export
from copick.util.formats import get_tomogram_centers_from_copick
from copick.util.handlers.picks.star import star_handler
from scipy.spatial.transform import Rotation

from tests.conftest import Mounter, fail_on_leftovers
from tests.projects import Project, copick_root, points, write_templates
from tests.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RUN = "TS_001"
VOXEL_ANGSTROM = 10.0
SPACING = f"{RUN}/VoxelSpacing10.000"
SEGMENTATION = "10.000_alice_1"
PICKS = f"{RUN}/Picks/carl_1_ribosome"


class Stack(NamedTuple):
    """A mount, its views, and the project as copick shows it through the mount."""

    mountpoint: Path
    views: Path
    root: Any

    @property
    def run(self) -> Any:
        return self.root.get_run(RUN)

    @property
    def picks(self) -> Any:
        """Picks with orientations, shifts, instances and scores."""
        [found] = self.run.get_picks("ribosome", user_id="carl", session_id="1")
        return found

    @property
    def poses(self) -> tuple[Any, Any, Any]:
        """Positions in angstrom, orientations, and shifts in angstrom."""
        positions, matrices = self.picks.numpy()
        return positions, matrices[:, :3, :3], matrices[:, :3, 3]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    directory = tmp_path_factory.mktemp("readers")
    (directory / "own").mkdir()
    project = Project(write_templates(directory / "templates"), directory / "own")
    run = copick_root(project.directory / "lab").get_run(RUN)
    matrices = np.tile(np.eye(4), (7, 1, 1))
    matrices[:, :3, :3] = Rotation.random(7, random_state=5).as_matrix()
    matrices[:, :3, 3] = points(6, 7) / 10 - 5
    picks = run.new_picks("ribosome", "1", user_id="carl")
    picks.from_numpy(points(4, 7), matrices, instance_ids=np.arange(7) + 1, scores=np.linspace(0.1, 0.9, 7))
    sandbox = Sandbox(directory)
    mount = Mounter(sandbox)
    try:
        mountpoint = mount(project.file)
        root = copick.from_file(str(mountpoint / "copick_config.json"))
        yield Stack(mountpoint, mountpoint / "Views", root)
    finally:
        mount.close()
        fail_on_leftovers(sandbox)


def volumes(run: Any) -> dict[str, tuple[Any, float]]:
    """What the MRC files have to hold, and the sizes of their voxels, by their paths in the views."""
    [tomogram] = run.get_voxel_spacing(VOXEL_ANGSTROM).tomograms
    [features] = tomogram.features
    found = {
        f"{SPACING}/wbp.mrc": (tomogram.numpy("0"), VOXEL_ANGSTROM),
        f"{SPACING}/wbp_bin2.mrc": (tomogram.numpy("1"), 2 * VOXEL_ANGSTROM),
        f"{SPACING}/wbp_edges_features.mrc": (features.numpy("0"), VOXEL_ANGSTROM),
        "Objects/ribosome.mrc": (run.root.get_object("ribosome").numpy(), VOXEL_ANGSTROM),
    }
    for each in run.segmentations:
        name = f"{RUN}/{each.directory}/{each.filename.removesuffix('.zarr')}"
        array = zarr.open_group(each.zarr(), mode="r")["0"][:]
        if each.is_panoptic:
            found[f"{name}_label.mrc"] = (array[0], VOXEL_ANGSTROM)
            found[f"{name}_instance.mrc"] = (array[1], VOXEL_ANGSTROM)
        else:
            found[f"{name}.mrc"] = (array, VOXEL_ANGSTROM)
    return found


def test_mrcfile_opens_maps_and_validates_every_volume(stack: Stack) -> None:
    wanted = volumes(stack.run)
    names = {str(each.relative_to(stack.views)) for each in stack.views.rglob("*.mrc")}
    assert {name for name in names if not name.startswith("TS_002/")} == wanted.keys()
    for name, (array, voxel_angstrom) in wanted.items():
        path = stack.views / name
        exported = export._segmentation_volume_for_mrc(array) if "Segmentations" in name else array
        if array.dtype == np.uint16:  # the type follows from the array's alone, not from the labels in it
            exported = array
        with mrcfile.open(path) as mrc:
            assert mrc.data.dtype == exported.dtype, name
            assert np.array_equal(mrc.data, exported), name
            assert mrc.voxel_size.tolist() == (voxel_angstrom,) * 3
            assert (mrc.nstart.tolist(), mrc.header.origin.tolist()) == ((0, 0, 0), (0, 0, 0))
        with mrcfile.mmap(path) as mapped:
            assert np.array_equal(mapped.data[-1, ::2, 1::3], exported[-1, ::2, 1::3])
        # It was read through, so that its statistics are exact by now.
        said = io.StringIO()
        assert mrcfile.validate(path, print_file=said), (name, said.getvalue())


def test_the_plugin_of_napari_shows_a_tomogram(stack: Stack) -> None:
    path = str(stack.views / f"{SPACING}/wbp.mrc")
    [layer] = napari_mrcfile_reader.napari_get_reader(path)(path)
    assert layer[2] == "image"
    assert np.array_equal(layer[0], volumes(stack.run)[f"{SPACING}/wbp.mrc"][0])


def test_starfile_reads_what_copicks_export_writes(stack: Stack, tmp_path: Path) -> None:
    export._export_picks_star(stack.picks, str(tmp_path / "own.star"), VOXEL_ANGSTROM)
    wanted = starfile.read(tmp_path / "own.star")
    found = starfile.read(stack.views / f"{PICKS}.star")
    assert list(found.columns) == list(wanted.columns)
    assert len(found) == 7
    assert set(found.pop("rlnTomoName")) == set(wanted.pop("rlnTomoName")) == {RUN}
    np.testing.assert_allclose(found.to_numpy(), wanted.to_numpy(), atol=2e-6)


def test_copick_reads_its_picks_back(stack: Stack, tmp_path: Path) -> None:
    """By its importers: into another project, where positions and shifts may be divided otherwise."""
    positions, rotations, shifts = stack.poses
    other = copick_root(tmp_path / "other")
    for suffix in ("csv", "tbl", "em"):
        back = add.add_picks(
            other, RUN, str(stack.views / f"{PICKS}.{suffix}"), "ribosome", "back", suffix, VOXEL_ANGSTROM,
        )  # fmt: skip
        places, matrices = back.numpy()
        np.testing.assert_allclose(places + matrices[:, :3, 3], positions + shifts, atol=1e-4)
        np.testing.assert_allclose(matrices[:, :3, :3], rotations, atol=1e-5)
    centers = get_tomogram_centers_from_copick(stack.root, [RUN], VOXEL_ANGSTROM)
    places, matrices, *_ = star_handler.read(
        str(stack.views / f"{PICKS}.star"), VOXEL_ANGSTROM, tomo_name=RUN, tomogram_centers=centers
    )
    np.testing.assert_allclose(places + matrices[:, :3, 3], positions + shifts, atol=1e-4)
    np.testing.assert_allclose(matrices[:, :3, :3], rotations, atol=1e-5)


def test_imodmodel_reads_the_points_of_a_model(stack: Stack) -> None:
    positions, _rotations, shifts = stack.poses
    table = imodmodel.read(stack.views / f"{PICKS}.mod")
    np.testing.assert_allclose(
        table[["x", "y", "z"]].to_numpy(), (positions + shifts) / VOXEL_ANGSTROM, atol=1e-5
    )
    model = imodmodel.ImodModel.from_file(stack.views / f"{PICKS}.mod")
    assert model.header.pixelsize == VOXEL_ANGSTROM
    [thing] = model.objects
    assert (thing.header.red, thing.header.blue) == (0.0, pytest.approx(220 / 255))


def test_dynamotable_reads_a_table(stack: Stack) -> None:
    positions, _rotations, shifts = stack.poses
    table = dynamotable.read(stack.views / f"{PICKS}.tbl")
    places = table[["x", "y", "z"]].to_numpy() + table[["dx", "dy", "dz"]].to_numpy()
    np.testing.assert_allclose(places, (positions + shifts) / VOXEL_ANGSTROM, atol=1e-5)
    assert table["tag"].tolist() == list(range(1, 8))


def test_emfile_reads_a_motive_list(stack: Stack, tmp_path: Path) -> None:
    export._export_picks_em(stack.picks, str(tmp_path / "own.em"), VOXEL_ANGSTROM)
    _header, wanted = emfile.read(tmp_path / "own.em")
    _header, found = emfile.read(stack.views / f"{PICKS}.em")
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_markers_are_where_the_particles_are(stack: Stack) -> None:
    positions, _rotations, shifts = stack.poses
    markers = ET.parse(stack.views / f"{PICKS}.cmm").getroot()  # noqa: S314 -- made by ourselves
    assert markers.tag == "marker_set"
    places = [[float(marker.attrib[axis]) for axis in "xyz"] for marker in markers]
    np.testing.assert_allclose(places, positions + shifts, atol=1e-4)
    assert {float(marker.attrib["radius"]) for marker in markers} == {150.0}


def test_combined_files_have_every_particle(stack: Stack) -> None:
    numbers = {each.path: len(each.numpy()[0]) for run in stack.root.runs for each in run.picks}
    of_run = sum(number for path, number in numbers.items() if f"/{RUN}/" in f"/{path}")
    assert len(starfile.read(stack.views / f"{RUN}/particles.star")) == of_run
    of_object = starfile.read(stack.views / "particles_ribosome.star")
    assert len(of_object) == sum(numbers.values())
    assert set(of_object["rlnTomoName"]) == {"TS_001", "TS_002"}
    tomograms = starfile.read(stack.views / "tomograms.star", always_dict=True)["global"]
    assert tomograms["rlnTomoName"].tolist() == ["TS_001", "TS_002"]
    for _, row in tomograms.iterrows():
        with mrcfile.open(stack.views / row["rlnTomoReconstructedTomogram"], header_only=True) as mrc:
            size = [int(row[f"rlnTomoSize{axis}"]) for axis in "XYZ"]
            assert size == [int(mrc.header[f"n{axis}"]) for axis in "xyz"]
            assert mrc.voxel_size.x == row["rlnTomoTiltSeriesPixelSize"]


def test_trimesh_reads_the_three_formats_of_a_mesh(stack: Stack) -> None:
    [mesh] = stack.run.meshes
    [wanted] = mesh.mesh.geometry.values()
    for suffix in ("stl", "obj", "ply"):
        found = trimesh.load_mesh(stack.views / f"{RUN}/Meshes/alice_1_membrane.{suffix}")
        assert len(found.faces) == len(wanted.faces)
        assert found.is_watertight
        assert found.volume == pytest.approx(wanted.volume)
        assert np.array_equal(found.bounds, wanted.bounds)


@pytest.mark.skipif(not shutil.which("relion_image_handler"), reason="RELION is not installed")
def test_relion_reads_volumes_and_tables(stack: Stack, tmp_path: Path) -> None:
    """Version 3.1, which Debian has, knows none of the columns of version 5, but prints any."""
    array = volumes(stack.run)[f"{SPACING}/wbp.mrc"][0]
    volume = str(stack.views / f"{SPACING}/wbp.mrc")
    said = relion("image_handler", "--i", volume, "--stats")
    told = {key: float(value) for key, value in re.findall(r"(\w+) ?= ([\d.e+-]+)", said)}
    assert told["avg"] == pytest.approx(array.mean(), rel=1e-4)
    assert told["stddev"] == pytest.approx(array.std(), rel=1e-3)
    assert told["angpix"] == VOXEL_ANGSTROM
    relion("image_handler", "--i", volume, "--o", str(tmp_path / "twice.mrc"), "--multiply_constant", "2")
    with mrcfile.open(tmp_path / "twice.mrc") as mrc:
        np.testing.assert_allclose(mrc.data, 2 * array, rtol=1e-6)
    labels = [f"rlnCenteredCoordinate{axis}Angst" for axis in "XYZ"]
    star = stack.views / f"{PICKS}.star"
    printed = relion("star_printtable", str(star), "data_particles", *(f"_{label}" for label in labels))
    np.testing.assert_allclose(
        np.loadtxt(io.StringIO(printed)), starfile.read(star)[labels].to_numpy(), atol=1e-5
    )


def relion(program: str, *arguments: str) -> str:
    """What a program of RELION says."""
    done = subprocess.run([f"relion_{program}", *arguments], capture_output=True, text=True, check=True)
    return done.stdout

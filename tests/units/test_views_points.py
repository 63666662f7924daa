"""Each file made of picks holds what copick's own export of them holds, and its readers read it."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Any

import copick
import dynamotable
import emfile
import imodmodel
import numpy as np
import pandas as pd
import pytest
import starfile
from copick.ops.export import export_picks
from copick.util.handlers.picks.csv import csv_handler
from copick.util.handlers.picks.dynamo import dynamo_handler
from copick.util.handlers.picks.em import em_picks_handler
from copick.util.handlers.picks.star import star_handler
from imodmodel.models import ImodModel

from copickfs.arrays import Level, levels_document
from copickfs.config.kinds import renderer_points
from copickfs.entities import EntityType
from copickfs.virtual.points import Cmm, Csv, Em, Mod, Star, Tbl
from tests.pointviews import ACTIN, FULL, LOST, PLAIN, RIBOSOME, SHAPE, SPACED, VOXEL, Place, made, written

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CENTER = np.array(SHAPE[::-1]) / 2 * VOXEL
RENDERERS = {"star": Star, "csv": Csv, "cmm": Cmm, "mod": Mod, "tbl": Tbl, "em": Em}


class Exported(Place):
    """The project, and copick's own view of it."""

    def __init__(self, directory: Path) -> None:
        self.root = written(directory / "project")
        self.out = directory
        super().__init__(directory / "project")

    def picks(self, path: str) -> Any:
        _, run, _, name = path.split("/")
        user, session, of = name.removesuffix(".json").split("_")
        return self.root.get_run(run).get_picks(of, user, session)[0]

    def export(self, path: str, suffix: str, voxel: float = VOXEL) -> str:
        """What copick writes of the picks; the file of a view is put beside it."""
        file = self.out / f"copick{suffix}"
        file.unlink(missing_ok=True)
        word = {".tbl": "dynamo"}.get(suffix, suffix[1:])
        export_picks(self.picks(path), str(file), word, voxel_spacing=voxel)
        return str(file)

    def view_file(self, path: str, renderer: Any) -> str:
        file = self.out / f"view{renderer.suffix}"
        file.write_bytes(made(renderer, self.source(path)))
        return str(file)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exported]:
    exported = Exported(tmp_path_factory.mktemp("points"))
    yield exported
    exported.layer.close()


def test_renderers_are_found_by_their_words() -> None:
    found = renderer_points()
    assert {word: found[word].load() for word in RENDERERS} == RENDERERS
    assert all(renderer().suffix == f".{word}" for word, renderer in RENDERERS.items())
    assert set(Star().makes_of) == {EntityType.PICKS, EntityType.RUN, None}


def test_nothing_heavy_is_imported() -> None:
    program = (
        "import sys, copickfs.virtual.points;"
        "print({'copick', 'pandas', 'starfile', 'scipy', 'zarr', 'numpy'} & set(sys.modules))"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "set()\n"


@pytest.mark.parametrize("path", [FULL, PLAIN])
def test_csv_is_copicks_table(project: Exported, path: str) -> None:
    view, own = project.view_file(path, Csv()), project.export(path, ".csv")
    pd.testing.assert_frame_equal(pd.read_csv(view), pd.read_csv(own), check_exact=True)
    for ours, theirs in zip(csv_handler.read(view), csv_handler.read(own), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    positions, transforms = project.picks(path).numpy()
    with open(view, newline="") as file:
        exact = np.array([row[1:20] for row in list(csv.reader(file))[1:]], dtype=float)
    np.testing.assert_array_equal(exact[:, :3], positions)
    np.testing.assert_array_equal(exact[:, 3:].reshape(-1, 4, 4), transforms)


def test_csv_of_a_run_whose_name_has_a_comma(project: Exported) -> None:
    assert set(pd.read_csv(project.view_file(SPACED, Csv())).run_name) == {"TS 2, b"}


def test_copick_imports_its_own_points_from_the_csv(project: Exported, tmp_path: Path) -> None:
    data = csv_handler.read_grouped(project.view_file(FULL, Csv()), 1.0, {})
    positions, transforms, scores, ids = data["TS_001"]
    config = {
        "config_type": "filesystem", "pickable_objects": [{"name": "ribosome", "is_particle": True}],
        "overlay_root": f"local://{tmp_path}", "overlay_fs_args": {"auto_mkdir": True},
    }  # fmt: skip
    picks = copick.from_string(json.dumps(config)).new_run("TS_001").new_picks("ribosome", "1", "me")
    picks.from_numpy(positions, transforms, ids, scores)
    own = project.picks(FULL)
    assert [point.instance_id for point in picks.points] == [point.instance_id for point in own.points]
    np.testing.assert_allclose(picks.numpy()[1], own.numpy()[1], rtol=1e-15, atol=1e-18)


@pytest.mark.parametrize("path", [FULL, PLAIN, ACTIN])
def test_star_is_copicks_table(project: Exported, path: str) -> None:
    view, own = starfile.read(project.view_file(path, Star())), starfile.read(project.export(path, ".star"))
    assert list(view) == list(own)
    pd.testing.assert_frame_equal(view, own, rtol=0, atol=1.1e-6)
    assert set(view.rlnTomoName) == {"TS_001"}


def test_star_is_read_back_by_copick(project: Exported) -> None:
    view = project.view_file(FULL, Star())
    positions, transforms, _, _ = star_handler.read(view, None, tomogram_center=tuple(CENTER))
    picks = project.picks(FULL)
    np.testing.assert_allclose(positions, picks.full_positions(), atol=1e-6)
    np.testing.assert_allclose(transforms[:, :3, :3], picks.numpy()[1][:, :3, :3], atol=1e-6)


def test_star_of_a_run_whose_name_has_blanks(project: Exported) -> None:
    view, own = project.view_file(SPACED, Star()), project.export(SPACED, ".star", 8.5)
    pd.testing.assert_frame_equal(starfile.read(view), starfile.read(own), rtol=0, atol=1.1e-6)


@pytest.mark.parametrize("path", [FULL, PLAIN])
def test_tbl_is_copicks_table(project: Exported, path: str) -> None:
    view, own = project.view_file(path, Tbl()), project.export(path, ".tbl")
    pd.testing.assert_frame_equal(dynamotable.read(view), dynamotable.read(own), rtol=0, atol=1e-9)
    for ours, theirs in zip(dynamo_handler.read(view, VOXEL), dynamo_handler.read(own, VOXEL), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-9)


@pytest.mark.parametrize("path", [FULL, PLAIN])
def test_em_is_copicks_motive_list(project: Exported, path: str) -> None:
    view, own = project.view_file(path, Em()), project.export(path, ".em")
    ours, theirs = emfile.read(view), emfile.read(own)
    assert {key: ours[0][key] for key in ("dtype", "xdim", "ydim", "zdim")} == {
        key: theirs[0][key] for key in ("dtype", "xdim", "ydim", "zdim")
    }
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-6, atol=1e-4)
    for mine, copicks in zip(
        em_picks_handler.read(view, VOXEL), em_picks_handler.read(own, VOXEL), strict=True
    ):
        np.testing.assert_allclose(mine, copicks, rtol=1e-6, atol=1e-4)


def test_cmm_has_a_marker_at_each_centre(project: Exported) -> None:
    root = ET.fromstring(made(Cmm(), project.source(FULL)))  # noqa: S314 -- it is ours
    assert (root.tag, root.attrib) == ("marker_set", {"name": "alice_1_ribosome"})
    assert [marker.tag for marker in root] == ["marker"] * 30
    assert [int(marker.attrib["id"]) for marker in root] == list(range(1, 31))
    found = np.array([[float(marker.attrib[axis]) for axis in "xyz"] for marker in root])
    np.testing.assert_array_equal(found, project.picks(FULL).full_positions())
    assert {marker.attrib["radius"] for marker in root} == {"150.0"}
    color = [float(root[0].attrib[part]) * 255 for part in "rgb"]
    np.testing.assert_allclose(color, RIBOSOME.color[:3], atol=0.02)


def test_cmm_of_an_object_that_nobody_has_configured(project: Exported) -> None:
    source = project.source(FULL, objects={})
    marker = ET.fromstring(made(Cmm(), source))[0].attrib  # noqa: S314 -- it is ours
    assert (marker["radius"], marker["r"], marker["b"]) == ("50.0", "0.3922", "0.3922")


def test_cmm_escapes_what_is_not_for_xml(project: Exported) -> None:
    path = 'ExperimentRuns/TS_001/Picks/a<&"\x01_1_ribosome.json'
    project.write(path, b'{"points": [{"location": {"x": 1, "y": 2, "z": 3}}]}')
    root = ET.fromstring(made(Cmm(), project.source(path)))  # noqa: S314 -- it is ours
    assert root.attrib["name"] == 'a<&"\ufffd_1_ribosome'
    (project.directory / path).unlink()


def test_mod_is_a_model_of_scattered_points_in_voxels(project: Exported) -> None:
    file = project.view_file(FULL, Mod())
    frame = imodmodel.read(file)
    expected = project.picks(FULL).full_positions() / VOXEL
    np.testing.assert_array_equal(frame[["x", "y", "z"]].to_numpy(), expected.astype(np.float32))
    model = ImodModel.from_file(file)
    head, shown = model.header, model.objects[0].header
    assert (head.xmax, head.ymax, head.zmax) == SHAPE[::-1]
    assert head.pixelsize == pytest.approx(VOXEL)
    assert head.units == -10  # angstrom
    assert head.flags.z_coordinates_start_from_negative_half
    assert model.minx is not None
    assert model.minx.cscale == pytest.approx((VOXEL,) * 3)
    assert model.minx.ctrans == model.minx.otrans == (0.0, 0.0, 0.0)
    assert (shown.name, shown.contsize, shown.pdrawsize) == ("ribosome", 1, 15)
    assert shown.flags.scattered
    assert not shown.flags.open
    assert (shown.red, shown.green, shown.blue) == pytest.approx((0, 117 / 255, 220 / 255))


def test_mod_tells_the_origin_of_the_tomogram(project: Exported) -> None:
    tomogram = f"ExperimentRuns/TS_001/VoxelSpacing{VOXEL:.3f}/wbp.zarr"
    moved = Level("0", SHAPE, "<f4", ("z", "y", "x"), (VOXEL,) * 3, (30.0, 20.0, 10.0))
    source = project.source(FULL, {tomogram: {"pyramid": levels_document([moved])}})
    file = project.out / "moved.mod"
    file.write_bytes(made(Mod(), source))
    minx = ImodModel.from_file(file).minx
    assert minx is not None
    assert minx.ctrans == minx.otrans == (-10.0, -20.0, -30.0)


def test_without_a_tomogram_there_are_the_files_in_angstrom_only(project: Exported) -> None:
    names = [name for renderer in RENDERERS.values() for name in renderer().files(project.source(LOST))]
    assert names == ["alice_1_ribosome.csv", "alice_1_ribosome.cmm"]


@pytest.mark.parametrize("renderer", RENDERERS.values())
def test_a_length_is_told_without_reading(project: Exported, renderer: Any) -> None:
    source = project.source(FULL, {FULL: {"points": 30}})
    name = renderer().files(source)[0]
    size_bytes = renderer().size_bytes(source, name)
    assert FULL not in source.seen  # what is read is seen
    assert not [path for path in source.seen if path.endswith((".zarray", "zarr.json"))]
    assert size_bytes == len(made(renderer(), source))


@pytest.mark.parametrize("renderer", RENDERERS.values())
def test_no_points(project: Exported, renderer: Any) -> None:
    path = "ExperimentRuns/TS_001/Picks/zoe_1_ribosome.json"
    for document in (b'{"points": []}', b'{"points": null}', b"{}"):
        project.write(path, document)
        data = made(renderer(), project.source(path))
        file = project.out / f"none{renderer().suffix}"
        file.write_bytes(data)
    (project.directory / path).unlink()
    if renderer is Csv:
        assert len(pd.read_csv(file)) == 0
    elif renderer is Star:
        assert list(starfile.read(file)) == list(starfile.read(project.view_file(FULL, Star())))
    elif renderer is Mod:
        assert len(imodmodel.read(file)) == 0
    elif renderer is Em:
        assert emfile.read(file)[1].shape == (1, 0, 20)
    elif renderer is Cmm:
        assert len(ET.fromstring(data)) == 0  # noqa: S314 -- it is ours
    else:
        assert data == b""

"""copick's own operations (`copick.ops`) on a merged root."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr
from copick.ops import add, export, get, manage, stats, sync

import copickfs
from tests.projects import SHAPE, copick_root, labels, points, volume

if TYPE_CHECKING:
    from copickfs.api import CopickRootMultilayer
    from tests.projects import Project

RUN, SIZE = "TS_001", 10.0


@pytest.mark.filterwarnings("ignore:get_tomogram is deprecated:DeprecationWarning")  # copick's own
def test_add(root: CopickRootMultilayer, project: Project) -> None:
    add.add_run(root, "NEW")
    add.add_voxelspacing(root, "NEW", 20.0)
    tomogram = add.add_tomogram(
        root, "NEW", "wbp", volume(1), voxel_spacing=20.0, create_pyramid=True, pyramid_levels=2
    )
    np.testing.assert_array_equal(tomogram.numpy(), volume(1))
    add.add_tomogram(
        root, "NEW", "wbp", {1.0: volume(1)}, voxel_spacing=1.0
    )  # where copick looks for features
    features = add.add_features(root, "NEW", 1.0, "wbp", "x", volume(2))
    np.testing.assert_array_equal(features.numpy(), volume(2))
    add.add_object(root, "vault", is_particle=True, radius=10.0, volume=volume(3), voxel_size=20.0,
                   save_config=True, config_path=str(project.file))  # fmt: skip
    again = copickfs.from_file(project.file)
    assert again.get_object("vault").radius == 10.0
    np.testing.assert_array_equal(again.get_object("vault").numpy(), volume(3))
    add.add_object_volume(root, "ribosome", volume(4), 10.0)
    np.testing.assert_array_equal(root.get_object("ribosome").numpy(), volume(4))
    table = project.directory / "picks.csv"
    export.export_picks(root.get_run(RUN).get_picks(session_id="2")[0], str(table), "csv", voxel_spacing=SIZE)
    added = add.add_picks(root, "NEW", str(table), "ribosome", "bob", "1", SIZE)
    np.testing.assert_allclose(added.numpy()[0], points(12, 3))
    bare = project.copick("mine")
    assert [each.tomo_type for each in bare.get_run("NEW").get_voxel_spacing(20.0).tomograms] == ["wbp"]


@pytest.mark.parametrize("parallel", [False, True])
def test_get_and_stats(root: CopickRootMultilayer, parallel: bool) -> None:
    options: dict[str, Any] = {"parallel": parallel, "workers": 2, "show_progress": False}
    assert len(get.get_picks(root, **options)) == 3
    assert len(get.get_segmentations(root, is_instance=None, is_panoptic=None, **options)) == 4
    assert len(get.get_meshes(root, **options)) == 1
    assert len(get.get_voxelspacings(root, **options)) == 2
    assert [run.name for run in get.get_runs(root)] == ["TS_001", "TS_002", "TS_900"]
    counted = stats.picks_stats(root, **options)
    assert counted["distribution_by_run"] == {"TS_001": 5, "TS_002": 5}
    assert stats.meshes_stats(root, **options)["total_meshes"] == 1
    assert stats.segmentations_stats(root, **options)["total_segmentations"] == 2


def test_export(root: CopickRootMultilayer, project: Project) -> None:
    out = project.directory / "out"
    tomogram = root.get_run(RUN).voxel_spacings[0].tomograms[0]
    export.export_tomogram(tomogram, str(out / "t.mrc"), "mrc")
    assert (out / "t.mrc").stat().st_size == 1024 + 4 * np.prod(SHAPE)
    export.export_tomogram(tomogram, str(out / "t.zarr"), "zarr", copy_all_levels=True)
    np.testing.assert_array_equal(zarr.open(str(out / "t.zarr"), mode="r")["0"][:], volume(0))
    done = export.export_run(
        root.get_run(RUN), str(out), picks_uri="ribosome:alice/*", output_format="star", voxel_spacing=SIZE
    )
    assert done["picks"] == 2
    membrane = root.get_run(RUN).get_segmentations(name="membrane")[0]
    export.export_segmentation(membrane, str(out / "s.mrc"), "mrc")
    assert (out / "s.mrc").exists()


def test_sync_both_ways(root: CopickRootMultilayer, project: Project) -> None:
    other = copick_root(project.directory / "other")
    sync.sync_picks(root, other)
    sync.sync_meshes(root, other)
    sync.sync_tomograms(root, other)
    sync.sync_segmentations(root, other)
    run = other.get_run(RUN)
    np.testing.assert_array_equal(run.get_picks(session_id="1")[0].numpy()[0], points(11, 2))
    np.testing.assert_array_equal(run.voxel_spacings[0].tomograms[0].numpy(), volume(0))
    np.testing.assert_array_equal(run.get_segmentations(name="membrane")[0].numpy(), labels(1))
    sync.sync_picks(other, root, source_users=["alice"], target_users={"alice": "carol"})
    sync.sync_segmentations(other, root, source_users=["alice"], target_users={"alice": "carol"})
    sync.sync_tomograms(other, root, target_tomo_types={"wbp": "copied"})
    back = root.get_run(RUN)
    assert {each.user_id for each in back.query_picks()} == {"alice", "carol"}
    (copied,) = back.get_voxel_spacing(SIZE).get_tomograms("copied")
    np.testing.assert_array_equal(copied.numpy(), volume(0))
    (segmentation,) = [each for each in back.query_segmentations() if each.user_id == "carol"
                       and each.name == "membrane"]  # fmt: skip
    np.testing.assert_array_equal(segmentation.numpy(), labels(1))


def test_managing_by_uri(root: CopickRootMultilayer) -> None:
    manage.copy_copick_objects(root, "picks", "ribosome:alice/1", "ribosome:dora/{session_id}")
    assert len(root.find_objects(type="picks", user="dora")["picks"]) == 2
    manage.copy_copick_objects(root, "segmentation", "membrane:alice/1@10.0", "membrane:dora/1@10.0")
    (copied,) = [each for each in root.get_run(RUN).query_segmentations() if each.user_id == "dora"]
    np.testing.assert_array_equal(copied.numpy(), labels(1))
    root.refresh()
    done = manage.remove_copick_objects(root, "picks", "ribosome:alice/1")
    assert done["deleted"] == 2
    assert root.find_objects(type="picks", user="alice", session="1")["picks"] == []
    assert len(json.dumps(done["objects"])) > 2

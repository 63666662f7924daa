"""The specification goes on, from section 5: writing, the index, control flow and examples."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import copick.models as cm
import numpy as np
import pytest

import copickfs
from copickfs.errors import NotWritable, UserError
from tests.api.looking import RUN, SIZE, picks_of, segmentation_of, tomogram_of
from tests.projects import OBJECTS, SHAPE, labels, points, volume

if TYPE_CHECKING:
    from copickfs.api import CopickRootMultilayer
from tests.projects import Project

# 5 Writing


def test_5_1_default_writes_to_the_default_layer(root: CopickRootMultilayer, project: Project) -> None:
    picks = picks_of(root, run="TS_002")
    picks.from_numpy(points(20, 4))
    assert list(picks.source_picks) == ["mine", "lab"]
    np.testing.assert_array_equal(project.copick("mine").get_run("TS_002").picks[0].numpy()[0], points(20, 4))


def test_5_1_source_writes_back(project: Project) -> None:
    for name in ("mine", "other"):
        project.path(name, "ExperimentRuns/TS_800/Picks").mkdir(parents=True)
    origin = project.path("other", "ExperimentRuns/TS_800/Picks/alice_1_ribosome.json")
    origin.write_text(json.dumps({"pickable_object_name": "ribosome", "user_id": "alice", "session_id": "1"}))
    project.configure(
        write_strategy="source",
        more_layers={"other": {"config_type": "filesystem", "root": "other", "priority": 1}},
    )
    root = copickfs.from_file(project.file)
    picks = picks_of(root, run="TS_800")
    picks.from_numpy(points(1, 2))
    assert list(picks.source_picks) == ["other"]
    assert len(json.loads(origin.read_text())["points"]) == 2
    root.get_run("TS_800").new_picks("ribosome", "9")
    assert project.path("mine", "ExperimentRuns/TS_800/Picks/alice_9_ribosome.json").exists()


def test_5_1_cache_and_propagate(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(project.directory / "state"))
    project.path("far").mkdir()
    with _sftp(project.path("far")) as server:
        far = {"config_type": "filesystem", "root": server.url, "fs_args": server.fs_args, "priority": 90}
        project.configure(
            more_layers={"far": far}, default_write_layer="far", write_strategy="cache_and_propagate"
        )
        root = copickfs.from_file(project.file)
        root.get_run(RUN).new_picks("ribosome", "7").from_numpy(points(2, 3))
        assert len(picks_of(root, "7").points) == 3
        assert root.flush(30.0)
        stored = project.path("far", f"ExperimentRuns/{RUN}/Picks/alice_7_ribosome.json")
        assert len(json.loads(stored.read_text())["points"]) == 3
        root.close()


def _sftp(directory: Any) -> Any:
    from tests.servers import SftpServer

    return SftpServer(directory)


def test_5_2_what_no_layer_takes_is_copicks_error(project: Project) -> None:
    project.configure(default_write_layer=...)
    root = copickfs.from_file(project.file)
    picks, segmentation = picks_of(root), segmentation_of(root)
    run = root.get_run(RUN)
    for write in (
        picks.store, picks.delete, segmentation.store, segmentation.delete, run.store, run.delete,
        lambda: root.create_run("TS_9"), lambda: run.new_picks("ribosome", "9"),
        lambda: segmentation.from_numpy(labels(1)), lambda: segmentation.zarr().__setitem__("x", b""),
        lambda: tomogram_of(root).set_region(volume(1)), run.meshes[0].store,
        run.filaments[0].store, tomogram_of(root).delete, root.get_object("ribosome").delete,
    ):  # fmt: skip
        with pytest.raises(PermissionError):
            write()
    assert picks.read_only
    with pytest.raises(NotWritable, match=r"Cannot store picks in a read-only source: .* is written"):
        picks.store()
    with pytest.raises(ValueError, match="Cannot store segmentation"):  # the specification's own kind
        segmentation.store()


def test_5_2_a_layer_above_the_written_one_decides(project: Project) -> None:
    project.configure(lab={"priority": 99})
    root = copickfs.from_file(project.file)
    with pytest.raises(PermissionError, match="layer lab decides what is there and is not written"):
        picks_of(root).store()
    picks_of(root, "2").store()


def test_5_2_a_segmentation_is_stored_in_the_default_layer(
    root: CopickRootMultilayer, project: Project
) -> None:
    segmentation = segmentation_of(root)
    segmentation.store()
    root.tree.stack.writer.materialize(segmentation.path)
    segmentation.refresh()
    assert list(segmentation.source_segmentations) == ["mine", "lab"]
    np.testing.assert_array_equal(project.copick("mine").get_run(RUN).segmentations[0].numpy(), labels(1))


def test_5_3_changes_reach_the_index(root: CopickRootMultilayer) -> None:
    root.index_all_layers()
    assert root.find_objects(type="picks", session="55")["picks"] == []
    made = root.get_run("TS_002").new_picks("ribosome", "55")
    (found,) = root.find_objects(type="picks", session="55")["picks"]
    assert found.path == made.path
    made.delete()
    assert root.find_objects(type="picks", session="55")["picks"] == []
    index = root.layer_manager.db_layer
    run, tomogram = root.get_run(RUN), tomogram_of(root)
    index.index_run(run)
    index.update_run_index("lab", run)
    index.update_voxel_spacing_index("lab", tomogram.voxel_spacing)
    index.update_tomogram_index("lab", tomogram)
    index.update_features_index("lab", tomogram.features[0])
    index.update_picks_index("lab", picks_of(root))
    index.update_filaments_index("lab", run.filaments[0])
    index.update_mesh_index("lab", run.meshes[0])
    index.update_segmentation_index("lab", segmentation_of(root))
    index.update_object("lab", root.get_object("ribosome"))


# 7 The index


def test_7_1_indexing(root: CopickRootMultilayer) -> None:
    index = root.layer_manager.db_layer
    assert not index.is_indexed
    summary = root.index_all_layers()
    assert summary.is_whole
    assert summary.runs == 3
    assert index.is_indexed
    assert index.state().entities == summary.entities
    assert index.start_indexing(layer="lab").runs > 0
    assert root.index_all_layers(full=True).reads > 0


@pytest.mark.parametrize("indexed", [False, True])
def test_7_2_finding_objects(root: CopickRootMultilayer, indexed: bool) -> None:
    if indexed:
        root.index_all_layers()
    found = root.find_objects()
    assert {kind: len(objects) for kind, objects in found.items()} == {
        "objects": 1, "runs": 3, "voxel_spacings": 2, "tomograms": 2, "features": 1, "segmentations": 4,
        "meshes": 1, "filaments": 1, "picks": 3,
    }  # fmt: skip
    for objects in found.values():
        for each in objects:
            assert isinstance(each, cm.COPICK_TYPES)
    (picks,) = root.find_objects(type="picks", run="TS_002", user="alice")["picks"]
    np.testing.assert_array_equal(picks.numpy()[0], points(1, 5))
    assert len(root.find_objects(object_types=["picks"], object_name="ribo*", user_id="alice")["picks"]) == 3
    assert [t.tomo_type for t in root.find_objects(tomo_type="wbp")["tomograms"]] == ["wbp", "wbp"]
    assert [f.feature_type for f in root.find_objects(feature_type="edges")["features"]] == ["edges"]
    types = {s.segmentation_type for s in root.find_objects(type="segmentations")["segmentations"]}
    assert types == {"binary", "multilabel", "instance", "panoptic"}
    assert len(root.find_objects(type="picks", layer="lab")["picks"]) == 2
    for mistake in ({"colour": "red"}, {"layer": "labb"}, {"type": "pix"}):
        with pytest.raises(UserError):
            root.find_objects(**mistake)


def test_7_2_a_map_of_no_object_is_found(root: CopickRootMultilayer, project: Project) -> None:
    project.path("mine", "Objects/some_map.zarr").mkdir(parents=True)
    assert {shown.name for shown in root.find_objects(type="objects")["objects"]} == {"ribosome", "some_map"}


@pytest.mark.parametrize("indexed", [False, True])
def test_7_3_searching(root: CopickRootMultilayer, indexed: bool) -> None:
    if indexed:
        root.index_all_layers()
    assert {picks.run.name for picks in root.search("ribosome")["picks"]} == {"TS_001", "TS_002"}
    only = root.search("ts_001", ["runs", "picks"])
    assert set(only) == {"runs", "picks"}
    assert [run.name for run in only["runs"]] == ["TS_001"]
    assert len(root.search("alice", ["picks"], limit=1)["picks"]) == 1
    index = root.layer_manager.db_layer
    assert [run.name for run in index.search("ts_001", ["runs"])["runs"]] == ["TS_001"]
    assert len(index.search(type="tomograms")["tomograms"]) == 2


# 8 Control flow


def test_8_1_creation(root: CopickRootMultilayer, project: Project) -> None:
    root.index_all_layers()
    run = root.create_run("MyRun")
    assert project.copick("mine").get_run("MyRun") is not None
    assert next(each.name for each in root.layer_manager.db_layer.query()) == "MyRun"
    segmentation = root.create_segmentation("MyRun", SIZE, "membrane", "1")
    segmentation.from_numpy(labels(5))
    np.testing.assert_array_equal(segmentation.numpy(), labels(5))
    assert root.create_picks("MyRun", "ribosome", "1").run.name == run.name


def test_8_2_reading(root: CopickRootMultilayer) -> None:
    run = root.get_run(RUN)
    np.testing.assert_array_equal(segmentation_of(root).numpy(), labels(1))
    np.testing.assert_array_equal(segmentation_of(root, "all", is_multilabel=True).numpy(), labels(2) * 3)
    np.testing.assert_array_equal(segmentation_of(root, "ribosome", is_instance=True).numpy(), labels(3) * 7)
    scene = segmentation_of(root, "scene", is_panoptic=True)
    np.testing.assert_array_equal(scene.numpy(channel="instance"), labels(4) * 5)
    assert scene.get_shape() == (2, *SHAPE)
    np.testing.assert_array_equal(run.filaments[0].numpy()[0], points(3, 4))
    assert len(next(iter(run.meshes[0].mesh.geometry.values())).faces) == 12
    np.testing.assert_array_equal(tomogram_of(root).features[0].numpy(), volume(7))
    np.testing.assert_array_equal(root.get_object("ribosome").numpy(), volume(9))
    assert root.get_object("membrane").numpy() is None


def test_8_3_writing(root: CopickRootMultilayer, project: Project) -> None:
    tomogram = tomogram_of(root)
    tomogram.set_region(np.full((2, 2, 2), 5.0), x=slice(0, 2), y=slice(0, 2), z=slice(0, 2))
    expected = volume(0)
    expected[:2, :2, :2] = 5.0
    np.testing.assert_array_equal(tomogram.numpy(), expected)
    np.testing.assert_array_equal(tomogram.source_tomograms["lab"].numpy(), volume(0))
    tomogram.from_numpy(volume(30)[:6], levels=1)
    np.testing.assert_array_equal(tomogram.numpy(), volume(30)[:6])
    assert list(tomogram.source_tomograms) == ["mine"]  # what was replaced whole hides the lower one
    bare = project.copick("mine").get_run(RUN).get_voxel_spacing(SIZE)
    np.testing.assert_array_equal(bare.tomograms[0].numpy(), volume(30)[:6])


def test_8_4_queries(root: CopickRootMultilayer) -> None:
    expected = ["TS_001", "TS_002", "TS_900"]
    assert [run.name for run in root.query()] == expected
    root.index_all_layers()
    assert [run.name for run in root.layer_manager.db_layer.query()] == expected
    assert [run.name for run in root.query()] == expected


# 9 Examples


def test_9_1_basic_configuration() -> None:
    from copickfs import CopickConfigFS, CopickConfigMultilayer, CopickConfigPortal

    config = CopickConfigMultilayer(
        layers=["filesystem", "portal"],
        layer_configs={
            "filesystem": CopickConfigFS(root="/path/to/data", layer_name="filesystem", priority=50),
            "portal": CopickConfigPortal(dataset_ids=[1, 2, 3], layer_name="portal", priority=10),
        },
        default_write_layer="filesystem",
    )
    root = copickfs.CopickRootMultilayer(config)
    names = [layer.name for layer in root.layer_manager.get_layers_by_priority()]
    assert names == ["filesystem", "portal"]


def test_9_2_full_configuration() -> None:
    from copickfs import (
        CopickConfigCache,
        CopickConfigFS,
        CopickConfigMultilayer,
        CopickConfigPortal,
        CopickConfigSQLiteDB,
    )

    config = CopickConfigMultilayer(
        layers=["db", "cache", "filesystem", "portal"],
        layer_configs={
            "db": CopickConfigSQLiteDB(
                db_path="/path/to/index.db",
                layer_name="db",
                priority=1000,
                auto_index=True,
                index_interval=3600,  # 1 hour
            ),
            "cache": CopickConfigCache(
                root="/path/to/cache",
                layer_name="cache",
                priority=100,
                max_size_bytes=10 * 1024 * 1024 * 1024,  # 10 GB
                parent_layer="portal",
            ),
            "filesystem": CopickConfigFS(root="/path/to/data", layer_name="filesystem", priority=50),
            "portal": CopickConfigPortal(dataset_ids=[1, 2, 3], layer_name="portal", priority=10),
        },
        default_write_layer="filesystem",
    )
    root = copickfs.CopickRootMultilayer(config)
    manager = root.layer_manager
    assert [layer.name for layer in manager.get_layers_by_priority()] == config.layers
    assert manager.layers["db"] is manager.db_layer is root.layer_specific("db")
    assert manager.layers["cache"] is manager.cache_layer is root.layer_specific("cache")


# What the sections share


def test_every_public_name_is_exported() -> None:
    for name in copickfs.__all__:
        assert getattr(copickfs, name) is not None
    assert deepcopy(OBJECTS) == OBJECTS  # nobody changes what all tests share

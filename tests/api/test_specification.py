"""The specification, section by section and name by name. What is otherwise stands in docs/design/0016."""

from __future__ import annotations

import inspect
import json
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import copick.models as cm
import numpy as np
import pytest

import copickfs
from copickfs.api import CacheFeatures, FilesystemFeatures, IndexFeatures, LayerRoot
from copickfs.errors import ConfigError, NotWritable, UserError
from tests.projects import OBJECTS, SHAPE, labels, points, volume

if TYPE_CHECKING:
    from copickfs.api import CopickRootMultilayer
    from tests.projects import Project

RUN, SIZE = "TS_001", 10.0


def picks_of(root: Any, session: str = "1", run: str = RUN) -> Any:
    (found,) = root.get_run(run).get_picks(object_name="ribosome", session_id=session)
    return found


def tomogram_of(root: Any) -> Any:
    (found,) = root.get_run(RUN).get_voxel_spacing(SIZE).tomograms
    return found


def segmentation_of(root: Any, name: str = "membrane", **types: bool) -> Any:
    (found,) = root.get_run(RUN).get_segmentations(name=name, **types)
    return found


# 2 Core concepts


def test_2_1_layers_are_asked_by_priority(root: CopickRootMultilayer) -> None:
    assert [layer.name for layer in root.layer_manager.get_layers_by_priority()] == ["mine", "lab"]


def test_2_2_reads_are_of_the_highest_layer_that_has_it(root: CopickRootMultilayer) -> None:
    np.testing.assert_array_equal(picks_of(root).numpy()[0], points(11, 2))
    np.testing.assert_array_equal(picks_of(root, run="TS_002").numpy()[0], points(1, 5))


def test_2_3_objects_are_proxies_and_copicks_own(root: CopickRootMultilayer) -> None:
    run = root.get_run(RUN)
    tomogram = tomogram_of(root)
    for thing, kind in (
        (root, cm.CopickRoot), (run, cm.CopickRun), (run.voxel_spacings[0], cm.CopickVoxelSpacing),
        (tomogram, cm.CopickTomogram), (tomogram.features[0], cm.CopickFeatures),
        (run.picks[0], cm.CopickPicks), (run.filaments[0], cm.CopickFilaments),
        (run.meshes[0], cm.CopickMesh), (run.segmentations[0], cm.CopickSegmentation),
        (root.pickable_objects[0], cm.CopickObject),
    ):  # fmt: skip
        assert isinstance(thing, kind)
        assert isinstance(thing, cm.COPICK_TYPES)
        assert type(thing).__name__ == f"{kind.__name__}Multilayer"
        assert getattr(copickfs, type(thing).__name__) is type(thing)


def test_2_4_what_single_layers_can_do(project: Project) -> None:
    project.configure(
        more_layers={
            "db": {"config_type": "sqlite_db", "db_path": "index.db", "auto_index": False, "priority": 1000},
            "cache": {"config_type": "cache", "root": "cache", "priority": 100},
        },
        db_config=...,
    )
    root = copickfs.from_file(project.file)
    assert isinstance(root.layer_specific("db"), IndexFeatures)
    assert isinstance(root.layer_specific("cache"), CacheFeatures)
    files = root.layer_specific("lab")
    assert isinstance(files, FilesystemFeatures)
    assert files.is_local
    picks = picks_of(root)
    assert files.path(picks) == str(project.path("lab", picks.path))
    assert files.exists(picks)
    assert files.info(picks).size_bytes == len(files.read_bytes(picks))
    assert files.listdir("ExperimentRuns") == ["TS_001", "TS_002"]
    with pytest.raises(PermissionError, match="layer lab is not written"):
        files.write_bytes("notes.txt", b"no")
    own = root.layer_specific("mine")
    own.write_bytes("notes/a.txt", b"yes")
    assert project.path("mine", "notes/a.txt").read_bytes() == b"yes"
    own.remove("notes")
    assert not own.exists("notes")
    with pytest.raises(ConfigError, match="no layer 'labb'"):
        root.layer_specific("labb")


# 3.1 CopickConfigMultilayer


def test_3_1_configuration(root: CopickRootMultilayer) -> None:
    config = root.config
    assert isinstance(config, copickfs.CopickConfigMultilayer)
    assert isinstance(config, cm.CopickConfig)
    assert config.config_type == "multilayer"
    assert config.layers == ["mine", "lab"]
    assert isinstance(config.layer_configs["lab"], copickfs.CopickConfigFS)
    assert config.default_write_layer == "mine"
    assert config.cache_config is None
    assert isinstance(config.db_config, copickfs.CopickConfigSQLiteDB)


# 3.2 LayerManager


def test_3_2_each_data_layer_is_a_copick_root_of_that_layer_alone(
    root: CopickRootMultilayer, project: Project
) -> None:
    manager = root.layer_manager
    assert isinstance(manager, copickfs.LayerManager)
    assert list(manager.layers) == ["mine", "lab"]
    assert manager.configs is root.config.layer_configs
    assert manager.default_write_layer == "mine"
    assert manager.cache_layer is None
    assert isinstance(manager.db_layer, IndexFeatures)
    for layer in manager.get_layers_by_priority():
        assert isinstance(layer, cm.CopickRoot)
        assert manager.get_layer(layer.name) is layer
        assert layer.config.layer_name == layer.name
        assert layer.config.priority == layer.priority
        assert layer.read_only == layer.config.read_only
        assert layer.get_object("ribosome").radius == 150.0
        bare = project.copick(layer.name)
        assert [run.name for run in layer.query()] == [run.name for run in bare.query()]
        for run in bare.query():
            mine = layer.get_run(run.name)
            assert len(mine.segmentations) == len(run.segmentations)
            for other in run.picks:
                (own,) = mine.get_picks(other.pickable_object_name, other.user_id, other.session_id)
                np.testing.assert_array_equal(own.numpy()[0], other.numpy()[0])


def test_3_2_constructed_connected_and_refreshed(root: CopickRootMultilayer, project: Project) -> None:
    manager = copickfs.LayerManager(root.config)
    assert manager.connect_layers() == []
    assert [run.name for run in manager.get_layer("mine").runs] == ["TS_001", "TS_900"]
    assert [run.name for run in manager.db_layer.query()] == ["TS_001", "TS_002", "TS_900"]
    project.path("mine", "ExperimentRuns/TS_901").mkdir()
    assert root.get_run("TS_901") is not None
    manager.refresh_all()
    assert [run.name for run in manager.get_layer("mine").runs] == ["TS_001", "TS_900", "TS_901"]
    with pytest.raises(ConfigError, match="no layer 'x'"):
        manager.get_layer("x")


# 3.3 CopickRootMultilayer


def test_3_3_root(root: CopickRootMultilayer) -> None:
    assert [run.name for run in root.query()] == ["TS_001", "TS_002", "TS_900"]
    assert root.get_run("TS_002").name == "TS_002"
    assert root.get_run("TS_404") is None
    made = root.create_run("TS_003")
    assert list(made.source_runs) == ["mine"]
    assert root.get_run("TS_003").name == "TS_003"
    with pytest.raises(ValueError, match="already exists"):
        root.create_run("TS_001")
    assert root.create_run("TS_001", exist_ok=True).name == "TS_001"
    with pytest.raises(ValueError, match="cannot be the name of a run"):
        root.create_run("a/b")


def test_3_3_constructed_from_a_configuration(project: Project) -> None:
    config = copickfs.CopickConfigMultilayer.from_file(project.file)
    made = copickfs.CopickRootMultilayer(config)
    assert made.config is config
    text = project.file.read_text()
    again = copickfs.from_string(text, base_directory=project.directory)
    assert [run.name for run in again.runs] == [run.name for run in made.runs]


# 3.4 CopickRunMultilayer


def test_3_4_run(root: CopickRootMultilayer, project: Project) -> None:
    run = root.get_run(RUN)
    assert run.root is root
    assert list(run.source_runs) == ["mine", "lab"]
    assert run.primary_run is run.source_runs["mine"]
    assert isinstance(run.primary_run.root, LayerRoot)
    assert [spacing.voxel_size for spacing in run.query_voxelspacings()] == [SIZE]
    assert run.get_voxel_spacing(SIZE).voxel_size == SIZE
    assert run.get_voxel_spacing(11.0) is None
    lower = root.get_run("TS_002")
    assert list(lower.source_runs) == ["lab"]
    lower.store()
    assert list(lower.source_runs) == ["mine", "lab"]
    assert project.path("mine", "ExperimentRuns/TS_002").is_dir()


def test_3_4_every_kind_has_sources_and_a_primary(root: CopickRootMultilayer) -> None:
    run = root.get_run(RUN)
    tomogram, picks, segmentation = tomogram_of(root), picks_of(root), segmentation_of(root)
    spacing = run.voxel_spacings[0]
    for sources, primary, layers in (
        (spacing.source_voxel_spacings, spacing.primary_voxel_spacing, ["lab"]),
        (tomogram.source_tomograms, tomogram.primary_tomogram, ["lab"]),
        (tomogram.features[0].source_features, tomogram.features[0].primary_features, ["lab"]),
        (picks.source_picks, picks.primary_picks, ["mine", "lab"]),
        (run.filaments[0].source_filaments, run.filaments[0].primary_filaments, ["lab"]),
        (run.meshes[0].source_meshes, run.meshes[0].primary_mesh, ["lab"]),
        (segmentation.source_segmentations, segmentation.primary_segmentation, ["lab"]),
        (root.get_object("ribosome").source_objects, root.get_object("ribosome").primary_object, ["lab"]),
        (root.get_object("actin").source_objects, root.get_object("actin").primary_object, []),
    ):
        assert list(sources) == layers
        assert primary is (sources[layers[0]] if layers else None)
    np.testing.assert_array_equal(picks.source_picks["lab"].numpy()[0], points(0, 5))
    np.testing.assert_array_equal(tomogram.primary_tomogram.numpy(), volume(0))


# 3.5 ProxyFactory


def test_3_5_factory(root: CopickRootMultilayer) -> None:
    factory = root.proxy_factory
    assert isinstance(factory, copickfs.ProxyFactory)
    sources = {name: root.layer_manager.get_layer(name).get_run(RUN) for name in ("lab", "mine")}
    run = factory.create_run_proxy(root, sources)
    assert type(run) is copickfs.CopickRunMultilayer
    assert list(run.source_runs) == ["mine", "lab"]
    assert run.primary_run is sources["mine"]
    assert run.meta == sources["mine"].meta
    assert run.meta is not sources["mine"].meta
    picks = factory.create_picks_proxy(run, {"lab": sources["lab"].picks[0]}, sources["lab"].picks[0])
    assert picks.primary_picks is sources["lab"].picks[0]
    spacing = factory.create_voxel_spacing_proxy(run, {"lab": sources["lab"].voxel_spacings[0]})
    lower = sources["lab"].voxel_spacings[0].tomograms[0]
    tomogram = factory.create_tomogram_proxy(spacing, {"lab": lower})
    assert tomogram.primary_tomogram is lower
    features = factory.create_features_proxy(tomogram, {"lab": lower.features[0]})
    filaments = factory.create_filaments_proxy(run, {"lab": sources["lab"].filaments[0]})
    mesh = factory.create_mesh_proxy(run, {"lab": sources["lab"].meshes[0]})
    segmentation = factory.create_segmentation_proxy(run, {"lab": sources["lab"].segmentations[0]})
    shown = factory.create_object_proxy(
        root, {"lab": root.layer_manager.get_layer("lab").get_object("actin")}
    )
    for made in (features, filaments, mesh, segmentation, shown):
        assert type(made).__name__.endswith("Multilayer")
    with pytest.raises(ValueError, match="there is no layer 'x'"):
        factory.create_run_proxy(root, {"x": sources["lab"]})
    with pytest.raises(ValueError, match="at least one source"):
        factory.create_run_proxy(root, {})


# 4 Access


def test_4_1_construction_reaches_for_nothing(project: Project) -> None:
    project.configure(lab={"root": "later"})
    root = copickfs.from_file(project.file)
    with pytest.raises(ConfigError, match=r"layer_configs\.lab\.root"):
        root.query()
    project.path("later/ExperimentRuns/TS_003").mkdir(parents=True)
    assert root.get_run("TS_003") is not None


def test_4_2_what_no_layer_has_is_none(root: CopickRootMultilayer) -> None:
    assert root.get_run("TS_404") is None
    assert root.get_run(RUN).get_picks(object_name="membrane") == []


def test_4_3_arguments_are_copicks_own(root: CopickRootMultilayer) -> None:
    tomogram = tomogram_of(root)
    x, y, z = slice(3, 9), slice(2, 12), slice(1, 5)
    np.testing.assert_array_equal(tomogram.numpy("0", x, y, z), volume(0)[1:5, 2:12, 3:9])
    assert tomogram.get_shape() == tomogram.numpy().shape == SHAPE
    assert (tomogram.get_shape().z, tomogram.get_shape().y, tomogram.get_shape().x) == SHAPE
    assert tomogram.get_shape("1") == (6, 8, 10)
    assert list(inspect.signature(tomogram.numpy).parameters) == ["zarr_group", "x", "y", "z"]


def test_4_4_one_proxy_for_picks_of_two_layers(root: CopickRootMultilayer) -> None:
    picks = root.get_run(RUN).query_picks()
    keys = [(each.user_id, each.session_id, each.pickable_object_name) for each in picks]
    assert keys == [("alice", "1", "ribosome"), ("alice", "2", "ribosome")]
    assert [list(each.source_picks) for each in picks] == [["mine", "lab"], ["mine"]]


def test_4_4_the_samples_own_mistake_is_not_made(project: Project) -> None:
    """It compares with the first layer that it met, not with the primary's: the third of three wins there."""
    third = project.path("third", f"ExperimentRuns/{RUN}/Picks/alice_1_ribosome.json")
    third.parent.mkdir(parents=True)
    lower = json.loads(project.path("lab", f"ExperimentRuns/{RUN}/Picks/alice_1_ribosome.json").read_text())
    third.write_text(json.dumps({**lower, "points": lower["points"][:1]}))
    # As they are configured: lowest first, then highest, then the middle one.
    project.configure(
        layers=["lab", "mine", "third"],
        more_layers={
            "third": {"config_type": "filesystem", "root": "third", "priority": 30, "read_only": True}
        },
    )
    root = copickfs.from_file(project.file)
    picks = picks_of(root)
    assert list(picks.source_picks) == ["mine", "third", "lab"]
    assert picks.primary_picks is picks.source_picks["mine"]
    assert len(picks.points) == 2
    given = {name: picks.source_picks[name] for name in ("lab", "mine", "third")}
    assert root.proxy_factory.create_picks_proxy(picks.run, given).primary_picks is given["mine"]


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
    index.update_segmentation_index("lab", segmentation_of(root))
    index.index_run(root.get_run(RUN))
    index.update_object("lab", picks_of(root))


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
    with pytest.raises(UserError):
        root.find_objects(colour="red")


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

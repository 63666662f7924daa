"""The specification, section by section and name by name. What is otherwise stands in docs/design/0016."""

from __future__ import annotations

import inspect
import json
from typing import TYPE_CHECKING

import copick.models as cm
import numpy as np
import pytest

import copickfs
from copickfs.api import CacheFeatures, FilesystemFeatures, IndexFeatures, LayerRoot
from copickfs.errors import ConfigError
from tests.api.looking import RUN, SIZE, picks_of, segmentation_of, tomogram_of
from tests.projects import SHAPE, points, volume

if TYPE_CHECKING:
    from copickfs.api import CopickRootMultilayer
from tests.projects import Project

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

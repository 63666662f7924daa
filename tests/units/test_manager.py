from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from copickfs import MemoryLayer
from copickfs.config import parse
from copickfs.errors import ConfigError, NotFound
from copickfs.layers.kinds import BuildContext
from copickfs.layers.local import LocalLayer
from copickfs.layers.manager import LayerManager
from copickfs.virtual.control import copick_config_of

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from copickfs.entities import EntityRecord


def stack(tmp_path: Path, **layers: dict[str, object]) -> dict[str, Any]:
    for name, layer in layers.items():
        layer.setdefault("config_type", "filesystem")
        if layer["config_type"] == "filesystem":
            layer.setdefault("root", str(tmp_path / name))
            (tmp_path / name).mkdir(exist_ok=True)
    return {"config_type": "multilayer", "layers": list(layers), "layer_configs": layers}


def test_the_attributes_and_methods_of_specification_3_2(tmp_path: Path) -> None:
    config = parse(
        {**stack(tmp_path, low={"priority": 1}, high={"priority": 9}), "default_write_layer": "high"},
        base_directory=tmp_path,
    )
    manager = LayerManager(config)
    assert list(manager.layers) == ["low", "high"]
    assert manager.configs is config.layer_configs
    assert manager.default_write_layer == "high"
    assert manager.cache_layer is None
    assert manager.db_layer is None
    assert [layer.name for layer in manager.get_layers_by_priority()] == ["high", "low"]
    assert isinstance(manager.get_layer("low"), LocalLayer)
    assert manager.connect_layers() == []
    manager.refresh_all()
    assert repr(manager) == "<LayerManager high > low>"
    with pytest.raises(ConfigError, match="no layer 'lwo'; there are: low, high"):
        manager.get_layer("lwo")
    manager.close()
    manager.close()


def test_among_equal_priorities_the_order_of_layers_decides(tmp_path: Path) -> None:
    config = parse(stack(tmp_path, b={"priority": 5}, a={"priority": 5}), base_directory=tmp_path)
    assert [layer.name for layer in LayerManager(config).get_layers_by_priority()] == ["b", "a"]


@pytest.mark.parametrize("is_layer", [True, False])
def test_the_cache_is_a_layer_without_a_part_of_the_tree(tmp_path: Path, is_layer: bool) -> None:
    document = stack(tmp_path, disk={})
    section = {"config_type": "cache", "root": str(tmp_path / "cache"), "layer_name": "kept"}
    if is_layer:
        document["layers"].append("kept")
        document["layer_configs"]["kept"] = section
    else:
        document["cache_config"] = section
    with contextlib.closing(LayerManager(parse(document, base_directory=tmp_path))) as manager:
        manager.connect_layers()
        assert manager.cache_layer is not None
        assert manager.cache_layer.name == "kept"
        assert [layer.name for layer in manager.get_data_layers()] == ["disk"]
        assert ("kept" in manager.layers) is is_layer
        assert (tmp_path / "cache" / ".copickfs" / "cache.db").is_file()


def test_a_cache_is_private_unless_it_is_a_groups(tmp_path: Path) -> None:
    for mode, wanted in ((0o755, 0o700), (0o775, 0o770)):
        root = tmp_path / f"{mode:o}"
        root.mkdir()
        root.chmod(mode)
        document = stack(tmp_path, disk={})
        document["cache_config"] = {"root": str(root)}
        with contextlib.closing(LayerManager(parse(document, base_directory=tmp_path))) as manager:
            manager.connect_layers()
        assert {(root / name).stat().st_mode & 0o777 for name in (".copickfs", "content")} == {wanted}


def test_a_directory_that_everybody_can_write_is_no_cache(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    document = stack(tmp_path, disk={})
    document["cache_config"] = {"root": str(tmp_path / "open")}
    manager = LayerManager(parse(document, base_directory=tmp_path, file="c.json"))
    told = r"^c.json: cache_config.root: .* can be written by everybody.*chmod o-w"
    with contextlib.closing(manager), pytest.raises(ConfigError, match=told):
        manager.connect_layers()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_another_users_cache_is_not_believed(tmp_path: Path) -> None:
    document = stack(tmp_path, disk={})
    document["cache_config"] = {"root": str(tmp_path / "cache")}
    with contextlib.closing(LayerManager(parse(document, base_directory=tmp_path))) as manager:
        manager.connect_layers()
    os.chown(tmp_path / "cache/content", 65534, 65534)
    manager = LayerManager(parse(document, base_directory=tmp_path, file="c.json"))
    with contextlib.closing(manager), pytest.raises(ConfigError, match="is another user's cache"):
        manager.connect_layers()


@pytest.mark.parametrize("inside", ["", "/cache"])
def test_a_cache_in_a_layer_is_refused(tmp_path: Path, inside: str) -> None:
    document = stack(tmp_path, disk={})
    root = document["layer_configs"]["disk"]["root"]
    document["cache_config"] = {"root": f"{root}{inside}"}
    manager = LayerManager(parse(document, base_directory=tmp_path, file="c.json"))
    told = r"^c.json: cache_config.root: .* lies in layer disk; name a directory of its own"
    with contextlib.closing(manager), pytest.raises(ConfigError, match=told):
        manager.connect_layers()


def test_a_cache_in_the_mount_is_refused(tmp_path: Path) -> None:
    document = stack(tmp_path, disk={})
    document["cache_config"] = {"root": str(tmp_path / "mnt" / "cache")}
    context = BuildContext(mountpoint=str(tmp_path / "mnt"))
    manager = LayerManager(parse(document, base_directory=tmp_path, file="c.json"), context)
    told = r"^c.json: cache_config.root: .* lies in the mount point; name a directory of its own"
    with contextlib.closing(manager), pytest.raises(ConfigError, match=told):
        manager.connect_layers()


def test_a_directory_with_other_files_is_no_cache(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "thesis.tex").write_text("x")
    document = stack(tmp_path, disk={})
    document["cache_config"] = {"root": str(tmp_path / "data")}
    manager = LayerManager(parse(document, base_directory=tmp_path, file="c.json"))
    told = r"^c.json: cache_config.root: .* holds other files; name an empty"
    with contextlib.closing(manager), pytest.raises(ConfigError, match=told):
        manager.connect_layers()
    assert (tmp_path / "data" / "thesis.tex").read_text() == "x"


@pytest.mark.parametrize("is_layer", [True, False])
def test_the_index_is_a_layer_without_a_part_of_the_tree(tmp_path: Path, is_layer: bool) -> None:
    document = stack(tmp_path, disk={})
    section = {"config_type": "sqlite_db", "db_path": str(tmp_path / "index.db"), "layer_name": "db"}
    if is_layer:
        document["layers"].append("db")
        document["layer_configs"]["db"] = section
    else:
        document["db_config"] = section
    manager = LayerManager(parse(document, base_directory=tmp_path))
    database = manager.db_layer
    assert database is not None
    assert database.layer_manager is manager
    assert [layer.name for layer in manager.get_data_layers()] == ["disk"]
    assert ("db" in manager.layers) == is_layer
    with pytest.raises(NotFound):
        database.stat("")
    with pytest.raises(ConfigError, match="the index is not open"):
        database.search("ribosome")
    told: list[object] = []
    database.attach(Recorder(told))
    run = SimpleNamespace(name="TS_1")
    made = {"run": run, "user_id": "u", "session_id": "s", "pickable_object_name": "o"}
    database.update_run_index("disk", run)
    database.update_picks_index("disk", SimpleNamespace(**made))
    database.update_mesh_index("disk", SimpleNamespace(**made))
    database.update_filaments_index("disk", SimpleNamespace(**made))
    spacing = SimpleNamespace(run=run, voxel_size=10.0)
    tomogram = SimpleNamespace(voxel_spacing=spacing, tomo_type="wbp")
    database.update_voxel_spacing_index("disk", spacing)
    database.update_tomogram_index("disk", tomogram)
    database.update_features_index("disk", SimpleNamespace(tomogram=tomogram, feature_type="x"))
    database.update_object_index("disk", SimpleNamespace(name="ribosome"))
    volume = {"run": run, "voxel_size": 10.0, "user_id": "u", "session_id": "s", "name": "n"}
    for kind in ("is_multilabel", "is_instance", "is_panoptic", ""):
        kinds = {each: each == kind for each in ("is_multilabel", "is_instance", "is_panoptic")}
        database.update_segmentation_index("disk", SimpleNamespace(**volume, **kinds))
    assert told == [
        "ExperimentRuns/TS_1",
        "ExperimentRuns/TS_1/Picks/u_s_o.json",
        "ExperimentRuns/TS_1/Meshes/u_s_o.glb",
        "ExperimentRuns/TS_1/Filaments/u_s_o.json",
        "ExperimentRuns/TS_1/VoxelSpacing10.000",
        "ExperimentRuns/TS_1/VoxelSpacing10.000/wbp.zarr",
        "ExperimentRuns/TS_1/VoxelSpacing10.000/wbp_x_features.zarr",
        "Objects/ribosome.zarr",
        "ExperimentRuns/TS_1/Segmentations/10.000_u_s_n-multilabel.zarr",
        "ExperimentRuns/TS_1/InstanceSegmentations/10.000_u_s_n.zarr",
        "ExperimentRuns/TS_1/PanopticSegmentations/10.000_u_s_n.zarr",
        "ExperimentRuns/TS_1/Segmentations/10.000_u_s_n.zarr",
    ]
    told.clear()
    database.search("words", ["picks"])
    database.search(run="TS_1")
    database.find_objects(user="u")
    database.query()
    database.start_indexing(full=True)
    assert told == [
        ("words", ["picks"], None), {"run": "TS_1"}, {"user": "u"}, {"type": "runs"}, (True, None),
    ]  # fmt: skip


class Recorder:
    """Stands where the catalog does, and notes what it is asked."""

    def __init__(self, told: list[object]) -> None:
        self._told = told

    def find_objects(self, **criteria: object) -> dict[str, list[EntityRecord]]:
        self._told.append(criteria)
        return {"runs": []}

    def search(
        self, query: str, object_types: Collection[str] | None = None, limit: int | None = None
    ) -> dict[str, list[EntityRecord]]:
        self._told.append((query, object_types, limit))
        return {}

    def index(self, *, full: bool = False, layer: str | None = None) -> None:
        self._told.append((full, layer))

    def changed(self, path: str) -> None:
        self._told.append(path)


def test_an_unreadable_root_names_file_key_and_remedy(tmp_path: Path) -> None:
    config = parse(stack(tmp_path, disk={}), base_directory=tmp_path, file="c.json")
    (tmp_path / "disk").rmdir()
    with pytest.raises(
        ConfigError, match=r"^c.json: layer_configs.disk.root: no such directory: .*create it"
    ):
        LayerManager(config).connect_layers()


def test_the_configuration_of_the_mount_is_one_for_plain_copick(tmp_path: Path) -> None:
    particle = {"name": "ribosome", "is_particle": True, "label": 1, "color": [1, 2, 3, 255], "radius": 120.0}
    config = parse(
        {**stack(tmp_path, disk={}), "pickable_objects": [particle], "user_id": "me", "runs": ["TS_1"]},
        base_directory=tmp_path,
    )
    made = copick_config_of(config, "/mnt/copick")
    assert made["overlay_root"] == "local:///mnt/copick"
    assert made["user_id"] == "me"
    assert "runs" not in made
    from copick.impl.filesystem import CopickConfigFSSpec

    assert CopickConfigFSSpec(**made).pickable_objects[0].name == "ribosome"


def test_importing_copickfs_imports_nothing_heavy() -> None:
    code = (
        "import sys, copickfs; "
        "heavy = {'copick', 'zarr', 'fsspec', 'pyfuse3', 'trio', 'pydantic', 'rich'}; "
        "print(*sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


class Refusing(MemoryLayer):
    """A layer that does not like a key of its configuration."""

    def __init__(self, name: str, key: str | None) -> None:
        super().__init__(name)
        self.key = key

    def connect(self) -> None:
        raise ConfigError("there is no such thing", key=self.key)


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("dataset_ids", "c.json: layer_configs.p.dataset_ids: there is no such thing"),
        (None, "c.json: layer_configs.p: there is no such thing"),
        ("layer_configs.other.root", "layer_configs.other.root: there is no such thing"),
    ],
)
def test_what_a_layer_says_of_its_configuration_is_told_with_the_file(
    tmp_path: Path, key: str | None, shown: str
) -> None:
    portal = {"config_type": "cryoet_data_portal", "dataset_ids": [1]}
    config = parse(stack(tmp_path, p=portal), base_directory=tmp_path, file="c.json")
    with contextlib.closing(LayerManager(config)) as manager:
        manager.layers["p"] = Refusing("p", key)
        with pytest.raises(ConfigError) as caught:
            manager.connect_layers()
    assert str(caught.value) == shown

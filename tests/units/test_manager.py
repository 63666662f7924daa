from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from copickfs import LayerManager
from copickfs.config import parse
from copickfs.errors import ConfigError
from copickfs.layers.local import LocalLayer
from copickfs.virtual.control import copick_config_of

if TYPE_CHECKING:
    from pathlib import Path


def stack(tmp_path: Path, **layers: dict[str, object]) -> dict[str, object]:
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


@pytest.mark.parametrize(
    "layer",
    [
        {"config_type": "cryoet_data_portal", "dataset_ids": [10301]},
        {"config_type": "cache", "root": "cache"},
        {"config_type": "sqlite_db", "db_path": "index.db"},
    ],
)
def test_kinds_of_later_versions_are_accepted_and_refused_when_mounted(
    tmp_path: Path, layer: dict[str, object]
) -> None:
    config = parse(stack(tmp_path, disk={}, later=layer), base_directory=tmp_path, file="c.json")
    with pytest.raises(ConfigError, match=r"^c.json: layer_configs.later.config_type: .*leave 'later' out"):
        LayerManager(config)


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

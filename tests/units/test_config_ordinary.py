"""Ordinary copick configurations: what copick opens is mounted as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from copickfs.config import FSConfig, MultilayerConfig, PortalConfig, load, parse
from copickfs.errors import ConfigError

ORDINARY: dict[str, Any] = {
    "config_type": "filesystem",
    "name": "test",
    "pickable_objects": [{"name": "ribosome", "is_particle": True, "go_id": "GO:1", "extra": 1}],
    "overlay_root": "local:///data/overlay",
    "overlay_fs_args": {"auto_mkdir": True},
    "static_root": "static",
    "static_fs_args": None,
    "unknown_to_copick": {"deep": float("nan")},
}


def read(data: dict[str, Any]) -> MultilayerConfig:
    return parse(data, base_directory=Path("/base"), file="c.json")


def filesystem(config: MultilayerConfig, name: str) -> FSConfig:
    layer = config.layer_configs[name]
    assert isinstance(layer, FSConfig)
    return layer


@pytest.mark.parametrize("kind", [{}, {"config_type": None}, {"config_type": "filesystem"}])
def test_overlay_and_static_become_layers(kind: dict[str, Any]) -> None:
    ordinary = {key: value for key, value in ORDINARY.items() if key != "config_type"}
    config = read({**ordinary, **kind})
    assert config.layers == config.data_layers == ["overlay", "static"]
    assert config.default_write_layer == "overlay"
    overlay, static = filesystem(config, "overlay"), filesystem(config, "static")
    assert (overlay.root, overlay.priority, overlay.read_only) == ("/data/overlay", 100, False)
    assert overlay.fs_args == {"auto_mkdir": True}
    assert (static.root, static.priority, static.read_only) == ("/base/static", 10, True)
    assert static.fs_args == {}
    assert config.name == "test"
    assert config.pickable_objects[0].identifier == "GO:1"


def test_a_static_root_is_optional() -> None:
    assert read({"overlay_root": "/o"}).layers == ["overlay"]
    assert read({"overlay_root": "/o", "static_root": None}).layers == ["overlay"]
    assert read({"overlay_root": "/o", "static_root": "/o"}).layers == ["overlay"]


def test_a_portal_project_has_its_datasets_below_the_overlay() -> None:
    config = read({"config_type": "cryoet_data_portal", "overlay_root": "o", "dataset_ids": [10301]})
    assert config.layers == ["overlay", "portal"]
    portal = config.layer_configs["portal"]
    assert isinstance(portal, PortalConfig)
    assert (portal.dataset_ids, portal.priority, portal.read_only) == ([10301], 10, True)
    assert portal.ttl == 86_400


def test_a_portal_project_that_copick_writes_is_read(tmp_path: Path) -> None:
    from copick.impl.cryoet_data_portal import CopickConfigCDP
    from copick.models import PickableObject

    objects = [PickableObject(name="ribosome", is_particle=True, identifier="GO:0022626", radius=50)]

    def of_copick(**keys: Any) -> MultilayerConfig:
        project = CopickConfigCDP(
            pickable_objects=objects, overlay_root=str(tmp_path), dataset_ids=[10302, 10301],
            overlay_fs_args={"auto_mkdir": True}, user_id="alice", **keys,
        )  # fmt: skip
        return read(project.model_dump())

    config = of_copick(portal_cache_dir="/cache", portal_cache_ttl_seconds=600)
    assert config.layers == ["overlay", "portal"]
    assert config.default_write_layer == "overlay"
    assert filesystem(config, "overlay").fs_args == {"auto_mkdir": True}
    assert filesystem(config, "overlay").root == str(tmp_path)
    portal = config.layer_configs["portal"]
    assert isinstance(portal, PortalConfig)
    assert (portal.dataset_ids, portal.ttl, portal.fs_args) == ([10302, 10301], 600, {})
    assert (config.user_id, config.pickable_objects[0].identifier) == ("alice", "GO:0022626")
    for_ever = of_copick(portal_cache_ttl_seconds=-1).layer_configs["portal"]
    assert isinstance(for_ever, PortalConfig)
    assert for_ever.ttl == 1e9
    with pytest.raises(ConfigError, match=r"^c\.json: portal_cache_ttl_seconds: must be a number"):
        read({**ORDINARY, "config_type": "cryoet_data_portal", "dataset_ids": [1],
              "portal_cache_ttl_seconds": "soon"})  # fmt: skip


def test_errors_name_the_keys_of_the_file() -> None:
    config = read(ORDINARY)
    assert config.where("overlay", "root") == ("c.json", "overlay_root")
    assert config.where("static", "fs_args") == ("c.json", "static_fs_args")
    assert config.where("static") == ("c.json", "static_root")

    def refusal(**changes: Any) -> str:
        with pytest.raises(ConfigError) as caught:
            read({**ORDINARY, **changes})
        return str(caught.value)

    assert refusal(overlay_root=7) == "c.json: overlay_root: must be a string (got 7)"
    assert refusal(static_root="${NO_SUCH_VARIABLE}").startswith(
        "c.json: static_root: environment variable NO_SUCH"
    )
    assert refusal(overlay_fs_args={"a": {"b": float("inf")}}) == (
        "c.json: overlay_fs_args.a.b: must be a finite number"
    )
    assert refusal(pickable_objects=None) == "c.json: pickable_objects: must be a list, not null"
    with pytest.raises(ConfigError, match='overlay_root: is missing; add it, for example "overlay_root": "'):
        read({"config_type": "filesystem"})


def test_fs_args_that_copick_takes_literally_stay_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_KEY", "from-the-environment")
    monkeypatch.delenv("word", raising=False)
    arguments = {"password": "pa$$word", "token": "a$word${word}${", "key": "$LAB_KEY"}
    overlay = filesystem(read({"overlay_root": "/o", "overlay_fs_args": arguments}), "overlay")
    assert overlay.fs_args == {**arguments, "key": "from-the-environment"}


def test_what_copick_writes_is_read(tmp_path: Path) -> None:
    import copick
    from copick.models import PickableObject

    objects = [PickableObject(name="ribosome", is_particle=True, identifier="GO:0022626", radius=150)]
    file = tmp_path / "copick.json"
    project = copick.ops.open.new_config(str(file), str(tmp_path / "overlay"), "p", pickable_objects=objects)
    config = load(file)
    assert filesystem(config, "overlay").root == str(tmp_path / "overlay")
    assert project.config.pickable_objects[0].model_dump(mode="json") == (
        config.pickable_objects[0].model_dump(mode="json")
    )

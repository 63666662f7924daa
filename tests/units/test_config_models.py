"""The specification's classes, and that the plain ones agree with copick's."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
from copick.models import CopickConfig, PickableObject
from pydantic import ValidationError

from copickfs import (
    CopickConfigCache,
    CopickConfigFS,
    CopickConfigMultilayer,
    CopickConfigPortal,
    CopickConfigSQLiteDB,
)
from copickfs.config import FSConfig, MultilayerConfig, load, parse
from copickfs.config.project import ObjectConfig, ProjectConfig
from copickfs.errors import ConfigError


def basic() -> CopickConfigMultilayer:
    """Specification, 9.1, as printed."""
    return CopickConfigMultilayer(
        layers=["filesystem", "portal"],
        layer_configs={
            "filesystem": CopickConfigFS(root="/path/to/data", layer_name="filesystem", priority=50),
            "portal": CopickConfigPortal(dataset_ids=[1, 2, 3], layer_name="portal", priority=10),
        },
        default_write_layer="filesystem",
    )


def full() -> CopickConfigMultilayer:
    """Specification, 9.2, as printed."""
    return CopickConfigMultilayer(
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


@pytest.mark.parametrize("make", [basic, full])
def test_examples_of_the_specification(make: Any) -> None:
    config = make()
    for part in (config, *config.layer_configs.values()):
        assert isinstance(part, CopickConfig)
        assert part.pickable_objects == []
    assert isinstance(config, MultilayerConfig)
    assert isinstance(config.layer_configs["filesystem"], CopickConfigFS)
    assert isinstance(config.layer_configs["filesystem"], FSConfig)
    assert isinstance(config.layer_configs["portal"], CopickConfigPortal)
    assert config.layer_configs["filesystem"].root == "/path/to/data"
    assert config.layer_configs["filesystem"].config_type == "filesystem"
    assert config.config_type == "multilayer"
    assert config.data_layers == ["filesystem", "portal"]


def test_cache_and_index_of_the_full_example() -> None:
    config = full()
    assert config.cache_config is config.layer_configs["cache"]
    assert config.db_config is config.layer_configs["db"]
    assert (config.cache_config.max_size_bytes, config.cache_config.parent_layer) == (10 * 1024**3, "portal")
    assert (config.db_config.auto_index, config.db_config.index_interval) == (True, 3600)


@pytest.mark.parametrize("make", [basic, full])
def test_dumps_read_back(make: Any) -> None:
    config = make()
    dump = config.model_dump(mode="json")
    json.dumps(dump)
    plain = parse(dump, base_directory=Path("/elsewhere"))
    assert type(plain) is MultilayerConfig
    assert plain.model_dump(mode="json") == dump
    public = parse(dump, base_directory=Path("/elsewhere"), model=CopickConfigMultilayer)
    assert public.layer_configs == config.layer_configs
    assert CopickConfigMultilayer(**dump) == config
    assert CopickConfigMultilayer(**config.model_dump()) == config
    assert CopickConfigMultilayer.model_validate_json(config.model_dump_json()) == config


def test_dictionaries_become_the_classes_of_the_specification() -> None:
    config = CopickConfigMultilayer(
        layers=["a", "p"],
        layer_configs={
            "a": {"config_type": "filesystem", "root": "/a"},
            "p": {"config_type": "cryoet_data_portal", "dataset_ids": [1]},
        },
        cache_config={"root": "/c"},
        db_config={"db_path": "/d"},
    )
    kinds = [type(part) for part in (*config.layer_configs.values(), config.cache_config, config.db_config)]
    assert kinds == [CopickConfigFS, CopickConfigPortal, CopickConfigCache, CopickConfigSQLiteDB]


def test_the_dictionary_of_the_caller_is_left_alone() -> None:
    layer = CopickConfigFS(root="/a")
    layers = {"a": layer}
    config = CopickConfigMultilayer(layers=["a"], layer_configs=layers)
    assert config.layer_configs["a"].layer_name == "a"
    assert layers == {"a": layer}
    assert layer.layer_name == ""


def test_mistakes_in_python_are_validation_errors() -> None:
    with pytest.raises(ValidationError, match="unknown key; did you mean 'root'"):
        CopickConfigFS(rooot="/x")
    with pytest.raises(ValidationError, match="did you mean 'a'"):
        CopickConfigMultilayer(layers=["A"], layer_configs={"a": CopickConfigFS(root="/a")})
    with pytest.raises(ValidationError, match="must be an object with the keys of one layer"):
        CopickConfigMultilayer(layers=["a"], layer_configs={"a": CopickConfig(pickable_objects=[])})


def test_from_file_resolves_paths(tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    objects = [{"name": "ribosome", "is_particle": True, "radius": 150}]
    layers = {"a": {"config_type": "filesystem", "root": "data"}}
    data = {
        "config_type": "multilayer",
        "layers": ["a"],
        "layer_configs": layers,
        "pickable_objects": objects,
    }
    file.write_text(json.dumps(data))
    config = CopickConfigMultilayer.from_file(file)
    assert type(config) is CopickConfigMultilayer
    assert config.layer_configs["a"].root == str(tmp_path / "data")
    assert type(config.pickable_objects[0]) is PickableObject
    assert config.source_file == str(file)
    assert config.project() == load(file).project()
    for fault in ({"color": None}, {"name": "a_b"}, {"label": 0}):
        file.write_text(json.dumps({**data, "pickable_objects": [{**objects[0], **fault}]}))
        with pytest.raises(ConfigError, match=rf"pickable_objects\[0\]\.{next(iter(fault))}: "):
            CopickConfigMultilayer.from_file(file)
    file.write_text(json.dumps({**data, "user_id": "a_b"}))
    with pytest.raises(ConfigError, match="user_id: copick allows no white space"):
        CopickConfigMultilayer.from_file(str(file))


def test_the_plain_twins_have_copick_fields_and_defaults() -> None:
    for ours, theirs in ((ProjectConfig, CopickConfig), (ObjectConfig, PickableObject)):
        assert set(ours.model_fields) == set(theirs.model_fields)
        for name, field in theirs.model_fields.items():
            if not (name == "pickable_objects" and ours is ProjectConfig):
                expected = field.get_default(call_default_factory=True)
                assert ours.model_fields[name].get_default(call_default_factory=True) == expected


OBJECTS: list[dict[str, Any]] = [
    {},
    {"name": "a b"},
    {"name": "a_b"},
    {"name": "-a"},
    {"name": "a-"},
    {"name": "a/b"},
    {"name": "a\u00a0b"},
    {"name": "ribo-80S.v2 "},
    {"name": "größe(2)"},
    {"name": ""},
    {"name": "_"},
    {"name": 5},
    {"name": None},
    {"is_particle": "yes"},
    {"is_particle": 1},
    {"is_particle": 2},
    {"is_particle": None},
    {"label": 0},
    {"label": None},
    {"label": "3"},
    {"label": 2.0},
    {"label": 2.5},
    {"label": -1},
    {"color": [1, 2, 3]},
    {"color": [1, 2, 3, 256]},
    {"color": [1, 2, 3, -1]},
    {"color": [1.0, 2, 3, "4"]},
    {"color": [1, 2, 3, 4, 5]},
    {"color": "red"},
    {"emdb_id": 3883},
    {"pdb_id": None},
    {"identifier": "GO:1"},
    {"go_id": "GO:1"},
    {"go_id": "GO:1", "identifier": "GO:2"},
    {"go_id": None, "identifier": "GO:2"},
    {"map_threshold": "0.5"},
    {"radius": "wide"},
    {"metadata": None},
    {"metadata": []},
    {"metadata": {"copick": 1}},
    {"metadata": {"copick": {"filament": None}}},
    {"metadata": {"copick": {"filament": {"polar": True, "other": 1}}}},
    {"metadata": {"copick": {"filament": {"helical_rise_a": 0}}}},
    {"metadata": {"copick": {"filament": {"helical_rise_a": "9"}}}},
    {"metadata": {"copick": {"filament": "yes"}}},
    {"metadata": {"copick": {"filament": {}}}, "is_particle": False},
    {"unknown": 1},
]


@pytest.mark.parametrize("changes", OBJECTS, ids=str)
def test_objects_are_judged_as_copick_judges_them(changes: dict[str, Any]) -> None:
    data = {"name": "ribosome", "is_particle": True, **changes}

    def judge(model: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # copick warns before it refuses
            try:
                return model(**data)
            except ValidationError:
                return None

    ours, theirs = judge(ObjectConfig), judge(PickableObject)
    assert (ours is None) == (theirs is None)
    if theirs is not None:
        dump = ours.model_dump(mode="json")
        given = PickableObject(**dump).model_dump(mode="json")
        assert given == theirs.model_dump(mode="json")
        assert ours.is_filament == theirs.is_filament


@pytest.mark.parametrize("changes", [{"color": None}])
def test_objects_that_make_copick_fail_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        PickableObject(name="a", is_particle=True, **changes)
    with pytest.raises(ValidationError):
        ObjectConfig(name="a", is_particle=True, **changes)


def test_copick_keys_give_a_valid_copick_configuration() -> None:
    config = parse(
        {
            "overlay_root": "/o",
            "user_id": "alice",
            "voxel_spacings": [10],
            "tomograms": {"10.0": ["wbp"]},
            "pickable_objects": [{"name": "a", "is_particle": True, "go_id": "GO:1", "extra": [1]}],
        },
        base_directory=Path("/"),
    )
    project = CopickConfig(**json.loads(json.dumps(config.project())))
    assert project.user_id == "alice"
    assert project.tomograms == {10.0: ["wbp"]}
    assert project.pickable_objects[0].identifier == "GO:1"
    assert config.project()["pickable_objects"][0]["extra"] == [1]

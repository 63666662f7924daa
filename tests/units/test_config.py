"""Reading configurations: what is accepted, and the one line that says why something is not."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from copickfs.config import (
    CacheConfig,
    FSConfig,
    MultilayerConfig,
    PortalConfig,
    SQLiteDBConfig,
    from_string,
    parse,
)
from copickfs.errors import ConfigError

LAB: dict[str, Any] = {"config_type": "filesystem", "root": "/data/lab", "priority": 10}
MINE: dict[str, Any] = {"config_type": "filesystem", "root": "/data/mine", "priority": 100}


def stack(**changes: Any) -> dict[str, Any]:
    """A valid stack of two layers, with top-level keys changed; `...` removes a key."""
    data = {
        "config_type": "multilayer",
        "layers": ["mine", "lab"],
        "layer_configs": {"mine": dict(MINE), "lab": dict(LAB)},
        "default_write_layer": "mine",
        **changes,
    }
    return {key: value for key, value in data.items() if value is not ...}


def lab(**changes: Any) -> dict[str, Any]:
    """A valid stack whose layer ``lab`` has keys changed; `...` removes a key."""
    layer = {key: value for key, value in {**LAB, **changes}.items() if value is not ...}
    return stack(layer_configs={"mine": dict(MINE), "lab": layer})


def read(data: Any) -> MultilayerConfig:
    return parse(data, base_directory=Path("/base"), file="c.json")


def refusal(data: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        read(data)
    message = str(caught.value)
    assert message.startswith("c.json: ")
    assert "\n" not in message
    return message.removeprefix("c.json: ")


def test_a_stack_is_read() -> None:
    config = read(stack(user_id="alice", write_strategy="source"))
    assert config.layers == ["mine", "lab"]
    assert [type(layer) for layer in config.layer_configs.values()] == [FSConfig, FSConfig]
    assert config.layer_configs["lab"].layer_name == "lab"
    assert config.default_write_layer == "mine"
    assert config.write_strategy == "source"
    assert config.user_id == "alice"
    assert config.pickable_objects == []
    assert (config.source_file, config.base_directory) == ("c.json", Path("/base"))


def test_a_purely_read_only_stack_has_no_write_layer() -> None:
    assert read(stack(default_write_layer=...)).default_write_layer is None
    assert read(stack(default_write_layer=None)).default_write_layer is None


def test_defaults_of_a_layer() -> None:
    layer = read(lab(priority=...)).layer_configs["lab"]
    assert isinstance(layer, FSConfig)
    assert (layer.priority, layer.read_only, layer.fs_args, layer.ttl) == (0, False, {}, 60.0)
    assert (layer.immutable, layer.timeout, layer.on_unavailable) == (False, 20.0, "wait")


def test_every_kind_is_read() -> None:
    config = read(
        stack(
            layers=["db", "cache", "mine", "portal"],
            layer_configs={
                "db": {"config_type": "sqlite_db", "db_path": "/i.db", "index_interval": 60},
                "cache": {
                    "config_type": "cache",
                    "root": "/c",
                    "max_size_bytes": 1 << 20,
                    "parent_layer": "portal",
                },
                "mine": MINE,
                "portal": {"config_type": "cryoet_data_portal", "dataset_ids": [1], "url_style": "https"},
            },
        )
    )
    kinds = {name: type(layer) for name, layer in config.layer_configs.items()}
    assert kinds == {"db": SQLiteDBConfig, "cache": CacheConfig, "mine": FSConfig, "portal": PortalConfig}
    assert config.cache_config is config.layer_configs["cache"]
    assert config.db_config is config.layer_configs["db"]
    assert config.data_layers == ["mine", "portal"]
    assert config.layer_configs["portal"].read_only


def test_priority_then_order_of_layers_decides() -> None:
    layers = {
        name: {**LAB, "priority": priority} for name, priority in zip("abcd", (5, 9, 5, 9), strict=True)
    }
    config = read(stack(layers=["d", "c", "b", "a"], layer_configs=layers, default_write_layer="a"))
    assert config.data_layers == ["d", "b", "c", "a"]


def test_cache_and_index_may_be_given_apart_from_the_layers() -> None:
    config = read(stack(cache_config={"root": "c"}, db_config={"db_path": "i.db", "layer_name": "index"}))
    assert config.cache_config is not None
    assert config.db_config is not None
    assert (config.cache_config.layer_name, config.cache_config.root) == ("cache", "/base/c")
    assert (config.db_config.layer_name, config.db_config.db_path) == ("index", "/base/i.db")
    assert config.layers == ["mine", "lab"]
    assert config.where("cache", "root") == ("c.json", "cache_config.root")
    assert config.unused_layers == []


def test_layers_may_name_the_cache_of_cache_config() -> None:
    config = read(stack(layers=["cache", "mine"], cache_config={"root": "/c"}))
    assert config.layer_configs["cache"] is config.cache_config


def test_the_same_cache_given_twice_is_one() -> None:
    cache = {"config_type": "cache", "root": "/c", "layer_name": "cache"}
    config = read(
        stack(layers=["cache", "mine"], layer_configs={"cache": cache, "mine": MINE}, cache_config=cache)
    )
    assert config.cache_config is config.layer_configs["cache"]


def test_two_different_caches_are_refused() -> None:
    cache = {"config_type": "cache", "root": "/c"}
    given = stack(layers=["c", "mine"], layer_configs={"c": cache, "mine": MINE}, cache_config={"root": "/d"})
    assert refusal(given) == "cache_config: given twice, here and as 'c' in layer_configs; remove one"
    two = stack(layers=["c", "d", "mine"], layer_configs={"c": cache, "d": cache, "mine": MINE})
    assert refusal(two) == "layers[1]: a second cache layer; there can be one, remove 'd'"
    assert refusal(stack(cache_config={"root": "/c", "layer_name": "lab"})) == (
        "cache_config.layer_name: two layers have this name; rename one (got 'lab')"
    )
    same = stack(
        cache_config={"root": "/c", "layer_name": "x"}, db_config={"db_path": "/d", "layer_name": "x"}
    )
    assert refusal(same) == "db_config.layer_name: two layers have this name; rename one (got 'x')"


def test_a_layer_that_is_not_listed_is_ignored_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        config = read(stack(layers=["mine"]))
    assert config.unused_layers == ["lab"]
    assert config.data_layers == ["mine"]
    assert caplog.messages == ["c.json: layer_configs.lab: not in layers: this layer is ignored"]


def test_where_names_file_and_key() -> None:
    config = read(stack())
    assert config.where("lab", "root") == ("c.json", "layer_configs.lab.root")
    assert config.where("lab") == ("c.json", "layer_configs.lab")
    file, key = config.where("lab", "root")
    assert str(ConfigError("no such directory", file=file, key=key)) == (
        "c.json: layer_configs.lab.root: no such directory"
    )


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            stack(layers=["mine", "alb"]),
            "layers[1]: no such layer in layer_configs; did you mean 'lab'? (got 'alb')",
        ),
        (stack(layers=["mine", "mine"]), "layers[1]: a layer is named twice; remove one (got 'mine')"),
        (stack(layers=[], default_write_layer=...), "layers: names no layer that holds data; add one, of"),
        (stack(layers="mine"), "layers: must be a list (got 'mine')"),
        (stack(layers=[["mine"]]), "layers[0]: must be a string, not a list"),
        (stack(layers=...), 'layers: is missing; add it, for example "layers": ["mine", "lab"]'),
        (stack(layer_configs=[]), "layer_configs: must be an object, not a list"),
        (stack(layer_configs={"lab": 3}), "layer_configs.lab: must be an object with the keys of one layer"),
        (stack(layer_configs={"": LAB}, layers=[""]), 'layer_configs."": a layer\'s name must not be empty'),
        (
            stack(layer_configs={"a/b": LAB}, layers=["a/b"]),
            'layer_configs."a/b": the key a layer\'s name is at most',
        ),
        (
            stack(default_write_layer="min"),
            "default_write_layer: no such layer in layers; did you mean 'mine'?",
        ),
        (stack(default_write_layer=["mine"]), "default_write_layer: must be a string, not a list"),
        (
            stack(layer_configs={"lab": LAB, "mine": {**MINE, "read_only": True}}),
            "default_write_layer: this layer is read-only; name another, or leave the key out (got 'mine')",
        ),
        (
            stack(cache_config={"root": "/c"}, layers=["mine", "cache"], default_write_layer="cache"),
            "default_write_layer: a cache layer holds no data; name a filesystem layer (got 'cache')",
        ),
        (
            stack(cache_config={"root": "/c", "parent_layer": "labs"}),
            "cache_config.parent_layer: no such data layer in layers; did you mean 'lab'? (got 'labs')",
        ),
        (
            stack(cache_config={"root": "/c", "parent_layer": "mine"}),
            "cache_config.parent_layer: this layer is on this machine, and only remote ones are cached; ",
        ),
        (stack(write_strategy="src"), "write_strategy: must be 'default', 'source' or 'cache_and_propagate'"),
        (
            stack(defaultwritelayer="mine"),
            "defaultwritelayer: unknown key; did you mean 'default_write_layer'?",
        ),
        (stack(config_type=...), "config_type: is missing; give 'multilayer' for a stack of layers, or"),
        (stack(config_type="mlcroissant"), "config_type: must be 'multilayer' for a stack of layers, or"),
        (stack(config_type=[]), "config_type: must be 'multilayer' for a stack of layers, or"),
        (stack(user_id="a_b"), "user_id: copick allows no white space, '_' or any of"),
        (stack(runs="TS_1"), "runs: must be a list (got 'TS_1')"),
        (stack(tomograms={"ten": ["wbp"]}), "tomograms.ten: the key must be a number"),
        (lab(root=...), 'layer_configs.lab.root: is missing; add it, for example "root": "../lab/project"'),
        (lab(root=""), "layer_configs.lab.root: must not be empty; give a path or a URL (got '')"),
        (lab(root=" "), "layer_configs.lab.root: must not be empty; give a path or a URL (got ' ')"),
        (lab(root="local://"), "layer_configs.lab.root: must not be empty; give a path or a URL"),
        (lab(root="/a\0b"), "layer_configs.lab.root: must not contain a NUL character (got '/a\\x00b')"),
        (lab(root=None), "layer_configs.lab.root: must be a string, not null"),
        (
            lab(layer_name="labor"),
            "layer_configs.lab.layer_name: a layer has one name; write 'lab', as its key",
        ),
        (lab(priority="10"), "layer_configs.lab.priority: must be an integer (got '10')"),
        (lab(priority=1.5), "layer_configs.lab.priority: must be an integer (got 1.5)"),
        (lab(priority=True), "layer_configs.lab.priority: must be an integer (got True)"),
        (lab(priority=10**12), "layer_configs.lab.priority: must be less than or equal to 1000000000"),
        (lab(priority=10**5000), "layer_configs.lab.priority: is a number beyond 64 bits"),
        (lab(read_only="no"), "layer_configs.lab.read_only: must be true or false (got 'no')"),
        (lab(ttl=-1), "layer_configs.lab.ttl: must be greater than or equal to 0 (got -1)"),
        (lab(ttl=float("nan")), "layer_configs.lab.ttl: must be a finite number"),
        (lab(timeout=0), "layer_configs.lab.timeout: must be greater than 0 (got 0)"),
        (lab(fs_args={"a": {"b": float("inf")}}), "layer_configs.lab.fs_args.a.b: must be a finite number"),
        (
            lab(on_unavailable="hang"),
            "layer_configs.lab.on_unavailable: must be 'wait' or 'error' (got 'hang')",
        ),
        (lab(red_only=True), "layer_configs.lab.red_only: unknown key; did you mean 'read_only'?"),
        (lab(xyz=1), "layer_configs.lab.xyz: unknown key; known are config_type, root, ttl"),
        (lab(config_type=...), "layer_configs.lab.config_type: is missing; built in are filesystem,"),
        (
            lab(config_type=7),
            "layer_configs.lab.config_type: must be the name of a kind of layer; built in are",
        ),
        (
            lab(config_type="filesytem"),
            "layer_configs.lab.config_type: unknown kind of layer; known are filesystem, cryoet_",
        ),
        (
            lab(config_type="cache", max_size_bytes=200_000),
            "layer_configs.lab.max_size_bytes: must be greater than or equal to 1048576 (got 200000)",
        ),
        (
            lab(config_type="cache", root="s3://bucket"),
            "layer_configs.lab.root: must be a path on this machine, not a URL (got 's3://bucket')",
        ),
        ({**lab(), 5: 6}, "5: unknown key"),
        (lab(**{"a\nb\x1b": 1}), 'layer_configs.lab."a\\nb\\x1b": unknown key'),
        ([], "must be a JSON object, with keys in braces"),
        ("text", "must be a JSON object, with keys in braces"),
    ],
)
def test_refused_with_key_value_and_remedy(data: Any, message: str) -> None:
    assert refusal(data).startswith(message)


@pytest.mark.parametrize(
    ("portal", "message"),
    [
        ({}, "layer_configs.p.dataset_ids: name at least one dataset, or runs in run_ids"),
        (
            {"dataset_ids": [1], "read_only": False},
            "layer_configs.p.read_only: the portal cannot be written;",
        ),
        (
            {"dataset_ids": [-1]},
            "layer_configs.p.dataset_ids[0]: must be greater than or equal to 0 (got -1)",
        ),
        ({"dataset_ids": ["1"]}, "layer_configs.p.dataset_ids[0]: must be an integer (got '1')"),
        ({"run_ids": [1], "graphql_url": "ftp://x"}, "layer_configs.p.graphql_url: must match pattern"),
        (
            {"run_ids": [1], "url_style": "http"},
            "layer_configs.p.url_style: must be 's3' or 'https' (got 'http')",
        ),
    ],
)
def test_portal_layers_are_checked(portal: dict[str, Any], message: str) -> None:
    layers = {"mine": MINE, "p": {"config_type": "cryoet_data_portal", **portal}}
    assert refusal(stack(layers=["mine", "p"], layer_configs=layers)).startswith(message)


def test_several_faults_are_counted() -> None:
    assert refusal(lab(priority="x", ttl=-1, read_only=3)).endswith("(2 more to mend) (got 'x')")


def test_long_values_and_names_stay_on_a_short_line() -> None:
    assert len(refusal(lab(on_unavailable="x" * 10_000))) < 300
    assert len(refusal(lab(**{"k" * 10_000: 1}))) < 700


def test_deep_nesting_is_refused() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    assert refusal(lab(fs_args={"a": deep})).startswith("layer_configs.lab.fs_args: is nested deeper than 64")
    cycle: dict[str, Any] = {}
    cycle["again"] = cycle
    assert "nested deeper" in refusal(lab(fs_args=cycle))
    text = '{"config_type": "multilayer", "x": ' + "[" * 200_000
    with pytest.raises(ConfigError, match="nested deeper than 64 levels"):
        from_string(text, base_directory=Path("/"))


def test_parse_leaves_its_argument_alone() -> None:
    data = stack(
        cache_config={"root": "rel"}, pickable_objects=[{"name": "a", "is_particle": True, "go_id": "x"}]
    )
    before = json.dumps(data)
    read(data)
    assert json.dumps(data) == before

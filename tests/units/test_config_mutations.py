"""Ten thousand broken configurations: each gives a configuration or one clear line, and nothing else."""

from __future__ import annotations

import copy
import json
import logging
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from copickfs.config import MultilayerConfig, from_string, load, parse, redacted
from copickfs.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

BASE = Path("/base")

VALID: list[dict[str, Any]] = [
    {
        "config_type": "multilayer",
        "name": "all of it",
        "pickable_objects": [
            {
                "name": "ribosome",
                "is_particle": True,
                "label": 1,
                "color": [0, 117, 220, 255],
                "radius": 150.5,
            },
            {"name": "mt", "is_particle": True, "metadata": {"copick": {"filament": {"polar": True}}}},
        ],
        "user_id": "alice",
        "session_id": "1",
        "runs": ["TS_1"],
        "voxel_spacings": [10.0],
        "tomograms": {"10.0": ["wbp"]},
        "layers": ["db", "cache", "mine", "lab", "portal"],
        "layer_configs": {
            "db": {"config_type": "sqlite_db", "db_path": "~/i.db", "auto_index": True, "index_interval": 60},
            "cache": {
                "config_type": "cache",
                "root": "c",
                "max_size_bytes": 1 << 20,
                "parent_layer": "portal",
            },
            "mine": {"config_type": "filesystem", "root": "$HOME/x", "priority": 100, "layer_name": "mine"},
            "lab": {
                "config_type": "filesystem",
                "root": "sftp://host:22/x",
                "read_only": True,
                "fs_args": {"password": "x$$y", "nested": {"list": [1, "${HOME}"]}},
                "ttl": 5,
                "immutable": False,
                "timeout": 1.5,
                "on_unavailable": "error",
            },
            "portal": {
                "config_type": "cryoet_data_portal",
                "dataset_ids": [1, 2],
                "run_names": ["a"],
                "graphql_url": "https://x/y",
            },
        },
        "default_write_layer": "mine",
        "write_strategy": "default",
    },
    {
        "config_type": "multilayer",
        "layers": ["a"],
        "layer_configs": {"a": {"config_type": "filesystem", "root": "/a"}},
        "cache_config": {"root": "/c", "layer_name": "cache"},
        "db_config": {"db_path": "/d"},
    },
    {
        "config_type": "filesystem",
        "pickable_objects": [{"name": "a", "is_particle": False, "go_id": "GO:1"}],
        "overlay_root": "local:///o",
        "overlay_fs_args": {"auto_mkdir": True},
        "static_root": "s3://bucket/x",
        "static_fs_args": {"anon": True},
    },
    {
        "config_type": "cryoet_data_portal",
        "overlay_root": "o",
        "dataset_ids": [10301],
        "pickable_objects": [],
    },
]

DEEP: Any = 1
for _ in range(50):
    DEEP = {"d": [DEEP]}

VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    1.5,
    10**30,
    -(10**400),
    10**5000,
    float("nan"),
    float("-inf"),
    "",
    " ",
    "$",
    "${",
    "${}",
    "$UNSET_VARIABLE",
    "~",
    "~nobody-of-this-name/x",
    "a\0b",
    "line\nbreak\r\x1b[2J",
    "\ud800",
    "\u2028",
    "x" * 5000,
    "://",
    "::",
    "s3://u:p@h/?q#f",
    "multilayer",
    "filesystem",
    "cache",
    "sqlite_db",
    "cryoet_data_portal",
    "no_such_kind",
    "mine",
    "lab",
    [],
    {},
    [[]],
    [None],
    ["mine", "mine"],
    {"config_type": "cache"},
    {"config_type": "filesystem", "root": "/x"},
    {"": {}},
    {"a b\n": 1},
    {"\ud800": "\ud800"},
    (1, 2),
    b"bytes",
    {1, 2},
    object(),
    DEEP,
]
KEYS = [
    "",
    "root",
    "layer_name",
    "config_type",
    "fs_args",
    "x" * 300,
    "new\nline",
    "\ud800",
    "cache_config",
    "a.b",
    7,
    None,
]

TOKENS = [
    "NaN",
    "1e999",
    "-Infinity",
    "9" * 5000,
    '"\\ud800"',
    "[" * 3000,
    '{"a":' * 3000,
    "null",
    '"',
    ",",
    "}",
    "\x00",
    "\ufeff",
    "\n",
    '"$UNSET_VARIABLE"',
    '"config_type": "x",',
    '"layers": [],',
    "é",
    "\u2028",
]


def places(data: Any, depth: int = 0) -> list[tuple[Any, Any]]:
    """The containers of the data, down to some depth, each with one of its keys or indices."""
    found: list[tuple[Any, Any]] = []
    if isinstance(data, dict):
        found = [(data, key) for key in data]
    elif isinstance(data, list):
        found = [(data, index) for index in range(len(data))]
    if depth < 8:
        for container, key in list(found):
            found += places(container[key], depth + 1)
    return found


def mutate_structure(chance: random.Random) -> Any:
    """A valid configuration with one to four parts replaced, removed, renamed, added or swapped."""
    data = copy.deepcopy(chance.choice(VALID))
    for _ in range(chance.randint(1, 4)):
        container, key = chance.choice(places(data) or [({}, "")])
        kind = chance.randrange(6)
        if kind == 0 and isinstance(container, dict):
            container.pop(key, None)
        elif kind == 1 and isinstance(container, dict):
            container[chance.choice(KEYS)] = container.pop(key, None)
        elif kind == 2 and isinstance(container, dict):
            container[chance.choice(KEYS)] = copy.deepcopy(chance.choice(VALUES))
        elif kind == 3:
            other, other_key = chance.choice(places(data) or [({}, "")])
            if key in container if isinstance(container, dict) else True:
                other[other_key] = copy.deepcopy(container[key]) if container else None
        elif container:
            container[key] = copy.deepcopy(chance.choice(VALUES))
    return data


def mutate_text(chance: random.Random) -> str:
    """The text of a valid configuration with one to four characters, tokens or slices changed."""
    text = json.dumps(chance.choice(VALID), indent=chance.choice([None, 1]))
    for _ in range(chance.randint(1, 4)):
        start = chance.randrange(len(text) + 1)
        stop = min(len(text), start + chance.choice([0, 1, 1, 5, 40]))
        piece = chance.choice(
            [chance.choice(TOKENS), text[stop : stop + 20], chr(chance.randrange(0xD7FF)), ""]
        )
        text = text[:start] + piece + text[stop:]
    return text


def judge(read: Callable[[], MultilayerConfig]) -> bool:
    """True if ``read`` gives a usable configuration, False if it says in one line why not."""
    try:
        config = read()
    except ConfigError as error:
        line = str(error)
        assert line
        assert len(line) < 2000
        assert line.isprintable(), line
        line.encode()
        return False
    assert isinstance(config, MultilayerConfig)
    assert config.data_layers
    repr(config)
    json.dumps(redacted(config), allow_nan=False)
    for name in config.layers:
        assert config.where(name, "root").key
        assert config.layer_configs[name].layer_name == name
    return True


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Layers that are left out are reported on the log; ten thousand times is too often."""
    caplog.set_level(logging.ERROR, logger="copickfs.config")


def test_what_is_mutated_is_valid() -> None:
    for data in VALID:
        assert judge(lambda data=data: parse(data, base_directory=BASE))
        dump = parse(data, base_directory=BASE).model_dump(mode="json")
        assert parse(dump, base_directory=Path("/other")).model_dump(mode="json") == dump


def test_mutated_structures() -> None:
    verdicts = []
    for seed in range(5_000):
        data = mutate_structure(random.Random(seed))
        verdicts.append(judge(lambda data=data: parse(data, base_directory=BASE, file="c.json")))
    assert 100 < sum(verdicts) < 4_900


def test_mutated_texts() -> None:
    verdicts = []
    for seed in range(4_500):
        text = mutate_text(random.Random(seed))
        verdicts.append(judge(lambda text=text: from_string(text, base_directory=BASE, file="c.json")))
    assert 100 < sum(verdicts) < 4_400


def test_mutated_files(tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    for seed in range(500):
        chance = random.Random(seed)
        data = bytearray(mutate_text(chance).encode(errors="surrogatepass"))
        for _ in range(chance.randint(0, 3)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        file.write_bytes(data)
        judge(lambda: load(file))


def test_accepted_mutations_read_back() -> None:
    accepted = 0
    for seed in range(1_000):
        try:
            config = from_string(mutate_text(random.Random(seed)), base_directory=BASE)
        except ConfigError:
            continue
        dump = config.model_dump(mode="json")
        assert parse(dump, base_directory=Path("/other")).model_dump(mode="json") == dump
        accepted += 1
    assert accepted > 20

"""Paths, home directories and environment variables in configurations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from copickfs.config import CacheConfig, FSConfig, SQLiteDBConfig, from_string, load, parse
from copickfs.errors import ConfigError


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/alice")
    monkeypatch.setenv("DATA", "/mnt/data")
    monkeypatch.setenv("BUCKET", "tomograms")
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.setenv("TRICKY", "$DATA and $$")
    monkeypatch.delenv("UNSET", raising=False)


def layer(**fields: Any) -> FSConfig:
    data = {
        "config_type": "multilayer",
        "layers": ["a"],
        "layer_configs": {"a": {"config_type": "filesystem", **fields}},
    }
    config = parse(data, base_directory=Path("/base/dir"), file="c.json").layer_configs["a"]
    assert isinstance(config, FSConfig)
    return config


@pytest.mark.parametrize(
    ("root", "resolved"),
    [
        ("/abs/path", "/abs/path"),
        ("rel", "/base/dir/rel"),
        (".", "/base/dir"),
        ("../up", "/base/dir/../up"),
        ("~", "/home/alice"),
        ("~/x", "/home/alice/x"),
        ("./~/x", "/base/dir/~/x"),
        ("$DATA/x", "/mnt/data/x"),
        ("${DATA}x", "/mnt/datax"),
        ("x/$BUCKET/$BUCKET", "/base/dir/x/tomograms/tomograms"),
        ("/a$$b", "/a$b"),
        ("/a$$DATA", "/a$DATA"),
        ("/a$1/$-$", "/a$1/$-$"),
        ("/$TRICKY", "/$DATA and $$"),
        ("/x$EMPTY/y", "/x/y"),
        ("/with space/[1]/ünï", "/with space/[1]/ünï"),
        ("/a::b", "/a::b"),
        ("C:\\x", "/base/dir/C:\\x"),
        ("local:///abs", "/abs"),
        ("local://rel", "/base/dir/rel"),
        ("local://~/x", "/home/alice/x"),
        ("file:///abs", "/abs"),
        ("file:/abs", "/abs"),
        ("files/x", "/base/dir/files/x"),
        ("s3://$BUCKET/x", "s3://tomograms/x"),
        ("sftp://host:22/~/x", "sftp://host:22/~/x"),
        ("memory://", "memory://"),
        ("simplecache::s3://b/x", "simplecache::s3://b/x"),
        ("zip://a.zip::file:///x/y.zip", "zip://a.zip::file:///x/y.zip"),
    ],
)
def test_roots(root: str, resolved: str) -> None:
    config = layer(root=root)
    assert config.root == resolved
    assert config.is_local == resolved.startswith("/")


@pytest.mark.parametrize(
    ("root", "message"),
    [
        ("$UNSET/x", "environment variable UNSET is not set; set it, or write \\$\\$ for a dollar sign"),
        ("${UNSET}", "environment variable UNSET is not set"),
        ("${DATA", "must be followed by a variable's name and '}'"),
        ("${DATA:-x}", "must be followed by a variable's name and '}'"),
        ("$EMPTY", "must not be empty"),
        ("~no-such-user/x", "no such user's home directory"),
    ],
)
def test_roots_that_cannot_be_resolved(root: str, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"c\.json: layer_configs\.a\.root: .*{message}"):
        layer(root=root)


def test_fs_args_are_expanded_at_any_depth() -> None:
    config = layer(
        root="s3://b",
        fs_args={
            "key": "${BUCKET}",
            "n": 3,
            "client_kwargs": {"a": ["$DATA", {"b": "x$$y"}]},
            "f": "~/.ssh/id",
            "t": "~x",
        },
    )
    assert config.fs_args == {
        "key": "tomograms",
        "n": 3,
        "client_kwargs": {"a": ["/mnt/data", {"b": "x$y"}]},
        "f": "/home/alice/.ssh/id",
        "t": "~x",
    }
    with pytest.raises(
        ConfigError, match=r"layer_configs\.a\.fs_args\.x\[1\]\.y: environment variable UNSET is"
    ):
        layer(root="s3://b", fs_args={"x": ["", {"y": "$UNSET"}]})


def test_cache_and_index_paths() -> None:
    data = {
        "config_type": "multilayer",
        "layers": ["a"],
        "layer_configs": {"a": {"config_type": "filesystem", "root": "/a"}},
        "cache_config": {"root": "~/cache"},
        "db_config": {"db_path": "$DATA/i.db"},
    }
    config = parse(data, base_directory=Path("/base"))
    assert config.cache_config is not None
    assert config.db_config is not None
    assert config.cache_config.root == "/home/alice/cache"
    assert config.db_config.db_path == "/mnt/data/i.db"


def test_relative_to_the_file_and_not_to_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "linked").mkdir()
    file = tmp_path / "real" / "c.json"
    file.write_text(json.dumps({"overlay_root": "data"}))
    (tmp_path / "linked" / "c.json").symlink_to(file)
    monkeypatch.chdir(tmp_path)
    for path, base in [
        ("real/c.json", "real"),
        (str(file), "real"),
        ("linked/c.json", "linked"),
        ("./linked/../real/c.json", "real"),
    ]:
        assert load(path).layer_configs["overlay"].model_dump()["root"] == str(tmp_path / base / "data")


def test_a_relative_base_directory_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = from_string('{"overlay_root": "data"}', base_directory=Path("sub"))
    assert config.base_directory == tmp_path / "sub"
    assert config.layer_configs["overlay"].model_dump()["root"] == str(tmp_path / "sub" / "data")


def test_values_given_in_python_are_literal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = FSConfig(root="a$UNSET", fs_args={"password": "x$UNSET$$"})
    assert config.root == str(tmp_path / "a$UNSET")
    assert config.fs_args == {"password": "x$UNSET$$"}
    assert CacheConfig(root="~/c").root == "/home/alice/c"
    assert SQLiteDBConfig(db_path="d").db_path == str(tmp_path / "d")


def test_a_dump_reads_back_as_what_it_was_made_from() -> None:
    config = FSConfig(root="/a$UNSET", layer_name="a", fs_args={"password": "x$UNSET$$", "n": ["$DATA"]})
    assert FSConfig(**config.model_dump()) == config
    assert FSConfig.model_validate_json(config.model_dump_json()) == config
    again = layer(
        **{key: value for key, value in config.model_dump(mode="json").items() if key != "config_type"}
    )
    assert again == config

"""Secrets of a configuration reach no text: no repr, no error, no redacted copy."""

from __future__ import annotations

import json
import traceback
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from copickfs.config import FSConfig, MultilayerConfig, PortalConfig, from_string, parse, redact_url, redacted
from copickfs.errors import ConfigError

SECRET = "hunter2"  # noqa: S105 -- it is what the tests look for

FS_ARGS: dict[str, Any] = {
    "host": "files.example.org",
    "port": 22,
    "username": "alice",
    "anon": False,
    "password": SECRET,
    "key": SECRET,
    "secret": SECRET,
    "token": {"access": SECRET, "host": SECRET},
    "number": 4711,
    "pkey": [SECRET, {"host": SECRET}],
    "endpoint_url": f"https://alice:{SECRET}@s3.example.org/path?sig={SECRET}",
    "client_kwargs": {
        "endpoint_url": "https://s3.example.org",
        "region_name": "eu-1",
        "aws_secret_access_key": SECRET,
        "headers": [{"Authorization": SECRET}],
    },
    "host_keys": [SECRET],
    "region": [SECRET],
    "object": object(),
}


def secret_stack(**changes: Any) -> dict[str, Any]:
    layer = {
        "config_type": "filesystem",
        "root": f"sftp://alice:{SECRET}@host/x",
        "fs_args": FS_ARGS,
        **changes,
    }
    return {"config_type": "multilayer", "layers": ["lab"], "layer_configs": {"lab": layer}}


def everything_said(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)) + str(error) + repr(error) + str(error.args)


def test_repr_and_redacted_copy_hold_no_secret() -> None:
    config = parse(secret_stack(), base_directory=Path("/"))
    layer = config.layer_configs["lab"]
    assert isinstance(layer, FSConfig)
    assert layer.fs_args["password"] == SECRET
    assert layer.root == f"sftp://alice:{SECRET}@host/x"
    shown = redacted(config)
    for text in (
        repr(config),
        str(config),
        repr(layer),
        str(layer),
        f"{config.layer_configs}",
        json.dumps(shown),
    ):
        assert SECRET not in text
        assert "4711" not in text
    assert shown["layer_configs"]["lab"]["root"] == "sftp://***@host/x"
    assert shown["layer_configs"]["lab"]["fs_args"] == {
        "host": "files.example.org",
        "port": 22,
        "username": "alice",
        "anon": False,
        "password": "***",
        "key": "***",
        "secret": "***",
        "token": "***",
        "number": "***",
        "pkey": "***",
        "endpoint_url": "https://***@s3.example.org/path?***",
        "client_kwargs": {
            "endpoint_url": "https://s3.example.org",
            "region_name": "eu-1",
            "aws_secret_access_key": "***",
            "headers": [{"Authorization": "***"}],
        },
        "host_keys": "***",
        "region": "***",
        "object": "***",
    }


def test_a_redacted_copy_shows_what_is_no_secret() -> None:
    data = {
        "config_type": "multilayer",
        "layers": ["p"],
        "layer_configs": {"p": {"config_type": "cryoet_data_portal", "dataset_ids": [1], "description": "d"}},
        "pickable_objects": [{"name": "a", "is_particle": True, "metadata": {"k": [1]}, "password": SECRET}],
        "cache_config": {"root": "/c"},
        "tomograms": {"10.0": ["wbp"]},
    }
    shown = redacted(parse(data, base_directory=Path("/")))
    assert shown == json.loads(json.dumps(shown))
    assert shown["layer_configs"]["p"]["dataset_ids"] == [1]
    assert shown["layer_configs"]["p"]["description"] == "d"
    assert "user_id" not in shown["layer_configs"]["p"]
    assert shown["pickable_objects"][0]["metadata"] == {"k": [1]}
    assert SECRET not in json.dumps(shown)
    assert shown["cache_config"]["root"] == "/c"
    assert shown["tomograms"] == {"10.0": ["wbp"]}


@pytest.mark.parametrize(
    "changes",
    [
        {"fs_args": SECRET},
        {"fs_args": [SECRET]},
        {"fs_args": {"password": f"{SECRET}$UNSET_VARIABLE"}},
        {"fs_args": {"password": f"{SECRET}${{"}},
        {"fs_args": {"password": {"deep": [SECRET, f"$UNSET_VARIABLE{SECRET}"]}}},
        {"fs_args": {"password": SECRET, "x": float("nan")}},
        {"fs_args": {"password": SECRET, "x": 10**4000}},
        {"fs_arg": {"password": SECRET}},
        {"password": SECRET},
        {"root": f"sftp://alice:{SECRET}@host/$UNSET_VARIABLE"},
        {"root": [SECRET]},
        {"config_type": "no-such-kind"},
        {"config_type": "cache"},
        {"ttl": -1},
    ],
)
def test_errors_hold_no_secret(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(secret_stack(**changes), base_directory=Path("/"), file="c.json")
    assert SECRET not in everything_said(caught.value)
    assert SECRET not in repr(caught.value.value)


@pytest.mark.parametrize(
    "fields",
    [
        {"fs_args": SECRET},
        {"fs_args": [SECRET]},
        {"fs_args": {1: SECRET}},
        {"password": SECRET},
        {"ttl": SECRET},
    ],
)
def test_errors_of_the_models_hold_no_secret(fields: dict[str, Any]) -> None:
    for model in (FSConfig, PortalConfig):
        with pytest.raises(ValidationError) as caught:
            model(**{"root": "/x", **fields})
        assert SECRET not in everything_said(caught.value)
    layers = {"lab": {"config_type": "filesystem", "root": "/x", **fields}}
    with pytest.raises(ValidationError) as caught:
        MultilayerConfig(layers=["lab"], layer_configs=layers)
    assert SECRET not in everything_said(caught.value)


def test_a_syntax_error_does_not_quote_the_file() -> None:
    with pytest.raises(ConfigError) as caught:
        from_string('{"password": "' + SECRET + '" "x"}', base_directory=Path("/"))
    assert SECRET not in everything_said(caught.value)
    assert SECRET not in repr(caught.value.__dict__)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("/plain/path?x#y@z:a", "/plain/path?x#y@z:a"),
        ("s3://bucket/a@b/c", "s3://bucket/a@b/c"),
        ("s3://key:hunter2@bucket/x", "s3://***@bucket/x"),
        ("https://hunter2@host/x", "https://***@host/x"),
        ("https://host/x?token=hunter2", "https://host/x?***"),
        ("https://host/x#hunter2", "https://host/x#***"),
        ("https://host:8080/x@y", "https://host:8080/x@y"),
        ("sftp://host:22", "sftp://host:22"),
        ("sftp://u:hun/ter2@host/x", "sftp://***@host/x"),
        ("sftp://u:hun?t#e r'2@host/x", "sftp://***@host/x"),
        ("sftp://u:a@hunter2@host/x", "sftp://***@host/x"),
        ("simplecache::s3://k:hunter2@b/x?s=hunter2::file:///a", "simplecache::s3://***@b/x?***::file:///a"),
        ("zip://a::https://u:hunter2@h/x?y", "zip://a::https://***@h/x?***"),
        ("cannot open 'https://u:hunter2@h/x?y=hunter2': gone", "cannot open 'https://***@h/x?***': gone"),
        ("from https://u:hunter2@h/x to s3://k:hunter2@b/y", "from https://***@h/x to s3://***@b/y"),
        ("cannot reach sftp://host:22: ask admin@lab", "cannot reach sftp://host:22: ask admin@lab"),
        ("memory://", "memory://"),
        ("", ""),
    ],
)
def test_redact_url(url: str, shown: str) -> None:
    assert redact_url(url) == shown

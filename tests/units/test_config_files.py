"""Configuration files: what cannot be read, and what reading costs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from copickfs.config import load
from copickfs.config.loading import MAX_FILE_BYTES
from copickfs.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{\n  "a": 1,\n  "b" 2\n}', "not valid JSON: line 3, column 7: Expecting ':' delimiter"),
        ("", "is empty; it must hold a JSON object"),
        (" \n", "is empty; it must hold a JSON object"),
        ("[1, 2]", "must be a JSON object, with keys in braces"),
        (
            '{"config_type": "multilayer", "layers": [], "layers": []}',
            "layers: this key is given twice; rename or",
        ),
        (
            '{"config_type": "multilayer", "layers": ["a"], "layer_configs": {"a": {}, "a": {}}}',
            "layer_configs.a: two layers have this name; rename or remove one",
        ),
        ('{"config_type": "multilayer", "layers": NaN}', "layers: must be a finite number"),
        ('{"config_type": "multilayer", "layers": 1e999}', "layers: must be a finite number"),
        ('{"config_type": "multilayer", "layers": ' + "9" * 5000 + "}", "layers: must be a finite number"),
    ],
)
def test_a_bad_file_is_refused_with_its_name(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "c.json"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert str(caught.value).startswith(f"{file}: {message}")
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    def message(path: str | Path) -> str:
        with pytest.raises(ConfigError) as caught:
            load(path)
        return str(caught.value)

    assert message(tmp_path / "none.json") == f"{tmp_path}/none.json: no such file; check the path"
    assert message(tmp_path) == f"{tmp_path}: is a directory; name the JSON file in it"
    (tmp_path / "latin.json").write_bytes(b'{"name": "\xe9"}')
    assert message(tmp_path / "latin.json").endswith("is not UTF-8 text (byte 10); save it as UTF-8")
    with (tmp_path / "large.json").open("wb") as stream:
        stream.truncate(MAX_FILE_BYTES + 1)
    assert "is larger than 16 MiB" in message(tmp_path / "large.json")
    (tmp_path / "loop").symlink_to("loop")
    assert "cannot be read: Too many levels of symbolic links" in message(tmp_path / "loop")
    assert message("a\0b").startswith("a\\x00b: not a file name")
    assert "no such file" in message("a\nb")
    assert "\n" not in message("a\nb")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a user that may change its identity")
def test_a_file_without_permission(tmp_path: Path) -> None:
    file = tmp_path / "secret.json"
    file.write_text("{}")
    file.chmod(0)
    os.seteuid(65534)
    try:
        with pytest.raises(ConfigError, match="cannot be read: Permission denied"):
            load(file)
    finally:
        os.seteuid(0)


def test_a_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    file.write_text(json.dumps({"overlay_root": "/o"}), encoding="utf-8-sig")
    assert load(file).layers == ["overlay"]


def test_configuration_comes_without_heavy_imports() -> None:
    code = (
        "import sys, copickfs.config, pathlib\n"
        "copickfs.config.parse({'overlay_root': 'x'}, base_directory=pathlib.Path('/'))\n"
        "print([m for m in ('copick', 'fsspec', 'zarr', 'numpy', 'pyfuse3') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert result.stdout.strip() == "[]"

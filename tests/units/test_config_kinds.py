"""Kinds of layers that other packages add, with real installed metadata."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from copickfs.config import ExtensionConfig, LayerConfig, find_kind, known_kinds, parse, redacted
from copickfs.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = "hunter2"  # noqa: S105 -- it is what the tests look for

CODE = """
from copickfs.config import LayerConfig
from copickfs.config.layer_schema import LocalPath

class OmeroConfig(LayerConfig):
    config_type: str = "omero"
    host: str
    folder: LocalPath = "/x"
    session_key: str = ""

class Omero:
    config_model = OmeroConfig
    @staticmethod
    def build(config, context):
        return (config, context)

class Plain:
    @staticmethod
    def build(config, context):
        return (config, context)

class NoBuild:
    pass

class WrongModel(Plain):
    config_model = dict

class Raising(Plain):
    class config_model(LayerConfig):
        @classmethod
        def model_validate(cls, *args, **kwargs):
            raise RuntimeError("two\\nlines hunter2")
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Install a package with entry points for this test: ``install(kind="Class", ...)``."""

    def install(package: str = "omero_layer", code: str = CODE, **kinds: str) -> None:
        site = tmp_path / package
        metadata = site / f"{package}-1.0.dist-info"
        metadata.mkdir(parents=True)
        (site / f"{package}.py").write_text(code)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = [f"{kind} = {package}:{name}" for kind, name in kinds.items()]
        (metadata / "entry_points.txt").write_text("[copickfs.layers]\n" + "\n".join(lines) + "\n")
        monkeypatch.syspath_prepend(str(site))

    monkeypatch.delitem(__import__("sys").modules, "omero_layer", raising=False)
    return install


def stack(**layer: Any) -> dict[str, Any]:
    return {"config_type": "multilayer", "layers": ["x"], "layer_configs": {"x": layer}}


def read(**layer: Any) -> LayerConfig:
    return parse(stack(**layer), base_directory=Path("/base"), file="c.json").layer_configs["x"]


def test_a_kind_without_a_model_keeps_every_key(install: Callable[..., None]) -> None:
    install(plain="Plain")
    config = read(config_type="plain", priority=3, token=SECRET, nested={"a": [1]}, host="h")
    assert isinstance(config, ExtensionConfig)
    assert (config.layer_name, config.priority, config.is_data) == ("x", 3, True)
    assert config.model_extra == {"token": SECRET, "nested": {"a": [1]}, "host": "h"}
    shown = redacted(config)
    assert (shown["token"], shown["host"], shown["priority"]) == ("***", "h", 3)
    assert "hunter2" not in repr(config)
    assert find_kind("plain").build(config, 1) == (config, 1)
    assert "plain" in known_kinds()


def test_a_kind_with_a_model_is_checked_by_it(install: Callable[..., None]) -> None:
    install(omero="Omero")
    config: Any = read(config_type="omero", host="h", folder="data", session_key="hunter2")
    assert type(config).__name__ == "OmeroConfig"
    assert config.folder == "/base/data"
    assert "hunter2" not in repr(config) + json.dumps(redacted(config))
    with pytest.raises(
        ConfigError, match=r"c\.json: layer_configs\.x\.hots: unknown key; did you mean 'host'\?"
    ):
        read(config_type="omero", hots="h")
    with pytest.raises(ConfigError, match=r"c\.json: layer_configs\.x\.host: is missing; add it"):
        read(config_type="omero")
    with pytest.raises(ConfigError) as caught:
        read(config_type="omero", host="h", session_key=["hunter2"])
    assert "hunter2" not in str(caught.value)


def test_extensions_survive_a_round_trip(install: Callable[..., None]) -> None:
    install(plain="Plain", omero="Omero")
    data = stack(config_type="plain", extra={"a": 1})
    data["layer_configs"]["y"] = {"config_type": "omero", "host": "h", "folder": "/a$$b"}
    data["layers"].append("y")
    config = parse(data, base_directory=Path("/base"))
    dump = config.model_dump(mode="json")
    assert dump["layer_configs"]["x"]["extra"] == {"a": 1}
    again = parse(dump, base_directory=Path("/elsewhere"))
    assert again.layer_configs == config.layer_configs


def test_the_public_stack_takes_extensions(install: Callable[..., None]) -> None:
    from copickfs import CopickConfigMultilayer

    install(plain="Plain")
    config = CopickConfigMultilayer(**stack(config_type="plain", extra=1))
    assert config.layer_configs["x"].model_extra == {"extra": 1}


def test_an_unknown_kind_lists_those_there_are(install: Callable[..., None]) -> None:
    install(plain="Plain")
    with pytest.raises(ConfigError) as caught:
        read(config_type="plan")
    assert str(caught.value) == (
        "c.json: layer_configs.x.config_type: unknown kind of layer; "
        "known are filesystem, cryoet_data_portal, cache, sqlite_db, plain (got 'plan')"
    )


def test_packages_that_are_broken_are_named(install: Callable[..., None]) -> None:
    install(nobuild="NoBuild", nothing="Nothing", wrong="WrongModel", raising="Raising")
    install("broken", "raise RuntimeError('one\\ntwo')", broken="x")
    for kind, message in {
        "nobuild": r"omero_layer:NoBuild has no build\(config, context\)",
        "nothing": "omero_layer:Nothing, which has this kind of layer, cannot be loaded: AttributeError",
        "broken": "broken:x, which has this kind of layer, cannot be loaded: RuntimeError: one two",
        "wrong": "the config_model of this kind is not derived from LayerConfig",
        "raising": "refused by its kind of layer, 'raising': RuntimeError",
    }.items():
        with pytest.raises(ConfigError, match=message) as caught:
            read(config_type=kind)
        assert str(caught.value).startswith("c.json: layer_configs.x")
        assert "\n" not in str(caught.value)
        assert "hunter2" not in str(caught.value)


def test_two_packages_with_one_kind_are_refused(install: Callable[..., None]) -> None:
    install(plain="Plain")
    install("other", CODE, plain="Plain")
    with pytest.raises(
        ConfigError, match="two packages have this kind of layer: omero_layer:Plain and other:Plain"
    ):
        read(config_type="plain")


def test_a_package_found_twice_is_one(install: Callable[..., None], tmp_path: Path) -> None:
    install(plain="Plain")
    metadata = tmp_path / "omero_layer" / "omero_layer_again-1.0.dist-info"
    (tmp_path / "omero_layer" / "omero_layer-1.0.dist-info").rename(metadata)
    install("second", CODE, other="Plain")
    points = tmp_path / "second" / "second-1.0.dist-info" / "entry_points.txt"
    points.write_text("[copickfs.layers]\nplain = omero_layer:Plain\n")
    assert isinstance(read(config_type="plain"), ExtensionConfig)


def test_a_built_in_kind_cannot_be_replaced(install: Callable[..., None]) -> None:
    install(filesystem="Omero")
    assert type(read(config_type="filesystem", root="/x")).__name__ == "FSConfig"


def test_entry_points_are_read_only_for_kinds_that_are_not_built_in(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: calls.append("read") or [])
    read(config_type="filesystem", root="/x")
    assert calls == []
    with pytest.raises(ConfigError):
        read(config_type="none")
    assert calls

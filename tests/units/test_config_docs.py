"""docs/configuration.md says what the models say: every key, its type, default, meaning and an example."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter

from copickfs.config import from_string, parse
from copickfs.config.layer_schema import BUILT_IN_MODELS, RemoteFields
from copickfs.config.project import ObjectConfig, ProjectConfig
from copickfs.config.schema import FSConfig, LayerConfig, MultilayerConfig
from copickfs.config.views import ViewsConfig

DOCUMENT = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()
COMMON = [name for name in LayerConfig.model_fields if name not in ProjectConfig.model_fields]
REMOTE = list(RemoteFields.model_fields)


def own_fields(model: type[BaseModel]) -> list[str]:
    """Keys of a kind that the tables of all layers and of remote layers do not have, or have otherwise."""
    changed = [name for name in ("read_only",) if field(model, name) != field(LayerConfig, name)]
    shared = {*ProjectConfig.model_fields, *COMMON, *REMOTE}
    return changed + [name for name in model.model_fields if name not in shared]


def field(model: type[BaseModel], name: str) -> tuple[Any, Any]:
    info = model.model_fields[name]
    return info.default, info.description


TABLES: dict[str, tuple[type[BaseModel], list[str]]] = {
    "## The stack": (
        MultilayerConfig,
        [name for name in MultilayerConfig.model_fields if name not in ProjectConfig.model_fields],
    ),
    "### The files under `Views/`": (ViewsConfig, list(ViewsConfig.model_fields)),
    "## copick's own keys": (ProjectConfig, list(ProjectConfig.model_fields)),
    "### Entries of `pickable_objects`": (ObjectConfig, list(ObjectConfig.model_fields)),
    "## Every layer": (LayerConfig, COMMON),
    "### Layers behind a network": (FSConfig, REMOTE),
    **{f"### Kind `{kind}`": (model, own_fields(model)) for kind, model in BUILT_IN_MODELS.items()},
}


def type_name(schema: dict[str, Any]) -> str:
    """A JSON schema in words."""
    if "anyOf" in schema:
        return " or ".join(type_name(option) for option in schema["anyOf"])
    for key in ("enum", "const"):
        if key in schema:
            values = schema[key] if key == "enum" else [schema[key]]
            return ", ".join(f"`{json.dumps(value)}`" for value in values)
    if schema.get("type") == "array":
        return f"list of {type_name(schema['items'])}" if "items" in schema else "list of 4 integers"
    return schema.get("type", "object")


def table(model: type[BaseModel], names: list[str]) -> str:
    properties = model.model_json_schema()["properties"]
    lines = ["| Key | Type | Default | Meaning | Example |", "|---|---|---|---|---|"]
    for name in names:
        info = model.model_fields[name]
        default = info.get_default(call_default_factory=True)
        shown = "required" if info.is_required() else f"`{json.dumps(default)}`"
        example = json.dumps((info.examples or [None])[0])
        lines.append(
            f"| `{name}` | {type_name(properties[name])} | {shown} | {info.description} | `{example}` |"
        )
    return "\n".join(lines)


@pytest.mark.parametrize("heading", TABLES)
def test_table_matches_the_model(heading: str) -> None:
    assert DOCUMENT.count(f"\n{heading}\n") == 1
    section = DOCUMENT.split(f"\n{heading}\n")[1]
    found = re.search(r"^\|.*?(?=\n\n|\Z)", section, re.MULTILINE | re.DOTALL)
    assert found is not None
    assert found[0].strip() == table(*TABLES[heading])


def test_every_field_is_in_a_table() -> None:
    for model in (MultilayerConfig, ViewsConfig, ObjectConfig, *BUILT_IN_MODELS.values()):
        for name in model.model_fields:
            assert f"| `{name}` |" in DOCUMENT


@pytest.mark.parametrize(("model", "names"), TABLES.values())
def test_examples_are_valid(
    model: type[BaseModel], names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_PASSWORD", "x")
    for name in names:
        info = model.model_fields[name]
        assert info.examples
        for example in info.examples:
            TypeAdapter(info.rebuild_annotation()).validate_json(json.dumps(example))


def test_whole_examples_are_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in re.findall(r"\$\{?([A-Z_]+)", DOCUMENT):
        monkeypatch.setenv(name, "x")
    blocks = re.findall(r"```json\n(.*?)```", DOCUMENT, re.DOTALL)
    assert len(blocks) >= 3
    for block in blocks:
        assert from_string(block, base_directory=tmp_path).data_layers


def test_the_documented_error_lines_are_what_is_said(tmp_path: Path) -> None:
    lines = re.findall(r"^    config\.json: (.*)$", DOCUMENT, re.MULTILINE)
    assert len(lines) >= 3
    cases = [
        {"layers": ["lba"]},
        {"default_write_layer": "lab"},
        {"layer_configs": {"lab": {"config_type": "filesystem", "root": "/data", "priorty": 1}}},
        {"layer_configs": {"lab": {"config_type": "filesystem", "root": "$NO_SUCH_DIR/data"}}},
    ]
    base = {
        "config_type": "multilayer",
        "layers": ["lab"],
        "layer_configs": {"lab": {"config_type": "filesystem", "root": "/data", "read_only": True}},
    }
    for case, line in zip(cases, lines, strict=True):
        with pytest.raises(ValueError, match=r"config\.json") as caught:
            parse({**base, **case}, base_directory=tmp_path, file="config.json")
        assert str(caught.value) == f"config.json: {line}"

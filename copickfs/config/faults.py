"""Turns what pydantic found wrong into one line: file, key, fault, remedy and value."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from copickfs.config.layer_schema import BUILT_IN_MODELS
from copickfs.config.project import ObjectConfig
from copickfs.config.redaction import redact_url
from copickfs.config.schema import MultilayerConfig
from copickfs.config.views import ViewsConfig
from copickfs.errors import ConfigError

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError
    from pydantic_core import ErrorDetails

    from copickfs.config.source import Location, Source

_MODELS: tuple[type[BaseModel], ...] = (
    *BUILT_IN_MODELS.values(),
    ObjectConfig,
    ViewsConfig,
    MultilayerConfig,
)
_FIELDS = {name: field for model in reversed(_MODELS) for name, field in model.model_fields.items()}
_WORDS = {  # of JSON rather than of Python
    "a valid dictionary": "an object",
    "a valid tuple": "a list",
    "a valid list": "a list",
    "a valid string": "a string",
    "a valid integer": "an integer",
    "a valid number": "a number",
    "a valid boolean": "true or false",
}
_NOT = {type(None): ", not null", list: ", not a list", dict: ", not an object"}
_LINE_MAX = 400
_VALUE_MAX = 80


def config_error(error: ValidationError, source: Source) -> ConfigError:
    """The first fault of ``error``, and how many more there are."""
    details = error.errors(include_url=False)
    first = details[0]
    location: Location = tuple(part for part in first["loc"] if part != "[key]")
    message = _message(first, location, source)
    if len(details) > 1:
        message += f" ({len(details) - 1} more to mend)"
    return fault_at(message, source, location, _value(first, location))


def fault_at(message: str, source: Source, location: Location = (), value: object = None) -> ConfigError:
    """A `ConfigError` that is one printable line whatever the message, the file or the key hold."""
    return ConfigError(
        one_line(message),
        file=None if source.file is None else _printable(source.file),
        key=source.key(location) or None,
        value=value,
    )


def one_line(text: str) -> str:
    """``text`` on one line of bounded length, without characters that a terminal would act on."""
    text = " ".join(text.split()) if len(text) < 10 * _LINE_MAX else text[: 10 * _LINE_MAX]
    text = _printable(text)
    return text if len(text) <= _LINE_MAX else text[: _LINE_MAX - 3] + "..."


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def _message(detail: ErrorDetails, location: Location, source: Source) -> str:
    if detail["type"] == "missing":
        return "is missing; add it" + _example(location, source)
    text = re.sub(r"^(Value error, |Assertion failed, )", "", detail["msg"])
    text = re.sub(r"^(Input|Value|List|Tuple|String|Dictionary|Keys) should ", "must ", text)
    text = re.sub(r"( or instance of \w+|, unable to .*)$", "", text)
    for theirs, word in _WORDS.items():
        text = text.replace(theirs, word)
    if detail["type"].endswith("_type"):
        text += _NOT.get(type(detail["input"]), "")
    return f"the key {text}" if detail["loc"][-1:] == ("[key]",) else text


def _example(location: Location, source: Source) -> str:
    """How to write the key at ``location``."""
    key = str(location[-1]) if location else ""
    field = ObjectConfig.model_fields.get(key) if "pickable_objects" in location else _FIELDS.get(key)
    if field is None or not field.examples:
        return ""
    return f", for example {json.dumps(source.keys.get(location, key))}: {json.dumps(field.examples[0])}"


def _value(detail: ErrorDetails, location: Location) -> Any:
    """The value to show, None where it is large, or could be a secret."""
    value = detail["input"]
    names = [part for part in location if isinstance(part, str)]
    ours = detail["type"] == "configuration" or (names and names[-1] in _FIELDS)
    if detail["type"] == "missing" or "fs_args" in names or not ours:
        return None
    if isinstance(value, str):
        value = redact_url(value)
        return value if len(value) <= _VALUE_MAX else value[: _VALUE_MAX - 3] + "..."
    return value if isinstance(value, (bool, int, float)) else None

"""Reads configurations from files, text and dictionaries; raises `ConfigError` and nothing else."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from copickfs.config.datasets import datasets_named
from copickfs.config.faults import config_error, fault_at
from copickfs.config.ordinary import as_multilayer, is_ordinary
from copickfs.config.schema import MultilayerConfig
from copickfs.config.source import Location, Source

if TYPE_CHECKING:
    from copickfs.errors import ConfigError

MAX_FILE_BYTES = 16 * 1024**2
MAX_DEPTH = 64
"""Deepest nesting of objects and lists that is read."""

_INT_DIGITS = 20  # more than any 64-bit number has

logger = logging.getLogger(__name__)

Config = TypeVar("Config", bound=MultilayerConfig)


def load(path: str | os.PathLike[str], *, model: type[Config] = MultilayerConfig) -> Config:  # type: ignore[assignment]
    """Read a configuration file: a stack of layers, or an ordinary copick configuration.

    Args:
        path: A JSON file, UTF-8. Relative paths in it are relative to its directory; if ``path`` is a
            symbolic link, to the directory of the link. Or the name of datasets of a portal, such as
            ``portal:10301``: see `copickfs.config.datasets`.
        model: The class of the result.

    Raises:
        ConfigError: Everything that can be wrong, as one line naming file, key, value and remedy.
    """
    file = os.fsdecode(path)
    datasets = datasets_named(file)
    if datasets is not None:
        data, keys = datasets.as_multilayer()
        return _checked(data, Source(str(datasets), keys=keys), model)
    text = _read(file)
    return from_string(text, base_directory=Path(os.path.abspath(file)).parent, file=file, model=model)  # noqa: PTH100 -- "~" is the shell's, and ".." is kept


def from_string(
    text: str,
    *,
    base_directory: Path,
    file: str | None = None,
    model: type[Config] = MultilayerConfig,  # type: ignore[assignment]
) -> Config:
    """A configuration from JSON text; see `load` and `parse`.

    Raises:
        ConfigError: As for `load`.
    """
    source = Source(file, base_directory)
    if not text.strip():
        raise fault_at("is empty; it must hold a JSON object", source)
    try:
        data = json.loads(text, object_pairs_hook=_Object.from_pairs, parse_int=_int)
    except json.JSONDecodeError as error:
        message = f"not valid JSON: line {error.lineno}, column {error.colno}: {error.msg}"
        raise fault_at(message, source) from None  # the error holds the text, and so its secrets
    except RecursionError:
        raise fault_at(f"is nested deeper than {MAX_DEPTH} levels", source) from None
    return parse(data, base_directory=base_directory, file=file, model=model)


def parse(
    data: Mapping[str, Any],
    *,
    base_directory: Path,
    file: str | None = None,
    model: type[Config] = MultilayerConfig,  # type: ignore[assignment]
) -> Config:
    """A configuration from a dictionary as `json.load` gives it. ``data`` is not changed.

    Args:
        data: A stack of layers, or an ordinary copick configuration.
        base_directory: What relative paths are relative to.
        file: Where the data comes from, for error messages.
        model: The class of the result.

    Raises:
        ConfigError: As for `load`.
    """
    source = Source(file, Path.cwd() / base_directory)
    if not isinstance(data, Mapping):
        raise fault_at("must be a JSON object, with keys in braces", source)
    if is_ordinary(data):
        data, keys = as_multilayer(data)
        source = Source(file, source.base_directory, keys, strict_arguments=False)
    elif data.get("config_type") != "multilayer":
        raise _not_a_stack(data, source)
    return _checked(data, source, model)


def _checked(data: Mapping[str, Any], source: Source, model: type[Config]) -> Config:
    """A stack of layers in the classes of its models."""
    try:
        config = model.model_validate(_plain(data, source, (), {}), context=source)
    except ValidationError as error:
        raise config_error(error, source) from error
    for name in config.unused_layers:
        logger.warning(
            "%s: not in layers: this layer is ignored", ": ".join(filter(None, config.where(name)))
        )
    return config


def _not_a_stack(data: Mapping[str, Any], source: Source) -> ConfigError:
    kinds = "'multilayer' for a stack of layers, or 'filesystem' for an ordinary copick configuration"
    given = data.get("config_type")
    if given is None:
        return fault_at(f"is missing; give {kinds}", source, ("config_type",))
    shown = given[:80] if isinstance(given, str) else None
    return fault_at(f"must be {kinds}", source, ("config_type",), shown)


def _read(file: str) -> str:
    source = Source(file)
    try:
        with open(file, "rb") as stream:  # noqa: PTH123 -- a Path would lose "./" and trailing slashes in errors
            data = stream.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise fault_at("no such file; check the path", source) from None
    except IsADirectoryError:
        raise fault_at("is a directory; name the JSON file in it", source) from None
    except OSError as error:
        raise fault_at(f"cannot be read: {error.strerror or type(error).__name__}", source) from None
    except ValueError:
        raise fault_at("not a file name: it contains a NUL character", source) from None
    if len(data) > MAX_FILE_BYTES:
        raise fault_at(f"is larger than {MAX_FILE_BYTES // 1024**2} MiB; is it a configuration?", source)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise fault_at(f"is not UTF-8 text (byte {error.start}); save it as UTF-8", source) from None


class _Object(dict[str, Any]):
    """A JSON object that remembers a key it had twice, of which Python keeps the last only."""

    repeated: str | None = None

    @classmethod
    def from_pairs(cls, pairs: list[tuple[str, Any]]) -> _Object:
        result = cls(pairs)
        if len(result) < len(pairs):
            seen: set[str] = set()
            result.repeated = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        return result


def _int(digits: str) -> int | float:
    """A number without a fraction; a float beyond 64 bits, for Python refuses thousands of digits."""
    return int(digits) if len(digits) <= _INT_DIGITS else float(digits)


def _plain(value: Any, source: Source, location: Location, copied: dict[int, Any]) -> Any:
    """A copy of JSON-like data in dictionaries and lists, refusing what JSON or a model cannot hold.

    Args:
        value: The data.
        source: For the error message.
        location: Where ``value`` is.
        copied: Copies already made, by the id of the original.
    """
    if len(location) > MAX_DEPTH:
        raise fault_at(f"is nested deeper than {MAX_DEPTH} levels", source, location[:3])
    if isinstance(value, float) and not math.isfinite(value):
        raise fault_at("must be a finite number", source, location)
    if isinstance(value, int) and abs(value) >= 1 << 64:
        raise fault_at("is a number beyond 64 bits", source, location)
    if id(value) in copied:
        return copied[id(value)]
    if isinstance(value, Mapping):
        copy: Any = {
            key: _plain(item, source, (*location, str(key)), copied)
            for key, item in _items(value, source, location)
        }
    elif isinstance(value, (list, tuple)):
        copy = [_plain(item, source, (*location, index), copied) for index, item in enumerate(value)]
    else:
        return value
    copied[id(value)] = copy
    return copy


def _items(value: Mapping[Any, Any], source: Source, location: Location) -> list[tuple[Any, Any]]:
    if isinstance(value, _Object) and value.repeated is not None:
        what = "two layers have this name" if location == ("layer_configs",) else "this key is given twice"
        raise fault_at(f"{what}; rename or remove one", source, (*location, value.repeated))
    for key in value:
        if not isinstance(key, (str, int, float)):
            raise fault_at(f"keys must be text, not {type(key).__name__}", source, location)
    return list(value.items())

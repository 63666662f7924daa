"""From what a user passes to fsspec to the configuration that is meant."""

from __future__ import annotations

import copy
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from copickfs.config import from_string, load, parse, redact_url
from copickfs.config.schema import MultilayerConfig
from copickfs.errors import ConfigError

if TYPE_CHECKING:
    from copickfs.stack import StackOptions


class Origin(NamedTuple):
    """Where the configuration of a file system comes from, so that another process can read it again.

    Attributes:
        config: A path or URL, JSON text, a dictionary, or a configuration.
        base_directory: What relative paths in text and dictionaries are relative to.
        protocol: How a URL is read, if not by its own scheme.
        options: Of that.
    """

    config: Any
    base_directory: str
    protocol: str | None = None
    options: Mapping[str, Any] | None = None


def origin_of(
    config: Any, base_directory: Any, chained: Any, protocol: str | None, options: Mapping[str, Any] | None
) -> Origin:
    """What is meant by the options of a file system.

    Args:
        config: Storage option ``config``.
        base_directory: Storage option of that name.
        chained: The URL after ``::``, which stands for ``config``.
        protocol: The protocol of that.
        options: The storage options of that.

    Raises:
        ConfigError: There is no configuration.
    """
    base = os.fspath(Path(base_directory).absolute()) if base_directory is not None else os.getcwd()  # noqa: PTH109
    if chained is not None:
        config = chained  # the one beside it may come from the environment
    else:
        protocol = options = None
    if config is None:
        raise ConfigError(
            "copickfs:// needs a configuration: pass config=..., the path of a file or a dictionary; "
            "or name its path in the environment variable FSSPEC_COPICKFS_CONFIG"
        )
    if protocol in ("file", "local"):
        protocol = options = None
    if protocol is None and isinstance(config, (str, os.PathLike)) and not _is_text(config):
        path = os.fspath(config)
        config = path if "://" in path else os.fspath(Path(base, Path(path).expanduser()))
    return Origin(copy.deepcopy(config), base, protocol, options)


def read_config(origin: Origin) -> MultilayerConfig:
    """The configuration.

    Raises:
        ConfigError: Everything that can be wrong with it.
    """
    config, base = origin.config, Path(origin.base_directory)
    if isinstance(config, MultilayerConfig):
        return config
    if isinstance(config, Mapping):
        return parse(config, base_directory=base)
    if not isinstance(config, str):
        raise ConfigError(f"config must be a path, JSON text or a dictionary, not {type(config).__name__}")
    if _is_text(config):
        return from_string(config, base_directory=base)
    if origin.protocol is not None or "://" in config:
        return from_string(_fetched(origin), base_directory=base, file=redact_url(config))
    return load(config)


def digest_of(config: MultilayerConfig, options: StackOptions) -> str:
    """The same for the same stack in every process."""
    document = f"{config.model_dump_json()}\0{config.source_file}\0{options}".encode(errors="surrogatepass")
    return hashlib.blake2b(document, digest_size=16).hexdigest()


def _is_text(config: Any) -> bool:
    return isinstance(config, str) and config.lstrip().startswith("{")


def _fetched(origin: Origin) -> str:
    import fsspec

    try:
        if origin.protocol is None:
            with fsspec.open(origin.config, "rb") as file:
                data = file.read()
        else:
            data = fsspec.filesystem(origin.protocol, **(origin.options or {})).cat_file(origin.config)
        return str(data.decode("utf-8-sig"))
    except (OSError, ValueError, ImportError) as error:
        reason = redact_url(str(error)) or type(error).__name__
        raise ConfigError(f"cannot be read: {reason}", file=redact_url(str(origin.config))) from None

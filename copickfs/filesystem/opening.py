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

_FILE_URL = "file://"


class Origin(NamedTuple):
    """Where the configuration of a file system comes from, so that another process can read it again.

    Attributes:
        config: An absolute path, JSON text, a dictionary, or a configuration.
        base_directory: What relative paths in text and dictionaries are relative to.
    """

    config: Any
    base_directory: str


def origin_of(config: Any, base_directory: Any, chained: Any, protocol: str | None) -> Origin:
    """What is meant by the options of a file system.

    Args:
        config: Storage option ``config``.
        base_directory: Storage option of that name.
        chained: The path after ``::`` in the URL, which stands for ``config``.
        protocol: The protocol of that.

    Raises:
        ConfigError: There is no configuration, or it is not on this machine.
    """
    base = os.fspath(Path.cwd() / (base_directory or ""))
    if chained is not None:
        config = chained  # the one beside it may come from the environment
        if protocol not in (None, "file", "local"):
            raise _not_here(chained if "://" in chained else f"{protocol}://{chained}")
    if config is None:
        raise ConfigError(
            "copickfs:// needs a configuration: pass config=..., the path of a file or a dictionary; "
            "or name its path in the environment variable FSSPEC_COPICKFS_CONFIG"
        )
    if isinstance(config, (str, os.PathLike)) and not _is_text(config):
        path = os.fspath(config).removeprefix(_FILE_URL)
        if "://" in path:
            raise _not_here(path)
        config = os.fspath(Path(base, Path(path).expanduser()))
    return Origin(copy.deepcopy(config), base)


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
    return from_string(config, base_directory=base) if _is_text(config) else load(config)


def digest_of(config: MultilayerConfig, options: StackOptions) -> str:
    """The same for the same stack in every process."""
    document = f"{config.model_dump_json()}\0{config.source_file}\0{options}".encode(errors="surrogatepass")
    return hashlib.blake2b(document, digest_size=16).hexdigest()


def _is_text(config: Any) -> bool:
    return isinstance(config, str) and config.lstrip().startswith("{")


def _not_here(url: str) -> ConfigError:
    # It may refer to the environment's variables, which nobody else's text shall send anywhere.
    return ConfigError("a configuration is a file of this machine; download it first", file=redact_url(url))

"""Datasets of a portal as a configuration that is in no file: what is written instead of the path of one.

::

    portal:10301,10302?write=/data/mine&graphql_url=https%3A%2F%2Fportal.example.org%2Fgraphql

A mount has it as its configuration, so that every process that finds the mount reads the same.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, unquote_to_bytes, urlsplit

from copickfs.basedirs import cache_home
from copickfs.config.expansion import escape, is_url
from copickfs.config.ordinary import LOWER_PRIORITY, OVERLAY, OVERLAY_PRIORITY, PORTAL
from copickfs.config.project import nearest
from copickfs.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from copickfs.config.source import Location

PREFIX = "portal:"

_IDS = re.compile(r"[0-9]{1,18}(,[0-9]{1,18})*", re.ASCII)
_SCHEME = re.compile(r"^(https?):/+")
"""A path library takes one of two slashes away."""


class Datasets(NamedTuple):
    """What is named.

    Attributes:
        ids: Numbers of the datasets, in order.
        write: The directory that is written, absolute; ``""``: nothing can be written.
        graphql_url: Where queries go, if not to the public portal.
    """

    ids: tuple[int, ...]
    write: str = ""
    graphql_url: str = ""

    def __str__(self) -> str:
        """The name that `datasets_named` reads."""
        told = [("write", self.write, "/"), ("graphql_url", self.graphql_url, "")]
        query = "&".join(f"{key}={quote(os.fsencode(value), safe)}" for key, value, safe in told if value)
        return f"{PREFIX}{','.join(map(str, self.ids))}" + (f"?{query}" if query else "")

    def as_multilayer(self) -> tuple[dict[str, Any], dict[Location, str]]:
        """The same as a multilayer configuration, and the names that its keys have here."""
        ids = list(self.ids)
        portal = {"config_type": "cryoet_data_portal", "priority": LOWER_PRIORITY, "dataset_ids": ids}
        if self.graphql_url:
            portal["graphql_url"] = self.graphql_url
        layers: dict[str, Any] = {PORTAL: portal}
        stack: dict[str, Any] = {
            "config_type": "multilayer",
            "name": "CZ cryoET Data Portal Dataset",
            "description": f"This copick project contains data from datasets {ids}.",
        }
        if self.write:
            root = escape(self.write)
            layers = {
                OVERLAY: {"config_type": "filesystem", "priority": OVERLAY_PRIORITY, "root": root}, **layers
            }  # fmt: skip
            stack["default_write_layer"] = OVERLAY
        cache = _cache_root()
        if cache:
            stack["cache_config"] = {"root": escape(cache)}
        stack.update(layers=list(layers), layer_configs=layers)
        keys: dict[Location, str] = {
            ("layer_configs", OVERLAY): "write",
            ("layer_configs", OVERLAY, "root"): "write",
            ("layer_configs", PORTAL, "dataset_ids"): "dataset_ids",
            ("layer_configs", PORTAL, "graphql_url"): "graphql_url",
        }
        return stack, keys


def datasets_named(text: str) -> Datasets | None:
    """The datasets that are named; None for the path of a file.

    Raises:
        ConfigError: The name cannot be read; says how it is written.
    """
    if not text.startswith(PREFIX):
        return None
    ids, _, query = text.removeprefix(PREFIX).partition("?")
    if not _IDS.fullmatch(ids):
        raise ConfigError(
            f"name datasets by their numbers, as in {PREFIX}10301,10302; write ./{PREFIX}... for a file",
            file=PREFIX.rstrip(":"),
        )
    given: dict[str, str] = {}
    for part in filter(None, query.split("&")):
        key, _, value = part.partition("=")
        if key not in Datasets._fields[1:] or key in given:
            fault = "is given twice" if key in given else f"unknown key; {nearest(key, Datasets._fields[1:])}"
            raise ConfigError(fault, file=f"{PREFIX}{ids}", key=key)
        given[key] = os.fsdecode(unquote_to_bytes(value))
    return datasets_from(map(int, ids.split(",")), **given)


def datasets_from(ids: Iterable[int], write: str | None = None, graphql_url: str | None = None) -> Datasets:
    """Datasets by what was given for them; paths are made absolute.

    Raises:
        ConfigError: Something of it cannot be used.
    """
    url = None if graphql_url is None else _SCHEME.sub(r"\1://", graphql_url)
    if url is not None and not _is_open(url):
        raise ConfigError(
            "must be an address such as https://portal.example.org/graphql; with a password or a query "
            "it belongs in a configuration file", file=PREFIX.rstrip(":"), key="graphql_url",
        )  # fmt: skip
    return Datasets(tuple(sorted(set(ids))), _directory(write), url or "")


def _directory(path: str | None) -> str:
    if path is None:
        return ""
    if not path or "\0" in path or is_url(path):
        raise ConfigError(
            "must be a directory of this machine; for another place write a configuration file",
            file=PREFIX.rstrip(":"), key="write",
        )  # fmt: skip
    return os.path.abspath(os.path.expanduser(path))  # noqa: PTH100, PTH111 -- ".." is taken away as a shell does


def absolute_name(configuration: str | os.PathLike[str]) -> str:
    """The path of a configuration file, or the name of datasets, for a process anywhere on this machine.

    Raises:
        ConfigError: It is a name that cannot be read.
    """
    text = os.fsdecode(configuration)
    datasets = datasets_named(text)
    return os.path.abspath(text) if datasets is None else str(datasets)  # noqa: PTH100 -- "~" is the shell's


def _is_open(url: str) -> bool:
    """True for an address without anything that could be a secret: it is shown wherever the mount is."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    is_web = parts.scheme in ("http", "https") and bool(parts.hostname) and not re.search(r"\s", url)
    return is_web and not (parts.username or parts.password or parts.query or parts.fragment)


def _cache_root() -> str:
    """Directory of the cache; ``""`` for a user without a home."""
    try:
        return str(cache_home() / "copickfs" / PORTAL)
    except RuntimeError:
        return ""

"""What tells one place from another, without a secret in it."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from copickfs.layers.sources.redaction import shown_url
from copickfs.layers.sources.store_options import PROTOCOLS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PLACE_ARGUMENTS = ("endpoint_url", "host", "port", "account_name", "project", "share")
_USER_ARGUMENTS = ("username", "user", "profile", "anon", "domain")
"""As whom a source is asked, which decides what it lists."""

_SHOWN_CHARACTERS = 80


def journal_name(root_url: str, fs_args: Mapping[str, Any]) -> str:
    """A name for the journal of a layer root: the same for the same place."""
    place: list[object] = [shown_url(root_url).rstrip("/"), _told(fs_args, _PLACE_ARGUMENTS)]
    return _digest([*place, *_otherwise(root_url, fs_args)])


def listing_key(root_url: str, fs_args: Mapping[str, Any]) -> str:
    """A name for what a layer root lists: the same for the same place, seen by the same user."""
    arguments = _told(fs_args, _PLACE_ARGUMENTS + _USER_ARGUMENTS)
    users = []
    for part in root_url.split("::"):
        try:
            users.append(urlsplit(part).username or "")
        except ValueError:
            users.append("")
    return _digest([shown_url(root_url).rstrip("/"), arguments, users, *_otherwise(root_url, fs_args)])


def cache_name(root_url: str, fs_args: Mapping[str, Any]) -> str:
    """A directory name for what is read from a layer root: the same for the same place and user."""
    shown = re.sub(r"[^A-Za-z0-9.-]+", "_", shown_url(root_url)).strip("_.")
    return f"{shown[:_SHOWN_CHARACTERS] or 'source'}-{listing_key(root_url, fs_args)[:12]}"


def _otherwise(root_url: str, fs_args: Mapping[str, Any]) -> list[str]:
    """What tells one object store from another by other options, the environment, or files."""
    if root_url.partition("://")[0] not in PROTOCOLS:
        return []
    from copickfs.layers.sources.store_identity import told_otherwise

    return told_otherwise(root_url, fs_args)


def _told(fs_args: Mapping[str, Any], keys: tuple[str, ...]) -> list[tuple[str, str]]:
    told = {key: str(value).rstrip("/") for key, value in _leaves(fs_args) if key in keys}
    return sorted(told.items())


def _leaves(arguments: Mapping[str, Any]) -> Sequence[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in arguments.items():
        found += _leaves(value) if isinstance(value, dict) else [(key, value)]
    return found


def _digest(place: object) -> str:
    return hashlib.sha256(json.dumps(place).encode(errors="surrogateescape")).hexdigest()[:32]

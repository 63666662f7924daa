"""What tells one place from another, without a secret in it."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from copickfs.layers.sources.redaction import shown_url
from copickfs.layers.sources.spelling import ENDPOINT_TOLD, canonical_endpoint, canonical_url, usual_port
from copickfs.layers.sources.store_options import PROTOCOLS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PLACE_ARGUMENTS = ("endpoint_url", "host", "port", "account_name", "project", "share")
_USER_ARGUMENTS = ("username", "user", "profile", "anon", "domain")
"""As whom a source is asked, which decides what it lists."""

_SHOWN_CHARACTERS = 80


def journal_name(root_url: str, fs_args: Mapping[str, Any]) -> str:
    """A name for the journal of a layer root: the same for the same place."""
    return _digest(_place(root_url, fs_args, _PLACE_ARGUMENTS))


def listing_key(root_url: str, fs_args: Mapping[str, Any]) -> str:
    """A name for what a layer root lists: the same for the same place, asked with the same credentials."""
    return _digest([*_seen(root_url, fs_args), *_credentials(root_url, fs_args)])


def cache_name(root_url: str, fs_args: Mapping[str, Any]) -> str:
    """A directory name for what is read from a layer root: the same for the same place and user.

    Not for the same keys: contents are only served for a version that was listed, with one's own key.
    """
    shown = re.sub(r"[^A-Za-z0-9.-]+", "_", canonical_url(shown_url(root_url))).strip("_.")
    return f"{shown[:_SHOWN_CHARACTERS] or 'source'}-{_digest(_seen(root_url, fs_args))[:12]}"


def shown_place(root_url: str, fs_args: Mapping[str, Any]) -> str:
    """A layer root for people, with the server that it is on where that is another one than usual."""
    told = dict(_arguments(root_url, fs_args, _PLACE_ARGUMENTS))
    server = shown_url(told.get("endpoint_url") or told.get("host", ""))
    return f"{shown_url(root_url)}{f' at {server}' if server else ''}"


def _place(root_url: str, fs_args: Mapping[str, Any], keys: tuple[str, ...]) -> list[object]:
    arguments = _arguments(root_url, fs_args, keys)
    others = [told for told in _otherwise(root_url, fs_args) if not told.startswith(ENDPOINT_TOLD)]
    return [canonical_url(shown_url(root_url)), arguments, *others]


def _seen(root_url: str, fs_args: Mapping[str, Any]) -> list[object]:
    """A place, and the user who sees it."""
    url, arguments, *others = _place(root_url, fs_args, _PLACE_ARGUMENTS + _USER_ARGUMENTS)
    users = []
    for part in root_url.split("::"):
        try:
            users.append(urlsplit(part).username or "")
        except ValueError:
            users.append("")
    return [url, arguments, users, *others]


def _otherwise(root_url: str, fs_args: Mapping[str, Any]) -> list[str]:
    """What tells one object store from another by other options, the environment, or files."""
    if root_url.partition("://")[0] not in PROTOCOLS:
        return []
    from copickfs.layers.sources.store_identity import told_otherwise

    return told_otherwise(root_url, fs_args)


def _credentials(root_url: str, fs_args: Mapping[str, Any]) -> list[str]:
    """What the credentials for an object store are called."""
    if root_url.partition("://")[0] not in PROTOCOLS:
        return []
    from copickfs.layers.sources.store_identity import credentials_told

    return credentials_told(root_url, fs_args)


def _arguments(root_url: str, fs_args: Mapping[str, Any], keys: tuple[str, ...]) -> list[tuple[str, str]]:
    """What ``fs_args``, or what stands in for them, tell by these keys."""
    told = {key: str(value).rstrip("/") for key, value in _leaves(fs_args) if key in keys}
    for each in _otherwise(root_url, fs_args):
        if each.startswith(ENDPOINT_TOLD):
            told["endpoint_url"] = each.removeprefix(ENDPOINT_TOLD)
    if "endpoint_url" in told:
        told["endpoint_url"] = canonical_endpoint(told["endpoint_url"])
    if "host" in told:
        told["host"] = told["host"].lower()
    if told.get("port") == usual_port(root_url):
        del told["port"]
    return sorted(told.items())


def _leaves(arguments: Mapping[str, Any]) -> Sequence[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in arguments.items():
        found += _leaves(value) if isinstance(value, dict) else [(key, value)]
    return found


def _digest(place: object) -> str:
    return hashlib.sha256(json.dumps(place).encode(errors="surrogateescape")).hexdigest()[:32]

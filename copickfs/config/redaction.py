"""What of a configuration may be shown: in logs, in errors, in ``config.json`` of the mount."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel

MASK = "***"

_HARMLESS = frozenset(
    {
        "account_name",
        "addressing_style",
        "anon",
        "asynchronous",
        "auto_mkdir",
        "bucket",
        "connect_timeout",
        "default_block_size",
        "default_cache_type",
        "directory",
        "encoding",
        "endpoint",
        "endpoint_url",
        "host",
        "hostname",
        "listings_expiry_time",
        "path",
        "port",
        "project",
        "protocol",
        "read_timeout",
        "region",
        "region_name",
        "requester_pays",
        "retries",
        "root",
        "share",
        "signature_version",
        "skip_instance_cache",
        "target_protocol",
        "timeout",
        "url",
        "use_listings_cache",
        "use_ssl",
        "user",
        "username",
        "version_aware",
    }
)
"""Keys of ``fs_args`` whose values are shown. Everything else is masked, whatever it is."""

_SECRET = re.compile(r"pass|secret|token|key|cred|auth|cookie|sas|sign", re.IGNORECASE)

_URL = re.compile(
    r"""
    (?P<scheme>[A-Za-z][A-Za-z0-9+.\-]*://)
    (?P<user>
        [^\s/?\#@:]*:(?![0-9]*:?(?:[/\s]|$))(?:(?!://)[\s\S])*@  # not a port: a password may hold anything
      | [^\s/?\#]*@
    )?
    (?P<rest>(?:(?!::)[^\s?\#"'<>])*)
    (?P<query>[?\#](?:(?!::)[^\s"'<>])*)?
    """,
    re.VERBOSE,
)


def redact_url(url: str) -> str:
    """``url``, or any text with URLs in it, without user names, passwords, queries and fragments."""

    def replacement(match: re.Match[str]) -> str:
        user = MASK + "@" if match["user"] else ""
        query = match["query"][0] + MASK if match["query"] else ""
        return match["scheme"] + user + match["rest"] + query

    return _URL.sub(replacement, url) if "://" in url else url


def redact_arguments(arguments: dict[Any, Any]) -> dict[str, Any]:
    """``fs_args`` with every value masked, except under a few keys that are harmless. JSON-able."""
    return {str(key): _argument(str(key), value) for key, value in arguments.items()}


def redacted(config: BaseModel) -> dict[str, Any]:
    """A configuration, or a part of one, as a JSON-able dictionary without secrets.

    Shown are the fields that copickfs itself declares. What a layer kind of another package declares
    is treated like ``fs_args``: masked unless its key is harmless. copick's own fields are left out of
    layers that do not set them.
    """
    own = _own_fields(type(config))
    quiet: frozenset[str] = getattr(type(config), "quiet_fields", frozenset())
    values = {**dict(config), **(config.model_extra or {})}
    shown: dict[str, Any] = {}
    for key, value in values.items():
        if key in quiet and key not in config.model_fields_set:
            continue
        if key not in own:
            shown[key] = _argument(key, value)
        elif key == "fs_args":
            shown[key] = redact_arguments(value) if isinstance(value, dict) else MASK
        else:
            shown[key] = _shown(value)
    return shown


def _own_fields(model: type[BaseModel]) -> set[str]:
    """Names of the fields that copickfs or copick declares, not another package's layer kind."""
    own: set[str] = set()
    for base in model.__mro__:
        if base.__module__.split(".")[0] in ("copickfs", "copick"):
            own.update(getattr(base, "model_fields", ()))
    return own


def _argument(key: str, value: Any) -> Any:
    if isinstance(value, dict) and not _SECRET.search(key):
        return redact_arguments(value)
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        return [_argument(key, item) for item in value]
    if key not in _HARMLESS:
        return MASK
    if isinstance(value, str):
        return redact_url(value)
    return value if value is None or isinstance(value, (bool, int, float)) else MASK


def _shown(value: Any) -> Any:
    """A value of a field that copickfs declares, made JSON-able."""
    if isinstance(value, BaseModel):
        return redacted(value)
    if isinstance(value, dict):
        return {str(key): _shown(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_shown(item) for item in value]
    if isinstance(value, str):
        return redact_url(value)
    return value if value is None or isinstance(value, (bool, int, float)) else str(value)

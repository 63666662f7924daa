"""Addresses without secrets, and messages without the secrets of a configuration."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_HIDDEN = "***"
_MIN_LENGTH = 4
_LONGEST_TEXT = 400
_TELLING = ("pass", "secret", "token", "credential")
_STORES = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss"})
_CONTAINERS = ("abfs://", "abfss://")
"""What stands before an "@" there is no user."""

_USERINFO = re.compile(r"(?<=//)[^/@\s]*@")
_QUERY = re.compile(r"(?<=[?&])([^=&\s'\"]+)=[^&\s'\")]+")


def shown_url(url: str) -> str:
    """``url`` without user name, password, query and fragment."""
    bare = url if url.startswith(_CONTAINERS) else _USERINFO.sub("", url)
    scheme, mark, rest = bare.rpartition("://")
    query = rest.partition("?")[2]
    if scheme.startswith("http"):
        rest = rest.partition("?")[0].partition("#")[0]
    elif scheme in _STORES and "=" in query:
        rest = rest.partition("?")[0]  # a signature that was copied along; a key may have a "?" in it
    return f"{scheme}{mark}{rest}"


class Redactor:
    """Takes the secrets of one layer's configuration out of texts. Immutable.

    Args:
        url: The layer's root.
        fs_args: Its arguments for fsspec; every string in them is taken for a secret.
    """

    def __init__(self, url: str, fs_args: Mapping[str, Any]) -> None:
        known = {value for value in _secrets_of_url(url) if value}
        for key, value in _leaves("", fs_args):
            if any(part in key.lower() for part in _TELLING) or (
                isinstance(value, str) and len(value) >= _MIN_LENGTH
            ):
                known.add(str(value))
        known.discard("")
        written = {form(value) for value in known for form in (quote, quote_plus, _quote_all, _base64)}
        parts = sorted((re.escape(value) for value in known | written), key=len, reverse=True)
        self._pattern = re.compile("|".join(parts)) if parts else None

    def __call__(self, text: str) -> str:
        """``text`` in one line and without secrets."""
        line = " ".join(text.split())
        if self._pattern is not None:
            line = self._pattern.sub(_HIDDEN, line)
        line = _QUERY.sub(rf"\1={_HIDDEN}", _USERINFO.sub("", line))
        return line if len(line) <= _LONGEST_TEXT else f"{line[:_LONGEST_TEXT]}..."


def _secrets_of_url(url: str) -> Iterator[str]:
    for part in url.split("::"):
        try:
            split = urlsplit(part)
            yield split.password or ""
            if split.username and split.password:
                yield f"{split.username}:{split.password}"
        except ValueError:
            continue
        if split.scheme.startswith("http"):
            yield split.query


def _quote_all(value: str) -> str:
    return quote(value, safe="")


def _base64(value: str) -> str:
    return base64.b64encode(value.encode(errors="surrogateescape")).decode()


def _leaves(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for inner, item in value.items():
            yield from _leaves(f"{key}.{inner}", item)
    elif isinstance(value, list | tuple | set):
        for item in value:
            yield from _leaves(key, item)
    elif value is not None and not isinstance(value, bool):
        yield key, value

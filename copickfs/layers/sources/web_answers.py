"""What an HTTP answer says: refusals, versions, ranges."""

from __future__ import annotations

import errno
import re
from http import HTTPStatus
from typing import TYPE_CHECKING

from copickfs.errors import AccessDenied, ConfigError, NotFound, Stale, Unavailable
from copickfs.layers.sources import FILE, Found
from copickfs.layers.sources.web_listing import http_date_ns

if TYPE_CHECKING:
    import aiohttp

GONE = frozenset({404, 410})
DENIED = frozenset({402, 403, 405, 451})
_LOGIN = frozenset({401, 407})
_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")


def check(status: int, path: str) -> None:
    """Raise what an answer other than success means."""
    if status < HTTPStatus.BAD_REQUEST:
        return
    if status in GONE:
        raise NotFound(path)
    if status in _LOGIN:
        raise ConfigError(f"the server wants other credentials ({status})")
    if status in DENIED:
        raise AccessDenied(path)
    if status == HTTPStatus.REQUEST_URI_TOO_LONG:
        raise OSError(errno.ENAMETOOLONG, f"the server refuses a name of this length: {path!r}")
    raise Unavailable(f"the server answered {status}")


def is_plain(response: aiohttp.ClientResponse) -> bool:
    """True if the body is the file itself, not a compressed form of it."""
    return response.headers.get("Content-Encoding", "identity") in ("", "identity")


def found_by(name: str, size_bytes: int, response: aiohttp.ClientResponse) -> Found:
    """The entry that an answer describes, with the version that its headers tell."""
    mtime_ns = http_date_ns(response.headers.get("Last-Modified", ""))
    return Found(name, FILE, size_bytes, mtime_ns, response.headers.get("ETag", ""))


def total_bytes(response: aiohttp.ClientResponse) -> int | None:
    """Length of the whole file, from the answer to a request for it or for a part; None if it is not told."""
    match = _RANGE.match(response.headers.get("Content-Range", ""))
    if match is not None:
        return None if match[3] == "*" else int(match[3])
    if response.status == HTTPStatus.OK and is_plain(response):
        return response.content_length
    return None


def first_byte(response: aiohttp.ClientResponse) -> int | None:
    """Offset at which a partial answer begins; None if it does not say."""
    match = _RANGE.match(response.headers.get("Content-Range", ""))
    return int(match[1]) if match is not None and match[1] else None


def check_version(path: str, found: Found, response: aiohttp.ClientResponse) -> None:
    """Raise `Stale` if the answer is of another version of the file than was ``found``."""
    size = total_bytes(response)
    check_same(path, found, found_by(found.name, found.size_bytes if size is None else size, response))


def check_same(path: str, found: Found, now: Found) -> None:
    """Raise `Stale` if ``now`` is another version of the file than was ``found``."""
    if now.size_bytes != found.size_bytes:
        raise Stale(path)
    if found.etag and now.etag:
        if found.etag.removeprefix("W/") != now.etag.removeprefix("W/"):
            raise Stale(path)
    elif found.mtime_ns and now.mtime_ns and found.mtime_ns != now.mtime_ns:
        raise Stale(path)

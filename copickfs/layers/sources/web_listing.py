"""Directory listings of web servers: the pages that http.server, Apache, nginx and others make."""

from __future__ import annotations

import html
import json
import re
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote_to_bytes, urljoin, urlsplit

from copickfs.layers.sources import DIRECTORY, FILE, Found

if TYPE_CHECKING:
    from collections.abc import Iterator

_TAG = re.compile(r"""<a\s(?:[^<>"']++|"[^"]*+"|'[^']*+')*+>""", re.IGNORECASE)
_HREF = re.compile(r"""\shref\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>"']+))""", re.IGNORECASE)
_TAG_START = re.compile(r"<a\s", re.IGNORECASE)
_PLAIN = re.compile(r"[^/.:?#;&][^/:?#;&]*/?")
"""A link that is just a name."""

_LEFT_OUT = re.compile(r"^\.|[~#]$|,[vt]$|^(?:RCS|CVS)$|^(?:HEADER|README)")
_LONGEST_TAG = 8192
_HEAD_CHARACTERS = 1 << 16
_HEADING = re.compile(r"<(title|h1)\b[^>]*>(.*?)</\1", re.IGNORECASE | re.DOTALL)
_ANNOUNCED = re.compile(r"index of|director|listing", re.IGNORECASE)


class WebListing(NamedTuple):
    """A parsed listing.

    Attributes:
        entries: Complete where the server told sizes, else with ``size_bytes`` -1 for files.
        complete: True if sizes and times are known.
    """

    entries: list[Found]
    complete: bool


def parse_page(text: str, url: str) -> WebListing | None:
    """The listing that an HTML page is; None if it is some other page.

    Args:
        text: The page.
        url: Its address, ending in a slash; links are relative to it.
    """
    here = urlsplit(url)
    base = _components(here.path)
    entries: dict[bytes, Found] = {}
    leads_up = False
    for href in _hrefs(text):
        path = _components(href) if _PLAIN.fullmatch(href) else None
        if path is None:
            target = _path_on(here.netloc, url, href)
            if target is None:
                continue
            leads_up = leads_up or (target == base[:-1] and len(base) > 0)
            if len(target) != len(base) + 1 or target[:-1] != base:
                continue
            path = target[-1:]
        is_directory = href.partition("#")[0].endswith("/")
        if is_directory or path[0] not in entries:
            name = path[0].decode("utf-8", "surrogateescape")
            entries[path[0]] = Found(name, DIRECTORY) if is_directory else Found(name, FILE, -1)
    announced = any(_ANNOUNCED.search(heading[2]) for heading in _HEADING.finditer(text[:_HEAD_CHARACTERS]))
    if not announced and not leads_up:
        return None
    return WebListing(list(entries.values()), complete=False)


def _path_on(host: str, url: str, href: str) -> list[bytes] | None:
    """Components of the path that a link leads to; None if that is elsewhere, or sorts the page."""
    try:
        target = urlsplit(urljoin(url, href))
    except ValueError:
        return None
    if target.scheme not in ("http", "https") or target.netloc != host or "?" in href:
        return None
    return _components(target.path)


def _hrefs(text: str) -> Iterator[str]:
    """Targets of the links of a page, in time proportional to its length whatever is in it."""
    start = _TAG_START.search(text)
    while start is not None:
        tag = _TAG.match(text, start.start(), start.start() + _LONGEST_TAG)
        href = _HREF.search(tag[0]) if tag is not None else None
        if href is not None:
            yield html.unescape(href[1] or href[2] or href[3] or "").strip()
        start = _TAG_START.search(text, start.end() if tag is None else tag.end())


def parse_json(text: str) -> WebListing | None:
    """The listing that nginx makes with ``autoindex_format json``; None if it is something else."""
    try:
        items = json.loads(text)
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            return None
        known = [item for item in items if item["type"] != "other"]  # links that lead nowhere, devices
        return WebListing([_from_json(item) for item in known], complete=True)
    except (ValueError, TypeError, KeyError):
        return None


def _from_json(item: dict[str, Any]) -> Found:
    mtime_ns = http_date_ns(item.get("mtime", ""))
    if item["type"] == "directory":
        return Found(item["name"], DIRECTORY, 0, mtime_ns)
    return Found(item["name"], FILE, int(item["size"]), mtime_ns)


def may_be_hidden(name: str) -> bool:
    """True for names that web servers leave out of listings: nginx dot-names, Apache those and a few more."""
    return _LEFT_OUT.search(name) is not None


def http_date_ns(text: str) -> int:
    """An HTTP date in ns since the epoch; 0 if it is none."""
    try:
        return int(parsedate_to_datetime(text).timestamp()) * 1_000_000_000
    except (ValueError, TypeError, IndexError):
        return 0


def _components(path: str) -> list[bytes]:
    """The components of a URL's path, decoded one by one, so that an encoded slash splits nothing."""
    return [unquote_to_bytes(part) for part in path.split("/") if part]

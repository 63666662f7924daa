"""Listings of a bucket or container: one directory, or all that is below one."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, TypeVar

import obstore

from copickfs.errors import Unavailable
from copickfs.layers.sources import DIRECTORY, FILE, Found, ancestors
from copickfs.layers.sources.store_client import found_by
from copickfs.layers.sources.writing import DIRECTORY_MARK
from copickfs.paths import join

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from obstore import ObjectMeta

    from copickfs.layers.guard import Attempt
    from copickfs.layers.sources.store_client import StoreClient

T = TypeVar("T")

Listing = dict[str, Found]


def listed(client: StoreClient, path: str) -> Listing:
    """What is in one directory, by name, and its own mark, if it has one, under ``""``."""
    return _whole(client, lambda: _directory(client, path))


def listed_below(client: StoreClient, path: str, attempt: Attempt) -> dict[str, Listing]:
    """All directories at and below one, by relative path, from one flat listing."""
    return _whole(client, lambda: _flat(client, path, attempt))


def _whole(client: StoreClient, ask: Callable[[], tuple[T, int]]) -> T:
    """A listing; one that ends with a full page is asked for twice.

    A page that is none, such as that of a proxy, reads as an empty one and as the end.
    """
    listing, count = ask()
    if count and count % client.page_keys == 0 and ask() != (listing, count):
        raise Unavailable("two listings, one after the other, differ")
    return listing


def _directory(client: StoreClient, path: str) -> tuple[Listing, int]:
    """A listing and the number of keys in it."""
    full = client.full(path)
    answered = client.ask(obstore.list_with_delimiter, path)
    listing = {}
    for meta in answered["objects"]:
        found = found_by(meta)
        if meta["path"] == full:
            found = found._replace(name="")
        listing[found.name] = found
    for prefix in answered["common_prefixes"]:
        name = prefix.rstrip("/").rpartition("/")[2]
        listing[name] = Found(name, DIRECTORY)
    count = len(answered["objects"]) + len(answered["common_prefixes"])
    client.more(math.ceil(count / client.page_keys) - 1)
    return listing, count


def _flat(client: StoreClient, path: str, attempt: Attempt) -> tuple[dict[str, Listing], int]:
    full = client.full(path)
    listings: defaultdict[str, Listing] = defaultdict(dict)
    count = 0
    for meta in _keys(client, path, attempt):
        count += 1
        relative, _, name = meta["path"][len(full) + 1 if full else 0 :].rpartition("/")
        if name:
            listings[relative][name] = found_by(meta)
    for relative in list(listings):
        for above, name in ancestors(relative):
            listings[above][name] = Found(name, DIRECTORY)
    for relative in list(listings):
        _tell_marks(client, join(path, relative) if relative else path, relative, listings)
    return dict(listings), count


def _tell_marks(client: StoreClient, path: str, relative: str, listings: defaultdict[str, Listing]) -> None:
    """Tell empty objects from marks of empty directories (``name/``), which a flat listing does not."""
    doubtful = [
        found.name
        for found in listings[relative].values()
        if found.kind == FILE and not found.size_bytes and found.name != DIRECTORY_MARK
    ]
    if not doubtful:
        return
    listing = listed(client, path)
    for name in doubtful:
        if name in listing and listing[name].kind == DIRECTORY:
            listings[relative][name] = listing[name]
            listings[join(relative, name) if relative else name] = {}


def _keys(client: StoreClient, path: str, attempt: Attempt) -> Iterator[ObjectMeta]:
    stream = client.ask(obstore.list, path, chunk_size=client.page_keys)
    is_first = True
    for page in client.pieces(stream, path):
        attempt.progress()
        client.more(0 if is_first else 1)
        is_first = False
        yield from page

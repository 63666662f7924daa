"""Arrays on a server that lists nothing: the names of their chunks follow from their metadata.

Which of them are there is asked by name, all at once, before anything in the array is answered: a chunk
that is absent is zeros to a reader, so that its absence must be what the server has said.

The documents are those of the zarr specifications, version 2 (``.zarray``) and 3 (``zarr.json``).
"""

from __future__ import annotations

import itertools
import json
import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from copickfs.errors import AccessDenied
from copickfs.layers.sources import DIRECTORY, FILE, Found
from copickfs.model import ByteRange
from copickfs.paths import ARRAY_METADATA, join, split

if TYPE_CHECKING:
    from collections.abc import Iterable

    from copickfs.layers.lister import Fetcher

MOST_CHUNKS = 100_000
"""An array of more chunks is not asked for: its server should list it."""

_LONGEST_DOCUMENT_BYTES = 16 << 20


def listings_of(origin: str, fetcher: Fetcher) -> dict[str, list[Found]]:
    """What is in the array ``origin`` and below, by relative directory.

    Raises:
        AccessDenied: It is no array, or not one whose chunks can be told.
        Transient: The server cannot be asked.
    """
    documents = fetcher.files(origin, sorted(ARRAY_METADATA))
    names = [name for found in documents for name in _chunks(origin, found, fetcher)]
    if not names:
        raise AccessDenied(origin)
    listings: defaultdict[str, list[Found]] = defaultdict(list)
    listings[""] = documents
    chunks = fetcher.files(origin, names)
    _add_directories(listings, {split(found.name)[0] for found in chunks})
    for found in chunks:
        directory, name = split(found.name)
        listings[directory].append(found._replace(name=name))
    return dict(listings)


def _add_directories(listings: defaultdict[str, list[Found]], directories: Iterable[str]) -> None:
    known: set[str] = set()
    for directory in directories:
        while directory and directory not in known:
            known.add(directory)
            above, name = split(directory)
            listings[above].append(Found(name, DIRECTORY))
            directory = above  # noqa: PLW2901 - upwards


def _chunks(origin: str, found: Found, fetcher: Fetcher) -> list[str]:
    """The names of all chunks that an array's metadata document tells of; none for another document."""
    if found.name not in (".zarray", "zarr.json") or found.kind != FILE:
        return []
    if not 0 < found.size_bytes <= _LONGEST_DOCUMENT_BYTES:
        return []
    text = fetcher.read(join(origin, found.name), ByteRange(0, found.size_bytes), found)
    try:
        document = json.loads(text)
        grid = _grid_of_2(document) if found.name == ".zarray" else _grid_of_3(document)
    except (ValueError, TypeError, KeyError, AttributeError, ZeroDivisionError):
        return []
    return [] if grid is None else _names(*grid)


def _names(counts: list[int], prefix: str, separator: str) -> list[str]:
    if math.prod(counts) > MOST_CHUNKS:
        return []
    if not counts:
        return [prefix.rstrip("/.") or "0"]
    indices = itertools.product(*map(range, counts))
    return [f"{prefix}{separator.join(map(str, index))}" for index in indices]


def _grid_of_2(document: Any) -> tuple[list[int], str, str] | None:
    return _counts(document["shape"], document["chunks"]), "", document.get("dimension_separator") or "."


def _grid_of_3(document: Any) -> tuple[list[int], str, str] | None:
    if document["node_type"] != "array" or document["chunk_grid"]["name"] != "regular":
        return None
    counts = _counts(document["shape"], document["chunk_grid"]["configuration"]["chunk_shape"])
    encoding = document["chunk_key_encoding"]
    if encoding["name"] not in ("default", "v2"):
        return None
    is_default = encoding["name"] == "default"
    separator = (encoding.get("configuration") or {}).get("separator") or ("/" if is_default else ".")
    return counts, f"c{separator}" if is_default else "", separator


def _counts(shape: list[int], chunks: list[int]) -> list[int]:
    return [-(-size // chunk) for size, chunk in zip(shape, chunks, strict=True)]

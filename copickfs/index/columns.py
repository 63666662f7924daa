"""A stored listing as values, and as bytes that tell damage.

The bytes are columns, compressed: names joined by NUL, sizes and times as 64-bit numbers, kinds as
letters. They begin with the directory and the time that they are of, so that nothing but them and their
digest need be believed. They are no program: no pickle, no marshal.
"""

from __future__ import annotations

import struct
import sys
import zlib
from array import array
from typing import TYPE_CHECKING, NamedTuple

import xxhash

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_FORMAT = b"L1<" if sys.byteorder == "little" else b"L1>"
_HEAD = struct.Struct("<q?")  # when it was fetched; whether it is an array's
_LEVEL = 1  # the higher ones take longer than a request
_PARTS = 8


class Columns(NamedTuple):
    """One directory, its names in order.

    Attributes:
        names: The names.
        kinds: A letter for each.
        sizes_bytes: ``array("q")``.
        mtimes_ns: ``array("q")``.
        etags: One for each, or None if there are none.
    """

    names: tuple[str, ...]
    kinds: str
    sizes_bytes: array[int]
    mtimes_ns: array[int]
    etags: tuple[str, ...] | None


class StoredListing(NamedTuple):
    """What a row holds.

    Attributes:
        fetched_ns: When the source was asked, ns since the epoch.
        directories: Listings by directory, relative to the row's.
        is_array: All directories below are listed.
        is_trusted: False if the source was seen to differ since.
    """

    fetched_ns: int
    directories: Mapping[str, Columns]
    is_array: bool = False
    is_trusted: bool = True


def encoded(directory: str, listing: StoredListing) -> bytes | None:
    """The listing of ``directory`` as bytes; None if a text in it has a NUL, which no source should send."""
    columns = list(listing.directories.values())
    counts, sizes, mtimes = array("q"), array("q"), array("q")
    names: list[str] = []
    etags: list[str] = []
    for each in columns:
        counts.append(len(each.names))
        names += each.names
        sizes += each.sizes_bytes
        mtimes += each.mtimes_ns
        etags += each.etags or [""] * len(each.names)
    try:
        parts = [
            _HEAD.pack(listing.fetched_ns, listing.is_array),
            counts.tobytes(),
            sizes.tobytes(),
            mtimes.tobytes(),
            "".join(each.kinds for each in columns).encode(),
            _joined([directory, *listing.directories]),
            _joined(names),
            _joined(etags) if any(etags) else b"",
        ]
    except ValueError:
        return None
    lengths = array("q", map(len, parts)).tobytes()
    return _FORMAT + zlib.compress(lengths + b"".join(parts), _LEVEL)


def decoded(directory: str, data: object, digest: object) -> StoredListing | None:
    """What `encoded` was given; None if these are not the bytes that it made for ``directory``."""
    if not isinstance(data, bytes) or digest != digest_of(data) or not data.startswith(_FORMAT):
        return None
    body = memoryview(zlib.decompress(data[len(_FORMAT) :]))
    start = 8 * _PARTS
    parts = []
    for length in body[:start].cast("q"):
        parts.append(body[start : start + length])
        start += length
    fetched_ns, is_array = _HEAD.unpack(parts[0])
    counts, sizes, mtimes = (array("q", part.tobytes()) for part in parts[1:4])
    kinds = str(parts[4], "utf-8")
    origin, *paths = _split(parts[5], len(counts) + 1)
    if origin != directory:
        return None
    names = _split(parts[6], len(sizes))
    etags = _split(parts[7], len(sizes)) if parts[7] else None
    directories = {}
    stop = 0
    for path, count in zip(paths, counts, strict=True):
        start, stop = stop, stop + count
        own = None if etags is None else tuple(etags[start:stop])
        directories[path] = Columns(
            tuple(names[start:stop]),
            kinds[start:stop],
            sizes[start:stop],
            mtimes[start:stop],
            own if own is not None and any(own) else None,
        )
    return StoredListing(fetched_ns, directories, is_array)


def digest_of(data: bytes) -> int:
    """A number that damage changes, as SQLite's integers are: signed, 64 bits."""
    return int.from_bytes(xxhash.xxh3_64_digest(data), signed=True)


def _joined(texts: Sequence[str]) -> bytes:
    """Texts as bytes that give the very same texts; an escaped byte keeps being one."""
    text = "\0".join(texts)
    if text.count("\0") != max(0, len(texts) - 1):
        raise ValueError
    return text.encode(errors="surrogatepass")


def _split(data: memoryview, count: int) -> list[str]:
    return str(data, "utf-8", "surrogatepass").split("\0") if count else []

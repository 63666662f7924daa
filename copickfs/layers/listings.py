"""What is remembered of a source: listings, compactly, within a bound.

A listing holds its names in one sorted tuple and the rest in arrays: about 80 bytes an entry, where
an `Entry` takes 300. Names of chunks are shared between directories.
"""

from __future__ import annotations

import sys
import threading
import time
from array import array
from bisect import bisect_left
from collections import OrderedDict
from typing import TYPE_CHECKING

from copickfs.index.columns import Columns
from copickfs.layers.sources import DIRECTORY, Found
from copickfs.paths import join, split, store_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_ENTRIES = 200_000
"""Entries of ordinary listings that are remembered; the least recently used go first."""

MAX_ARRAY_ENTRIES = 2_000_000
"""The same for the listings of zarr arrays, of which each is kept or dropped as a whole."""

_INTERNED_BYTES = 16


class Listing:
    """One directory, complete. Immutable."""

    __slots__ = ("_etags", "_kinds", "_mtimes_ns", "_names", "_sizes_bytes")

    def __init__(self, entries: Iterable[Found]) -> None:
        ordered = sorted(entries)
        self._names = tuple(sys.intern(e.name) if len(e.name) <= _INTERNED_BYTES else e.name for e in ordered)
        self._kinds = "".join(e.kind for e in ordered)
        self._sizes_bytes = array("q", (e.size_bytes for e in ordered))
        self._mtimes_ns = array("q", (e.mtime_ns for e in ordered))
        self._etags = tuple(e.etag for e in ordered) if any(e.etag for e in ordered) else None

    @classmethod
    def from_columns(cls, columns: Columns) -> Listing:
        """The listing that has these columns, whose names are in order."""
        listing = object.__new__(cls)
        names, listing._kinds, listing._sizes_bytes, listing._mtimes_ns, listing._etags = columns
        listing._names = tuple(sys.intern(name) if len(name) <= _INTERNED_BYTES else name for name in names)
        return listing

    def columns(self) -> Columns:
        """The same in columns, not to be changed."""
        return Columns(self._names, self._kinds, self._sizes_bytes, self._mtimes_ns, self._etags)

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[Found]:
        return map(self._at, range(len(self._names)))

    def get(self, name: str) -> Found | None:
        """The entry of that name, or None."""
        index = bisect_left(self._names, name)
        if index < len(self._names) and self._names[index] == name:
            return self._at(index)
        return None

    def patched(self, name: str, found: Found | None) -> Listing:
        """The same listing with another entry, or none, for one name."""
        index = bisect_left(self._names, name)
        stop = index + (index < len(self._names) and self._names[index] == name)
        new = Listing(() if found is None else (found,))
        etags, new_etags = self._etags, new._etags
        if etags is not None or new_etags is not None:
            etags = etags or ("",) * len(self._names)
            new_etags = new_etags or ("",) * len(new)
        patched = object.__new__(Listing)
        patched._names = self._names[:index] + new._names + self._names[stop:]
        patched._kinds = self._kinds[:index] + new._kinds + self._kinds[stop:]
        patched._sizes_bytes = self._sizes_bytes[:index] + new._sizes_bytes + self._sizes_bytes[stop:]
        patched._mtimes_ns = self._mtimes_ns[:index] + new._mtimes_ns + self._mtimes_ns[stop:]
        patched._etags = None if etags is None else (*etags[:index], *(new_etags or ()), *etags[stop:])
        return patched

    def changes(self, newer: Listing) -> list[str]:
        """Names that came, went or changed."""
        if self._names == newer._names and self._etags == newer._etags and self._kinds == newer._kinds:
            pairs = zip(self._sizes_bytes, newer._sizes_bytes, self._mtimes_ns, newer._mtimes_ns, strict=True)
            return [self._names[i] for i, (s, s2, m, m2) in enumerate(pairs) if s != s2 or m != m2]
        return sorted({entry.name for entry in set(self) ^ set(newer)})

    def _at(self, index: int) -> Found:
        return Found(
            self._names[index],
            self._kinds[index],
            self._sizes_bytes[index],
            self._mtimes_ns[index],
            self._etags[index] if self._etags is not None else "",
        )


class Kept:
    """What is remembered of one directory, or of a whole array.

    Args:
        origin: Path of the directory or of the array.
        listings: Listings by directory, relative to ``origin``; empty if the source does not list it.
        is_array: True if all directories below ``origin`` are listed.

    Attributes:
        asked_ns: When the source was asked, ns since the epoch; 0 if it was not.
        fetched_s: Monotonic time at which it was asked for.
        is_trusted: False once the source was seen to differ.
        retry_s: Monotonic time before which the source is not asked again, after it failed to answer.
        is_used: Somebody has asked for it, and it was not only fetched ahead.
        size: Number of entries.
    """

    __slots__ = (
        "asked_ns",
        "fetched_s",
        "is_array",
        "is_trusted",
        "is_used",
        "listings",
        "origin",
        "retry_s",
        "size",
    )

    def __init__(self, origin: str, listings: dict[str, Listing], *, is_array: bool = False) -> None:
        self.origin = origin
        self.listings = listings
        self.is_array = is_array
        self.is_trusted = True
        self.asked_ns = 0
        self.fetched_s = time.monotonic()
        self.retry_s = 0.0
        self.is_used = False
        self.size = sum(len(listing) + 1 for listing in listings.values()) + 1

    def covers(self, directory: str) -> bool:
        """True if this answers for ``directory``, which is ``origin`` or below it."""
        return self.is_array or directory == self.origin

    def listing(self, directory: str) -> Listing | None:
        """The listing of a directory at or below ``origin``; None if there is no such directory."""
        return self.listings.get(directory[len(self.origin) :].lstrip("/"))

    def patch(self, path: str, found: Found | None) -> None:
        """``path``, in one of the directories, is another one now, or none: this program has changed it."""
        directory, name = split(path)
        relative = directory[len(self.origin) :].lstrip("/")
        listing = self.listings.get(relative)
        if listing is None:
            return
        self.listings[relative] = listing.patched(name, found)
        if not self.is_array:
            return
        inner = join(relative, name)
        stays = found is not None and found.kind == DIRECTORY
        if inner in self.listings and not stays:
            self.listings = {
                path: kept for path, kept in self.listings.items() if not f"{path}/".startswith(inner + "/")
            }
        elif stays:
            self.listings.setdefault(inner, Listing(()))

    def changes(self, newer: Kept) -> list[str]:
        """Paths that differ between this and a newer state of the same origin."""
        changed = []
        for relative in self.listings.keys() | newer.listings.keys():
            old = self.listings.get(relative) or _EMPTY
            new = newer.listings.get(relative) or _EMPTY
            changed += [join(self.origin, join(relative, name)) for name in old.changes(new)]
        return changed


_EMPTY = Listing(())


class ListingMemory:
    """The remembered listings of one layer. Thread-safe, never waits.

    Args:
        max_entries: Bound for ordinary listings; one that is longer alone is kept until the next.
        max_array_entries: Bound for the listings of arrays, likewise.
    """

    def __init__(self, max_entries: int = MAX_ENTRIES, max_array_entries: int = MAX_ARRAY_ENTRIES) -> None:
        self._lock = threading.Lock()
        self._directories = _Shelf(max_entries)
        self._arrays = _Shelf(max_array_entries)

    def find(self, directory: str) -> Kept | None:
        """What is remembered of ``directory``: the array around it, or its own listing."""
        with self._lock:
            store = store_of(directory) if self._arrays.kept else None
            if store is not None:
                above = store
                while True:
                    kept = self._arrays.get(above)
                    if kept is not None:
                        return kept
                    if above == directory:
                        break
                    end = directory.find("/", len(above) + 1)
                    above = directory if end < 0 else directory[:end]
            return self._directories.get(directory)

    def keep(self, kept: Kept) -> Kept | None:
        """Remember; returns what it replaces."""
        with self._lock:
            shelf, other = self._directories, self._arrays
            if kept.is_array:
                shelf, other = other, shelf
            before = other.pop(kept.origin)
            return shelf.put(kept) or before

    def distrust(self, directory: str | None = None) -> None:
        """Have the source asked about ``directory`` (None: about everything) before the next answer.

        What was known is kept for as long as the source cannot be asked.
        """
        found = None if directory is None else self.find(directory)
        with self._lock:
            everything = [*self._directories.kept.values(), *self._arrays.kept.values()]
            for kept in everything if directory is None else [found] if found is not None else []:
                kept.is_trusted = False
                kept.retry_s = 0.0

    def forget(self, origin: str) -> None:
        """The source says that ``origin`` is not there."""
        with self._lock:
            self._directories.pop(origin)
            self._arrays.pop(origin)

    def forget_below(self, path: str) -> None:
        """This program has moved or removed the directory ``path``."""
        with self._lock:
            for shelf in (self._directories, self._arrays):
                for origin in [o for o in shelf.kept if o == path or o.startswith(path + "/")]:
                    shelf.pop(origin)

    def keep_empty(self, path: str) -> None:
        """This program has made the directory ``path``."""
        if self.find(path) is None:
            self.keep(Kept(path, {"": Listing(())}))


class _Shelf:
    """Remembered things, least recently used first, bounded by their number of entries."""

    def __init__(self, max_entries: int) -> None:
        self.kept: OrderedDict[str, Kept] = OrderedDict()
        self._max_entries = max_entries
        self._entries = 0

    def get(self, origin: str) -> Kept | None:
        kept = self.kept.get(origin)
        if kept is not None:
            self.kept.move_to_end(origin)
        return kept

    def put(self, kept: Kept) -> Kept | None:
        before = self.pop(kept.origin)
        self.kept[kept.origin] = kept
        self._entries += kept.size
        while self._entries > self._max_entries and len(self.kept) > 1:
            _, dropped = self.kept.popitem(last=False)
            self._entries -= dropped.size
        return before

    def pop(self, origin: str) -> Kept | None:
        before = self.kept.pop(origin, None)
        if before is not None:
            self._entries -= before.size
        return before

"""What a remote layer remembers beyond the end of the process: its listings in the index.

The rules, beside those of `copickfs.index.listings`:

* A listing from the index is as old as it is: the time between two processes counts. If the clock has
  gone back since, nobody knows how old it is, and it counts as old.
* A layer that this mount writes asks its source before it believes one, whatever its age: listings from
  the index only stand in for a source that is out of reach. And before a change is acknowledged, the
  listings that may tell of it have it, or are gone, so that no restart takes what was written for absent.
* Nothing here ever fails or delays an answer for long. While the index cannot be used, it is left alone
  but for one try a minute, and what would be wrong in it is removed first of all when it can be written.
"""

from __future__ import annotations

import logging
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

from copickfs.errors import IndexUnavailable
from copickfs.index.columns import StoredListing
from copickfs.layers.listings import Kept, Listing
from copickfs.layers.sources import DIRECTORY
from copickfs.paths import split, store_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from copickfs.index.listings import ListingStore
    from copickfs.layers.sources import Found

_log = logging.getLogger(__name__)

REST_S = 60.0
"""How long the index is left alone after it could not be used."""

_CLOSE_LIMIT_S = 2.0
_MANY_SAVES = 64
_MANY_DEBTS = 1_000
_UNKNOWN_AGE_S = 1e12


class ListingArchive:
    """The stored listings of one layer. Thread-safe; no method raises because of the index.

    Args:
        name: Name of the layer.
        store: Its listings in the index; None for none, with which every method does nothing.
        is_believed: A stored listing is an answer while it is young; False: it only stands in.

    Attributes:
        is_believed: As given.
    """

    def __init__(self, name: str, store: ListingStore | None = None, *, is_believed: bool = True) -> None:
        self._name = name
        self._store = store
        self.is_believed = is_believed
        self._lock = threading.Condition()
        self._saves = 0
        self._is_closed = False
        self._has_warned = False
        self._unread_until_s = 0.0
        self._unwritten_until_s = 0.0
        self._debts: list[Callable[[], object]] = []
        """Changes of the index that could not be made, and without which it is wrong."""

    def keep_in(self, store: ListingStore) -> None:
        """From now on the listings are in ``store``."""
        self._store = store

    def load(self, directory: str) -> Kept | None:
        """What was remembered of ``directory``, perhaps by an earlier process. Reads from the disk."""
        if self._store is None or time.monotonic() < self._unread_until_s:
            return None
        try:
            self._settle()
            stored = self._store.load(directory)
        except IndexUnavailable as error:
            self._unread_until_s = self._rest(error)
            return None
        if stored is None:
            return None
        kept = _kept(directory, stored)
        age_s = (time.time_ns() - stored.fetched_ns) / 1e9
        kept.asked_ns = stored.fetched_ns
        kept.fetched_s -= age_s if age_s >= 0 else _UNKNOWN_AGE_S
        # That a source does not list a directory may be over, and is only known while it cannot be asked.
        kept.is_trusted = stored.is_trusted and self.is_believed and bool(kept.listings)
        return kept

    def save(self, kept: Kept) -> bool:
        """Keep a listing that was fetched; False if it was not written.

        What this program has changed since then keeps it from that.
        """
        if self._store is None or not kept.asked_ns:
            return False
        listings = dict(kept.listings)
        with self._lock:
            if self._is_closed or self._saves >= _MANY_SAVES:
                return False
            self._saves += 1
        try:
            stored = _stored(kept, listings, kept.asked_ns)
            return self._write(
                partial(self._store.save, kept.origin, stored, lambda: kept.is_trusted), is_debt=False
            )
        finally:
            with self._lock:
                self._saves -= 1
                self._lock.notify_all()

    def changed(self, path: str, origin: str | None, found: Found | None, *, is_new: bool = False) -> None:
        """This program has changed the source at ``path``. To be called before anybody is told.

        Args:
            path: What was changed.
            origin: Whose listing is known to tell of ``path``; None if that is not known.
            found: What is there now.
            is_new: It is a directory that was just made, and empty.
        """
        if self._store is None:
            return
        directory = split(path)[0]
        at_ns = time.time_ns()

        def revised(at: str, stored: StoredListing) -> StoredListing | None:
            kept = _kept(at, stored)
            if not kept.covers(directory):
                return stored
            if kept.is_array and found is not None and found.kind == DIRECTORY and not is_new:
                return None  # nobody has listed what has come into the array
            kept.patch(path, found)
            return _stored(kept, kept.listings, stored.fetched_ns)

        change = partial(self._store.changed, path, _covering(directory), origin, at_ns, revised)
        if not is_new:
            self._write(change)
            return
        empty = _stored(Kept(path, {"": Listing(())}), {"": Listing(())}, at_ns)
        made = partial(self._store.made, path, empty)
        self._write(lambda: (change(), made()))

    def distrust(self, directory: str | None = None) -> None:
        """The source is to be asked about ``directory`` (None: about everything) before it is believed."""
        if self._store is not None:
            self._write(partial(self._store.distrust, None if directory is None else _covering(directory)))

    def forget(self, origin: str) -> None:
        """The source says that ``origin`` is not there."""
        if self._store is not None:
            self._write(partial(self._store.forget, origin))

    def close(self) -> None:
        """Wait a moment for what is being stored, and store nothing from now on."""
        with self._lock:
            self._is_closed = True
            self._lock.wait_for(lambda: not self._saves, _CLOSE_LIMIT_S)

    def _write(self, action: Callable[[], object], *, is_debt: bool = True) -> bool:
        """Change the index; False if that could not be done now.

        Args:
            action: The change; may be made again.
            is_debt: Without it something in the index is wrong: it is made later if it cannot be made now.
        """
        if time.monotonic() >= self._unwritten_until_s:
            try:
                self._settle()
                action()
            except IndexUnavailable as error:
                self._unwritten_until_s = self._rest(error)
            else:
                return True
        if is_debt and self._store is not None:
            with self._lock:
                self._debts = (
                    [*self._debts, action] if len(self._debts) < _MANY_DEBTS else [self._store.forget_all]
                )
        return False

    def _settle(self) -> None:
        """Make the changes that could not be made: what is wrong goes before anything is read or added."""
        while self._debts:
            if time.monotonic() < self._unwritten_until_s:
                raise IndexUnavailable("it could not be written")
            debt = self._debts[0]
            debt()
            with self._lock:
                self._debts = [other for other in self._debts if other is not debt]

    def _rest(self, error: IndexUnavailable) -> float:
        """The time until which the index is left alone; the first fault is reported."""
        with self._lock:
            is_first = not self._has_warned and not self._is_closed
            self._has_warned = self._has_warned or is_first
        _log.log(
            logging.WARNING if is_first else logging.DEBUG,
            "layer %s: its listings cannot be kept for the next mount (%s); this mount goes on without; see "
            "that the index can be read and written, that no program keeps it locked, and that there is room",
            self._name, error,
        )  # fmt: skip
        return time.monotonic() + REST_S


def _kept(directory: str, stored: StoredListing) -> Kept:
    listings = {path: Listing.from_columns(columns) for path, columns in stored.directories.items()}
    return Kept(directory, listings, is_array=stored.is_array)


def _stored(kept: Kept, listings: Mapping[str, Listing], at_ns: int) -> StoredListing:
    columns = {path: listing.columns() for path, listing in listings.items()}
    return StoredListing(at_ns, columns, kept.is_array)


def _covering(directory: str) -> list[str]:
    """``directory``, and all above it whose listing may be one of it, too: they are in the same store."""
    store = store_of(directory)
    if store is None:
        return [directory]
    found = [directory]
    while found[-1] != store:
        found.append(split(found[-1])[0])
    return found

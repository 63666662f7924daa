"""Asking a source for listings, and making of its answers what may be shown."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Protocol

from copickfs.errors import AccessDenied
from copickfs.layers.listings import Kept, Listing
from copickfs.layers.sources import DIRECTORY, Found, is_sound
from copickfs.layers.sources.writing import DIRECTORY_MARK, UPLOAD_PREFIX
from copickfs.layers.unlisted import listings_of
from copickfs.paths import join, store_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from copickfs.model import ByteRange

_log = logging.getLogger(__name__)

_MANY_SUBJECTS = 1_000
_ARRAY_MARKS = (".zarray", "zarr.json")


class Fetcher(Protocol):
    """Asks the source, with time limits and retries. Raises as `copickfs.layers.base` says."""

    @property
    def may_ask(self) -> bool:
        """False while a call would fail at once."""
        ...

    def hides(self, name: str) -> bool:
        """True if the source may leave this name out of its listings."""
        ...

    def at_hand(self, path: str) -> list[Found] | None:
        """One directory, if no request is needed to list it; else None. Never waits, never raises."""
        ...

    def scan(self, path: str) -> list[Found]:
        """One directory; in a store, with the zarr documents that the source may hide."""
        ...

    def tree(
        self, path: str, directories: list[str], make: Callable[[str, list[Found]], Listing]
    ) -> dict[str, Listing]:
        """All directories below one, by relative path; ``make(relative, entries)`` for each."""
        ...

    def info(self, path: str) -> Found:
        """One path, without a listing."""
        ...

    def files(self, directory: str, names: list[str]) -> list[Found]:
        """Those of many files that are there, by relative path; `AccessDenied` if none may be asked for."""
        ...

    def read(self, path: str, span: ByteRange, found: Found) -> bytes:
        """A part of a file, as it was found."""
        ...

    def readlink(self, path: str) -> str:
        """The text of a symbolic link."""
        ...


class Lister:
    """Whole listings of one layer's source. Thread-safe.

    Args:
        name: Name of the layer.
        fetcher: Asks the source.
    """

    def __init__(self, name: str, fetcher: Fetcher) -> None:
        self._name = name
        self._fetcher = fetcher
        self._lock = threading.Lock()
        self._reported: set[str] = set()

    def fetched(self, origin: str) -> Kept:
        """The listing of a directory, or of an array, from the source.

        Raises:
            NotFound: The source does not know it: see `Catalogue` for when that is believed.
            NotADirectory: Likewise.
            Transient: It cannot be asked.
        """
        asked_ns = time.time_ns()
        try:
            entries = self._sifted(origin, self._fetcher.scan(origin))
            listings = {"": Listing(entries)}
            is_array = bool(store_of(origin)) and any(listings[""].get(mark) for mark in _ARRAY_MARKS)
            inner = [entry.name for entry in entries if entry.kind == DIRECTORY]
            if is_array and inner:
                listings |= self._fetcher.tree(
                    origin, inner, lambda at, entries: Listing(self._sifted(join(origin, at), entries))
                )
        except AccessDenied:
            listings, is_array = self._unlisted(origin)
        kept = Kept(origin, listings, is_array=is_array)
        kept.asked_ns = asked_ns
        return kept

    def at_hand(self, origin: str) -> Kept | None:
        """The listing of a directory, if no request is needed for it; else None."""
        entries = self._fetcher.at_hand(origin)
        return None if entries is None else Kept(origin, {"": Listing(self._sifted(origin, entries))})

    def _unlisted(self, origin: str) -> tuple[dict[str, Listing], bool]:
        """What can be told of a directory that the source does not list: of an array everything."""
        if not store_of(origin):
            return {}, False
        try:
            found = listings_of(origin, self._fetcher)
        except AccessDenied:
            return {}, False
        return {at: Listing(self._sifted(join(origin, at), entries)) for at, entries in found.items()}, True

    def report(self, subject: str, message: str, *details: object) -> None:
        """A warning, once for each subject."""
        with self._lock:
            if subject in self._reported or len(self._reported) >= _MANY_SUBJECTS:
                return
            self._reported.add(subject)
        _log.warning(f"layer %s: {message}", self._name, *details)

    def report_again(self, subject: str) -> None:
        """What was reported is over: the next time it is worth a warning again."""
        with self._lock:
            self._reported.discard(subject)

    def _sifted(self, directory: str, entries: list[Found]) -> list[Found]:
        """A listing without names that no path can have, and without those that are never shown."""
        unique: dict[str, Found] = {}
        odd = []
        for entry in entries:
            if not is_sound(entry.name):
                odd.append(entry.name)
            elif not is_internal(entry.name) and (
                entry.name not in unique or entry.kind == DIRECTORY  # an object store may have both
            ):
                unique[entry.name] = entry
        if odd:
            message = "%d names in %r cannot be shown, such as %.80r"
            self.report(f"odd {directory}", message, len(odd), directory, min(odd))
        return list(unique.values())


def is_internal(name: str) -> bool:
    """True for what the layer itself puts beside the files: half-sent ones, and marks of directories."""
    return name == DIRECTORY_MARK or name.startswith(UPLOAD_PREFIX)

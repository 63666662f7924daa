"""Listing directories of the merged tree, several at a time."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING

from copickfs.errors import AccessDenied, LayerError, NotADirectory, NotFound, Transient
from copickfs.fetching.unlisted import entries_of
from copickfs.paths import store_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from concurrent.futures import Executor

    from copickfs.model import Entry
    from copickfs.view import View


class Looking:
    """Lists directories, and remembers what could not be read. Thread-safe.

    Args:
        view: The merged tree.
        pool: Lists.
        stop: Once it is set, nothing more is listed.

    Attributes:
        view: As given.
        stop: As given.
        skipped: Paths that could not be read, with the reason.
    """

    def __init__(self, view: View, pool: Executor, stop: threading.Event) -> None:
        self.view = view
        self.stop = stop
        self.skipped: list[tuple[str, str]] = []
        self._pool = pool
        self._lock = threading.Lock()

    def listing(self, directory: str, *, is_wanted: bool = True) -> list[Entry]:
        """What is in a directory; nothing if there is no such directory, or it cannot be read.

        Args:
            directory: Its path.
            is_wanted: False: what nobody may list is passed over, as no program could list it either.
        """
        if self.stop.is_set():
            return []
        try:
            return self.view.listing(directory).entries
        except (NotFound, NotADirectory):
            return []
        except AccessDenied as error:
            return self._told(directory, error) if is_wanted else []
        except (Transient, LayerError, OSError) as error:
            self.skip(directory, error)
            return []

    def each(
        self, directories: Iterable[str], *, is_wanted: bool = True
    ) -> Iterator[tuple[str, list[Entry]]]:
        """Directories with what is in them, in the order in which they were given."""
        wanted = list(directories)
        return zip(wanted, self._pool.map(partial(self.listing, is_wanted=is_wanted), wanted), strict=True)

    def _told(self, directory: str, error: AccessDenied) -> list[Entry]:
        """What is in a directory that is not listed, as far as its store tells."""
        store = store_of(directory)
        entries: list[Entry] = []
        try:
            entries = [] if store is None else entries_of(self.view, directory, store)
        except (Transient, OSError) as fault:
            self.skip(directory, fault)
            return []
        if not entries:
            self.skip(directory, error)
        return entries

    def entry(self, path: str) -> Entry | None:
        """What a path is; None if it is not there, or cannot be looked at."""
        if self.stop.is_set():
            return None
        try:
            return self.view.lookup(path).entry
        except (NotFound, NotADirectory):
            return None
        except (Transient, LayerError, OSError) as error:
            self.skip(path, error)
            return None

    def each_entry(self, wanted: Sequence[str]) -> Iterator[tuple[str, Entry]]:
        """Those of some paths that are there, with what they are, in the order in which they were given."""
        for path, entry in zip(wanted, self._pool.map(self.entry, wanted), strict=True):
            if entry is not None:
                yield path, entry

    def skip(self, path: str, error: Exception) -> None:
        """``path`` could not be read."""
        if not self.stop.is_set():
            with self._lock:
                self.skipped.append((path, str(error)))

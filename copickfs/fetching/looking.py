"""Listing directories of the merged tree, several at a time."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from copickfs.errors import LayerError, NotADirectory, NotFound, Transient

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

    def listing(self, directory: str) -> list[Entry]:
        """What is in a directory; nothing if there is no such directory, or it cannot be read."""
        if self.stop.is_set():
            return []
        try:
            return self.view.listing(directory).entries
        except (NotFound, NotADirectory):
            return []
        except (Transient, LayerError, OSError) as error:
            self.skip(directory, error)
            return []

    def each(self, directories: Iterable[str]) -> Iterator[tuple[str, list[Entry]]]:
        """Directories with what is in them, in the order in which they were given."""
        wanted = list(directories)
        return zip(wanted, self._pool.map(self.listing, wanted), strict=True)

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

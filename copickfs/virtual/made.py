"""The files that were made: what is remembered of each, and what becomes of it when a source changes."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

from copickfs.layers.base import POLLED_TTL_S
from copickfs.paths import join, split, store_of

if TYPE_CHECKING:
    from copickfs.model import Entry
    from copickfs.virtual.rendering import Renderer
    from copickfs.virtual.sources import Source

MAX_MADE = 100_000
"""So many files are remembered."""

_MAX_SEEN = 16
"""What depends on more is not looked through in memory, which takes its time, but in a thread."""


@dataclasses.dataclass(slots=True)
class Made:
    """One file under ``Views``.

    Attributes:
        source: What it was made of, with all that was looked at.
        renderer: What makes it.
        entry: Its entry.
        news: How many changes had been heard of when it was found to be current.
        checked_s: When that was, on the monotonic clock.
    """

    source: Source
    renderer: Renderer
    entry: Entry
    news: int
    checked_s: float

    def is_fresh(self, news: int) -> bool:
        """True if it was found to be current a moment ago, and nothing was heard of since."""
        return self.news == news and time.monotonic() - self.checked_s < POLLED_TTL_S

    @property
    def is_quickly_checked(self) -> bool:
        """True if whether it is current can be told from memory."""
        return len(self.source.seen) <= _MAX_SEEN and not any(key[0] in "?*" for key in self.source.seen)


class MadeFiles:
    """Remembers files by their paths, and which of them depend on a path. Thread-safe.

    Attributes:
        news: How many changes have been heard of.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: OrderedDict[str, Made] = OrderedDict()
        self._by_anchor: dict[str, set[str]] = {}
        self._changes: OrderedDict[str, int] = OrderedDict()
        self._forgotten = 0
        self.news = 0

    def __len__(self) -> int:
        return len(self._made)

    def get(self, path: str) -> Made | None:
        """What is remembered of a file; None if nothing is."""
        return self._made.get(path)

    def put(self, path: str, made: Made) -> None:
        """Remember a file."""
        with self._lock:
            self._drop(path)
            while len(self._made) >= MAX_MADE:
                self._drop(next(iter(self._made)))
            self._made[path] = made
            for anchor in _anchors(made.source):
                self._by_anchor.setdefault(anchor, set()).add(path)

    def forget(self, path: str) -> None:
        """Forget a file that is not there any more."""
        with self._lock:
            self._drop(path)

    def changes_of(self, store: str) -> int:
        """A number that grows when something in a store has changed, as far as was heard of."""
        return self._changes.get(store, self._forgotten)

    def changed(self, path: str) -> list[str]:
        """The files that a change at ``path`` of the project is about; ``""``: anything may have changed."""
        store = store_of(path)
        with self._lock:
            self.news += 1
            if store is not None:
                self._changes[store] = self.news
                self._changes.move_to_end(store)
                while len(self._changes) > MAX_MADE:
                    self._forgotten = self._changes.popitem(last=False)[1]
            if not path:
                self._changes.clear()
                self._forgotten = self.news
                return list(self._made)
            concerned: set[str] = set(self._by_anchor.get(store or path, ()))
            above = store or path
            while above:
                above = split(above)[0]
                concerned |= self._by_anchor.get(join(above, "*"), set())
            return sorted(concerned)

    def _drop(self, path: str) -> None:
        made = self._made.pop(path, None)
        if made is None:
            return
        for anchor in _anchors(made.source):
            paths = self._by_anchor.get(anchor)
            if paths is not None:
                paths.discard(path)
                if not paths:
                    del self._by_anchor[anchor]


def _anchors(source: Source) -> set[str]:
    """The files and stores that a file is made of; with ``*`` directories, where all that is below counts."""
    anchors = set()
    for key in source.seen:
        if key.startswith("*"):
            anchors.add(join(source.path, "*"))
        else:
            path = key.removeprefix("?")
            anchors.add(store_of(path) or path)
    return anchors

"""What a source says of single names that are in none of its listings."""

from __future__ import annotations

import errno
import time
from functools import partial
from typing import TYPE_CHECKING

from copickfs.errors import AccessDenied, NotFound, Transient, WouldBlock
from copickfs.layers.listings import Kept, Listing, ListingMemory
from copickfs.paths import array_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from copickfs.layers.archive import ListingArchive
    from copickfs.layers.flight import SingleFlight
    from copickfs.layers.lister import Fetcher
    from copickfs.layers.sources import Found

STALE_RETRY_S = 5.0
"""How long a remembered answer stands in for one that could not be had, before the next try."""


class LooseNames:
    """Remembered answers about single names. Thread-safe.

    Args:
        name: Name of the layer.
        fetcher: Asks the source.
        archive: What earlier processes were told.
        flights: One question for all who ask.
        wait_s: How long a caller waits for an answer.
        is_fresh: True while an answer is believed.
        save_first: Has what was told in the archive before it is given out, and says True, if that is wanted.
    """

    def __init__(
        self,
        name: str,
        fetcher: Fetcher,
        archive: ListingArchive,
        flights: SingleFlight,
        wait_s: Callable[[], float],
        is_fresh: Callable[[Kept], bool],
        save_first: Callable[[Kept], bool],
    ) -> None:
        self._name = name
        self._fetcher = fetcher
        self._archive = archive
        self._flights = flights
        self._wait_s = wait_s
        self._is_fresh = is_fresh
        self._save_first = save_first
        self._memory = ListingMemory()

    def found(self, path: str, *, wait: bool, archived: bool = False, is_believed: bool = True) -> Found:
        """What a path is that the source does not list.

        Args:
            path: The path.
            wait: False: `WouldBlock` instead of asking the source.
            archived: The answer outlives this process. Not for a layer that is written, whose own changes
                count.
            is_believed: False: another process's answer only stands in while the source cannot be asked.

        Raises:
            NotFound: The source said so.
            AccessDenied: It is the metadata of an array whose chunks nobody can tell.
            Transient: Not known, and the source cannot be asked.
        """
        if array_of(path):
            raise AccessDenied(
                errno.EACCES,
                f"layer {self._name}: {path!r} belongs to an array whose chunks the server does not list; "
                "without that, an outage would read as zeros",
            )
        kept = self._memory.find(_alone(path))
        if kept is None or not self._is_fresh(kept):
            if not wait:
                raise WouldBlock(self._name)
            kept = kept or (self._recalled(path, is_believed=is_believed) if archived else None)
        if kept is None or not self._is_fresh(kept):
            kept = self._asked(path, kept, archived=archived)
        for found in kept.listings[""]:
            return found
        raise NotFound(path)

    def distrust(self, path: str | None) -> None:
        """The source was seen to differ at ``path`` (None: may differ anywhere): ask it again."""
        if path is not None and self._memory.find(_alone(path)) is not None:
            self._archive.distrust(_alone(path))
        self._memory.distrust(None if path is None else _alone(path))

    def forget(self, path: str) -> None:
        """This program has changed what is at ``path``."""
        self._memory.forget(_alone(path))

    def _asked(self, path: str, before: Kept | None, *, archived: bool) -> Kept:
        """What the source says; while it cannot be asked, what it said before."""
        after = partial(self._saved_behind, archived=archived)
        look_up = partial(self._look_up, path, archived=archived)
        try:
            answer: tuple[Kept, bool] = self._flights.run(
                ("object", path), look_up, self._wait_s(), after=after
            )
        except Transient:
            if before is None:
                raise
            before.retry_s = time.monotonic() + STALE_RETRY_S
            return before
        return answer[0]

    def _recalled(self, path: str, *, is_believed: bool) -> Kept | None:
        """What an earlier process was told."""
        kept = self._archive.load(_alone(path))
        if kept is not None:
            kept.is_trusted = kept.is_trusted and is_believed
            self._memory.keep(kept)
        return kept

    def _look_up(self, path: str, *, archived: bool) -> tuple[Kept, bool]:
        """What the source says, and whether that is in the archive."""
        asked_ns = time.time_ns()
        try:
            entries = [self._fetcher.info(path)]
        except NotFound:
            entries = []
        kept = Kept(_alone(path), {"": Listing(entries)})
        kept.asked_ns = asked_ns
        self._memory.keep(kept)
        return kept, archived and self._save_first(kept)

    def _saved_behind(self, answer: tuple[Kept, bool], *, archived: bool) -> None:
        kept, is_saved = answer
        if archived and not is_saved:
            self._archive.save(kept)


def _alone(path: str) -> str:
    """What the answer about a path is kept as that is in no listing: below it, and nothing that is there."""
    return f"{path}//"

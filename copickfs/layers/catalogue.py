"""What a remote layer knows: answers from remembered listings, and when to ask the source again.

Every answer about a name comes from the complete listing of its directory, so that a lookup costs
no request of its own and an absence is known for sure. Inside a store, a directory with an array's
metadata is listed together with all that is below it before anything in it is answered: from then
on a chunk is there or not without a request, also while the source is out of reach. (A reader takes
a chunk that it cannot look up for one that does not exist, and reads zeros.)

What an earlier process has listed is in the archive, and is used as what this one has: see
`copickfs.layers.archive`.
"""

from __future__ import annotations

import contextlib
import errno
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from copickfs.errors import AccessDenied, NotADirectory, NotFound, Transient, Unavailable, WouldBlock
from copickfs.layers.archive import ListingArchive
from copickfs.layers.flight import SingleFlight
from copickfs.layers.lister import Lister, is_internal
from copickfs.layers.listings import Kept, Listing, ListingMemory
from copickfs.layers.loosenames import STALE_RETRY_S, LooseNames
from copickfs.layers.sources import DIRECTORY, UNSEEN, Found
from copickfs.model import UNSIZED
from copickfs.paths import split, store_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from copickfs.layers.lister import Fetcher

ROOT = Found("", DIRECTORY)
_MANY_CHANGES = 1_000


class _Change(NamedTuple):
    path: str
    found: Found | None
    is_new: bool


class Catalogue:
    """The remembered listings of one layer and the rules for their use. Thread-safe.

    Args:
        name: Name of the layer.
        fetcher: Asks the source.
        ttl_s: How long a listing is believed; infinite for a source that never changes.
        wait_s: How long a caller waits for a listing; the fetch goes on without it.
        announce: Called with each path that was found to have changed.
        archive: What earlier processes have listed; None for nothing.

    Attributes:
        on_use: Called with each directory, or array, when its listing is used first, from any thread; must
            not wait.
        unsaved: Listings that could not be kept in the archive since `keep`.
    """

    def __init__(
        self,
        name: str,
        fetcher: Fetcher,
        ttl_s: float,
        wait_s: float,
        announce: Callable[[str], None],
        archive: ListingArchive | None = None,
    ) -> None:
        self._name = name
        self._fetcher = fetcher
        self._ttl_s = ttl_s
        self._wait_s = wait_s
        self._announce = announce
        self._lister = Lister(name, fetcher)
        self._archive = archive or ListingArchive(name)
        self._memory = ListingMemory()
        self._flights = SingleFlight()
        self._loose = LooseNames(
            name, fetcher, self._archive, self._flights,
            wait_s=lambda: self._wait_s, is_fresh=self._is_fresh, save_first=self._save_first,
        )  # fmt: skip
        self._lock = threading.Lock()
        self.unsaved = 0
        self._kept_since_s: float | None = None
        self._loading = 0
        self._doubts = 0
        self._upheavals = 0
        self.on_use: Callable[[str], None] | None = None
        self._own: list[_Change] = []

    def found(self, path: str, *, wait: bool = True, ahead: bool = False) -> Found:
        """What ``path`` is.

        Args:
            path: The path.
            wait: False: `WouldBlock` instead of asking the source.
            ahead: Nobody has asked for it yet.

        Raises:
            NotFound: The source said so.
            NotADirectory: An ancestor is a file.
            Transient: Not known, and the source cannot be asked.
        """
        if not path:
            return ROOT
        directory, name = split(path)
        if is_internal(name):
            raise NotFound(path)
        try:
            listing = self.listing(directory, wait=wait, ahead=ahead)
        except AccessDenied:  # what other credentials may change is not believed beyond this process
            archived = self._archive.is_believed
            return self._loose.found(path, wait=wait, archived=archived, is_believed=False)
        found = listing.get(name)
        if found is not None:
            return found
        if self._fetcher.hides(name) and not store_of(directory):
            return self._loose.found(path, wait=wait, archived=self._archive.is_believed)
        raise NotFound(path)

    def sized(self, path: str, *, wait: bool = True) -> Found:
        """Like `found`, with the length of a file also where listings leave it out."""
        found = self.found(path, wait=wait)
        return self._asked_for(path, wait=wait) if found.size_bytes == UNSIZED else found

    def seen(self, path: str, *, wait: bool = True) -> Found:
        """Like `found`, with the version of a file also where listings leave it out."""
        found = self.found(path, wait=wait)
        is_whole = found.size_bytes != UNSIZED and not found.etag.endswith(UNSEEN)
        return found if is_whole else self._asked_for(path, wait=wait)

    def _asked_for(self, path: str, *, wait: bool) -> Found:
        """What the source tells of one file, remembered in its listing."""
        if not wait:
            raise WouldBlock(self._name)
        return self._flights.run(("info", path), lambda: self._learned(path), self._wait_s)

    def _learned(self, path: str) -> Found:
        directory, name = split(path)
        listed = self.found(path)
        try:
            found = self._fetcher.info(path)
        except NotFound:
            self.distrust(path)  # it was listed: the listing tells of it no more
            raise
        kept = self._memory.find(directory)
        if kept is not None:
            with self._lock:
                listing = kept.listing(directory)
                if listing is not None and listing.get(name) == listed:
                    kept.patch(path, found)
                    # Later than what is in the archive, without that which was told seeming any younger.
                    kept.asked_ns = kept.asked_ns + 1 if kept.asked_ns else time.time_ns()
            self._archive.save(kept)
        return found

    def listing(self, directory: str, *, wait: bool = True, ahead: bool = False) -> Listing:
        """The complete listing of one directory. Raises like `found`, and `AccessDenied`."""
        kept = self._kept(directory, wait=wait, ahead=ahead)
        if not (kept.is_used or ahead):
            kept.is_used = True
            if self.on_use is not None:
                self.on_use(kept.origin)
        return self._listing_in(kept, directory, wait=wait, ahead=ahead)

    def list_ahead(self, directory: str) -> None:
        """Have a listing at hand that nobody has asked for yet. Raises like `listing`."""
        if self._memory.find(directory) is None:
            self._kept(directory, wait=True, ahead=True)

    def children(self, directory: str) -> list[str]:
        """The names of the directories in ``directory``, in the order of its listing, if it is in memory."""
        kept = self._memory.find(directory)
        listing = None if kept is None or kept.is_array else kept.listing(directory)
        return [found.name for found in listing or () if found.kind == DIRECTORY]

    def _kept(self, directory: str, *, wait: bool, ahead: bool) -> Kept:
        kept = self._memory.find(directory)
        if kept is not None and not self._is_fresh(kept):
            kept = self._renewed(kept, wait=wait)
            if not kept.covers(directory):  # what was an array is none any more
                kept = self._memory.find(directory)
        if kept is None:
            kept = self._first(directory, wait=wait, ahead=ahead)
        return kept

    def _listing_in(self, kept: Kept, directory: str, *, wait: bool, ahead: bool) -> Listing:
        if not kept.listings:
            raise AccessDenied(errno.EACCES, f"layer {self._name} does not list {directory!r}")
        listing = kept.listing(directory)
        if listing is not None:
            return listing
        # An array without such a directory: it is a file there, or nothing.
        if self.found(directory, wait=wait, ahead=ahead).kind != DIRECTORY:
            raise NotADirectory(directory)
        raise Unavailable(f"layer {self._name}: the listing of {kept.origin!r} does not fit together")

    def array_at(self, directory: str) -> str | None:
        """The array whose catalogue tells of ``directory``, from memory; None if there is none."""
        kept = self._memory.find(directory)
        return kept.origin if kept is not None and kept.is_array else None

    def doubt(self, path: str, found: Found) -> None:
        """The source was seen to differ from ``found`` at ``path``: ask it again, unless that is known."""
        kept = self._memory.find(split(path)[0])
        listing = None if kept is None else kept.listing(split(path)[0])
        if listing is None or listing.get(split(path)[1]) == found:
            self.distrust(path)

    def distrust(self, path: str | None = None) -> None:
        """The source was seen to differ at ``path`` (None: may differ anywhere): ask it again."""
        directory = None if path is None else split(path)[0]
        kept = None if directory is None else self._memory.find(directory)
        if kept is None or kept.is_trusted:  # else it is known
            self._memory.distrust(directory)  # what is not stored yet will not be
            self._archive.distrust(directory)
        with self._lock:
            self._doubts += 1  # what is being loaded from the archive is not believed either
            self._upheavals += directory is None  # nor is what is being fetched
            self._memory.distrust(directory)
        self._loose.distrust(path)
        self._announce(path or "")

    def changed(self, path: str, found: Found | None, *, is_new: bool = False) -> None:
        """This program has put ``found`` at ``path``, or removed what was there.

        A listing that is being fetched meanwhile may not know of it: it is told when it has come.

        Args:
            path: What was changed.
            found: What is there now.
            is_new: It is a directory that was just made, and empty.
        """
        change = _Change(path, found, is_new)
        kept = self._memory.find(split(path)[0])
        # First in the archive: what is loaded from it meanwhile is told of the change like what is fetched.
        self._archive.changed(path, None if kept is None else kept.origin, found, is_new=is_new)
        with self._lock:
            if self._loading:
                self._own.append(change)
            self._apply(change)

    def _apply(self, change: _Change) -> None:
        path, found, is_new = change
        directory, name = split(path)
        kept = self._memory.find(directory)
        listing = None if kept is None else kept.listing(directory)
        before = None if listing is None else listing.get(name)
        if kept is not None:
            kept.patch(path, found)
        self._loose.forget(path)
        if found is not None and found.kind == DIRECTORY and is_new:
            self._memory.keep_empty(path)
        elif kept is not None and kept.is_array and found is not None and found.kind == DIRECTORY:
            self._memory.forget(kept.origin)  # nobody has listed what has come into the array
        elif listing is None or (before is not None and before.kind == DIRECTORY):
            self._memory.forget_below(path)

    def keep(self) -> None:
        """Give answers when they are in the archive, not before, from now on, and believe them to the end."""
        self._kept_since_s = time.monotonic()

    def close(self) -> None:
        """Wait a moment for what is being stored."""
        self._archive.close()

    @contextlib.contextmanager
    def _loads(self) -> Iterator[int]:
        """Around a fetch: own changes from the given position on may be missing in what is fetched."""
        with self._lock:
            self._loading += 1
            start = len(self._own)
        try:
            yield start
        finally:
            with self._lock:
                self._loading -= 1
                if not self._loading:
                    self._own.clear()

    def _keep(self, kept: Kept, start: int) -> Kept | None:
        """Remember a listing that was fetched, with the own changes since then; what it replaces."""
        with self._lock:
            before = self._memory.keep(kept)
            for change in self._own[start:]:
                self._apply(change)
        return before

    def _is_fresh(self, kept: Kept) -> bool:
        return self._is_young(kept) or time.monotonic() < kept.retry_s or not self._fetcher.may_ask

    def _is_young(self, kept: Kept) -> bool:
        now_s = time.monotonic() if self._kept_since_s is None else self._kept_since_s
        return kept.is_trusted and now_s - kept.fetched_s < self._ttl_s

    def _first(self, directory: str, *, wait: bool, ahead: bool) -> Kept:
        """The first listing of a directory, for which those above it are listed first."""
        if self.found(directory, wait=wait, ahead=ahead).kind != DIRECTORY:
            raise NotADirectory(directory)
        kept = self._memory.find(directory)  # listed with the array above it
        if kept is not None:
            return kept
        kept = self._at_hand(directory, wait=wait)
        if kept is not None:
            return kept
        if not wait:
            raise WouldBlock(self._name)
        kept = self._flights.run(("recall", directory), lambda: self._recalled(directory))
        if kept is None:
            return self._fetch(directory)
        return kept if self._is_fresh(kept) else self._renewed(kept, wait=wait)

    def _at_hand(self, directory: str, *, wait: bool) -> Kept | None:
        """A listing that takes no request; what was learned of its files before is in the archive."""
        upheavals = self._upheavals
        kept = self._lister.at_hand(directory)
        if kept is None:
            return None
        if any(found.size_bytes == UNSIZED for found in kept.listings[""]):
            if not wait:
                raise WouldBlock(self._name)
            recalled = self._recalled(directory)
            if recalled is not None and self._is_fresh(recalled):
                return recalled
        with self._loads() as start:
            with self._lock:
                kept.is_trusted = upheavals == self._upheavals
            self._compare(self._keep(kept, start), kept)
        return kept

    def _recalled(self, directory: str) -> Kept | None:
        """What an earlier process has listed, as if this one had."""
        with self._loads() as start:
            doubts = self._doubts
            kept = self._archive.load(directory)
            with self._lock:
                landed = self._memory.find(directory)
                if kept is None or landed is not None:
                    return landed
                kept.is_trusted = kept.is_trusted and doubts == self._doubts
                self._memory.keep(kept)
                for change in self._own[start:]:
                    self._apply(change)
                return self._memory.find(directory)

    def _renewed(self, kept: Kept, *, wait: bool) -> Kept:
        """What is remembered, asked for again: an old answer is better than none."""
        now = self._at_hand(kept.origin, wait=wait)
        if now is not None:
            return now
        if not wait:
            raise WouldBlock(self._name)
        try:
            return self._fetch(kept.origin)
        except Transient as error:
            kept.retry_s = time.monotonic() + STALE_RETRY_S
            self._lister.report("stale", "listings are answered from memory (%s)", error)
            return kept

    def _fetch(self, origin: str) -> Kept:
        after = None if self._saves_first else self._archive.save
        return self._flights.run(("list", origin), lambda: self._load(origin), self._wait_s, after=after)

    def _load(self, origin: str) -> Kept:
        landed = self._memory.find(origin)  # by another flight, after this caller had looked
        if landed is not None and landed.origin == origin and self._is_young(landed):
            return landed
        with self._loads() as start:
            upheavals = self._upheavals
            try:
                kept = self._lister.fetched(origin)
            except (NotFound, NotADirectory):
                self._check_above(origin)
                raise
            with self._lock:
                kept.is_trusted = kept.is_trusted and upheavals == self._upheavals
            self._compare(self._keep(kept, start), kept)
        self._lister.report_again("stale")
        self._save_first(kept)
        return kept

    def _compare(self, before: Kept | None, kept: Kept) -> None:
        """Announce what has changed since the last listing."""
        if before is None:
            return
        changed = before.changes(kept)
        for path in changed if len(changed) <= _MANY_CHANGES else [""]:
            self._announce(path)

    def _check_above(self, origin: str) -> None:
        """The source does not know a directory: believed only while it lists the one above."""
        if not origin:
            raise Unavailable(f"layer {self._name}: its root is gone")
        above = split(origin)[0]
        self._memory.distrust(above)
        kept = self._memory.find(above)
        with contextlib.suppress(NotFound, NotADirectory):
            self._fetch(above if kept is None else kept.origin)
        self._archive.forget(origin)
        self._memory.forget(origin)

    @property
    def _saves_first(self) -> bool:
        return self._kept_since_s is not None

    def _save_first(self, kept: Kept) -> bool:
        """Have what was fetched in the archive before it is given out, and say True, if that is wanted."""
        if self._saves_first and not self._archive.save(kept):
            with self._lock:
                self.unsaved += 1
        return self._saves_first

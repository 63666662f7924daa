"""The changes of one layer that wait to be sent: on disk, as a tree, and in the order of sending."""

from __future__ import annotations

import dataclasses
import logging
import random
import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

from copickfs.errors import Unavailable
from copickfs.layers.journalrecord import PUT, RENAME, Record, digest_of_file, sync_file
from copickfs.layers.overlay import Overlay, Shown
from copickfs.layers.sendorder import Waiting, first_free, related
from copickfs.model import Pending

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from copickfs.layers.journal import Journal
    from copickfs.layers.overlay import Place
    from copickfs.layers.sources.writing import Version

_log = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 10.0
_JITTER = 0.2
_REMEMBERED = 10_000


class Backlog:
    """Thread-safe. Only `append`, `append_seen` and `finished` write to disk.

    Args:
        name: Name of the layer, for messages.
        journal: Where the changes are stored.
    """

    def __init__(self, name: str, journal: Journal) -> None:
        self._name = name
        self._journal = journal
        self._appending = threading.Lock()
        self._changed = threading.Condition(threading.RLock())
        self._waiting: dict[int, Waiting] = {}
        self._overlay = Overlay()
        self._landed: OrderedDict[str, Version] = OrderedDict()
        self._pause_until_s = 0.0
        self._is_closed = False
        self._moves = 0
        self.turn = 0
        """Counts the changes of what is shown."""

    def open(self) -> None:
        """Take up what an earlier daemon has left."""
        for record in self._journal.open():
            self._add(record)
        if self._waiting:
            _log.info("layer %s: %d changes of before wait to be sent", self._name, len(self._waiting))

    def close(self) -> None:
        """Let those who wait go, and keep what waits on disk. Idempotent."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def append(self, record: Record, *, held: bool = False) -> Record:
        """Store a change, which is shown from now on; raises what the disk says.

        Args:
            record: The change.
            held: It belongs to the caller at once, as if it were taken.
        """
        with self._appending:
            return self._appended(record, held=held)

    def append_seen(self, look: Callable[[], Record], data: str | None = None) -> Record:
        """The same with a change that tells which versions it may replace.

        They are those that were seen: when a directory comes to another name meanwhile, of whose contents
        that makes new versions, the caller has to look again.

        Args:
            look: Makes the change, as things are now.
            data: The contents, for a put; see `Journal.append`.
        """
        digest = ""
        if data is not None:
            digest = digest_of_file(data)
            sync_file(data)
        while True:
            moves = self._moves
            record = dataclasses.replace(look(), digest=digest)
            with self._appending:
                if moves == self._moves:
                    return self._appended(record, data)

    def _appended(self, record: Record, data: str | None = None, *, held: bool = False) -> Record:
        superseded = self._superseded(record)
        if superseded is not None:
            record = _accepting(record, superseded.accepted)
        landed = self._landed.get(record.paths[-1])  # perhaps after the caller had looked
        if landed is not None:
            record = _accepting(record, (landed,))
        record = self._journal.append(record, data)
        with self._changed:
            self._add(record, is_untried=not held, is_running=held)
            if superseded is not None and self._waiting[superseded.number].is_untried:
                self._drop(superseded)
            self._changed.notify_all()
        return record

    def place(self, path: str) -> Place:
        """What is at ``path``."""
        with self._changed:
            return self._overlay.place(path)

    def children(self, path: str) -> dict[str, Place]:
        """The names in ``path`` about which the journal knows more than the source."""
        with self._changed:
            return self._overlay.children(path)

    def pending(self) -> Pending:
        """What waits."""
        with self._changed:
            waiting = list(self._waiting.values())
        if not waiting:
            return Pending()
        return Pending(
            len(waiting),
            sum(each.record.size_bytes for each in waiting),
            max(0.0, time.time() - min(each.since_s for each in waiting)),
            next((each.error for each in reversed(waiting) if each.error), ""),
        )

    def has(self, record: Record) -> bool:
        """True while the change waits, or is being sent."""
        with self._changed:
            return record.number in self._waiting

    def take(self, timeout_s: float) -> Record | None:
        """The next change to be sent, which then belongs to the caller; None if there is none in time."""
        deadline_s = time.monotonic() + timeout_s
        with self._changed:
            while not self._is_closed:
                now_s = time.monotonic()
                chosen, wake_s = self._next(now_s)
                if chosen is not None:
                    chosen.is_running, chosen.is_untried = True, False
                    return chosen.record
                if now_s >= deadline_s:
                    return None
                self._changed.wait(min(deadline_s, wake_s) - now_s)
        return None

    def finished(self, record: Record, landed: Mapping[str, Version], moved: str = "") -> list[str]:
        """A change is at the source: later ones may replace the versions that it has made there.

        Args:
            record: The change.
            landed: The versions that are there now, by path.
            moved: A directory that has come; what is in it may be of other versions now.

        Returns:
            Paths in ``moved`` whose versions have to be told first; otherwise none, and it is done.
        """
        with self._appending, self._changed:
            unknown = [path for path in self._later_below(record, moved) if path not in landed]
            if unknown:
                return unknown
            for path, version in landed.items():
                self._tell_later(record, path, version)
            self._moves += bool(moved)
            self._drop(record)
            self._pause_until_s = 0.0
            self._changed.notify_all()
            return []

    def _later_below(self, record: Record, directory: str) -> list[str]:
        if not directory:
            return []
        later = [each.record for each in self._waiting.values() if each.record.number > record.number]
        return [path for each in later for path in each.paths if path.startswith(directory + "/")]

    def _tell_later(self, record: Record, path: str, version: Version) -> None:
        self._landed[path] = version
        self._landed.move_to_end(path)
        if len(self._landed) > _REMEMBERED:
            self._landed.popitem(last=False)
        for waiting in self._waiting.values():
            later = waiting.record
            if later.number > record.number and path in later.paths:
                waiting.record = _accepting(later, (version,))
                self._journal.rewrite(waiting.record)
                self._overlay.replace(waiting.record)

    def failed(self, record: Record, error: str, *, is_outage: bool) -> None:
        """A change could not be sent; it is tried again after a pause that grows."""
        with self._changed:
            waiting = self._waiting.get(record.number)
            if waiting is None:
                return
            waiting.is_running = False
            waiting.error = error
            pause_s = min(FIRST_PAUSE_S * 2 ** min(waiting.failures, 10), LONGEST_PAUSE_S)
            pause_s *= random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - jitter, not cryptography
            waiting.failures += 1
            waiting.retry_s = time.monotonic() + pause_s
            if is_outage:
                self._pause_until_s = waiting.retry_s
            self._changed.notify_all()

    def hurry(self) -> None:
        """Try everything again now."""
        with self._changed:
            self._pause_until_s = 0.0
            for waiting in self._waiting.values():
                waiting.retry_s = 0.0
            self._changed.notify_all()

    def is_moving(self, source_path: str) -> bool:
        """True while a rename of what is at ``source_path``, or of what it is in, is under way."""
        with self._changed:
            return any(
                each.is_running
                and each.record.operation == RENAME
                and f"{source_path}/".startswith(each.record.path + "/")
                for each in self._waiting.values()
            )

    def wait_beyond(self, turn: int, timeout_s: float) -> bool:
        """Wait until something else is shown than at ``turn``; False if that was not so in time."""
        with self._changed:
            self._changed.wait_for(lambda: self.turn != turn or self._is_closed, timeout_s)
            return self.turn != turn

    def wait_empty(self, timeout_s: float | None) -> bool:
        """Wait until nothing waits any more; False if that was not so in time."""
        self.hurry()
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting or self._is_closed, timeout_s)
            return not self._waiting

    def settle(self, paths: tuple[str, ...], timeout_s: float) -> None:
        """Have everything sent that waits for ``paths``, before something else is done to them.

        Raises:
            Unavailable: It could not be sent.
        """
        if not self._waiting:
            return
        with self._changed:
            before = {each.record.number: each.failures for each in related(self._waiting.values(), paths)}
            if not before:
                return
            self.hurry()

            def is_decided() -> bool:
                left = [self._waiting[number] for number in before if number in self._waiting]
                return (
                    self._is_closed
                    or not left
                    or any(each.failures > before[each.record.number] for each in left)
                )

            self._changed.wait_for(is_decided, timeout_s)
            left = [self._waiting[number] for number in before if number in self._waiting]
            if left:
                error = next((each.error for each in left if each.error), "no answer in time")
                raise Unavailable(f"layer {self._name}: earlier changes are not sent yet ({error})")

    def _add(self, record: Record, *, is_untried: bool = False, is_running: bool = False) -> None:
        with self._changed:
            since_s = (record.mtime_ns or time.time_ns()) / 1e9
            self._waiting[record.number] = Waiting(record, since_s, is_untried, is_running)
            self._overlay.add(record)
            self.turn += 1

    def _drop(self, record: Record) -> None:
        waiting = self._waiting.pop(record.number, None)
        if waiting is not None:
            self._overlay.drop(waiting.record, [each.record for each in self._waiting.values()])
            self.turn += 1
        self._journal.remove(record)

    def _superseded(self, record: Record) -> Record | None:
        """A change that need not be sent any more when ``record`` is."""
        if record.operation != PUT:
            return None
        with self._changed:
            place = self._overlay.place(record.path)
            before = place.record
            if self._overlay.is_renamed or place.shown is not Shown.FILE or before is None:
                return None
            waiting = self._waiting.get(before.number)
            return waiting.record if waiting is not None and waiting.is_untried else None

    def _next(self, now_s: float) -> tuple[Waiting | None, float]:
        """The first change that can be sent now; or the time to look again."""
        if self._pause_until_s > now_s:
            return None, self._pause_until_s
        return first_free(self._waiting.values(), now_s)


def _accepting(record: Record, versions: tuple[Version, ...]) -> Record:
    """``record``, which may replace these versions, too."""
    accepted = tuple(dict.fromkeys((*record.accepted, *versions)))
    return dataclasses.replace(record, accepted=accepted)

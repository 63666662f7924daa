"""Keeps the index of a mounted tree up to date, in one thread beside the mount.

What changes, through the mount or behind it, is looked at some milliseconds later, directory by
directory. Whole runs are another process's business (`copickfs.indexing.runner`): Python's lock would let
one in this process slow every request down. What such a run has stored is then looked at once more from
here, in small steps, because whoever lists a directory is told of its changes from then on.

Nothing that goes wrong with the index disturbs the mount: it is logged once, shown in the status, and
tried again with the next run.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from copickfs.errors import IndexUnavailable
from copickfs.index import rebuild
from copickfs.index.listings import prune
from copickfs.indexing.changes import directories_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from copickfs.indexing.catalog import Catalog
    from copickfs.indexing.runner import Runner

_log = logging.getLogger(__name__)

SETTLE_S = 0.05
"""A burst of changes of one directory is looked at once."""

_LONGEST_STEP_S = 0.02
_REST, _REST_BUSY = 4.0, 50.0
"""After each look at what has not changed, the thread rests for so many times as long as it took: longer
while the mount is used, for both wait for the same disk and for Python's lock."""

_LONGEST_REST_S = 0.2
_BUSY_S = 2.0
"""How long the mount counts as used after a request: one may be a long listing."""

_MOST_CHANGES = 20_000
_MANY_DIRECTORIES = 2_000
"""Where there are more, another process looks at everything."""

_RETRY_S = 60.0
_RUNNING_S = 0.1
_NEWS_S = 2.0
"""How often the thread looks whether somebody else has made a run."""

_CLOSE_S = 10.0


class Keeper:
    """The index of one mount. Thread-safe.

    Args:
        catalog: The index; one with a database.
        runner: Makes whole runs in another process.
        interval_s: Time between two of them; None: none is made that nobody asks for.
        first_s: How long after the start the first one is made, if it is due.
        served: How many requests the mount has answered so far.
    """

    def __init__(
        self,
        catalog: Catalog,
        runner: Runner,
        interval_s: float | None = None,
        first_s: float = 0.0,
        served: Callable[[], int] = int,
    ) -> None:
        self._catalog = catalog
        assert catalog.table is not None  # noqa: S101 -- see above
        assert catalog.crawler is not None  # noqa: S101
        self._table = catalog.table
        self._crawler = catalog.crawler
        self._runner = runner
        self._interval_s = interval_s
        self._first_s = first_s
        self._served = served
        self._served_before = 0
        self._wants_run = False
        self._is_behind = False
        self._busy_until_s = 0.0
        self._news = threading.Condition()
        self._changed: dict[str, None] = {}
        self._is_looking = False
        self._unseen: deque[str] = deque()
        self._next_run_s: float | None = None
        self._closed = False
        self._fault = ""
        self._entities = 0
        self._scanned_ns = 0
        self._thread = threading.Thread(target=self._run, name="copickfs-index", daemon=True)

    def start(self) -> None:
        """Begin; returns at once."""
        self._catalog.view.subscribe(self.heard)
        self._catalog.view.membership.subscribe_own(self.heard)
        self._thread.start()

    def heard(self, path: str) -> None:
        """``path`` of the tree came, went or changed; ``""``: anything may have. Never blocks."""
        if not directories_of(path):
            return
        with self._news:
            if len(self._changed) >= _MOST_CHANGES:
                path = ""
            if not path:
                self._changed.clear()
            if "" not in self._changed:
                self._changed[path] = None
            self._news.notify_all()

    def settle(self, timeout_s: float) -> bool:
        """Wait until what was heard so far is in the index; False if it is not, or not in time."""
        with self._news:
            return self._news.wait_for(self._is_at_rest, timeout_s) and not self._is_behind

    def close(self) -> None:
        """End the thread, and a run that is under way: the next one goes on from there. Idempotent."""
        with self._news:
            self._closed = True
            self._news.notify_all()
        self._runner.stop()
        if self._thread.ident is not None:
            self._thread.join(_CLOSE_S)

    def document(self) -> dict[str, Any]:
        """What the status says of the index; from memory."""
        database = self._catalog.database
        with self._news:
            return {
                "database": None if database is None else str(database.path),
                "entities": self._entities,
                "indexed_ns": self._scanned_ns,
                "indexing": self._runner.is_running,
                "pending": len(self._changed) + len(self._unseen),
                "message": self._fault,
            }

    def _is_at_rest(self) -> bool:
        awaits_run = self._is_behind and (self._wants_run or self._runner.is_running)
        return self._closed or not (self._changed or self._is_looking or awaits_run)

    def _run(self) -> None:
        self._guarded(self._begin)
        while True:
            with self._news:
                self._news.wait_for(lambda: bool(self._closed or self._changed), self._wait_s())
                if self._closed:
                    return
                changed, self._changed = list(self._changed), {}
                self._is_looking = bool(changed)
            if changed:
                time.sleep(SETTLE_S)  # for the rest of a burst
                with self._news:
                    changed += self._changed
                    self._changed = {}
            self._guarded(lambda news=changed: self._work(news))
            with self._news:
                self._is_looking = False
                self._news.notify_all()

    def _wait_s(self) -> float:
        """Until when nothing is to be done unless something is heard."""
        if self._unseen:
            return 0.0
        if self._runner.is_running:
            return _RUNNING_S
        if self._next_run_s is None:
            return _NEWS_S
        return min(_NEWS_S, max(0.0, self._next_run_s - time.monotonic()))

    def _guarded(self, work: Any) -> None:
        """Nothing that goes wrong ends the thread."""
        try:
            work()
        except IndexUnavailable as error:
            self._failed(error)
        except Exception as error:  # noqa: BLE001 -- the mount goes on, and so does the thread
            _log.exception("the index could not be kept up to date")
            self._fault = f"{type(error).__name__}: {error}"

    def _failed(self, error: IndexUnavailable) -> None:
        if self._closed:
            return
        database = self._catalog.database
        if not self._fault:
            _log.warning("the index is not up to date: %s; copickfs goes on without it", error)
        self._fault = str(error)
        self._unseen.clear()
        self._plan_run(_RETRY_S)  # what was heard is lost: a run finds it
        if database is not None and database.is_damaged and database.path is not None:
            try:
                rebuild(database)
            except IndexUnavailable as again:
                self._fault = str(again)
            else:
                self._plan_run(0.0)

    def _plan_run(self, in_s: float) -> None:
        if self._interval_s is not None:
            self._next_run_s = time.monotonic() + in_s

    def _begin(self) -> None:
        database = self._catalog.database
        if database is not None and (problems := database.problems()):
            raise IndexUnavailable(f"{database.path}: {problems[0]}")
        if database is not None:
            prune(database)
        self._read_state()
        self._see_again()
        if self._interval_s is not None:
            age_s = (time.time_ns() - self._scanned_ns) / 1e9 if self._scanned_ns else self._interval_s
            self._plan_run(max(self._first_s, self._interval_s - max(0.0, age_s)))

    def _work(self, changed: list[str]) -> None:
        self._follow_file()
        self._catalog.mark_used()
        if "" in changed and len(self._table.directories()) > _MANY_DIRECTORIES:
            self._look_at_all()
        elif changed:
            self._try_again(self._crawler.refresh(*changed))
        deadline_s = time.monotonic() + _LONGEST_STEP_S
        while self._unseen and not self._closed and not self._changed and time.monotonic() < deadline_s:
            begun_s = time.monotonic()
            self._crawler.look_again(self._unseen.popleft())
            self._rest(time.monotonic() - begun_s)
            if not any(getattr(layer, "watches_more", False) for layer in self._catalog.view.layers):
                self._unseen.clear()  # nobody would be told of changes there: the next run finds them
        if self._runner.has_ended():
            self._ended()
        elif self._table.scanned_ns() != self._scanned_ns:  # somebody else has made a run
            self._fault = ""
            self._is_behind = self._is_behind and self._runner.is_running
            self._read_state()
            self._see_again()
        elif self._next_run_s is not None and time.monotonic() >= self._next_run_s:
            self._next_run_s = None
            self._runner.start()

    def _follow_file(self) -> None:
        """Go on with the file that has the name by now, made anew if it was removed."""
        database = self._catalog.database
        if database is None or not database.is_replaced:
            return
        rebuild(database)
        self._read_state()
        self._see_again()
        if not self._scanned_ns:
            self._plan_run(0.0)

    def _look_at_all(self) -> None:
        """Anything may have changed: a run of another process is to find it."""
        self._is_behind = True
        if self._interval_s is None:
            self._fault = "some changes were missed; to find them: copickfs index"
            return
        self._wants_run = self._runner.is_running  # it may be past what has changed already
        self._runner.start()

    def _rest(self, worked_s: float) -> None:
        now_s, served = time.monotonic(), self._served()
        if served != self._served_before:
            self._served_before, self._busy_until_s = served, now_s + _BUSY_S
        time.sleep(min(_LONGEST_REST_S, worked_s * (_REST_BUSY if now_s < self._busy_until_s else _REST)))

    def _try_again(self, failed: list[str]) -> None:
        """A layer is out of reach: what it has stays as it was, and is looked at when the next run is due."""
        if failed and self._interval_s is not None:
            retry_s = time.monotonic() + min(self._interval_s, _RETRY_S)
            self._next_run_s = min(self._next_run_s or retry_s, retry_s)

    def _ended(self) -> None:
        """A whole run has come to its end, or was given up."""
        self._plan_run(self._interval_s or 0.0)
        fault = self._runner.fault
        if self._wants_run:
            self._runner.start()
            self._wants_run = False
        elif not fault:
            self._is_behind = False
        if fault:
            raise IndexUnavailable(fault)
        self._fault = ""
        self._read_state()
        self._see_again()

    def _read_state(self) -> None:
        state = self._table.state()
        self._entities, self._scanned_ns = state.entities, state.scanned_ns

    def _see_again(self) -> None:
        self._unseen = deque(self._table.directories())

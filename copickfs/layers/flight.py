"""Single flight: one piece of work for all who ask for its result at the same time."""

from __future__ import annotations

import copy
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from copickfs.errors import DeadlineExceeded

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

T = TypeVar("T")


class SingleFlight:
    """Shares the result of work that is under way. Thread-safe.

    An error reaches every waiter and is not kept: whoever asks next starts anew. A waiter that
    gives up takes nothing from the others, and the work goes on.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flights: dict[Hashable, Future[Any]] = {}

    def run(
        self,
        key: Hashable,
        work: Callable[[], T],
        wait_s: float | None = None,
        after: Callable[[T], object] | None = None,
    ) -> T:
        """The result of ``work()``, or of the call for the same ``key`` that is under way.

        Args:
            key: Names the result.
            work: Called by one of those who ask; on a thread of its own if there is a time limit.
            wait_s: How long this caller waits at most; None for as long as the work takes.
            after: Called with the result when those who wait for it have it.

        Raises:
            DeadlineExceeded: There was no result in time; the work goes on.
        """
        with self._lock:
            future: Future[T] | None = self._flights.get(key)
            leads = future is None
            if future is None:
                future = self._flights[key] = Future()
        if leads:
            self._launch(lambda: self._fly(key, future, work, after), apart=wait_s is not None)
        try:
            error = future.exception(wait_s)
        except TimeoutError:
            raise DeadlineExceeded(f"no answer within {wait_s:g} s; still being fetched") from None
        if error is not None:
            # A copy for each waiter: an exception that is raised collects the raiser's traceback.
            raise copy.copy(error)
        return future.result()

    def is_under_way(self, key: Hashable) -> bool:
        """True while somebody works on that result."""
        return key in self._flights

    def _launch(self, fly: Callable[[], None], *, apart: bool) -> None:
        if not apart:
            fly()
            return
        try:
            threading.Thread(target=fly, name="copickfs-flight", daemon=True).start()
        except RuntimeError:  # no thread to be had
            fly()

    def _fly(
        self,
        key: Hashable,
        future: Future[T],
        work: Callable[[], T],
        after: Callable[[T], object] | None,
    ) -> None:
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - it is handed to those who wait
            self._land(key)
            future.set_exception(error)
            return
        self._land(key)
        future.set_result(result)
        if after is not None:
            after(result)

    def _land(self, key: Hashable) -> None:
        with self._lock:
            del self._flights[key]

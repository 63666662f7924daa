"""Work that nobody waits for, one piece after another, in a thread that is there only while there is some."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger(__name__)
_CLOSE_S = 10.0


class Background:
    """Pieces of work by name, each with the time at which it is due. Thread-safe.

    Attributes:
        ending: Set when the work in hand should stop at the next occasion.
    """

    def __init__(self) -> None:
        self.ending = threading.Event()
        self._due: dict[str, tuple[float, Callable[[], None]]] = {}
        self._condition = threading.Condition()
        self._thread: threading.Thread | None = None

    def schedule(self, name: str, delay_s: float, work: Callable[[], None]) -> None:
        """Do ``work`` after ``delay_s``, in the place of what was to be done under this name."""
        with self._condition:
            if self.ending.is_set():
                return
            self._due[name] = (time.monotonic() + delay_s, work)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="copickfs-behind", daemon=True)
                self._thread.start()
            self._condition.notify()

    def close(self) -> None:
        """Drop what is not begun, and wait for the end of what is, for a limited time. Idempotent."""
        self.ending.set()
        with self._condition:
            self._due.clear()
            self._condition.notify()
            thread = self._thread
        if thread is not None:
            thread.join(_CLOSE_S)

    def _run(self) -> None:
        while True:
            work = self._next()
            if work is None:
                return
            try:
                work()
            except Exception:  # noqa: BLE001 -- one piece of work must not end all others
                _log.exception("unexpected error in the background")

    def _next(self) -> Callable[[], None] | None:
        with self._condition:
            while self._due:
                name, (due_s, work) = min(self._due.items(), key=lambda item: item[1][0])
                wait_s = due_s - time.monotonic()
                if wait_s <= 0:
                    del self._due[name]
                    return work
                self._condition.wait(wait_s)
            self._thread = None
            return None

"""Doing for a layer what nobody waits for yet: threads that come when somebody has been seen, and go."""

from __future__ import annotations

import abc
import contextlib
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Event = TypeVar("Event")
Target = TypeVar("Target")

IDLE_S = 10.0
"""A thread that has had nothing to do for so long ends."""

_JOIN_S = 1.0
_GIVE_WAY_S = 0.02
_MOST_EVENTS = 4_096


class GoingAhead(abc.ABC, Generic[Event, Target]):
    """Threads that follow what is seen, and do what it makes likely to be asked for.

    Thread-safe; `note` never waits. All methods for subclasses but `_do` are called with the lock held.

    Args:
        called: Name of the threads.
        is_busy: True while nothing is to be guessed.
        workers: So many do something at a time.
    """

    def __init__(self, called: str, is_busy: Callable[[], bool], workers: int) -> None:
        self._called = called
        self._is_busy = is_busy
        self._most_workers = workers
        self._lock = threading.Condition()
        self._events: deque[Event] = deque(maxlen=_MOST_EVENTS)
        self._workers = 0
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._is_closed = False

    def note(self, event: Event) -> None:
        """Something was seen."""
        with self._lock:
            if self._is_closed:
                return
            self._events.append(event)
            self._lock.notify()
            self._hire()

    def close(self) -> None:
        """Do nothing more. Idempotent, does not wait for what is under way."""
        with self._lock:
            self._is_closed = True
            self._events.clear()
            self._forget()
            self._lock.notify_all()

    def join(self) -> None:
        """Wait a moment for what was under way when it was closed, and is given up with the connection."""
        latest_s = time.monotonic() + _JOIN_S
        for thread in self._threads:
            thread.join(max(0.0, latest_s - time.monotonic()))

    @abc.abstractmethod
    def _plan(self) -> None:
        """See what the events mean, and take them away."""

    @abc.abstractmethod
    def _has_target(self) -> bool:
        """True if there is something to do."""

    @abc.abstractmethod
    def _take(self) -> Target:
        """What is to be done next, which there is."""

    @abc.abstractmethod
    def _forget(self) -> None:
        """Nothing that was planned is to be done."""

    @abc.abstractmethod
    def _do(self, target: Target) -> None:
        """Do it; must not raise."""

    def _hire(self) -> None:
        """One thread more, if all are at work and there may be more of them."""
        if self._idle or self._workers >= self._most_workers:
            return
        thread = threading.Thread(target=self._work, name=self._called, daemon=True)
        with contextlib.suppress(RuntimeError):  # no thread to be had: nothing is guessed
            thread.start()
            self._workers += 1
            self._threads = [*(other for other in self._threads if other.is_alive()), thread]

    def _work(self) -> None:
        try:
            while not self._is_closed:
                with self._lock:
                    if not self._waited():
                        return
                    target = self._take()
                    if self._has_target():
                        self._hire()
                self._do(target)
        finally:
            with self._lock:
                self._workers -= 1

    def _waited(self) -> bool:
        """Wait until something is to be done and may be; False if there is nothing for long."""
        while not self._is_closed:
            self._plan()
            if not self._has_target():
                if not self._rest():
                    return False
            elif self._is_busy():
                self._lock.wait(_GIVE_WAY_S)
            else:
                return True
        return False

    def _rest(self) -> bool:
        """Wait for something to do; False if there is nothing for long."""
        self._idle += 1
        told = self._lock.wait(IDLE_S)
        self._idle -= 1
        return told or bool(self._events)

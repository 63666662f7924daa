"""Forking a process while other threads use SQLite.

SQLite has locks of the whole process. One that a thread holds at the moment of a fork is held for ever in
the child, which then waits for it as soon as it opens a database of its own. So a fork waits until nobody
is inside of SQLite, which is a moment, and nobody goes inside meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_LONGEST_WAIT_S = 10.0
"""A fork that does not happen is worse than a child that may hang."""


class _Gate:
    """Everybody who uses SQLite passes it, whoever forks closes it."""

    def __init__(self) -> None:
        self.begin()

    @contextlib.contextmanager
    def passing(self) -> Iterator[None]:
        """SQLite is used inside of this. May be nested."""
        own = self._own
        depth = getattr(own, "depth", 0)
        if not depth:
            with self._changes:
                while self._is_closed:
                    self._changes.wait()
                self._inside += 1
        own.depth = depth + 1
        try:
            yield
        finally:
            own.depth = depth
            if not depth:
                with self._changes:
                    self._inside -= 1
                    if self._is_closed:
                        self._changes.notify_all()

    def close(self) -> None:
        """Let nobody in, and wait until nobody is inside, for a limited time."""
        with self._changes:
            self._is_closed = True
            own = 1 if getattr(self._own, "depth", 0) else 0
            self._changes.wait_for(lambda: self._inside <= own, _LONGEST_WAIT_S)

    def open(self) -> None:
        """Let everybody in again."""
        with self._changes:
            self._is_closed = False
            self._changes.notify_all()

    def begin(self) -> None:
        """Nobody is inside, and nobody waits."""
        self._changes = threading.Condition()
        self._own = threading.local()
        self._inside = 0
        self._is_closed = False


_gate = _Gate()
passing = _gate.passing
os.register_at_fork(before=_gate.close, after_in_parent=_gate.open, after_in_child=_gate.begin)

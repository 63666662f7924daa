"""Locks on paths of the merged tree.

Held for one change each: the names that it changes alone, the directories that they are in together
with other changes. All that one change needs is taken in one step, so that no two wait for each other.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from copickfs import paths

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_ALONE = -1


def gate_of(store: str) -> str:
    """The name of the lock that is held together by all changes in a store; no path ends like this."""
    return store + "/"


class PathLocks:
    """Shared and exclusive locks by name; a name that nobody holds costs nothing. Not reentrant."""

    def __init__(self) -> None:
        self._held: dict[str, int] = {}
        self._condition = threading.Condition(threading.Lock())
        self._waiting = 0

    def __len__(self) -> int:
        return len(self._held)

    @contextlib.contextmanager
    def changing(self, *names: str) -> Iterator[None]:
        """What a change of these paths needs: each alone, its directory and store together with others."""
        together = {paths.split(name)[0] for name in names}
        together |= {gate_of(store) for name in names if (store := paths.store_of(name))}
        with self.hold(set(names), together - set(names)):
            yield

    @contextlib.contextmanager
    def hold(self, alone: Iterable[str], together: Iterable[str] = ()) -> Iterator[None]:
        """Hold locks; waits until all are free."""
        alone, together = tuple(alone), tuple(together)
        with self._condition:
            self._waiting += 1
            while any(name in self._held for name in alone) or any(
                self._held.get(name) == _ALONE for name in together
            ):
                self._condition.wait()
            self._waiting -= 1
            self._held.update(dict.fromkeys(alone, _ALONE))
            for name in together:
                self._held[name] = self._held.get(name, 0) + 1
        try:
            yield
        finally:
            with self._condition:
                for name in alone:
                    del self._held[name]
                for name in together:
                    self._held[name] -= 1
                    if not self._held[name]:
                        del self._held[name]
                if self._waiting:
                    self._condition.notify_all()

"""Memory for planes, used again when nobody looks at it any more: the system would clear it each time."""

from __future__ import annotations

import weakref
from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST_IDLE = 2


class Buffers:
    """Gives out memory. Thread-safe."""

    def __init__(self) -> None:
        self._idle: deque[NDArray[Any]] = deque(maxlen=_MOST_IDLE)

    def take(self, size_bytes: int) -> NDArray[Any]:
        """Bytes of any contents. They are in use as long as the array itself, or a `memoryview` of it, is.

        An array that is made of it does not keep it in use: numpy lets it refer to what is below.
        """
        below = self._below(size_bytes)
        owner = below.view()
        weakref.finalize(owner, self._idle.append, below).atexit = False
        return owner

    def clear(self) -> None:
        """Give what is not in use back to the system."""
        self._idle.clear()

    def _below(self, size_bytes: int) -> NDArray[Any]:
        while True:
            try:
                found = self._idle.pop()
            except IndexError:
                return np.empty(size_bytes, np.uint8)
            if found.nbytes == size_bytes:
                return found

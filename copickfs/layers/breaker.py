"""Whether a layer can be reached: a state that changes under a lock, with the I/O outside of it."""

from __future__ import annotations

import logging
import random
import threading
import time

from copickfs.errors import Unavailable
from copickfs.model import Health

_log = logging.getLogger(__name__)

FAILURES_BEFORE_DOWN = 3
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 10.0
_PROBING_HINT_S = 0.5
_JITTER = 0.2


class Breaker:
    """Counts a layer's failures and keeps callers away while it is down. Thread-safe, never waits.

    The layer goes down when `FAILURES_BEFORE_DOWN` calls in a row failed *and* its root cannot be
    asked either: one broken path of a healthy server takes nothing else with it. While it is down,
    one caller in every pause asks the root again; the pause grows from `FIRST_PAUSE_S` to
    `LONGEST_PAUSE_S`, with jitter.

    Args:
        name: Name of the layer, for messages.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._failures = 0
        self._asking = False
        self._down_since_s: float | None = None
        self._pause_s = FIRST_PAUSE_S
        self._ask_at_s = 0.0
        self._health = Health("unknown")

    @property
    def is_down(self) -> bool:
        """True while calls fail at once."""
        return self._down_since_s is not None

    def admit(self) -> bool:
        """Let a call pass. True: the caller must ask the root first, and report by `succeeded` or `opened`.

        Raises:
            Unavailable: The layer is down and it is not yet time to ask again.
        """
        with self._lock:
            if self._down_since_s is None:
                return False
            if self._asking or time.monotonic() < self._ask_at_s:
                raise Unavailable(f"layer {self._name} is down: {self._health.message}")
            self._asking = True
            return True

    def succeeded(self) -> None:
        """The source gave a definite answer."""
        with self._lock:
            self._failures = 0
            self._asking = False
            down_since_s, self._down_since_s = self._down_since_s, None
            if self._health.state != "ok":
                self._health = Health("ok")
        if down_since_s is not None:
            _log.info("layer %s is back after %.0f s", self._name, time.monotonic() - down_since_s)

    def failed(self, message: str) -> bool:
        """A call failed. True: the caller must ask the root, and report by `succeeded` or `opened`."""
        message = self._bare(message)
        with self._lock:
            self._failures += 1
            if self._down_since_s is not None:
                self._health = Health("down", message)
                return False
            self._health = Health(self._health.state, message)
            if self._failures < FAILURES_BEFORE_DOWN or self._asking:
                return False
            self._asking = True
            return True

    def opened(self, message: str) -> None:
        """The root could not be asked: the layer is down, or stays so for a longer pause."""
        message = self._bare(message)
        with self._lock:
            self._asking = False
            went_down = self._down_since_s is None
            if went_down:
                self._down_since_s = time.monotonic()
                self._pause_s = FIRST_PAUSE_S
            else:
                self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
            spread = random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - jitter, not cryptography
            self._ask_at_s = time.monotonic() + self._pause_s * spread
            self._health = Health("down", message)
        if went_down:
            _log.warning("layer %s is down: %s", self._name, message)

    def hint_s(self) -> float:
        """Seconds until it makes sense to call again; 0 when the last call was answered."""
        with self._lock:
            if self._down_since_s is None:
                return min(FIRST_PAUSE_S * self._failures, LONGEST_PAUSE_S)
            if self._asking:
                return _PROBING_HINT_S
            return max(0.0, self._ask_at_s - time.monotonic())

    def health(self) -> Health:
        """State and last fault."""
        return self._health

    def _bare(self, message: str) -> str:
        return message.removeprefix(f"layer {self._name}: ")

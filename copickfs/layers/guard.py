"""Time limits, bounded threads and retries around every call to a source that may hang or fail.

A call runs on a daemon thread of its own, of which a layer has a bounded number at a time, so that
one that never returns holds up neither the others nor the end of the process. The time limit is one
of silence: a transfer that makes progress may take as long as it needs.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar, cast

from copickfs.errors import ConfigError, DeadlineExceeded, Transient, Unavailable
from copickfs.layers.breaker import Breaker
from copickfs.model import Health

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

SLOTS = 8
"""Calls to one source at a time, unless it is one that likes more."""

OTHER_SLOTS = 2
"""Of these, never reads: lookups and listings always find one."""

HUNG_LIMIT = 32
"""Threads that were given up and have not come back; with more, no call is started."""

_PROBE_LIMIT_S = 5.0
_POLL_S = 1.0


class Attempt:
    """One call under way: the source tells it of progress, the guard may call it off. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._called_off = False
        self._holds_slot = True
        self._callbacks: list[Callable[[], object]] = []
        self._beat_s = time.monotonic()
        self.result: Any = None
        self.error: BaseException | None = None

    def progress(self) -> None:
        """Something has arrived: the time limit starts anew."""
        self._beat_s = time.monotonic()

    def expect(self, silence_s: float) -> None:
        """The next ``silence_s`` say nothing: a library is at work that watches the line itself."""
        self._beat_s = time.monotonic() + silence_s

    def on_call_off(self, callback: Callable[[], object]) -> None:
        """Call ``callback`` if the attempt is given up; at once if it already was."""
        with self._lock:
            if not self._called_off:
                self._callbacks.append(callback)
                return
        callback()

    def call_off(self) -> None:
        """Give up: nobody waits for this attempt any more. Idempotent."""
        with self._lock:
            self._called_off = True
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def end(self) -> None:
        """The call has returned, or nobody waits for it any more."""
        self._ended.set()

    def ends_within(self, silence_s: float) -> bool:
        """Wait for the end; False after ``silence_s`` without an end or progress."""
        while not self._ended.wait(max(0.0, self._beat_s + silence_s - time.monotonic())):
            if time.monotonic() - self._beat_s >= silence_s:
                return self._ended.is_set()
        return True

    def give_slot(self) -> bool:
        """True for the first who asks: that one frees the slot."""
        with self._lock:
            held, self._holds_slot = self._holds_slot, False
            return held


class Guard:
    """Runs the calls of one layer, which raise what `copickfs.layers.base` says. Thread-safe.

    Args:
        name: Name of the layer.
        ping: Asks whether the source answers at all; raises `Transient` if it does not.
        timeout_s: Silence after which a call is given up.
        slots: Calls at a time.
        offline: Refuse every call.

    Attributes:
        waiting: Reads that wait for others to end.
    """

    def __init__(
        self,
        name: str,
        ping: Callable[[Attempt], None],
        timeout_s: float,
        slots: int = SLOTS,
        *,
        offline: bool = False,
    ) -> None:
        self._name = name
        self._ping = ping
        self._timeout_s = timeout_s
        self._breaker = Breaker(name)
        self._slots = threading.Semaphore(slots)
        self._read_slots = threading.Semaphore(slots - OTHER_SLOTS)
        self.waiting = 0
        self._lock = threading.Lock()
        self._running: set[Attempt] = set()
        self._hung = 0
        self._closed = False
        self._offline = offline

    @property
    def is_down(self) -> bool:
        """True while calls fail at once."""
        return self._offline or self._breaker.is_down

    def call(self, work: Callable[[Attempt], T], *, reading: bool = False) -> T:
        """One attempt at ``work``.

        Args:
            work: Called on a thread of its own.
            reading: A read waits its turn behind lookups and listings, for as long as it takes.

        Raises:
            LayerError: What the source answered.
            Unavailable: The layer is down, or this call found it out of reach.
            DeadlineExceeded: Nothing was heard within the time limit.
        """
        if self._offline:
            raise Unavailable(
                f"layer {self._name}: this is not in the cache, and the network is not asked (--offline)"
            )
        if self._breaker.admit():
            self._ask_root()
        if not reading:
            if not self._slots.acquire(timeout=self._timeout_s):
                raise DeadlineExceeded(f"layer {self._name}: too many calls are waiting")
            return self._reported(work)
        self._wait_for(self._read_slots)
        try:
            self._wait_for(self._slots)
            return self._reported(work)
        finally:
            self._read_slots.release()

    def insist(self, work: Callable[[Attempt], T]) -> T:
        """Like `call`, repeated within the time limit after a transient failure, unless the layer is down."""
        import stamina

        _quieten()
        repeated = stamina.retry(
            on=self._may_pass,
            attempts=None,
            timeout=self._timeout_s,
            wait_initial=0.1,
            wait_max=2.0,
            wait_jitter=0.1,
        )
        return repeated(self.call)(work)

    def hint_s(self) -> float:
        """Seconds until a call makes sense; 0 when the source answers."""
        return self._breaker.hint_s()

    def health(self) -> Health:
        """State and last fault, from memory."""
        return Health("offline") if self._offline else self._breaker.health()

    def close(self) -> None:
        """Give up every call under way and refuse new ones. Idempotent."""
        with self._lock:
            self._closed = True
            running = list(self._running)
        for attempt in running:
            attempt.error = Unavailable(f"layer {self._name} is closed")
            attempt.end()
            attempt.call_off()

    def _may_pass(self, error: Exception) -> bool:
        return isinstance(error, Transient) and not self.is_down and not self._closed

    def _reported(self, work: Callable[[Attempt], T]) -> T:
        """An attempt whose outcome the breaker hears of."""
        try:
            result = self._attempt(work, self._timeout_s, self._slots)
        except (Transient, ConfigError) as error:
            if isinstance(error, Transient) and not self._closed and self._breaker.failed(str(error)):
                with contextlib.suppress(Transient, ConfigError):  # what this call has met is what it raises
                    self._ask_root()
            raise
        except Exception:
            self._breaker.succeeded()  # a refusal, too, is an answer
            raise
        self._breaker.succeeded()
        return result

    def _ask_root(self) -> None:
        """Ask whether the source answers at all. Raises `Transient` if it does not."""
        try:
            self._attempt(self._ping, min(self._timeout_s, _PROBE_LIMIT_S), None)
        except (Transient, ConfigError) as error:
            self._breaker.opened(str(error))
            raise
        except Exception:  # noqa: BLE001 - a refusal, too, is an answer
            self._breaker.succeeded()
        else:
            self._breaker.succeeded()

    def _wait_for(self, slots: threading.Semaphore) -> None:
        """Wait as long as others make progress: a layer that goes down sends all waiters away."""
        if slots.acquire(blocking=False):
            return
        with self._lock:
            self.waiting += 1
        try:
            while not slots.acquire(timeout=_POLL_S):
                if self._closed or self._breaker.is_down:
                    raise Unavailable(f"layer {self._name} is down: {self._breaker.health().message}")
        finally:
            with self._lock:
                self.waiting -= 1

    def _attempt(
        self, work: Callable[[Attempt], T], silence_s: float, slots: threading.Semaphore | None
    ) -> T:
        attempt = Attempt()
        try:
            self._start(attempt, work, slots)
        except BaseException:
            self._free(attempt, slots)
            raise
        if not attempt.ends_within(silence_s) and self._free(attempt, slots):
            with self._lock:
                self._hung += 1
            attempt.call_off()
            raise DeadlineExceeded(f"layer {self._name}: no answer within {silence_s:g} s")
        if attempt.error is not None:
            raise attempt.error
        return cast("T", attempt.result)

    def _start(
        self, attempt: Attempt, work: Callable[[Attempt], T], slots: threading.Semaphore | None
    ) -> None:
        with self._lock:
            if self._closed:
                raise Unavailable(f"layer {self._name} is closed")
            if self._hung >= HUNG_LIMIT:
                raise Unavailable(f"layer {self._name}: {self._hung} calls hang")
            self._running.add(attempt)
        thread = threading.Thread(
            target=self._run, args=(attempt, work, slots), name=f"copickfs-{self._name}", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:
            raise Unavailable(f"layer {self._name}: {error}") from None

    def _run(self, attempt: Attempt, work: Callable[[Attempt], T], slots: threading.Semaphore | None) -> None:
        try:
            attempt.result = work(attempt)
        except BaseException as error:  # noqa: BLE001 - it is handed to the caller
            attempt.error = error
        attempt.end()
        if not self._free(attempt, slots):
            with self._lock:
                self._hung -= 1

    def _free(self, attempt: Attempt, slots: threading.Semaphore | None) -> bool:
        """Give the slot back; False if that was done before."""
        with self._lock:
            self._running.discard(attempt)
        first = attempt.give_slot()
        if first and slots is not None:
            slots.release()
        return first


@functools.cache
def _quieten() -> None:
    """Keep stamina from a WARNING for each retry of ours: what matters is told by the breaker."""
    logging.getLogger("stamina").addFilter(
        lambda record: not str(vars(record).get("stamina.callable", "")).startswith("copickfs.")
    )

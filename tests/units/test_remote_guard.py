"""Time limits, bounded threads, the breaker, single flight: with calls that hang and fail as told."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from copickfs.errors import AccessDenied, DeadlineExceeded, NotFound, Transient, Unavailable
from copickfs.layers import guard as guard_module
from copickfs.layers.breaker import FAILURES_BEFORE_DOWN
from copickfs.layers.guard import Attempt, Guard
from tests.sandbox import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator


class Place:
    """A source that answers, refuses or hangs as its attributes say."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.root_error: Exception | None = None
        self.calls = 0
        self.pings = 0
        self.release = threading.Event()

    def ping(self, _attempt: Attempt) -> None:
        self.pings += 1
        if self.root_error is not None:
            raise self.root_error

    def work(self, _attempt: Attempt) -> str:
        self.calls += 1
        if self.error is not None:
            raise self.error
        return "answer"

    def hang(self, _attempt: Attempt) -> str:
        self.release.wait(30)
        return "late"


@pytest.fixture
def place() -> Iterator[Place]:
    source = Place()
    yield source
    source.release.set()
    wait_until(lambda: not _threads(), what="the end of all threads of the guard")


def _threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith(("copickfs-lab", "copickfs-flight"))]


def make(place: Place, timeout_s: float = 5.0) -> Guard:
    return Guard("lab", place.ping, timeout_s)


def fail_until_down(guard: Guard, place: Place) -> None:
    place.error = place.root_error = Unavailable("no route")
    for _ in range(FAILURES_BEFORE_DOWN):
        with pytest.raises(Unavailable):
            guard.call(place.work)
    assert guard.is_down


def test_answers_and_refusals_pass_through(place: Place) -> None:
    guard = make(place)
    assert guard.health().state == "unknown"
    assert guard.call(place.work) == "answer"
    for error in (NotFound("x"), AccessDenied("x"), OSError(36, "name too long")):
        place.error = error
        for _ in range(2 * FAILURES_BEFORE_DOWN):
            with pytest.raises(type(error)):
                guard.call(place.work)
    assert guard.health().state == "ok"
    assert guard.hint_s() == 0


def test_a_layer_goes_down_and_comes_back_and_says_so_once(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "copickfs")
    guard = make(place)
    guard.call(place.work)
    fail_until_down(guard, place)
    assert guard.health().state == "down"
    assert "no route" in guard.health().message

    calls = place.calls
    began_s = time.monotonic()
    for _ in range(50):
        with pytest.raises(Unavailable):
            guard.call(place.work)
    assert place.calls == calls, "a call went to a layer that is down"
    assert time.monotonic() - began_s < 2

    wait_until(lambda: guard.hint_s() == 0, what="the time of the next probe")
    pings = place.pings
    with pytest.raises(Unavailable):
        guard.call(place.work)  # asks the root, which is still away
    assert (place.calls, place.pings) == (calls, pings + 1)
    assert guard.hint_s() > 0.7, "the pause does not grow"

    place.error = place.root_error = None
    wait_until(lambda: guard.hint_s() == 0, what="the time of the next probe")
    assert guard.call(place.work) == "answer"
    assert guard.health().state == "ok"
    told = [(r.levelname, r.getMessage()) for r in caplog.records if r.name.startswith("copickfs")]
    assert [level for level, _ in told] == ["WARNING", "INFO"]
    assert "lab is down" in told[0][1]
    assert "lab is back" in told[1][1]


def test_one_broken_path_does_not_take_the_layer_down(place: Place) -> None:
    guard = make(place)
    place.error = Unavailable("error 500 for this path")
    for _ in range(5 * FAILURES_BEFORE_DOWN):
        with pytest.raises(Unavailable, match="500"):
            guard.call(place.work)
    assert not guard.is_down
    assert guard.hint_s() >= 0
    place.error = None
    assert guard.call(place.work) == "answer"


def test_while_down_one_caller_at_a_time_asks_the_root(place: Place) -> None:
    guard = make(place)
    fail_until_down(guard, place)
    place.error = place.root_error = None
    wait_until(lambda: guard.hint_s() == 0, what="the time of the next probe")
    asking = threading.Event()
    original = place.ping

    def slow_ping(attempt: Attempt) -> None:
        asking.set()
        place.release.wait(10)
        original(attempt)

    guard._ping = slow_ping
    pings = place.pings
    with ThreadPoolExecutor(20) as pool:
        first = pool.submit(guard.call, place.work)
        assert asking.wait(5)
        others = [pool.submit(guard.call, place.work) for _ in range(19)]
        for other in others:
            assert isinstance(other.exception(5), Unavailable)
        assert guard.hint_s() > 0
        place.release.set()
        assert first.result(5) == "answer"
    assert place.pings == pings + 1


def test_a_call_that_hangs_is_given_up_and_its_place_is_free(place: Place) -> None:
    guard = make(place, timeout_s=0.3)
    with ThreadPoolExecutor(guard_module.SLOTS) as pool:
        hanging = [pool.submit(guard.call, place.hang) for _ in range(guard_module.SLOTS)]
        for call in hanging:
            assert isinstance(call.exception(10), DeadlineExceeded)
    assert guard.call(place.work) == "answer"


def test_threads_that_hang_are_bounded(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard_module, "HUNG_LIMIT", 3)
    guard = make(place, timeout_s=0.1)
    for _ in range(3):
        with pytest.raises(DeadlineExceeded):
            guard.call(place.hang)
    with pytest.raises(Unavailable, match="3 calls hang"):
        guard.call(place.work)
    place.release.set()
    wait_until(lambda: guard._hung == 0, what="the return of those that hung")
    wait_until(lambda: guard.hint_s() == 0, what="the time of the next probe")
    assert guard.call(place.work) == "answer"


def test_progress_is_no_silence(place: Place) -> None:
    guard = make(place, timeout_s=0.5)

    def slow(attempt: Attempt) -> str:
        for _ in range(8):
            time.sleep(0.15)
            attempt.progress()
        return "whole"

    assert guard.call(slow) == "whole"


def test_reads_leave_room_for_lookups(place: Place) -> None:
    guard = make(place, timeout_s=20)
    with ThreadPoolExecutor(20) as pool:
        reads = [pool.submit(guard.call, place.hang, reading=True) for _ in range(20)]
        wait_until(
            lambda: len(_threads()) == guard_module.SLOTS - guard_module.OTHER_SLOTS,
            what="the reads to be under way",
        )
        assert guard.call(place.work) == "answer"
        place.release.set()
        assert [read.result(10) for read in reads] == ["late"] * 20


def test_waiting_reads_are_sent_away_when_the_layer_goes_down(place: Place) -> None:
    guard = make(place, timeout_s=1)
    place.root_error = Unavailable("no route")
    with ThreadPoolExecutor(20) as pool:
        reads = [pool.submit(guard.call, place.hang, reading=True) for _ in range(20)]
        assert all(isinstance(read.exception(15), Transient) for read in reads)
    assert guard.is_down


def test_insist_repeats_what_may_pass(place: Place) -> None:
    guard = make(place)
    place.error = Unavailable("for a moment")

    def recovers(attempt: Attempt) -> str:
        if place.calls == 1:
            place.error = None
        return place.work(attempt)

    assert guard.insist(recovers) == "answer"
    assert place.calls == 2
    place.error = NotFound("x")
    with pytest.raises(NotFound):
        guard.insist(place.work)
    assert place.calls == 3, "a definite answer was asked for again"


def test_insist_ends_when_the_layer_is_down(place: Place) -> None:
    guard = make(place, timeout_s=60)
    place.error = place.root_error = Unavailable("no route")
    began_s = time.monotonic()
    with pytest.raises(Unavailable):
        guard.insist(place.work)
    assert time.monotonic() - began_s < 10
    assert place.calls == FAILURES_BEFORE_DOWN


def test_close_ends_what_is_under_way(place: Place) -> None:
    guard = make(place, timeout_s=30)
    called_off = threading.Event()

    def cooperative(attempt: Attempt) -> str:
        attempt.on_call_off(called_off.set)
        called_off.wait(30)
        return "late"

    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(guard.call, cooperative)
        wait_until(_threads, what="the call to be under way")
        guard.close()
        guard.close()
        assert isinstance(call.exception(5), Unavailable)
    with pytest.raises(Unavailable, match="closed"):
        guard.call(place.work)

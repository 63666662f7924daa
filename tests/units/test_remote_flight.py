"""Single flight: one piece of work for all who ask at the same time."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from copickfs.errors import DeadlineExceeded, Unavailable
from copickfs.layers.flight import SingleFlight
from tests.sandbox import wait_until


def test_one_flight_for_all_who_ask() -> None:
    flights = SingleFlight()
    calls: list[int] = []
    release = threading.Event()

    def work() -> str:
        calls.append(1)
        release.wait(10)
        return "result"

    with ThreadPoolExecutor(100) as pool:
        askers = [pool.submit(flights.run, "key", work, 10 if i % 2 else None) for i in range(100)]
        wait_until(lambda: calls, what="the first to ask")
        assert flights.run("other key", lambda: "other") == "other"
        time.sleep(0.2)
        release.set()
        assert {asker.result(10) for asker in askers} == {"result"}
    assert len(calls) == 1
    assert flights.run("key", lambda: "anew") == "anew"


def test_an_error_reaches_every_waiter_and_is_not_kept() -> None:
    flights = SingleFlight()
    release = threading.Event()

    def fails() -> str:
        release.wait(10)
        raise Unavailable("no route")

    with ThreadPoolExecutor(10) as pool:
        askers = [pool.submit(flights.run, "key", fails, 10) for _ in range(10)]
        time.sleep(0.2)
        release.set()
        errors = [asker.exception(10) for asker in askers]
    assert all(isinstance(error, Unavailable) and str(error) == "no route" for error in errors)
    assert len({id(error) for error in errors}) == 10, "waiters share an exception object"
    assert flights.run("key", lambda: "fine") == "fine"


def test_a_waiter_that_gives_up_takes_nothing_from_the_others() -> None:
    flights = SingleFlight()
    release = threading.Event()

    def work() -> str:
        release.wait(10)
        return "result"

    with ThreadPoolExecutor(2) as pool:
        patient = pool.submit(flights.run, "key", work, 10)
        time.sleep(0.1)
        with pytest.raises(DeadlineExceeded):
            flights.run("key", work, 0.1)
        release.set()
        assert patient.result(10) == "result"

"""Settings of the C library for the memory of chunks: made where it knows them, and never in the way."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from copickfs.daemon import heap

if TYPE_CHECKING:
    import pytest

PROGRAM = """
import os
from copickfs.daemon.heap import suit_chunks
if {suited}:
    suit_chunks()
page = os.sysconf("SC_PAGE_SIZE")
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * page
chunks = [b"x" * (2 << 20) for _ in range(8)]
before = resident()
del chunks
print((before - resident()) >> 20)
"""


def given_back_mib(*, suited: bool) -> int:
    command = [sys.executable, "-c", PROGRAM.format(suited=suited)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_what_was_dropped_is_kept_for_what_comes_next() -> None:
    assert given_back_mib(suited=False) >= 8
    assert given_back_mib(suited=True) < 8


def test_a_library_that_knows_nothing_of_it_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heap.ctypes, "CDLL", lambda _name: object())
    heap.suit_chunks()

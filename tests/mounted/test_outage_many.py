"""Two hundred readers that are stuck on a remote layer which hangs, and everybody else."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests import faultproxy
from tests.faultproxy import FaultProxy
from tests.mounted.stores import STORE, cached, tomogram, with_local
from tests.mounted.test_store_faults import Proxied
from tests.objectstore import ObjectStore
from tests.sandbox import mounted_below, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import Mounter

PROCESSES, THREADS = 4, 50
SLOWER = 10
"""So many times as long something may take as without an outage; that is noise on a busy machine."""

MEDIAN_LIMIT_S = 0.1

READERS = """
import hashlib, sys
from concurrent.futures import ThreadPoolExecutor

def read(path):
    try:
        with open(path, "rb", buffering=0) as file:
            return hashlib.sha256(file.read()).hexdigest()
    except OSError as error:
        return str(error.errno)

with ThreadPoolExecutor(len(sys.argv) - 1) as pool:
    print("\\n".join(pool.map(read, sys.argv[1:])))
"""


@pytest.fixture
def store() -> Iterator[ObjectStore]:
    with ObjectStore() as opened:
        yield opened


def prepare(mine: Path) -> None:
    (mine / "notes").mkdir(parents=True)
    for index in range(50):
        (mine / "notes" / f"{index}.txt").write_bytes(os.urandom(4_000))
    (mine / "big.bin").write_bytes(os.urandom(4 << 20))


def medians(point: Path, mine: Path) -> dict[str, float]:
    """How long everybody else waits for what they ask; and that it is right."""

    def lookup(number: int) -> None:
        assert not (point / "notes" / f"none{number}-{time.monotonic_ns()}").exists()

    def listing(_number: int) -> None:
        assert len(os.listdir(point / "notes")) == 50

    def known(number: int) -> None:
        (point / STORE / "0" / str(number % 5)).stat()

    def small(number: int) -> None:
        path = f"notes/{number % 50}.txt"
        assert (point / path).read_bytes() == (mine / path).read_bytes()

    def large(_number: int) -> None:
        with (point / "big.bin").open("rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            assert file.read(4 << 20) == (mine / "big.bin").read_bytes()

    return {call.__name__: median_of(call) for call in (lookup, listing, known, small, large)}


def median_of(call: Callable[[int], None]) -> float:
    times = []
    for number in range(30):
        began_s = time.perf_counter()
        call(number)
        times.append(time.perf_counter() - began_s)
    return statistics.median(times)


@contextlib.contextmanager
def stuck(paths: list[str], mount: Mounter, point: Path, count: int) -> Iterator[list[subprocess.Popen[str]]]:
    """Readers of all these files in some processes, once so many of them wait."""
    each = len(paths) // PROCESSES
    readers = [
        subprocess.Popen(
            [sys.executable, "-c", READERS, *paths[start : start + each]], stdout=subprocess.PIPE, text=True
        )
        for start in range(0, len(paths), each)
    ]
    try:
        wait_until(lambda: mount.status(point)["waiting_reads"] >= count, 60, f"{count} reads that wait")
        yield readers
    finally:
        for reader in readers:
            reader.kill()
            reader.communicate()


def test_two_hundred_stuck_readers(store: ObjectStore, mount: Mounter, tmp_path: Path) -> None:
    import hashlib

    _, objects = tomogram(tmp_path / "source", (5, 5, 8))
    store.fill(objects)
    mine = tmp_path / "mine"
    prepare(mine)
    keys = sorted(key for key in objects if key.startswith(f"{STORE}/0/") and not key.endswith(".zarray"))
    assert len(keys) == PROCESSES * THREADS
    mount.expect_warning("layer lab")
    with FaultProxy(store.port) as proxy:
        point = mount(with_local(cached(Proxied(store, proxy), tmp_path, ttl=600), mine))
        for key in keys:
            (point / key).stat()
        before = medians(point, mine)
        proxy.sometimes(faultproxy.hang, share=1)
        paths = [str(point / key) for key in keys]
        with stuck(paths, mount, point, len(keys)) as readers:
            for _ in range(3):
                now = medians(point, mine)
                for what, median_s in now.items():
                    assert median_s < MEDIAN_LIMIT_S, (what, before, now)
                    assert median_s < SLOWER * max(before[what], 0.001), (what, before, now)
            assert all(reader.poll() is None for reader in readers)
            readers[0].send_signal(signal.SIGKILL)
            assert readers[0].wait(10) == -signal.SIGKILL
            with subprocess.Popen(["cat", point / keys[0]], stdout=subprocess.DEVNULL) as interrupted:
                time.sleep(1)
                assert interrupted.poll() is None
                interrupted.send_signal(signal.SIGINT)
                assert interrupted.wait(10) == -signal.SIGINT
            proxy.choose = lambda _request: None
            for reader, start in list(zip(readers, range(0, len(keys), THREADS), strict=True))[1:]:
                told, _ = reader.communicate(timeout=90)
                expected = [hashlib.sha256(objects[key]).hexdigest() for key in keys[start : start + THREADS]]
                assert told.split() == expected
        mount.umount(point)
    assert store.objects() == objects


def test_readers_that_are_to_be_told_get_an_error(store: ObjectStore, mount: Mounter, tmp_path: Path) -> None:
    _, objects = tomogram(tmp_path / "source", (5, 5, 8))
    store.fill(objects)
    keys = sorted(key for key in objects if key.startswith(f"{STORE}/0/") and not key.endswith(".zarray"))
    mount.expect_warning("layer lab")
    with FaultProxy(store.port) as proxy:
        point = mount(cached(Proxied(store, proxy), tmp_path, ttl=600, on_unavailable="error"))
        for key in keys:
            (point / key).stat()
        proxy.sometimes(faultproxy.hang, share=1)
        with stuck([str(point / key) for key in keys], mount, point, 0) as readers:
            told = {word for reader in readers for word in reader.communicate(timeout=90)[0].split()}
        assert told <= {str(errno.EIO), str(errno.ETIMEDOUT)}
        proxy.choose = lambda _request: None
        wait_until(lambda: is_right(point / keys[0], objects[keys[0]]), 30, "the layer")
        mount.umount(point)


def is_right(path: Path, data: bytes) -> bool:
    try:
        return path.read_bytes() == data
    except OSError:
        return False


def test_an_answer_that_comes_when_the_mount_is_gone_is_no_error(
    store: ObjectStore, mount: Mounter, tmp_path: Path
) -> None:
    store.fill({"notes.txt": b"x" * 1_000})
    asked = threading.Event()
    point = tmp_path / "mnt0"

    def late(answer: faultproxy.Answer) -> bool:
        asked.set()
        wait_until(lambda: not mounted_below(point), 30, "the mount to be gone")
        return faultproxy.whole(answer)

    with FaultProxy(store.port) as proxy:
        mount(cached(Proxied(store, proxy), tmp_path, timeout=30), mountpoint=point)
        (point / "notes.txt").stat()
        proxy.choose = lambda _request: late
        with subprocess.Popen(["cat", point / "notes.txt"]) as reader:
            assert asked.wait(20)
            reader.kill()
            assert reader.wait(10) == -signal.SIGKILL
        mount.umount(point)

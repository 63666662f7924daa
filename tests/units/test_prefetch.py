"""Going ahead of readers, over a real server: each chunk is asked for once, and nobody pays for a guess."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self

import pytest

from copickfs.cache import Cache, Piece
from copickfs.cache.piece import BLOCK_BYTES
from copickfs.config import CacheConfig
from copickfs.errors import NotFound, Transient, Unavailable
from copickfs.layers.cachelayer import CacheLayer
from copickfs.layers.pieces import Pieces
from copickfs.layers.prefetch import Prefetcher
from copickfs.layers.remote import FsspecLayer
from copickfs.layers.sources import FILE, Found
from copickfs.model import ByteRange
from tests.sandbox import wait_until
from tests.units.conftest import own_threads
from tests.units.test_walks import box, grid, jumbled
from tests.webserver import WebServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.webserver import WebHandler

Index = tuple[int, ...]
SHAPE = (6, 5, 4)
MIB = 1 << 20
ARRAY = "a.zarr/0"
ABSENT = {(2, 1, 1), (2, 1, 2), (3, 0, 0), (5, 4, 3)}
ALL_READ = 1 << 40


def chunk_of(index: Index) -> bytes:
    return repr(index).encode().ljust(2000, b"#")


def path_of(index: Index) -> str:
    return "/".join([ARRAY, *map(str, index)])


def write(file: Path, data: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    os.utime(file, (1_700_000_000, 1_700_000_000))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[WebServer]:
    root = tmp_path / "site"
    write(root / ARRAY / ".zarray", b"{}")
    for index in grid(*SHAPE):
        if index not in ABSENT:
            write(root / path_of(index), chunk_of(index))
    for name in "xyz":
        write(root / f"{name}.bin", random.Random(name).randbytes(12 * MIB + 100))
    with WebServer(root) as server:
        server.listing = "json"
        yield server


@pytest.fixture(autouse=True)
def nothing_is_left(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    wait_until(lambda: not own_threads(), what="the end of all threads")
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


@contextlib.contextmanager
def opened(site: WebServer, tmp_path: Path, **options: Any) -> Iterator[FsspecLayer]:
    settings = {"memory_bytes": 16 * MIB, "min_free_bytes": 0, **options}
    cache = CacheLayer(CacheConfig(layer_name="c", root=str(tmp_path / "cache"), **settings))
    cache.connect()
    layer = FsspecLayer("lab", site.url, timeout_s=5, cache=cache)
    layer.connect()
    with contextlib.closing(cache), contextlib.closing(layer):
        yield layer


def read(layer: FsspecLayer, index: Index) -> None:
    """A chunk as a reader of zarr does: what is not there is no error."""
    try:
        file = layer.open(path_of(index))
    except NotFound:
        assert index in ABSENT
        return
    assert file.read(ByteRange(0, ALL_READ)) == chunk_of(index)
    file.close()


def read_file(layer: FsspecLayer, path: str, step: int = 131_072) -> bytes:
    """A file from its beginning to its end."""
    file = layer.open(path)
    parts = [file.read(ByteRange(at, at + step)) for at in range(0, file.entry.size_bytes, step)]
    file.close()
    return b"".join(parts)


def asked_for(site: WebServer) -> list[Index]:
    """The chunks that were asked for, in order, however often."""
    prefix = f"GET /{ARRAY}/"
    paths = [request.split()[1] for request in site.requests if request.startswith(prefix)]
    names = [path[len(prefix) - 4 :] for path in paths if not path.endswith(("/", ".zarray"))]
    return [tuple(map(int, name.split("/"))) for name in names]


def settle(layer: FsspecLayer) -> None:
    """Wait until nothing is fetched ahead any more."""
    wait_until(
        lambda: layer.statistics().prefetch_queued == 0 and not layer._pieces._flights._flights,
        what="the end of guessing",
    )


def guesses(layer: FsspecLayer) -> tuple[int, int, int]:
    """Bytes that were guessed, of use, and of none."""
    memory = layer._pieces.cache.memory
    kept, hit, wasted = memory.guesses
    assert kept == hit + wasted + memory._guessed_bytes
    return kept, hit, kept - hit


@pytest.mark.parametrize("back", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("along", [0, 1, 2], ids="zyx")
@pytest.mark.parametrize("readers", [1, 8])
def test_each_chunk_of_a_walk_is_asked_for_once_and_nothing_else(
    site: WebServer, tmp_path: Path, along: int, back: bool, readers: int
) -> None:
    with opened(site, tmp_path) as layer:
        with ThreadPoolExecutor(readers) as pool:
            list(pool.map(lambda index: read(layer, index), grid(*SHAPE, along=along, back=back)))
        settle(layer)
        assert sorted(asked_for(site)) == sorted(set(grid(*SHAPE)) - ABSENT)
        kept, _, wasted = guesses(layer)
        assert wasted == 0
        assert kept >= 2000 * len(grid(*SHAPE)) / 2
        statistics = layer.statistics()
        assert statistics.cache_hits + statistics.cache_misses == len(grid(*SHAPE)) - len(ABSENT)


def test_what_is_on_the_disk_is_asked_for_no_more(site: WebServer, tmp_path: Path) -> None:
    for _ in range(2):
        with opened(site, tmp_path) as layer:
            for index in jumbled(grid(*SHAPE)):
                read(layer, index)
            settle(layer)
            layer._pieces.cache.flush(10)
    assert sorted(asked_for(site)) == sorted(set(grid(*SHAPE)) - ABSENT)


def test_a_window_costs_a_little_beyond_it_and_no_more(site: WebServer, tmp_path: Path) -> None:
    window = box((1, 1, 1), (5, 4, 3))
    with opened(site, tmp_path) as layer:
        for index in window:
            read(layer, index)
        settle(layer)
        asked = asked_for(site)
        assert len(asked) == len(set(asked))
        assert len(set(asked) - set(window)) <= len(window) / 2


def test_blocks_of_big_files_several_at_once(site: WebServer, tmp_path: Path) -> None:
    with opened(site, tmp_path, memory_bytes=64 * MIB) as layer:
        with ThreadPoolExecutor(3) as pool:
            found = list(pool.map(lambda name: read_file(layer, f"{name}.bin"), "xyz"))
        assert found == [(site.root / f"{name}.bin").read_bytes() for name in "xyz"]
        settle(layer)
        spans = [request for request in site.requests if ".bin" in request and request.startswith("GET")]
        assert len(spans) == len(set(spans)) == 3 * 13
        kept, _, wasted = guesses(layer)
        assert wasted == 0
        assert kept >= 3 * 6 * MIB


def test_reads_here_and_there_are_not_gone_ahead_of(site: WebServer, tmp_path: Path) -> None:
    chance = random.Random(1)
    with opened(site, tmp_path, memory_bytes=64 * MIB) as layer:
        file = layer.open("x.bin")
        for at in range(0, 12, 2):  # every other block
            file.read(ByteRange(at * MIB, at * MIB + 10))
        other = layer.open("y.bin")
        for at in chance.sample(range(12), 6):
            other.read(ByteRange(at * MIB, at * MIB + 10))
        for index in chance.sample(grid(*SHAPE), 15):
            read(layer, index)
        settle(layer)
        assert guesses(layer)[2] <= 3 * MIB
        file.close()
        other.close()


class Gate:
    """Holds requests up, and counts them."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.lock = threading.Lock()
        self.here = 0
        self.most = 0

    def __call__(self, _: WebHandler) -> bool:
        with self.lock:
            self.here += 1
            self.most = max(self.most, self.here)
        self.open.wait(20)
        with self.lock:
            self.here -= 1
        return False


def test_guesses_leave_most_of_the_ways_to_readers(site: WebServer, tmp_path: Path) -> None:
    gate = Gate()
    with opened(site, tmp_path) as layer:
        for index in grid(*SHAPE)[:30]:
            read(layer, index)
        settle(layer)
        known = set(asked_for(site))
        site.fault = gate
        for index in grid(*SHAPE)[30:]:
            if index in known:
                read(layer, index)  # from memory
        wait_until(lambda: gate.here, what="a guess")
        time.sleep(0.2)
        assert gate.most <= layer._connection.guesses
        site.fault = None
        others = [index for index in grid(*SHAPE)[::-1][1:4] if index not in known]
        for index in others:
            read(layer, index)  # while all guesses hang
        gate.open.set()
        settle(layer)
        asked = asked_for(site)
        assert len(asked) == len(set(asked))


def test_a_server_that_fails_ends_guessing_and_no_reader_hears_of_it(
    site: WebServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    failed: list[str] = []

    def fault(handler: WebHandler) -> bool:
        if f"/{ARRAY}/3/" not in handler.path and f"/{ARRAY}/4/" not in handler.path:
            return False
        failed.append(handler.path)
        handler.reply(HTTPStatus.SERVICE_UNAVAILABLE)
        return True

    with opened(site, tmp_path) as layer:
        layer.scan(ARRAY)
        site.fault = fault
        for index in box((0, 0, 0), (3, 5, 4)):
            read(layer, index)
        settle(layer)
        assert failed, "the next planes were guessed"
        assert len(failed) <= 60
        before = len(failed)
        time.sleep(0.3)
        assert len(failed) == before, "nobody reads: nobody asks"
        site.fault = None
        for index in box((3, 0, 0), SHAPE):
            read(layer, index)
    caplog.clear()


def test_a_guess_that_fails_is_no_error_for_a_reader_who_waits_for_it(
    site: WebServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate()

    def fail_once(handler: WebHandler) -> bool:
        if not gate.open.is_set():
            gate(handler)
            handler.reply(HTTPStatus.SERVICE_UNAVAILABLE)
            return True
        return False

    with opened(site, tmp_path) as layer:
        file = layer.open(path_of((0, 0, 0)))
        piece = layer._pieces.piece(
            path_of((0, 0, 0)), layer._pieces.version_of(file._found), ByteRange(0, 2000), 2000
        )
        site.fault = fail_once

        def guess() -> None:
            with contextlib.suppress(Transient):
                layer._pieces.guess(piece, file._found)

        guessing = threading.Thread(target=guess)
        guessing.start()
        wait_until(lambda: gate.here, what="the guess to be under way")
        with ThreadPoolExecutor(1) as pool:
            reading = pool.submit(file.read, ByteRange(0, 2000))
            gate.open.set()
            assert reading.result() == chunk_of((0, 0, 0))
        guessing.join()
        file.close()
    caplog.clear()


def test_closing_gives_up_what_is_under_way(site: WebServer, tmp_path: Path) -> None:
    gate = Gate()
    with opened(site, tmp_path) as layer:
        layer.scan(ARRAY)

        def later(handler: WebHandler) -> bool:
            return handler.path[-3:] not in {f"{y}/{x}" for y in (0, 1) for x in range(4)} and gate(handler)

        site.fault = later
        for index in grid(*SHAPE)[:8]:
            read(layer, index)
        wait_until(lambda: gate.here, what="a guess")
    wait_until(lambda: not own_threads(), what="the end of all threads")
    gate.open.set()


class Sketch:
    """A prefetcher whose guesses come from nowhere."""

    def __init__(self, memory_bytes: int = MIB, window_bytes: int = MIB, size: int = 1000) -> None:
        self.cache = Cache(memory_bytes=memory_bytes)
        self.is_busy = False
        self.fetched: list[str] = []
        self.size = size
        self.fault: Callable[[str], None] = lambda _: None
        self.pieces = Pieces(self.cache, "s", self._read, immutable=True)
        self.prefetcher = Prefetcher(
            "lab", self.pieces, self.find, lambda _: "a", lambda: self.is_busy, window_bytes, 4
        )
        self.pieces.on_use = self.prefetcher.seen

    def find(self, path: str) -> Found:
        if not all(0 <= int(part) < 1000 for part in path.removeprefix("a/").split("/")):
            raise NotFound(path)
        return Found(path, FILE, self.size, 1)

    def _read(self, path: str, span: ByteRange, found: Found) -> bytes:
        assert found.size_bytes == span.stop
        self.fault(path)
        self.fetched.append(path)
        return bytes(span.stop)

    def piece(self, path: str) -> Piece:
        found = self.find(path)
        span = ByteRange(0, found.size_bytes)
        return self.pieces.piece(path, self.pieces.version_of(found), span, found.size_bytes)

    def read(self, *paths: str) -> None:
        for path in paths:
            self.pieces.get(self.piece(path), self.find(path))

    def settle(self) -> None:
        wait_until(
            lambda: not (self.prefetcher._events or self.prefetcher.queued or self.pieces._flights._flights),
            what="the end of guessing",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.prefetcher.close()
        self.prefetcher.close()
        wait_until(lambda: not own_threads(), what="the end of all threads")
        self.prefetcher.seen(self.piece("a/1"), self.find("a/1"))
        assert own_threads() == []


def test_no_guess_begins_while_readers_wait() -> None:
    with Sketch() as sketch:
        sketch.is_busy = True
        sketch.read("a/0", "a/1", "a/2", "a/3")
        wait_until(lambda: sketch.prefetcher.queued, what="guesses")
        time.sleep(0.1)
        assert len(sketch.fetched) == 4
        sketch.is_busy = False
        sketch.settle()
        assert len(sketch.fetched) > 4


def test_the_window_and_the_memory_are_never_exceeded() -> None:
    with Sketch(memory_bytes=100_000, window_bytes=30_000) as sketch:
        for at in range(200):
            sketch.read(f"a/{at}")
            assert sketch.cache.memory._guessed_bytes <= 31_000
        sketch.settle()
        assert sketch.cache.memory.guesses.wasted_bytes == 0
        assert len(sketch.fetched) == len(set(sketch.fetched))


def test_walks_share_the_window() -> None:
    with Sketch(memory_bytes=100_000, window_bytes=40_000) as sketch:
        sketch.prefetcher._array_at = lambda directory: directory
        sketch.find = lambda path: Found(path, FILE, 1000, 1)  # type: ignore[method-assign]
        sketch.prefetcher._find = sketch.find
        for at, array in itertools.product(range(100), "abcd"):
            sketch.read(f"{array}/{at}")
        sketch.settle()
        assert sketch.cache.memory.guesses.wasted_bytes == 0
        assert len(sketch.fetched) == len(set(sketch.fetched))


def test_what_is_larger_than_the_window_is_not_guessed() -> None:
    with Sketch(memory_bytes=2000, window_bytes=10_000, size=1500) as sketch:
        sketch.read(*(f"a/{at}" for at in range(10)))
        sketch.settle()
        assert sketch.fetched == [f"a/{at}" for at in range(10)]


def test_turning_drops_what_was_to_be_fetched() -> None:
    with Sketch() as sketch:
        sketch.is_busy = True
        sketch.read(*(f"a/{at}" for at in range(500, 520)))
        wait_until(lambda: sketch.prefetcher.queued, what="guesses")
        sketch.read(*(f"a/{at}" for at in range(518, 480, -1)))
        sketch.is_busy = False
        sketch.settle()
        assert all(int(path[2:]) < 520 for path in sketch.fetched)
        sketch.read("a/900", "a/100")
        sketch.settle()
        count = len(sketch.fetched)
        time.sleep(0.05)
        assert len(sketch.fetched) == count


def test_a_failure_forgets_all_walks_until_readers_have_walked_again() -> None:
    def fail(path: str) -> None:
        if int(path[2:]) >= 100:
            raise Unavailable(path)

    with Sketch() as sketch:
        sketch.fault = fail
        sketch.read(*(f"a/{at}" for at in range(98)))
        sketch.settle()
        assert sketch.prefetcher._ways == {} or sketch.fetched[-1] == "a/99"
        sketch.fault = lambda _: None
        sketch.read(*(f"a/{at}" for at in range(98, 110)))
        sketch.settle()
        assert len(sketch.fetched) == len(set(sketch.fetched))
        assert "a/112" in sketch.fetched


@pytest.mark.parametrize("name", ["0/1.2", "1/", "x", "0.1/2", "1e5", "-1", "\u0661", "", "0//1", "9" * 5000])
def test_names_that_are_no_chunks_are_no_walk(name: str) -> None:
    with Sketch() as sketch:
        piece = Piece("s", f"a/{name}", "v", 0, 10, 10)
        for _ in range(5):
            sketch.prefetcher.seen(piece, Found(name, FILE, 10))
        sketch.settle()
        assert sketch.fetched == []


@pytest.mark.parametrize("style", ["{}/{}", "{}.{}", "c/{}/{}", "c.{}.{}"])
def test_chunk_names_of_all_styles(style: str) -> None:
    with Sketch() as sketch:
        sketch.prefetcher._find = lambda path: Found(path, FILE, 1000, 1)
        sketch.find = sketch.prefetcher._find  # type: ignore[method-assign]
        sketch.read(*("a/" + style.format(y, x) for y in range(4) for x in range(4)))
        sketch.settle()
        assert "a/" + style.format(4, 0) in sketch.fetched


def test_blocks_end_where_the_file_ends() -> None:
    with Sketch(memory_bytes=64 * MIB, window_bytes=64 * MIB) as sketch:
        size = 20 * MIB + 5
        found = Found("big", FILE, size, 1)
        sketch.pieces._read = lambda path, span, _: (
            sketch.fetched.append(path) or bytes(span.stop - span.start)
        )
        for start in range(0, 12 * MIB, BLOCK_BYTES):
            piece = Piece("s", "big", "v", start, start + BLOCK_BYTES, size)
            sketch.pieces.get(piece, found)
        sketch.settle()
        assert len(sketch.fetched) == 21

"""Which pages the kernel may keep, decided without a kernel."""

from __future__ import annotations

import stat

import pytest

from copickfs import MemoryLayer
from copickfs.layers.memoryfile import MemoryFile, Node
from copickfs.model import Entry
from copickfs.ops import loop, pages
from copickfs.ops.pages import SMALL_BYTES, PageCache

CHUNK = "R/wbp.zarr/0/0"
DIRECT, KEPT, DROPPED = (True, False), (False, True), (False, False)


class Kernel:
    """Remembers what it was given."""

    def __init__(self) -> None:
        self.pages: dict[int, bytearray] = {}

    def store(self, number: int, offset: int, data: bytes | memoryview) -> None:
        held = self.pages.setdefault(number, bytearray())
        held[offset : offset + len(data)] = data


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made = Kernel()
    monkeypatch.setattr(pages, "_store", made.store)
    monkeypatch.setattr(loop, "idle", loop.Idle())
    return made


LAYER = MemoryLayer("lab")


def opened(data: bytes, mtime_ns: int = 1) -> MemoryFile:
    entry = Entry("f", stat.S_IFREG | 0o644, len(data), mtime_ns, "lab", inode=9)
    return MemoryFile(LAYER, entry, Node(entry.mode, 9, bytearray(data)))


def work() -> None:
    while loop.idle.work():
        pass


def test_a_small_file_is_handed_over_when_it_is_opened(kernel: Kernel) -> None:
    cache = PageCache(None)
    assert cache.on_open(5, "R/a.json", opened(b"abc"), LAYER) == KEPT
    assert kernel.pages == {5: b"abc"}


def test_a_large_file_outside_of_a_store_is_left_to_the_kernel(kernel: Kernel) -> None:
    cache = PageCache(None)
    file = opened(b"x" * (SMALL_BYTES + 1))
    assert cache.on_open(5, "R/a.mrc", file, LAYER) == DROPPED
    assert cache.on_open(5, "R/a.mrc", file, LAYER) == KEPT
    assert kernel.pages == {}


def test_a_chunk_is_handed_over_after_its_first_reader(kernel: Kernel) -> None:
    cache = PageCache(None)
    data = bytes(range(256)) * (3 << 12)
    file = opened(data)
    assert cache.on_open(5, CHUNK, file, LAYER) == DIRECT
    assert cache.on_release(5, file, direct_io=True)
    assert kernel.pages == {}
    work()
    assert kernel.pages == {5: data}
    assert cache.on_open(5, CHUNK, opened(data), LAYER) == KEPT


def test_a_chunk_of_another_version_is_not_put_over_the_new_one(kernel: Kernel) -> None:
    cache = PageCache(None)
    old, new = opened(b"o" * (1 << 22)), opened(b"new", mtime_ns=2)
    cache.on_open(5, CHUNK, old, LAYER)
    cache.on_release(5, old, direct_io=True)
    loop.idle.work()
    assert cache.on_open(5, CHUNK, new, LAYER) == KEPT
    handed = bytes(kernel.pages[5][:3])
    work()
    assert handed == b"new"
    assert bytes(kernel.pages[5][:3]) == b"new"
    assert len(kernel.pages[5]) == 1 << 20


def test_nothing_is_handed_over_while_a_read_may_be_under_way(kernel: Kernel) -> None:
    cache = PageCache(None)
    first = opened(b"o" * (1 << 18))
    assert cache.on_open(5, "R/a.mrc", first, LAYER) == DROPPED
    assert cache.on_open(5, "R/a.mrc", opened(b"new", mtime_ns=2), LAYER) == DIRECT
    assert not cache.on_release(5, first, direct_io=False)
    assert cache.on_open(5, "R/a.mrc", opened(b"new", mtime_ns=2), LAYER) == DROPPED
    assert kernel.pages == {}


def test_a_chunk_that_is_open_again_is_not_filled_behind_its_reader(kernel: Kernel) -> None:
    cache = PageCache(None)
    data = b"c" * (1 << 20)
    cache.on_open(5, CHUNK, opened(data), LAYER)
    cache.on_release(5, opened(data), direct_io=True)
    work()
    assert cache.on_open(5, CHUNK, opened(data), LAYER) == KEPT
    changed = opened(b"d" * (1 << 20), mtime_ns=2)
    assert cache.on_open(5, CHUNK, changed, LAYER) == DIRECT
    assert not cache.on_release(5, changed, direct_io=True)
    work()
    assert kernel.pages == {5: data}


def test_what_the_kernel_has_forgotten_is_handed_over_again(kernel: Kernel) -> None:
    cache = PageCache(None)
    file = opened(b"abc")
    cache.on_open(5, "R/a.json", file, LAYER)
    cache.on_release(5, file, direct_io=False)
    cache.forget(5)
    kernel.pages.clear()
    assert cache.on_open(5, "R/a.json", file, LAYER) == KEPT
    assert kernel.pages == {5: b"abc"}


def test_closing_gives_up_what_was_to_be_handed_over(kernel: Kernel) -> None:
    cache = PageCache(None)
    file = opened(b"c" * (1 << 20))
    cache.on_open(5, CHUNK, file, LAYER)
    cache.on_release(5, file, direct_io=True)
    cache.close()
    work()
    assert kernel.pages == {}


def test_control_files_are_read_as_they_were_made(kernel: Kernel) -> None:
    assert PageCache(LAYER).on_open(5, ".copickfs/metrics", opened(b"abc"), LAYER) == DIRECT
    assert kernel.pages == {}

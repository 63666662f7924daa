"""Reads of any size at any offset, mapped, many at once, and of files that change meanwhile."""

from __future__ import annotations

import errno
import itertools
import mmap
import os
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.mounted.conftest import put
from tests.sandbox import wait_until

if TYPE_CHECKING:
    from tests.mounted.conftest import Stack

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
SEEN_WITHIN_S = 1.5  # a second is promised; the rest is for a busy machine
SIZES = (0, 1, 511, 4095, 4096, 4097, 128 * KIB - 1, 128 * KIB, 128 * KIB + 1, MIB, MIB + 1, 5 * MIB + 12_345)


def noise(size_bytes: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size_bytes)


@pytest.mark.parametrize("kind", ["plain.bin", "s.zarr/0.0.0"])
def test_whole_files_of_every_size(stack: Stack, kind: str) -> None:
    for size in SIZES:
        put(stack.low / str(size) / kind, noise(size, size))
    mountpoint = stack.mount()
    for _ in range(2):
        for size in SIZES:
            path = mountpoint / str(size) / kind
            assert path.stat().st_size == size
            assert path.read_bytes() == noise(size, size)


@pytest.mark.parametrize("kind", ["plain.mrc", "s.zarr/0"])
def test_any_size_at_any_offset(stack: Stack, kind: str) -> None:
    data = noise(3 * MIB + 777)
    put(stack.low / kind, data)
    draw = random.Random(1)
    spans = [
        (draw.randrange(len(data) + 5_000), draw.choice((1, 7, 4096, 131_072, MIB, 2 * MIB)))
        for _ in range(300)
    ]
    spans += [
        (0, 0),
        (len(data), 10),
        (len(data) - 1, 10),
        (len(data) + MIB, MIB),
        (10 * GIB, 1),
        (0, 64 * MIB),
    ]
    path = stack.mount() / kind
    with open(path, "rb", buffering=0) as file:
        for offset, size in spans:
            assert os.pread(file.fileno(), size, offset) == data[offset : offset + size]
        file.seek(-10, os.SEEK_END)
        assert file.read() == data[-10:]
        assert file.read() == b""


def test_sparse_file_beyond_four_gib(stack: Stack) -> None:
    marks = {0: b"begin", 4 * GIB - 3: b"across the border", 4 * GIB + 4096: b"beyond", 5 * GIB - 3: b"end"}
    with open(stack.low / "huge.mrc", "wb") as file:
        for offset, mark in marks.items():
            os.pwrite(file.fileno(), mark, offset)
    path = stack.mount() / "huge.mrc"
    assert path.stat().st_size == 5 * GIB
    assert path.stat().st_blocks == (stack.low / "huge.mrc").stat().st_blocks < GIB // 512
    with open(path, "rb", buffering=0) as file:
        for offset, mark in marks.items():
            assert os.pread(file.fileno(), len(mark), offset) == mark
        assert os.pread(file.fileno(), 8, 2 * GIB) == bytes(8)
        assert os.pread(file.fileno(), 100, 5 * GIB - 3) == b"end"
        assert os.pread(file.fileno(), 100, 5 * GIB) == b""
        with mmap.mmap(file.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ) as mapped:
            for offset, mark in marks.items():
                assert mapped[offset : offset + len(mark)] == mark


def test_mapped_reads(stack: Stack) -> None:
    kinds = list(itertools.product((100, 2 * MIB + 333), (mmap.MAP_SHARED, mmap.MAP_PRIVATE)))
    for number, (size, _) in enumerate(kinds):
        put(stack.low / f"{number}.mrc", noise(size))
    point = stack.mount()
    for number, (size, flags) in enumerate(kinds):
        data, path = noise(size), point / f"{number}.mrc"
        for _ in range(2):  # mapped first, then read, then mapped again
            with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, flags, mmap.PROT_READ) as mapped:
                assert mapped[:] == data
                assert mapped[-1] == data[-1]
                assert mapped.find(data[size // 2 :]) == size // 2
            assert path.read_bytes() == data


def test_mapped_chunk(stack: Stack) -> None:
    """A chunk maps privately at once, and shared once the kernel has been given its contents."""
    data = noise(2 * MIB)
    put(stack.low / "s.zarr/0", data)
    path = stack.mount() / "s.zarr/0"
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ) as mapped:
        assert mapped[:] == data

    def mapped_shared() -> bytes | None:
        with open(path, "rb") as file:
            assert file.read() == data
            try:
                with mmap.mmap(file.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ) as mapped:
                    return mapped[:]
            except OSError as error:
                if error.errno != errno.ENODEV:
                    raise
                return None

    assert wait_until(mapped_shared, 5, "a shared mapping") == data


def test_32_threads_read_at_once(stack: Stack) -> None:
    files = {f"s.zarr/{i}": noise(512 * KIB + i, i) for i in range(24)}
    files |= {f"notes/{i}.txt": noise(3_000 + i, i) for i in range(200)}
    files["volume.mrc"] = noise(8 * MIB)
    for number, (name, data) in enumerate(files.items()):
        put(stack.roots[number % 3] / name if "zarr" not in name else stack.low / name, data)
    mountpoint = stack.mount()
    together = threading.Barrier(32)

    def reader(seed: int) -> int:
        draw = random.Random(seed)
        together.wait()
        wrong = 0
        for _ in range(60):
            name = draw.choice(list(files))
            if draw.random() < 0.5:
                wrong += (mountpoint / name).read_bytes() != files[name]
                continue
            offset, size = draw.randrange(len(files[name])), draw.randrange(1, MIB)
            with open(mountpoint / name, "rb", buffering=0) as file:
                wrong += os.pread(file.fileno(), size, offset) != files[name][offset : offset + size]
        return wrong

    with ThreadPoolExecutor(32) as pool:
        assert sum(pool.map(reader, range(32))) == 0


@pytest.mark.parametrize("kind", ["notes.txt", "s.zarr/0"])
def test_file_that_grows_while_it_is_read(stack: Stack, kind: str) -> None:
    source = put(stack.low / kind, b"a" * 10_000)
    path = stack.mount() / kind
    with stack.changing(), open(path, "rb", buffering=0) as file:
        assert file.read() == b"a" * 10_000
        with open(source, "ab") as growing:
            growing.write(b"b" * 200_000)
        wait_until(lambda: os.fstat(file.fileno()).st_size == 210_000, SEEN_WITHIN_S, "the new size")
        assert file.read() == b"b" * 200_000
        assert path.read_bytes() == b"a" * 10_000 + b"b" * 200_000


@pytest.mark.parametrize("kind", ["notes.txt", "s.zarr/0"])
def test_file_that_shrinks_while_it_is_read(stack: Stack, kind: str) -> None:
    data = noise(600_000)
    source = put(stack.low / kind, data)
    path = stack.mount() / kind
    with stack.changing(), open(path, "rb", buffering=0) as file:
        assert os.pread(file.fileno(), 100_000, 0) == data[:100_000]
        os.truncate(source, 250_000)
        wait_until(lambda: path.stat().st_size == 250_000, SEEN_WITHIN_S, "the new size")
        assert os.pread(file.fileno(), 600_000, 0) == data[:250_000]
        assert os.pread(file.fileno(), 100, 400_000) == b""
        assert path.read_bytes() == data[:250_000]


@pytest.mark.parametrize("kind", ["notes.txt", "s.zarr/0"])
def test_file_that_vanishes_while_it_is_read(stack: Stack, kind: str) -> None:
    data = noise(2 * MIB)
    source = put(stack.low / kind, data)
    path = stack.mount() / kind
    with stack.changing(), open(path, "rb", buffering=0) as file:
        assert os.pread(file.fileno(), 1000, 0) == data[:1000]
        source.unlink()
        wait_until(lambda: not path.exists(), SEEN_WITHIN_S, "the removal")
        assert os.pread(file.fileno(), 2 * MIB, 0) == data
        assert os.fstat(file.fileno()).st_size == len(data)
    assert not path.exists()


@pytest.mark.parametrize("size", [100 * KIB, 4 * MIB])
@pytest.mark.parametrize("kind", ["notes.txt", "s.zarr/0"])
def test_open_file_stays_what_it_was_when_it_is_replaced(stack: Stack, kind: str, size: int) -> None:
    """A reader that goes on with its open file gets no byte of the version that took its name."""
    old, new = b"o" * size, b"n" * (size - 1)
    source = put(stack.low / kind, old)
    path = stack.mount() / kind
    with stack.changing(), open(path, "rb", buffering=0) as file:
        assert os.pread(file.fileno(), 10 * KIB, 0) == old[: 10 * KIB]
        put(stack.low / "aside", new).rename(source)
        wait_until(lambda: path.read_bytes() == new, SEEN_WITHIN_S, "the replacement")
        assert {*os.pread(file.fileno(), size, 0)} == {ord("o")}
        assert {*os.pread(file.fileno(), size, size - 10 * KIB)} == {ord("o")}
    assert path.read_bytes() == new


def test_file_replaced_again_and_again_is_never_torn(stack: Stack) -> None:
    """Every read of the whole file is one version, while another program replaces it atomically."""
    source = put(stack.low / "picks.json", b"\x00" * 20_000)
    path = stack.mount() / "picks.json"
    stop = threading.Event()

    def rewrite() -> None:
        version = 0
        while not stop.is_set():
            version = (version + 1) % 256
            aside = put(stack.low / "aside", bytes([version]) * (20_000 + 50 * version))
            aside.rename(source)
            stop.wait(0.002)

    writer = threading.Thread(target=rewrite)
    with stack.changing():
        writer.start()
        try:
            torn = [data for data in (path.read_bytes() for _ in range(600)) if not whole(data)]
        finally:
            stop.set()
            writer.join()
        wait_until(lambda: path.read_bytes() == source.read_bytes(), SEEN_WITHIN_S, "the last version")
    assert not torn, f"{len(torn)} torn reads, of lengths {[len(data) for data in torn[:5]]}"


def whole(data: bytes) -> bool:
    return len({*data}) == 1 and len(data) == 20_000 + 50 * data[0]

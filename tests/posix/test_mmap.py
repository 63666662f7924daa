"""mmap(2): shared writes, private ones, and how they agree with read(2) and write(2)."""

from __future__ import annotations

import errno
import mmap
import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.posix.calls import contents, fails, opened

if TYPE_CHECKING:
    from tests.posix.place import Place

PAGE = mmap.PAGESIZE
SIZE = 10 * PAGE + 100


@pytest.mark.parametrize("size", [100, PAGE, SIZE, 1 << 20])
def test_shared_writes(place: Place, size: int) -> None:
    path = place.file("file", b"x" * size)
    wanted = bytearray(b"x" * size)
    with opened(path, os.O_RDWR) as fd, mmap.mmap(fd, size) as mapped:
        assert mapped[:] == wanted
        for offset in range(0, size - 3, 97):
            mapped[offset : offset + 3] = wanted[offset : offset + 3] = b"abc"
        mapped.flush()
        assert os.pread(fd, size, 0) == wanted
    assert contents(path) == wanted


def test_without_msync(place: Place) -> None:
    path = place.file("file", bytes(SIZE))
    with opened(path, os.O_RDWR) as fd, mmap.mmap(fd, SIZE) as mapped:
        mapped[PAGE : PAGE + 4] = b"data"
        assert os.pread(fd, 4, PAGE) == b"data"
        with opened(path) as other:
            assert os.pread(other, 4, PAGE) == b"data"
    assert contents(path)[PAGE : PAGE + 4] == b"data"


def test_after_the_descriptor_is_closed(place: Place) -> None:
    path = place.file("file", bytes(SIZE))
    with opened(path, os.O_RDWR) as fd:
        mapped = mmap.mmap(fd, SIZE)
    mapped[:4] = b"data"
    mapped.flush()
    assert contents(path)[:4] == b"data"
    mapped[:4] = b"more"
    mapped.close()
    assert contents(path)[:4] == b"more"


def test_write_is_seen_in_the_map(place: Place) -> None:
    path = place.file("file", bytes(SIZE))
    with opened(path, os.O_RDWR) as fd, mmap.mmap(fd, SIZE) as mapped:
        assert mapped[:10] == bytes(10)
        os.pwrite(fd, b"written", 3)
        assert mapped[:10] == b"\0\0\0written"
        with opened(path, os.O_WRONLY) as other:
            os.pwrite(other, b"W", 3)
        assert mapped[:10] == b"\0\0\0Written"
        mapped[0] = 1
        assert os.pread(fd, 10, 0) == b"\1\0\0Written"


def test_two_maps_and_two_processes(place: Place) -> None:
    path = place.file("file", bytes(SIZE))
    with opened(path, os.O_RDWR) as fd, mmap.mmap(fd, SIZE) as mapped:
        if (pid := os.fork()) == 0:
            with opened(path, os.O_RDWR) as own, mmap.mmap(own, SIZE) as other:
                other[5 * PAGE : 5 * PAGE + 5] = b"child"
            os._exit(0)
        os.waitpid(pid, 0)
        assert mapped[5 * PAGE : 5 * PAGE + 5] == b"child"
    assert contents(path)[5 * PAGE : 5 * PAGE + 5] == b"child"


def test_private(place: Place) -> None:
    path = place.file("file", b"x" * SIZE)
    with (
        opened(path) as fd,
        mmap.mmap(fd, SIZE, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE) as mapped,
    ):
        mapped[:4] = b"mine"
        assert mapped[:5] == b"minex"
    assert contents(path) == b"x" * SIZE


def test_new_file_that_is_grown(place: Place) -> None:
    with opened(place / "new", os.O_RDWR | os.O_CREAT) as fd:
        os.ftruncate(fd, SIZE)
        with mmap.mmap(fd, SIZE) as mapped:
            mapped[SIZE - 3 :] = b"end"
    assert contents(place / "new") == bytes(SIZE - 3) + b"end"


def test_beyond_the_last_page(place: Place) -> None:
    path = place.file("file", b"x" * 100)

    def touch(offset: int) -> int:
        with opened(path, os.O_RDWR) as fd:
            os.ftruncate(fd, 2 * PAGE)
            mapped = mmap.mmap(fd, 2 * PAGE)
            os.ftruncate(fd, 100)
        if (pid := os.fork()) == 0:
            signal.signal(signal.SIGBUS, signal.SIG_DFL)
            os._exit(mapped[offset])
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    assert touch(50) == ord("x")
    assert touch(200) == 0, "the rest of the last page reads as zeros"
    assert touch(PAGE + 1) == -signal.SIGBUS


def test_what_is_written_past_the_end_is_not_in_the_file(place: Place) -> None:
    path = place.file("file", b"x" * 100)
    with opened(path, os.O_RDWR) as fd:
        with mmap.mmap(fd, 100) as mapped:
            mapped[99] = ord("y")
        os.ftruncate(fd, 200)
    assert contents(path) == b"x" * 99 + b"y" + bytes(100)


def test_file_that_was_removed(place: Place) -> None:
    path = place.file("file", b"x" * SIZE)
    with opened(path, os.O_RDWR) as fd:
        mapped = mmap.mmap(fd, SIZE)
        os.unlink(path)
    mapped[:4] = b"data"
    mapped.flush()
    assert mapped[:5] == b"datax"
    mapped.close()
    assert os.listdir(place.path) == []


def test_times(place: Place) -> None:
    path = place.file("file", bytes(SIZE))
    os.utime(path, ns=(1, 1))
    with opened(path, os.O_RDWR) as fd, mmap.mmap(fd, SIZE) as mapped:
        mapped[:4] = b"data"
        mapped.flush()
    assert os.stat(path).st_mtime_ns > 1


def test_errors(place: Place) -> None:
    path = place.file("file", b"x" * SIZE)
    with opened(path) as fd, fails(errno.EACCES):
        mmap.mmap(fd, SIZE)
    with opened(path, os.O_WRONLY) as fd, fails(errno.EACCES):
        mmap.mmap(fd, SIZE)
    with opened(place.directory()) as fd, fails(errno.ENODEV):
        mmap.mmap(fd, SIZE, prot=mmap.PROT_READ)

"""utimensat(2): times to the nanosecond, now, and left as they are."""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING

import pytest

from tests.posix.calls import contents, fails, opened, utimensat
from tests.posix.place import OTHER, run_as

if TYPE_CHECKING:
    from pathlib import Path

    from tests.posix.place import Place

TIMES_NS = [0, 1, 123_456_789_012_345_678, 4_102_444_800_000_000_001, -1, -86_400_000_000_001]


def times(path: Path) -> tuple[int, int]:
    status = os.lstat(path)
    return status.st_atime_ns, status.st_mtime_ns


@pytest.mark.parametrize("time_ns", TIMES_NS)
def test_exactly(place: Place, time_ns: int) -> None:
    for path in (place.file("file", b"data"), place.directory()):
        os.utime(path, ns=(time_ns, time_ns + 7))
        assert times(path) == (time_ns, time_ns + 7)
    assert contents(place / "file") == b"data"


def test_left_as_it_is(place: Place) -> None:
    path = place.file("file", b"data")
    os.utime(path, ns=(10**18, 2 * 10**18))
    utimensat(path, None, 5)
    assert times(path) == (10**18, 5)
    utimensat(path, 6, None)
    assert times(path) == (6, 5)
    utimensat(path, None, None)
    assert times(path) == (6, 5)


def test_now(place: Place) -> None:
    path = place.file("file", b"data")
    os.utime(path, ns=(1, 1))
    before = time.time_ns() - 1_000_000_000
    utimensat(path, 5, None, now=True)
    assert times(path)[0] == 5
    assert times(path)[1] > before
    os.utime(path)
    assert min(times(path)) > before


def test_change_time(place: Place) -> None:
    path = place.file()
    before = os.stat(path).st_ctime_ns
    os.utime(path, ns=(1, 1))
    assert os.stat(path).st_ctime_ns >= before


def test_descriptor_and_link(place: Place) -> None:
    path = place.file("file", b"data")
    os.symlink("file", place / "link")
    with opened(path) as fd:
        os.utime(fd, ns=(3, 4))
        assert times(path) == (3, 4)
    os.utime(place / "link", ns=(5, 6), follow_symlinks=False)
    assert (times(place / "link")[1], times(path)) == (6, (3, 4))
    os.utime(place / "link", ns=(7, 8))
    assert times(path) == (7, 8)


def test_access_time_of_a_link(place: Place) -> None:
    os.symlink("file", place / "link")
    os.utime(place / "link", ns=(5, 6), follow_symlinks=False)
    assert times(place / "link") == (5, 6)


def test_open_file_that_was_written(place: Place) -> None:
    path = place.file("file", b"data")
    with opened(path, os.O_WRONLY) as fd:
        os.write(fd, b"more data")
        os.utime(path, ns=(10**18, 10**18))
        assert os.fstat(fd).st_mtime_ns == 10**18
    assert times(path)[1] == 10**18


def test_open_file_that_was_removed(place: Place) -> None:
    with opened(place.file("file", b"data"), os.O_RDWR) as fd:
        os.unlink(place / "file")
        os.utime(fd, ns=(3, 4))
        assert os.fstat(fd).st_mtime_ns == 4


def test_errors(place: Place) -> None:
    path = place.file()
    for number, bad in (
        (errno.ENOENT, place / "nothing"),
        (errno.ENOTDIR, path / "inner"),
        (errno.ENAMETOOLONG, place / ("x" * 256)),
    ):
        with fails(number):
            os.utime(bad, ns=(1, 1))


def test_permission(shared: Place) -> None:
    readable = shared.file("readable", b"data", 0o644)
    writable = shared.file("writable", b"data", 0o666)
    own = shared.file("own", b"data", 0o400, OTHER)

    def attempt() -> None:
        with fails(errno.EACCES):
            os.utime(readable)
        with fails(errno.EPERM):
            os.utime(readable, ns=(1, 1))
        os.utime(writable)
        with fails(errno.EPERM):
            os.utime(writable, ns=(1, 1))
        os.utime(own, ns=(1, 1))

    run_as(OTHER, attempt)
    assert times(own) == (1, 1)
    assert times(writable)[1] > 1

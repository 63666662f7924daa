"""truncate(2) and ftruncate(2)."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from tests.posix.calls import contents, fails, opened, permissions
from tests.posix.place import OTHER, run_as

if TYPE_CHECKING:
    from tests.posix.place import Place

SIZES = [0, 1, 4_095, 4_096, 10_000, 10_001, 200_000]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("by", ["path", "descriptor"])
def test_size(place: Place, size: int, by: str) -> None:
    data = os.urandom(10_000)
    path = place.file("file", data, 0o640)
    if by == "path":
        os.truncate(path, size)
    else:
        with opened(path, os.O_WRONLY) as fd:
            os.ftruncate(fd, size)
            assert os.fstat(fd).st_size == size
    assert contents(path) == data[:size].ljust(size, b"\0")
    assert permissions(path) == 0o640


def test_what_was_cut_off_never_comes_back(place: Place) -> None:
    path = place.file("file", b"x" * 10_000)
    with opened(path, os.O_RDWR) as fd:
        assert os.pread(fd, 10_000, 0) == b"x" * 10_000
        os.ftruncate(fd, 100)
        os.ftruncate(fd, 10_000)
        assert os.pread(fd, 10_000, 0) == b"x" * 100 + bytes(9_900)
        os.ftruncate(fd, 50)
        os.pwrite(fd, b"end", 9_997)
        assert os.pread(fd, 10_000, 0) == b"x" * 50 + bytes(9_947) + b"end"
    assert contents(path) == b"x" * 50 + bytes(9_947) + b"end"


def test_others_see_it_at_once(place: Place) -> None:
    path = place.file("file", b"x" * 10_000)
    with opened(path) as reader:
        assert len(os.pread(reader, 20_000, 0)) == 10_000
        os.truncate(path, 10)
        assert os.pread(reader, 20_000, 0) == b"x" * 10
        os.truncate(path, 20)
        assert os.pread(reader, 20_000, 0) == b"x" * 10 + bytes(10)


def test_position_stays(place: Place) -> None:
    with opened(place.file("file", b"x" * 100), os.O_RDWR) as fd:
        os.lseek(fd, 80, os.SEEK_SET)
        os.ftruncate(fd, 10)
        os.write(fd, b"end")
        assert os.fstat(fd).st_size == 83
        assert os.pread(fd, 100, 0) == b"x" * 10 + bytes(70) + b"end"


def test_sparse(place: Place) -> None:
    path = place.file()
    os.truncate(path, 1 << 33)
    status = os.stat(path)
    assert (status.st_size, status.st_blocks < 1 << 10) == (1 << 33, True)


def test_times(place: Place) -> None:
    path = place.file("file", b"data")
    os.utime(path, ns=(1, 1))
    os.truncate(path, 2)
    assert os.stat(path).st_mtime_ns > 1


def test_open_file_that_was_removed(place: Place) -> None:
    path = place.file("file", b"x" * 100)
    with opened(path, os.O_RDWR) as fd:
        os.unlink(path)
        os.ftruncate(fd, 10)
        assert (os.fstat(fd).st_size, os.pread(fd, 100, 0)) == (10, b"x" * 10)
    assert not path.exists()


def test_errors(place: Place) -> None:
    path = place.file("file", b"data")
    directory = place.directory()
    (place / "loop").symlink_to("loop")
    for number, bad, size in (
        (errno.ENOENT, place / "nothing", 0),
        (errno.ENOTDIR, path / "inner", 0),
        (errno.EISDIR, directory, 0),
        (errno.EINVAL, path, -1),
        (errno.ELOOP, place / "loop", 0),
        (errno.ENAMETOOLONG, place / ("x" * 256), 0),
        (errno.EFBIG, path, (1 << 63) - 1),
    ):
        with fails(number):
            os.truncate(bad, size)
    with opened(path) as fd, fails(errno.EINVAL):
        os.ftruncate(fd, 0)
    assert contents(path) == b"data"


def test_through_a_link(place: Place) -> None:
    path = place.file("file", b"data")
    (place / "link").symlink_to("file")
    os.truncate(place / "link", 2)
    assert contents(path) == b"da"
    assert (place / "link").is_symlink()


def test_permission(shared: Place) -> None:
    path = shared.file("file", b"data", 0o644)

    def attempt() -> None:
        with fails(errno.EACCES):
            os.truncate(path, 0)

    run_as(OTHER, attempt)
    assert contents(path) == b"data"

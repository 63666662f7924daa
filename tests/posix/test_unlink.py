"""unlink(2), of open files too."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING

from tests.posix.calls import contents, fails, make, opened
from tests.posix.place import OTHER, run_as

if TYPE_CHECKING:
    from tests.posix.place import Place


def test_file(place: Place) -> None:
    path = place.file("file", b"data")
    os.unlink(path)
    assert os.listdir(place.path) == []
    for call in (os.stat, os.unlink, contents):
        with fails(errno.ENOENT):
            call(path)


def test_and_make_again(place: Place) -> None:
    path = place.file("file", b"x" * 10_000, 0o600)
    os.unlink(path)
    make(path, b"new", 0o644)
    assert contents(path) == b"new"
    os.unlink(path)
    os.mkdir(path)
    os.rmdir(path)
    os.symlink("elsewhere", path)
    assert os.readlink(path) == "elsewhere"
    os.unlink(path)
    assert os.listdir(place.path) == []


def test_open_file(place: Place) -> None:
    path = place.file("file", b"data")
    with opened(path, os.O_RDWR) as fd:
        os.unlink(path)
        assert os.fstat(fd).st_nlink == 0
        assert os.pread(fd, 10, 0) == b"data"
        os.pwrite(fd, b"more", 4)
        os.fsync(fd)
        os.fchmod(fd, 0o600)
        assert os.fstat(fd).st_size == 8
        assert os.pread(fd, 10, 0) == b"datamore"
        make(path, b"another")
        assert os.pread(fd, 10, 0) == b"datamore"
        assert contents(path) == b"another"
    assert contents(path) == b"another"


def test_file_open_for_reading(place: Place) -> None:
    path = place.file("file", b"x" * 300_000)
    with opened(path) as fd:
        assert os.pread(fd, 1, 0) == b"x"
        os.unlink(path)
        assert os.pread(fd, 300_001, 0) == b"x" * 300_000
        assert os.fstat(fd).st_size == 300_000
    assert not path.exists()


def test_new_file_that_is_being_written(place: Place) -> None:
    with opened(place / "new", os.O_RDWR | os.O_CREAT) as fd:
        os.write(fd, b"data")
        os.unlink(place / "new")
        os.write(fd, b"more")
        assert os.pread(fd, 10, 0) == b"datamore"
    assert os.listdir(place.path) == []


def test_one_of_two_names(place: Place) -> None:
    make(place / "one", b"data")
    os.link(place / "one", place / "two")
    before = os.stat(place / "two")
    os.unlink(place / "one")
    after = os.stat(place / "two")
    assert (before.st_nlink, after.st_nlink) == (2, 1)
    assert after.st_ctime_ns >= before.st_ctime_ns
    assert contents(place / "two") == b"data"


def test_other_kinds(place: Place) -> None:
    place.file("file", b"data")
    os.symlink("file", place / "link")
    os.mkfifo(place / "fifo")
    with socket.socket(socket.AF_UNIX) as made:
        os.chdir(place.path)
        made.bind("socket")
        os.chdir("/")
    for name in ("link", "fifo", "socket"):
        os.unlink(place / name)
    assert os.listdir(place.path) == ["file"]
    assert contents(place / "file") == b"data"


def test_errors(place: Place) -> None:
    path = place.file()
    directory = place.directory()
    for number, bad in (
        (errno.ENOENT, place / "nothing"),
        (errno.EISDIR, directory),
        (errno.ENOTDIR, path / "inner"),
        (errno.ENOTDIR, f"{path}/"),
        (errno.ENAMETOOLONG, place / ("x" * 256)),
    ):
        with fails(number):
            os.unlink(bad)
    assert sorted(os.listdir(place.path)) == ["dir", "file"]


def test_times_of_the_directory_above(place: Place) -> None:
    directory = place.directory()
    place.file("dir/file")
    os.utime(directory, ns=(1, 1))
    os.unlink(directory / "file")
    assert os.stat(directory).st_mtime_ns > 1


def test_permission_is_that_of_the_directory(shared: Place) -> None:
    directory = shared.directory("dir", 0o755)
    shared.file("dir/file", b"data", 0o666)

    def attempt() -> None:
        with fails(errno.EACCES):
            os.unlink(directory / "file")

    run_as(OTHER, attempt)
    directory.chmod(0o777)
    (directory / "file").chmod(0)
    run_as(OTHER, lambda: os.unlink(directory / "file"))
    assert os.listdir(directory) == []

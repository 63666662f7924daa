"""fsync(2), fdatasync(2), syncfs(2): of files, of directories, and their errors."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from tests.posix.calls import contents, fails, opened, syncfs

if TYPE_CHECKING:
    from tests.posix.place import Place


def test_file(place: Place) -> None:
    path = place.file("file", b"data")
    with opened(path, os.O_RDWR) as fd:
        for number in range(20):
            os.pwrite(fd, b"%04d" % number, 4 * number)
            (os.fsync, os.fdatasync)[number % 2](fd)
    assert contents(path) == b"".join(b"%04d" % number for number in range(20))


def test_new_file(place: Place) -> None:
    with opened(place / "new", os.O_WRONLY | os.O_CREAT) as fd:
        os.fsync(fd)
        os.write(fd, b"data")
        os.fsync(fd)
        assert contents(place / "new") == b"data"
        os.write(fd, b"more")
    assert contents(place / "new") == b"datamore"


def test_descriptor_that_only_reads(place: Place) -> None:
    with opened(place.file("file", b"data")) as fd:
        os.fsync(fd)
        os.fdatasync(fd)


def test_directory(place: Place) -> None:
    path = place.directory()
    with opened(path, os.O_RDONLY | os.O_DIRECTORY) as fd:
        os.fsync(fd)
        os.close(os.open("new", os.O_WRONLY | os.O_CREAT, dir_fd=fd))
        os.fsync(fd)
        os.fdatasync(fd)
    assert os.listdir(path) == ["new"]


def test_file_system(place: Place) -> None:
    with opened(place.path) as fd:
        syncfs(fd)


def test_removed_file(place: Place) -> None:
    with opened(place.file("file", b"data"), os.O_RDWR) as fd:
        os.unlink(place / "file")
        os.write(fd, b"more")
        os.fsync(fd)
    assert os.listdir(place.path) == []


def test_errors(place: Place) -> None:
    with opened(place.file()) as fd:
        pass
    with fails(errno.EBADF):
        os.fsync(fd)
    with opened(place / "file", os.O_PATH) as fd, fails(errno.EBADF):
        os.fsync(fd)

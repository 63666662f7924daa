"""open(2): flags, modes and errors."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from tests.posix.calls import contents, fails, make, opened, permissions, umask

if TYPE_CHECKING:
    from tests.posix.place import Place

NEW = os.O_WRONLY | os.O_CREAT


def test_missing(place: Place) -> None:
    for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC, os.O_WRONLY | os.O_APPEND):
        with fails(errno.ENOENT):
            os.open(place / "nothing", flags)
    with fails(errno.ENOENT):
        os.open(place / "nothing" / "inner", NEW)


@pytest.mark.parametrize("mode", [0o644, 0o600, 0o400, 0o000, 0o777, 0o1666])
def test_create(place: Place, mode: int) -> None:
    with umask(0), opened(place / "new", NEW | os.O_EXCL, mode) as fd:
        assert os.write(fd, b"data") == 4, "the mode counts for later opens only"
    status = os.stat(place / "new")
    assert permissions(place / "new") == mode
    assert (status.st_uid, status.st_gid, status.st_size, status.st_nlink) == (
        place.user.uid,
        place.user.gid,
        4,
        1,
    )
    assert os.listdir(place.path) == ["new"]


def test_create_what_is_there_keeps_it(place: Place) -> None:
    path = place.file("file", b"as it was", 0o640)
    with opened(path, os.O_RDWR | os.O_CREAT, 0o777) as fd:
        assert os.read(fd, 20) == b"as it was"
    assert permissions(path) == 0o640


def test_exclusive(place: Place) -> None:
    path = place.file("file", b"as it was")
    directory = place.directory("dir")
    (place / "dangling").symlink_to("nothing")
    for each in (path, directory, place / "dangling"):
        with fails(errno.EEXIST):
            os.open(each, NEW | os.O_EXCL)
    assert contents(path) == b"as it was"
    assert not os.path.lexists(place / "nothing")


def test_exclusive_only_one_of_many_wins(place: Place) -> None:
    import threading

    won: list[int] = []

    def attempt(number: int) -> None:
        try:
            os.close(os.open(place / "new", NEW | os.O_EXCL))
        except FileExistsError:
            return
        won.append(number)

    threads = [threading.Thread(target=attempt, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1


def test_create_through_a_link(place: Place) -> None:
    (place / "link").symlink_to("target")
    make_flags = os.O_WRONLY | os.O_CREAT
    with opened(place / "link", make_flags) as fd:
        os.write(fd, b"through the link")
    assert contents(place / "target") == b"through the link"
    assert os.readlink(place / "link") == "target"


@pytest.mark.parametrize("size", [0, 1, 10_000])
def test_truncate(place: Place, size: int) -> None:
    path = place.file("file", b"x" * size, 0o640)
    before = os.stat(path)
    with opened(path, os.O_WRONLY | os.O_TRUNC) as fd:
        assert os.fstat(fd).st_size == 0
        assert os.stat(path).st_size == 0
    after = os.stat(path)
    assert (after.st_size, permissions(path)) == (0, 0o640)
    if size:
        assert after.st_mtime_ns >= before.st_mtime_ns
    with opened(path, os.O_RDWR | os.O_TRUNC | os.O_CREAT) as fd:
        os.write(fd, b"new")
    assert contents(path) == b"new"


def test_truncate_what_others_have_open(place: Place) -> None:
    path = place.file("file", b"x" * 10_000)
    with opened(path) as reader, opened(path, os.O_RDWR) as writer:
        assert len(os.pread(reader, 20_000, 0)) == 10_000
        os.close(os.open(path, os.O_WRONLY | os.O_TRUNC))
        assert os.pread(reader, 20_000, 0) == b""
        assert os.fstat(writer).st_size == 0
        os.pwrite(writer, b"again", 0)
        assert os.pread(reader, 20_000, 0) == b"again"


def test_append(place: Place) -> None:
    path = place.file("file", b"one")
    with opened(path, os.O_WRONLY | os.O_APPEND) as fd, opened(path, os.O_WRONLY | os.O_APPEND) as other:
        os.write(fd, b"two")
        os.write(other, b"three")
        os.lseek(fd, 0, os.SEEK_SET)
        os.write(fd, b"four")
    assert contents(path) == b"onetwothreefour"


def test_append_to_a_new_file(place: Place) -> None:
    with opened(place / "new", NEW | os.O_APPEND) as fd:
        for number in range(100):
            os.write(fd, b"%03d" % number)
            os.lseek(fd, 0, os.SEEK_SET)
    assert contents(place / "new") == b"".join(b"%03d" % number for number in range(100))


def test_access_mode_is_kept(place: Place) -> None:
    path = place.file("file", b"data")
    with opened(path) as fd, fails(errno.EBADF):
        os.write(fd, b"x")
    with opened(path, os.O_WRONLY) as fd, fails(errno.EBADF):
        os.read(fd, 1)
    assert contents(path) == b"data"


def test_directory(place: Place) -> None:
    path = place.directory("dir")
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_RDONLY | os.O_CREAT, os.O_WRONLY | os.O_TRUNC):
        with fails(errno.EISDIR):
            os.open(path, flags)
    with opened(path, os.O_RDONLY | os.O_DIRECTORY) as fd:
        assert os.listdir(fd) == []
        with fails(errno.EISDIR):
            os.read(fd, 1)
    with fails(errno.EISDIR):
        os.open(f"{place / 'new'}/", NEW)


def test_not_a_directory(place: Place) -> None:
    path = place.file()
    with fails(errno.ENOTDIR):
        os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    with fails(errno.ENOTDIR):
        os.open(path / "inner", os.O_RDONLY)
    with fails(errno.ENOTDIR):
        os.open(path / "inner", NEW)
    with fails(errno.ENOTDIR):
        os.open(f"{path}/", os.O_RDONLY)


def test_links(place: Place) -> None:
    place.file("file", b"data")
    (place / "link").symlink_to("file")
    (place / "loop").symlink_to("loop")
    assert contents(place / "link") == b"data"
    with fails(errno.ELOOP):
        os.open(place / "link", os.O_RDONLY | os.O_NOFOLLOW)
    with fails(errno.ELOOP):
        os.open(place / "loop", os.O_RDONLY)
    with fails(errno.ELOOP):
        os.open(place / "loop", NEW)


def test_beneath_a_descriptor(place: Place) -> None:
    place.directory("dir")
    with opened(place / "dir", os.O_PATH | os.O_DIRECTORY) as directory:
        fd = os.open("new", NEW, 0o600, dir_fd=directory)
        os.write(fd, b"data")
        os.close(fd)
    assert contents(place / "dir" / "new") == b"data"


def test_without_opening(place: Place) -> None:
    path = place.file("file", b"data")
    with opened(path, os.O_PATH) as fd:
        assert os.fstat(fd).st_size == 4
        with fails(errno.EBADF):
            os.read(fd, 1)
        with fails(errno.EBADF):
            os.ftruncate(fd, 0)


def test_unnamed_file(place: Place) -> None:
    """O_TMPFILE works or is refused so that programs fall back."""
    try:
        fd = os.open(place.path, os.O_TMPFILE | os.O_RDWR, 0o600)
    except OSError as error:
        assert error.errno in (errno.EOPNOTSUPP, errno.EISDIR)  # noqa: PT017 -- one of two good answers
    else:
        os.write(fd, b"data")
        assert os.fstat(fd).st_nlink == 0
        os.close(fd)
    assert os.listdir(place.path) == []


@pytest.mark.parametrize("flag", ["O_SYNC", "O_DSYNC", "O_NOCTTY", "O_NONBLOCK", "O_NOATIME"])
def test_other_flags(place: Place, flag: str) -> None:
    path = place.file("file", b"data")
    with opened(path, os.O_RDWR | getattr(os, flag)) as fd:
        os.pwrite(fd, b"more", 4)
        assert os.pread(fd, 10, 0) == b"datamore"
    assert contents(path) == b"datamore"


def test_unbuffered(place: Place) -> None:
    import mmap

    path = place.file("file", b"x" * 8192)
    with opened(path, os.O_RDWR | os.O_DIRECT) as fd, mmap.mmap(-1, 4096) as page:
        page.write(b"y" * 4096)
        assert os.pwritev(fd, [page], 4096) == 4096
        assert os.preadv(fd, [page], 0) == 4096
        assert page[:] == b"x" * 4096
    assert contents(path) == b"x" * 4096 + b"y" * 4096


def test_a_new_file_changes_its_directory(place: Place) -> None:
    os.utime(place.path, ns=(0, 0))
    make(place / "new")
    status = os.stat(place.path)
    assert status.st_mtime_ns > 0
    before = status.st_mtime_ns
    os.close(os.open(place / "new", os.O_WRONLY | os.O_CREAT))
    assert os.stat(place.path).st_mtime_ns == before, "nothing was made"


def test_inode_of_a_new_file_stays(place: Place) -> None:
    with opened(place / "new", NEW) as fd:
        number = os.fstat(fd).st_ino
        os.write(fd, b"data")
        assert os.stat(place / "new").st_ino == number
    assert os.stat(place / "new").st_ino == number
    with opened(place / "new", os.O_WRONLY) as fd:
        os.write(fd, b"more")
    assert os.stat(place / "new").st_ino == number

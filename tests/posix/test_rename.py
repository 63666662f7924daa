"""rename(2) and renameat2(2) with RENAME_NOREPLACE and RENAME_EXCHANGE.

A directory that a lower layer has cannot be renamed (EXDEV, as in overlayfs); tests of what directories
do make theirs through the tree (`test_rename_directories.py`).
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from tests.posix.calls import (
    RENAME_EXCHANGE,
    RENAME_NOREPLACE,
    contents,
    fails,
    make,
    opened,
    permissions,
    renameat2,
)
from tests.posix.place import OTHER, run_as

if TYPE_CHECKING:
    from tests.posix.place import Place


def test_to_a_new_name(place: Place) -> None:
    path = place.file("file", b"data", 0o640)
    os.utime(path, ns=(10**18, 10**18))
    os.rename(path, place / "new")
    assert os.listdir(place.path) == ["new"]
    status = os.stat(place / "new")
    assert (contents(place / "new"), permissions(place / "new")) == (b"data", 0o640)
    assert status.st_mtime_ns == 10**18
    with fails(errno.ENOENT):
        os.stat(path)


def test_to_another_directory(place: Place) -> None:
    path = place.file("file", b"data")
    directory = place.directory("dir")
    os.rename(path, directory / "new")
    assert os.listdir(place.path) == ["dir"]
    assert contents(directory / "new") == b"data"
    os.rename(directory / "new", path)
    assert contents(path) == b"data"
    assert os.listdir(directory) == []


def test_over_a_file(place: Place) -> None:
    path = place.file("file", b"data", 0o640)
    other = place.file("other", b"x" * 10_000, 0o600)
    os.rename(path, other)
    assert os.listdir(place.path) == ["other"]
    assert (contents(other), permissions(other)) == (b"data", 0o640)


def test_the_inode_stays(place: Place) -> None:
    make(place / "file", b"data")
    number = os.stat(place / "file").st_ino
    os.rename(place / "file", place / "new")
    assert os.stat(place / "new").st_ino == number


def test_over_an_open_file(place: Place) -> None:
    path = place.file("file", b"new version")
    other = place.file("other", b"old version")
    with opened(other, os.O_RDWR) as old, opened(path, os.O_RDWR) as new:
        os.rename(path, other)
        assert os.pread(old, 20, 0) == b"old version"
        os.pwrite(old, b"OLD", 0)
        os.pwrite(new, b"NEW", 0)
        assert os.pread(old, 20, 0) == b"OLD version"
        assert (os.fstat(old).st_nlink, os.fstat(new).st_nlink) == (0, 1)
        assert contents(other) == b"NEW version"
    assert contents(other) == b"NEW version"


def test_open_file_keeps_its_descriptor(place: Place) -> None:
    with opened(place / "first", os.O_RDWR | os.O_CREAT) as fd:
        os.write(fd, b"one ")
        os.rename(place / "first", place / "second")
        os.write(fd, b"two ")
        os.rename(place / "second", place / "third")
        os.write(fd, b"three")
        assert os.stat(place / "third").st_ino == os.fstat(fd).st_ino
    assert os.listdir(place.path) == ["third"]
    assert contents(place / "third") == b"one two three"


def test_save_as_editors_do(place: Place) -> None:
    path = place.file("file", b"version 0", 0o640)
    for number in range(1, 20):
        with opened(place / "file.tmp", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640) as fd:
            os.write(fd, b"version %d" % number)
            os.fsync(fd)
        os.rename(place / "file.tmp", path)
        assert contents(path) == b"version %d" % number
    assert os.listdir(place.path) == ["file"]


def test_to_itself_and_to_another_name_of_itself(place: Place) -> None:
    path = place.file("file", b"data")
    os.rename(path, path)
    assert contents(path) == b"data"
    os.link(path, place / "second")
    os.rename(path, place / "second")
    assert sorted(os.listdir(place.path)) == ["file", "second"], "both stay: they are the same file"


def test_link_itself(place: Place) -> None:
    place.file("file", b"data")
    os.symlink("file", place / "link")
    os.rename(place / "link", place / "new")
    assert os.readlink(place / "new") == "file"
    os.symlink("nothing", place / "other")
    os.rename(place / "other", place / "new")
    assert os.readlink(place / "new") == "nothing"
    assert contents(place / "file") == b"data"


def test_file_over_a_link(place: Place) -> None:
    path = place.file("file", b"data")
    place.file("target", b"target")
    os.symlink("target", place / "link")
    os.rename(path, place / "link")
    assert not (place / "link").is_symlink()
    assert contents(place / "target") == b"target"


def test_errors(place: Place) -> None:
    path = place.file("file", b"data")
    directory = place.directory("dir")
    (place / "loop").symlink_to("loop")
    for number, old, new in (
        (errno.ENOENT, place / "nothing", place / "new"),
        (errno.ENOENT, path, place / "nothing" / "new"),
        (errno.ENOTDIR, path / "inner", place / "new"),
        (errno.ENOTDIR, path, path / "inner"),
        (errno.EISDIR, path, directory),
        (errno.ENOTDIR, directory, path),
        (errno.ENOTDIR, f"{path}/", place / "new"),
        (errno.EBUSY, f"{directory}/.", place / "new"),
        (errno.EBUSY, path, f"{directory}/.."),
        (errno.ELOOP, place / "loop" / "x", place / "new"),
        (errno.ENAMETOOLONG, path, place / ("x" * 256)),
        (errno.EXDEV, path, "/dev/copickfs-test"),
    ):
        with fails(number):
            os.rename(old, new)
    assert contents(path) == b"data"
    assert sorted(os.listdir(place.path)) == ["dir", "file", "loop"]


def test_times_of_both_directories(place: Place) -> None:
    one, two = place.directory("one"), place.directory("two")
    place.file("one/file")
    for path in (one, two):
        os.utime(path, ns=(1, 1))
    os.rename(one / "file", two / "file")
    assert os.stat(one).st_mtime_ns > 1
    assert os.stat(two).st_mtime_ns > 1


def test_no_replace(place: Place) -> None:
    path = place.file("file", b"data")
    other = place.file("other", b"other")
    directory = place.directory("dir")
    (place / "dangling").symlink_to("nothing")
    for existing in (other, directory, place / "dangling", path):
        with fails(errno.EEXIST):
            renameat2(path, existing, RENAME_NOREPLACE)
    assert (contents(path), contents(other)) == (b"data", b"other")
    renameat2(path, place / "new", RENAME_NOREPLACE)
    assert contents(place / "new") == b"data"
    assert not path.exists()
    renameat2(place / "new", path, RENAME_NOREPLACE)
    assert contents(path) == b"data"


def test_exchange_files(place: Place) -> None:
    one = place.file("one", b"one", 0o640)
    two = place.file("two", b"two and more", 0o600)
    with opened(one) as fd:
        renameat2(one, two, RENAME_EXCHANGE)
        assert os.pread(fd, 20, 0) == b"one"
    assert (contents(one), permissions(one)) == (b"two and more", 0o600)
    assert (contents(two), permissions(two)) == (b"one", 0o640)
    renameat2(one, two, RENAME_EXCHANGE)
    assert (contents(one), contents(two)) == (b"one", b"two and more")
    renameat2(one, one, RENAME_EXCHANGE)
    assert contents(one) == b"one"


def test_exchange_file_and_link(place: Place) -> None:
    path = place.file("file", b"data")
    os.symlink("file", place / "link")
    renameat2(path, place / "link", RENAME_EXCHANGE)
    assert os.readlink(path) == "file"
    assert contents(place / "link") == b"data"


def test_flags_errors(place: Place) -> None:
    path = place.file("file", b"data")
    other = place.file("other", b"other")
    for number, flags, new in (
        (errno.ENOENT, RENAME_EXCHANGE, place / "nothing"),
        (errno.EINVAL, RENAME_EXCHANGE | RENAME_NOREPLACE, other),
        (errno.EINVAL, 1 << 10, other),
    ):
        with fails(number):
            renameat2(path, new, flags)
    with fails(errno.ENOENT):
        renameat2(place / "nothing", path, RENAME_NOREPLACE)
    assert (contents(path), contents(other)) == (b"data", b"other")


@pytest.mark.parametrize("closed", ["from", "to"])
def test_permission(shared: Place, closed: str) -> None:
    for name in ("from", "to"):
        shared.directory(name, 0o755 if name == closed else 0o777)
    shared.file("from/file", b"data", 0o666)

    def attempt() -> None:
        with fails(errno.EACCES):
            os.rename(shared / "from/file", shared / "to/file")

    run_as(OTHER, attempt)
    assert contents(shared / "from/file") == b"data"

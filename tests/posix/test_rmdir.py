"""rmdir(2)."""

from __future__ import annotations

import errno
import os
import shutil
from typing import TYPE_CHECKING

from tests.posix.calls import fails, make, opened
from tests.posix.place import OTHER, run_as

if TYPE_CHECKING:
    from tests.posix.place import Place


def test_empty(place: Place) -> None:
    directory = place.directory()
    os.rmdir(directory)
    assert os.listdir(place.path) == []
    with fails(errno.ENOENT):
        os.stat(directory)
    with fails(errno.ENOENT):
        os.rmdir(directory)


def test_not_empty(place: Place) -> None:
    directory = place.directory()
    place.file("dir/file", b"data")
    with fails(errno.ENOTEMPTY, errno.EEXIST):
        os.rmdir(directory)
    os.unlink(directory / "file")
    make(directory / "new")
    with fails(errno.ENOTEMPTY, errno.EEXIST):
        os.rmdir(directory)
    os.unlink(directory / "new")
    os.mkdir(directory / "inner")
    with fails(errno.ENOTEMPTY, errno.EEXIST):
        os.rmdir(directory)
    os.rmdir(directory / "inner")
    os.rmdir(directory)
    assert not directory.exists()


def test_hidden_file_counts(place: Place) -> None:
    directory = place.directory()
    place.file("dir/.hidden")
    with fails(errno.ENOTEMPTY, errno.EEXIST):
        os.rmdir(directory)


def test_tree(place: Place) -> None:
    place.directory("tree")
    place.directory("tree/a")
    place.directory("tree/a/b")
    for number in range(50):
        place.file(f"tree/a/b/{number}", b"data")
    make(place / "tree" / "a" / "new")
    shutil.rmtree(place / "tree")
    assert os.listdir(place.path) == []
    os.mkdir(place / "tree")
    assert os.listdir(place / "tree") == []


def test_errors(place: Place) -> None:
    path = place.file()
    place.directory()
    (place / "link").symlink_to("dir")
    for number, bad in (
        (errno.ENOENT, place / "nothing"),
        (errno.ENOTDIR, path),
        (errno.ENOTDIR, path / "inner"),
        (errno.ENOTDIR, place / "link"),
        (errno.ENAMETOOLONG, place / ("x" * 256)),
    ):
        with fails(number):
            os.rmdir(bad)


def test_dot(place: Place) -> None:
    directory = place.directory()
    with fails(errno.EINVAL):
        os.rmdir(f"{directory}/.")
    with fails(errno.ENOTEMPTY):
        os.rmdir(f"{directory}/..")


def test_open_directory_that_is_gone(place: Place) -> None:
    directory = place.directory()
    with opened(directory, os.O_RDONLY | os.O_DIRECTORY) as fd:
        os.rmdir(directory)
        assert os.listdir(fd) == []
        with fails(errno.ENOENT):
            os.open("new", os.O_WRONLY | os.O_CREAT, dir_fd=fd)
        with fails(errno.ENOENT):
            os.mkdir("new", dir_fd=fd)
    assert not directory.exists()


def test_times_of_the_directory_above(place: Place) -> None:
    above = place.directory("above")
    place.directory("above/dir")
    os.utime(above, ns=(1, 1))
    os.rmdir(above / "dir")
    assert os.stat(above).st_mtime_ns > 1


def test_permission(shared: Place) -> None:
    directory = shared.directory("dir", 0o755)
    shared.directory("dir/inner", 0o777)

    def attempt() -> None:
        with fails(errno.EACCES):
            os.rmdir(directory / "inner")

    run_as(OTHER, attempt)
    assert (directory / "inner").is_dir()

"""mkdir(2)."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from tests.posix.calls import fails, make, permissions, umask
from tests.posix.place import OTHER, run_as

if TYPE_CHECKING:
    from tests.posix.place import Place


@pytest.mark.parametrize("mode", [0o777, 0o755, 0o700, 0o500, 0o000, 0o1777])
def test_new(place: Place, mode: int) -> None:
    with umask(0):
        os.mkdir(place / "new", mode)
    status = os.stat(place / "new")
    assert permissions(place / "new") == mode
    assert (status.st_uid, status.st_gid) == (place.user.uid, place.user.gid)
    assert os.listdir(place.path) == ["new"]
    os.chmod(place / "new", 0o700)
    assert os.listdir(place / "new") == []


def test_use(place: Place) -> None:
    place.directory("dir")
    os.mkdir(place / "dir" / "new")
    os.makedirs(place / "dir" / "a" / "b" / "c")
    make(place / "dir" / "a" / "b" / "c" / "file")
    assert sorted(os.listdir(place / "dir")) == ["a", "new"]
    os.mkdir(f"{place / 'slash'}/")
    assert (place / "slash").is_dir()


def test_something_is_there(place: Place) -> None:
    (place / "dangling").symlink_to("nothing")
    for path in (place.file(), place.directory(), place / "dangling", place.path, place / ".", place / ".."):
        with fails(errno.EEXIST):
            os.mkdir(path)
    assert not (place / "nothing").exists()


def test_errors(place: Place) -> None:
    path = place.file()
    (place / "loop").symlink_to("loop")
    for number, bad in (
        (errno.ENOENT, place / "nothing" / "new"),
        (errno.ENOTDIR, path / "new"),
        (errno.ELOOP, place / "loop" / "new"),
        (errno.ENAMETOOLONG, place / ("x" * 256)),
    ):
        with fails(number):
            os.mkdir(bad)


def test_times_of_the_directory_above(place: Place) -> None:
    directory = place.directory()
    os.utime(directory, ns=(1, 1))
    os.mkdir(directory / "new")
    assert os.stat(directory).st_mtime_ns > 1


def test_again_after_rmdir(place: Place) -> None:
    directory = place.directory("dir", 0o700)
    os.rmdir(directory)
    with umask(0):
        os.mkdir(directory, 0o755)
    assert permissions(directory) == 0o755
    assert os.listdir(directory) == []


def test_permission(shared: Place) -> None:
    directory = shared.directory("dir", 0o755)

    def attempt() -> None:
        with fails(errno.EACCES):
            os.mkdir(directory / "new")

    run_as(OTHER, attempt)
    directory.chmod(0o777)
    run_as(OTHER, lambda: os.mkdir(directory / "new"))
    status = os.stat(directory / "new")
    assert (status.st_uid, status.st_gid) == (OTHER.uid, OTHER.gid)

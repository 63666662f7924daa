"""link(2): hard links."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from tests.posix.calls import RENAME_EXCHANGE, contents, fails, make, opened, permissions, renameat2
from tests.posix.place import OTHER, run_as

if TYPE_CHECKING:
    from tests.posix.place import Place


def test_second_name(place: Place) -> None:
    path = place.file("file", b"data", 0o640)
    os.link(path, place / "second")
    one, two = os.stat(path), os.stat(place / "second")
    assert (one.st_ino, one.st_nlink) == (two.st_ino, 2)
    assert (contents(place / "second"), permissions(place / "second")) == (b"data", 0o640)
    with opened(place / "second", os.O_WRONLY) as fd:
        os.write(fd, b"DATA and more")
    assert contents(path) == b"DATA and more"
    os.chmod(path, 0o600)
    assert permissions(place / "second") == 0o600
    os.unlink(path)
    assert os.stat(place / "second").st_nlink == 1
    assert contents(place / "second") == b"DATA and more"


def test_in_another_directory(place: Place) -> None:
    path = place.file("file", b"data")
    directory = place.directory()
    os.link(path, directory / "second")
    assert os.path.samefile(path, directory / "second")


@pytest.mark.parametrize("removed", [0, 1])
def test_both_names_are_renamed_in_turn_and_one_is_removed(place: Place, removed: int) -> None:
    names = ["0", "1"]
    make(place / "0", b"data")
    os.link(place / "0", place / "1")
    for turn in range(2, 20):
        before, names[turn % 2] = names[turn % 2], str(turn)
        os.rename(place / before, place / str(turn))
        os.mkdir(place / before)
        assert {path.name for path in place.path.iterdir() if path.is_file()} == set(names)
    os.unlink(place / names.pop(removed))
    (left,) = names
    assert [name for name in os.listdir(place.path) if os.path.isfile(place / name)] == [left]
    assert os.stat(place / left).st_nlink == 1
    assert contents(place / left) == b"data"


def test_a_name_is_exchanged_for_another_file(place: Place) -> None:
    make(place / "first", b"data")
    make(place / "another", b"other data")
    os.link(place / "first", place / "second")
    renameat2(place / "second", place / "another", RENAME_EXCHANGE)
    os.unlink(place / "another")
    assert (contents(place / "first"), contents(place / "second")) == (b"data", b"other data")
    os.unlink(place / "second")
    assert contents(place / "first") == b"data"


def test_many_names(place: Place) -> None:
    make(place / "0", b"data")
    for number in range(1, 50):
        os.link(place / str(number - 1), place / str(number))
    assert os.stat(place / "0").st_nlink == 50
    for number in range(49):
        os.unlink(place / str(number))
    assert os.stat(place / "49").st_nlink == 1


def test_of_an_open_file(place: Place) -> None:
    with opened(place / "new", os.O_RDWR | os.O_CREAT) as fd:
        os.write(fd, b"one")
        os.link(place / "new", place / "second")
        os.write(fd, b"two")
        assert os.fstat(fd).st_nlink == 2
        os.unlink(place / "new")
        os.write(fd, b"three")
    assert contents(place / "second") == b"onetwothree"


def test_of_a_link(place: Place) -> None:
    place.file("file", b"data")
    os.symlink("file", place / "link")
    os.link(place / "link", place / "second", follow_symlinks=False)
    assert os.readlink(place / "second") == "file"
    os.unlink(place / "link")
    assert contents(place / "second") == b"data"


def test_times(place: Place) -> None:
    directory = place.directory()
    place.file("dir/file")
    os.utime(directory, ns=(1, 1))
    os.utime(directory / "file", ns=(1, 1))
    os.link(directory / "file", directory / "second")
    assert os.stat(directory).st_mtime_ns > 1
    assert os.stat(directory / "file").st_mtime_ns == 1


def test_lock_files(place: Place) -> None:
    """What mail programs, git and zarr 3 do: link to make a name exclusively."""
    make(place / "mine", b"mine")
    make(place / "yours", b"yours")
    os.link(place / "mine", place / "lock")
    with fails(errno.EEXIST):
        os.link(place / "yours", place / "lock")
    os.unlink(place / "lock")
    os.link(place / "yours", place / "lock")
    assert contents(place / "lock") == b"yours"


def test_errors(place: Place) -> None:
    path = place.file("file", b"data")
    directory = place.directory()
    (place / "dangling").symlink_to("nothing")
    for number, old, new in (
        (errno.ENOENT, place / "nothing", place / "new"),
        (errno.ENOENT, path, place / "nothing" / "new"),
        (errno.EEXIST, path, path),
        (errno.EEXIST, path, directory),
        (errno.EEXIST, path, place / "dangling"),
        (errno.EPERM, directory, place / "new"),
        (errno.ENOTDIR, path / "inner", place / "new"),
        (errno.ENOTDIR, path, path / "inner"),
        (errno.ENAMETOOLONG, path, place / ("x" * 256)),
        (errno.EXDEV, path, "/dev/copickfs-test"),
    ):
        with fails(number):
            os.link(old, new)
    assert os.stat(path).st_nlink == 1


def test_permission(shared: Place) -> None:
    path = shared.file("file", b"data", 0o666, OTHER)
    directory = shared.directory("dir", 0o755)

    def attempt() -> None:
        with fails(errno.EACCES):
            os.link(path, directory / "second")

    run_as(OTHER, attempt)
    directory.chmod(0o777)
    run_as(OTHER, lambda: os.link(path, directory / "second"))
    assert os.stat(path).st_nlink == 2

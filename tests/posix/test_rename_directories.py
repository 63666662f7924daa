"""rename(2) of directories that were made in the tree, and of one that a lower layer has."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from tests.posix.calls import RENAME_EXCHANGE, RENAME_NOREPLACE, contents, fails, make, opened, renameat2

if TYPE_CHECKING:
    from pathlib import Path

    from tests.posix.place import Place


def tree(path: Path, data: bytes = b"data") -> Path:
    """A directory with something in it."""
    (path / "inner" / "empty").mkdir(parents=True)
    make(path / "inner" / "file", data)
    return path


def test_to_a_new_name(place: Place) -> None:
    tree(place / "dir")
    os.rename(place / "dir", place / "new")
    assert os.listdir(place.path) == ["new"]
    assert contents(place / "new/inner/file") == b"data"
    assert os.listdir(place / "new/inner/empty") == []
    make(place / "new/inner/more", b"more")
    os.mkdir(place / "dir")
    assert os.listdir(place / "dir") == []


def test_of_the_layer_below(place: Place) -> None:
    """In overlayfs this is EXDEV, and programs such as mv copy."""
    place.directory("dir")
    place.file("dir/file", b"data")
    os.rename(place / "dir", place / "new")
    assert contents(place / "new/file") == b"data"


def test_empty_one_of_the_layer_below(place: Place) -> None:
    place.directory("dir")
    os.rename(place / "dir", place / "new")
    assert os.listdir(place / "new") == []


def test_exchange_with_one_of_the_layer_below(place: Place) -> None:
    place.directory("dir")
    place.file("dir/file", b"data")
    make(place / "new", b"new")
    renameat2(place / "dir", place / "new", RENAME_EXCHANGE)
    assert contents(place / "new/file") == b"data"
    assert contents(place / "dir") == b"new"


def test_to_another_directory(place: Place) -> None:
    tree(place / "dir")
    place.directory("other")
    os.rename(place / "dir", place / "other" / "dir")
    assert contents(place / "other/dir/inner/file") == b"data"
    assert (place / "other" / "dir" / "..").resolve() == (place / "other").resolve()


def test_over_an_empty_one(place: Place) -> None:
    tree(place / "dir")
    os.mkdir(place / "empty")
    os.rename(place / "dir", place / "empty")
    assert os.listdir(place.path) == ["empty"]
    assert contents(place / "empty/inner/file") == b"data"


def test_over_an_empty_one_that_was_there(place: Place) -> None:
    tree(place / "dir")
    place.directory("empty")
    os.rename(place / "dir", place / "empty")
    assert contents(place / "empty/inner/file") == b"data"
    assert os.listdir(place / "empty") == ["inner"]


def test_over_one_that_is_not_empty(place: Place) -> None:
    tree(place / "dir")
    place.directory("full")
    place.file("full/file", b"full")
    with fails(errno.ENOTEMPTY, errno.EEXIST):
        os.rename(place / "dir", place / "full")
    assert contents(place / "full/file") == b"full"
    assert contents(place / "dir/inner/file") == b"data"


def test_errors(place: Place) -> None:
    tree(place / "dir")
    path = place.file("file", b"data")
    for number, old, new in (
        (errno.EINVAL, place / "dir", place / "dir/inner/below"),
        (errno.ENOTEMPTY, place / "dir/inner", place / "dir"),
        (errno.ENOTDIR, place / "dir", path),
        (errno.EISDIR, path, place / "dir"),
        (errno.ENAMETOOLONG, place / "dir", place / ("x" * 256)),
    ):
        with fails(number):
            os.rename(old, new)
    with fails(errno.EEXIST):
        renameat2(place / "dir", path, RENAME_NOREPLACE)
    assert contents(place / "dir/inner/file") == b"data"
    assert contents(path) == b"data"


def test_exchange(place: Place) -> None:
    tree(place / "one", b"one")
    tree(place / "two", b"two")
    renameat2(place / "one", place / "two", RENAME_EXCHANGE)
    assert (contents(place / "one/inner/file"), contents(place / "two/inner/file")) == (b"two", b"one")
    make(place / "file", b"a file")
    renameat2(place / "file", place / "one", RENAME_EXCHANGE)
    assert contents(place / "one") == b"a file"
    assert contents(place / "file/inner/file") == b"two"


def test_with_open_files_inside(place: Place) -> None:
    tree(place / "dir")
    with opened(place / "dir/inner/file", os.O_RDWR) as fd, opened(place / "dir/inner") as inner:
        os.rename(place / "dir", place / "new")
        os.pwrite(fd, b"DATA", 0)
        assert contents(place / "new/inner/file") == b"DATA"
        os.close(os.open("made", os.O_WRONLY | os.O_CREAT, dir_fd=inner))
        assert sorted(os.listdir(inner)) == ["empty", "file", "made"]
        os.pwrite(fd, b"more", 4)
    assert contents(place / "new/inner/file") == b"DATAmore"
    assert sorted(os.listdir(place / "new/inner")) == ["empty", "file", "made"]


def test_what_is_the_working_directory(place: Place) -> None:
    tree(place / "dir")
    os.chdir(place / "dir" / "inner")
    try:
        os.rename(place / "dir", place / "new")
        make("made", b"here")
        assert contents(place / "new/inner/made") == b"here"
        assert os.getcwd() == str(place / "new/inner")
    finally:
        os.chdir("/")


@pytest.mark.parametrize("levels", [1, 5])
def test_again_and_again(place: Place, levels: int) -> None:
    path = place / "dir0"
    (path / "/".join("abcde"[:levels])).mkdir(parents=True)
    make(path / "/".join("abcde"[:levels]) / "file", b"data")
    for number in range(10):
        os.rename(place / f"dir{number}", place / f"dir{number + 1}")
        assert contents(place / f"dir{number + 1}" / "/".join("abcde"[:levels]) / "file") == b"data"
        assert not (place / f"dir{number}").exists()

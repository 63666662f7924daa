"""symlink(2) and readlink(2)."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

import pytest

from tests.posix.calls import contents, fails, make

if TYPE_CHECKING:
    from tests.posix.place import Place

TEXTS = [
    "file",
    "./file",
    "../elsewhere/file",
    "/an/absolute/path",
    "//two/slashes",
    ".//dots",
    ".//./../x",
    "with spaces and\nline ends",
    "ünïcode",
    "trailing/",
    "/",
    ".",
    "..",
    "x" * 255,
    "/".join(["0123456789"] * 370),
]


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_text_is_given_back(place: Place, text: str) -> None:
    place.directory("dir")
    for path in (place / "link", place / "dir" / "link"):
        os.symlink(text, path)
        assert os.readlink(path) == text
        status = os.lstat(path)
        assert stat.S_ISLNK(status.st_mode)
        assert status.st_size == len(os.fsencode(text))
        assert (status.st_uid, status.st_gid) == (place.user.uid, place.user.gid)
        assert [entry.is_symlink() for entry in os.scandir(path.parent) if entry.name == "link"] == [True]


def test_bytes_that_are_not_utf8(place: Place) -> None:
    os.symlink(b"\xff\xfe", os.fsencode(place / "link"))
    assert os.readlink(os.fsencode(place / "link")) == b"\xff\xfe"


def test_follow(place: Place) -> None:
    place.directory("dir")
    place.file("dir/file", b"data")
    os.symlink("dir/file", place / "relative")
    os.symlink(place / "dir", place / "absolute")
    os.symlink("../dir", place / "dir" / "up")
    assert contents(place / "relative") == b"data"
    assert contents(place / "absolute" / "file") == b"data"
    assert contents(place / "dir/up/up/file") == b"data"
    make(place / "absolute" / "new", b"new")
    assert sorted(os.listdir(place / "dir")) == ["file", "new", "up"]
    with open(place / "relative", "wb") as file:
        file.write(b"through the link")
    assert contents(place / "dir/file") == b"through the link"
    assert (place / "relative").is_symlink()


def test_longest_text(place: Place) -> None:
    """One with 4,095 bytes is the longest that Linux knows; a layer may need two of them."""
    os.symlink("x/" * 2046, place / "long")
    assert os.readlink(place / "long") == "x/" * 2046
    with fails(errno.ENAMETOOLONG):
        os.symlink("x" * 4096, place / "longer")
    with fails(errno.ENOENT):
        os.symlink("", place / "empty")
    assert os.listdir(place.path) == ["long"]


def test_leads_nowhere(place: Place) -> None:
    os.symlink("nothing", place / "link")
    os.symlink("loop", place / "loop")
    for number, path in ((errno.ENOENT, place / "link"), (errno.ELOOP, place / "loop")):
        with fails(number):
            os.stat(path)
        os.lstat(path)
    make(place / "nothing", b"now it is there")
    assert contents(place / "link") == b"now it is there"


def test_link_to_a_store_or_a_layer_object_stays_a_link(place: Place) -> None:
    place.directory("array.zarr")
    place.file("array.zarr/.zgroup", b"{}")
    os.symlink("array.zarr", place / "other.zarr")
    assert os.readlink(place / "other.zarr") == "array.zarr"
    assert contents(place / "other.zarr" / ".zgroup") == b"{}"


def test_errors(place: Place) -> None:
    path = place.file()
    directory = place.directory()
    (place / "dangling").symlink_to("nothing")
    for number, new in (
        (errno.EEXIST, path),
        (errno.EEXIST, directory),
        (errno.EEXIST, place / "dangling"),
        (errno.ENOENT, place / "nothing" / "new"),
        (errno.ENOTDIR, path / "new"),
        (errno.ENAMETOOLONG, place / ("x" * 256)),
    ):
        with fails(number):
            os.symlink("text", new)
    for number, bad in (
        (errno.EINVAL, path),
        (errno.EINVAL, directory),
        (errno.ENOENT, place / "nothing"),
        (errno.ENOTDIR, path / "inner"),
    ):
        with fails(number):
            os.readlink(bad)


def test_times_and_mode(place: Place) -> None:
    directory = place.directory()
    os.utime(directory, ns=(1, 1))
    os.symlink("file", directory / "link")
    assert os.stat(directory).st_mtime_ns > 1
    assert stat.S_IMODE(os.lstat(directory / "link").st_mode) == 0o777
    os.utime(directory / "link", ns=(10**18, 10**18), follow_symlinks=False)
    assert os.lstat(directory / "link").st_mtime_ns == 10**18

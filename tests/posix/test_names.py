"""Names of all bytes and lengths, and deep paths."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING

import pytest

from tests.posix.calls import NAME_MAX_BYTES, contents, fails, make, opened

if TYPE_CHECKING:
    from tests.posix.place import Place

ODD = [
    b"with space",
    b" leading and trailing ",
    b"line\nend",
    b"tab\t",
    b"[1]*?",
    b"back\\slash",
    b"quote\"'",
    b"\xff\xfe\x80",
    "ünïcode 漢字 🔬".encode(),
    b"...",
    b"....",
    b"~",
    b"-rf",
    b"CON",
    b"x" * NAME_MAX_BYTES,
    ("é" * 127 + "x").encode(),
    b"x" * (NAME_MAX_BYTES - 5) + b".zarr",
    b"file.json~",
    b".nfs000",
    b"#1.",
]


@pytest.mark.parametrize("name", ODD, ids=range(len(ODD)))
def test_every_operation(place: Place, name: bytes) -> None:
    base = os.fsencode(place.path)
    path = base + b"/" + name
    make(path, b"data")
    assert os.listdir(base) == [name]
    assert contents(path) == b"data"
    os.rename(path, base + b"/x")
    os.rename(base + b"/x", path)
    os.link(path, base + b"/y")
    os.chmod(path, 0o600)
    os.utime(path, ns=(1, 1))
    os.unlink(path)
    os.rename(base + b"/y", path)
    os.unlink(path)
    os.mkdir(path)
    make(path + b"/" + name, b"inner")
    assert contents(path + b"/" + name) == b"inner"
    os.unlink(path + b"/" + name)
    os.rmdir(path)
    os.symlink(name, path)
    assert os.readlink(path) == name
    os.unlink(path)
    assert os.listdir(base) == []


@pytest.mark.parametrize("name", ODD, ids=range(len(ODD)))
def test_what_was_there(place: Place, name: bytes) -> None:
    text = os.fsdecode(name)
    path = place.file(text, b"data")
    with opened(path, os.O_RDWR) as fd:
        os.pwrite(fd, b"more", 4)
    assert contents(path) == b"datamore"
    os.unlink(path)
    assert os.listdir(place.path) == []
    with fails(errno.ENOENT):
        os.stat(path)
    make(path, b"again")
    assert os.listdir(place.path) == [text]


@pytest.mark.parametrize(
    "name", [b"x" * 256, "é".encode() * 128, b"x" * 1_000, b"x" * 251 + b".zarr"], ids=range(4)
)
def test_too_long(place: Place, name: bytes) -> None:
    base = os.fsencode(place.path)
    path = base + b"/" + name
    old = os.fsencode(place.file("file", b"data"))
    for call in (
        lambda: os.open(path, os.O_WRONLY | os.O_CREAT),
        lambda: os.open(path, os.O_RDONLY),
        lambda: os.stat(path),
        lambda: os.mkdir(path),
        lambda: os.unlink(path),
        lambda: os.rmdir(path),
        lambda: os.symlink(b"x", path),
        lambda: os.link(old, path),
        lambda: os.rename(old, path),
        lambda: os.mkfifo(path),
        lambda: os.chmod(path, 0),
        lambda: os.truncate(path, 0),
    ):
        with fails(errno.ENAMETOOLONG):
            call()
    assert os.listdir(base) == [b"file"]


def test_path_too_long(place: Place) -> None:
    long = os.path.join(place.path, *["x" * 100] * 41)
    for call in (os.stat, os.mkdir, os.unlink):
        with fails(errno.ENAMETOOLONG):
            call(long)


def test_deeper_than_a_path_can_be(place: Place) -> None:
    """60 levels of 100 bytes, entered one by one."""
    name, levels = "d" * 100, 60
    with contextlib.ExitStack() as stack:
        descriptors = [stack.enter_context(opened(place.path, os.O_RDONLY | os.O_DIRECTORY))]
        for _ in range(levels):
            os.mkdir(name, dir_fd=descriptors[-1])
            fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=descriptors[-1])
            stack.callback(os.close, fd)
            descriptors.append(fd)
        file = os.open("file", os.O_RDWR | os.O_CREAT, dir_fd=descriptors[-1])
        stack.callback(os.close, file)
        os.write(file, b"deep down")
        assert os.listdir(descriptors[-1]) == ["file"]
        assert os.pread(file, 20, 0) == b"deep down"
        os.unlink("file", dir_fd=descriptors.pop())
        for directory in reversed(descriptors):
            os.rmdir(name, dir_fd=directory)
    assert os.listdir(place.path) == []


def test_as_deep_as_a_path_can_be(place: Place) -> None:
    path = os.fspath(place.path)
    while len(path) < 3_300:
        path += "/" + "d" * 49
    os.makedirs(path)
    make(f"{path}/file", b"data")
    assert contents(f"{path}/file") == b"data"
    os.rename(f"{path}/file", f"{path}/new")
    os.unlink(f"{path}/new")
    while path != os.fspath(place.path):
        os.rmdir(path)
        path = os.path.dirname(path)
    assert os.listdir(path) == []

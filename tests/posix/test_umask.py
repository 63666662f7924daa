"""The caller's umask counts for everything that is made."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from tests.posix.calls import opened, permissions, umask

if TYPE_CHECKING:
    from tests.posix.place import Place


@pytest.mark.parametrize("mask", [0o000, 0o002, 0o022, 0o027, 0o077, 0o777])
def test_new(place: Place, mask: int) -> None:
    place.directory("dir")
    with umask(mask):
        with opened(place / "dir/file", os.O_WRONLY | os.O_CREAT, 0o666):
            pass
        with opened(place / "dir/script", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o777):
            pass
        os.mkdir(place / "dir/inner")
        os.mkfifo(place / "dir/fifo")
        os.mknod(place / "dir/node", stat.S_IFREG | 0o666)
    found = {name: permissions(place / "dir" / name) for name in os.listdir(place / "dir")}
    assert found == {
        "file": 0o666 & ~mask,
        "script": 0o777 & ~mask,
        "inner": 0o777 & ~mask,
        "fifo": 0o666 & ~mask,
        "node": 0o666 & ~mask,
    }


def test_does_not_count_for_chmod(place: Place) -> None:
    path = place.file("file", b"", 0o600)
    with umask(0o077):
        os.chmod(path, 0o666)  # noqa: S103 -- of a test
    assert permissions(path) == 0o666


def test_does_not_count_for_what_is_there(place: Place) -> None:
    path = place.file("file", b"data", 0o666)
    with umask(0o077), opened(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600):
        pass
    assert permissions(path) == 0o666
    place.directory("dir", 0o775)
    with umask(0o077):
        os.close(os.open(place / "dir/new", os.O_WRONLY | os.O_CREAT))
    assert permissions(place / "dir") == 0o775

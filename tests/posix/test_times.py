"""The times of a directory change with the names in it, and with nothing else."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tests.posix.calls import opened

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.posix.place import Place

TIME_NS = 10**18


def test_directory_of_what_is_changed_in_place(place: Place) -> None:
    directory = place.directory()
    for name in ("one", "two", "three", "four", "five"):
        place.file(f"dir/{name}", b"data")
    place.directory("dir/inner")
    place.file("dir/inner/file", b"data")
    os.utime(directory, ns=(TIME_NS, TIME_NS))

    def write(path: str) -> None:
        with opened(directory / path, os.O_WRONLY) as fd:
            os.write(fd, b"DATA")

    changes: list[Callable[[], object]] = [
        lambda: write("one"),
        lambda: os.truncate(directory / "two", 1),
        lambda: os.chmod(directory / "three", 0o600),
        lambda: os.utime(directory / "four"),
        lambda: os.setxattr(directory / "five", "user.test", b"value"),
        lambda: write("inner/file"),
        lambda: os.mkdir(directory / "inner" / "new"),
    ]
    for change in changes:
        change()
        assert os.stat(directory).st_mtime_ns == TIME_NS
    os.link(directory / "one", directory / "another")
    assert os.stat(directory).st_mtime_ns > TIME_NS

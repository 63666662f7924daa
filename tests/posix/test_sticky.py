"""Directories with the sticky bit, such as /tmp: only owners remove and rename."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from tests.posix.calls import RENAME_EXCHANGE, contents, fails, permissions, renameat2
from tests.posix.place import COLLEAGUE, OTHER, run_as

if TYPE_CHECKING:
    from tests.posix.place import Place


def test_others_may_not(shared: Place) -> None:
    sticky = shared.directory("sticky", 0o1777)
    shared.file("sticky/file", b"data", 0o666, OTHER)
    shared.directory("sticky/dir", 0o777, OTHER)
    shared.file("sticky/own", b"own", 0o666, COLLEAGUE)
    assert permissions(sticky) == 0o1777

    def attempt() -> None:
        for call in (
            lambda: os.unlink(sticky / "file"),
            lambda: os.rmdir(sticky / "dir"),
            lambda: os.rename(sticky / "file", sticky / "new"),
            lambda: os.rename(sticky / "own", sticky / "file"),
            lambda: renameat2(sticky / "own", sticky / "file", RENAME_EXCHANGE),
        ):
            with fails(errno.EPERM):
                call()
        with open(sticky / "file", "ab") as file:
            file.write(b" and more")
        os.unlink(sticky / "own")

    run_as(COLLEAGUE, attempt)
    assert sorted(os.listdir(sticky)) == ["dir", "file"]
    assert contents(sticky / "file") == b"data and more"


def test_owner_of_the_file_and_of_the_directory_may(shared: Place) -> None:
    sticky = shared.directory("sticky", 0o1777, COLLEAGUE)
    for number in range(4):
        shared.file(f"sticky/{number}", b"data", 0o644, OTHER)
    run_as(OTHER, lambda: os.unlink(sticky / "0"))
    run_as(COLLEAGUE, lambda: os.unlink(sticky / "1"))
    run_as(OTHER, lambda: os.rename(sticky / "2", sticky / "new"))
    os.unlink(sticky / "3")
    assert os.listdir(sticky) == ["new"]


def test_ordinary_user_s_own(place: Place) -> None:
    sticky = place.directory("sticky", 0o1777)
    place.file("sticky/file", b"data")
    os.rename(sticky / "file", sticky / "new")
    os.unlink(sticky / "new")
    os.rmdir(sticky)
    assert os.listdir(place.path) == []

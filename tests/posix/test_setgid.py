"""Directories with the setgid bit, which groups share."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.posix.calls import make, opened, permissions, umask
from tests.posix.place import COLLEAGUE, OTHER, User, run_as

if TYPE_CHECKING:
    from pathlib import Path

    from tests.posix.place import Place

GROUP = COLLEAGUE.groups[0]


@pytest.fixture
def common(shared: Place) -> Path:
    """A directory of the group that two users share."""
    return shared.directory("common", 0o2777, User(0, GROUP))


@pytest.mark.parametrize("user", [COLLEAGUE, OTHER, User(23456, 23456)], ids=["member", "owner", "stranger"])
def test_files_get_the_group(shared: Place, common: Path, user: User) -> None:
    assert permissions(common) == 0o2777

    def write() -> None:
        make(common / "file", b"data")
        with umask(0):
            os.mkdir(common / "dir")
        make(common / "dir" / "file")
        os.mkfifo(common / "fifo")
        os.symlink("file", common / "link")

    run_as(user, write)
    for name in ("file", "dir", "dir/file", "fifo", "link"):
        status = os.lstat(shared / "common" / name)
        assert (status.st_uid, status.st_gid) == (user.uid, GROUP), name
    assert permissions(common / "dir") == 0o2777
    assert permissions(common / "file") == 0o644


def test_set_group_bit_of_a_file_is_for_members(shared: Place, common: Path) -> None:
    def write() -> None:
        with umask(0), opened(common / "file", os.O_WRONLY | os.O_CREAT, 0o2775):
            pass

    run_as(User(23456, 23456), write)
    assert permissions(shared / "common/file") == 0o775


def test_rename_keeps_the_group(shared: Place, common: Path) -> None:
    path = shared.file("file", b"data", 0o644, OTHER)
    os.rename(path, common / "file")
    assert os.stat(common / "file").st_gid == OTHER.gid


def test_published_whole_files_get_the_group(shared: Place, common: Path) -> None:
    def write() -> None:
        os.makedirs(common / "Picks")
        for _ in range(2):
            with open(common / "Picks/user_1_ribosome.json", "w") as file:
                file.write("{}")

    run_as(COLLEAGUE, write)
    for name in ("Picks", "Picks/user_1_ribosome.json"):
        status = os.stat(shared / "common" / name)
        assert (status.st_uid, status.st_gid) == (COLLEAGUE.uid, GROUP), name

"""Directories that are listed while they change."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from tests.posix.calls import make, opened

if TYPE_CHECKING:
    from tests.posix.place import Place


def test_changes_are_seen_at_once(place: Place) -> None:
    directory = place.directory()
    for number in range(5):
        place.file(f"dir/old{number}")
    wanted = {f"old{number}" for number in range(5)}
    assert set(os.listdir(directory)) == wanted
    for number in range(5):
        make(directory / f"new{number}")
        os.unlink(directory / f"old{number}")
        wanted = (wanted | {f"new{number}"}) - {f"old{number}"}
        assert set(os.listdir(directory)) == wanted
    for number in range(5):
        os.rename(directory / f"new{number}", directory / f"newer{number}")
        assert len(os.listdir(directory)) == 5
    assert set(os.listdir(directory)) == {f"newer{number}" for number in range(5)}


def test_many_names(place: Place) -> None:
    for number in range(1_000):
        make(place / f"{number:04d}")
    assert sorted(os.listdir(place.path)) == [f"{number:04d}" for number in range(1_000)]
    for number in range(0, 1_000, 2):
        os.unlink(place / f"{number:04d}")
    assert sorted(os.listdir(place.path)) == [f"{number:04d}" for number in range(1, 1_000, 2)]


def test_remove_while_it_is_listed(place: Place) -> None:
    """As rm -r does: every name comes, whatever was removed before."""
    directory = place.directory()
    for number in range(500):
        place.file(f"dir/{number}")
    for number in range(500):
        make(directory / f"new{number}")
    removed = 0
    with os.scandir(directory) as entries:
        for entry in entries:
            os.unlink(entry.path)
            removed += 1
    assert removed == 1_000
    os.rmdir(directory)


def test_an_open_directory_lists_what_is_new_after_rewinding(place: Place) -> None:
    directory = place.directory()
    place.file("dir/one")
    with opened(directory, os.O_RDONLY | os.O_DIRECTORY) as fd:
        assert os.listdir(fd) == ["one"]
        make(directory / "two")
        assert sorted(os.listdir(fd)) == ["one", "two"]
        os.unlink(directory / "one")
        assert os.listdir(fd) == ["two"]


def test_kinds_and_inodes(place: Place) -> None:
    place.file("file")
    place.directory("dir")
    os.symlink("file", place / "link")
    os.mkfifo(place / "fifo")
    for entry in os.scandir(place.path):
        status = os.lstat(entry.path)
        assert entry.inode() == status.st_ino
        kinds = (
            entry.is_file(follow_symlinks=False),
            entry.is_dir(follow_symlinks=False),
            entry.is_symlink(),
        )
        mode = status.st_mode
        assert kinds == (stat.S_ISREG(mode), stat.S_ISDIR(mode), stat.S_ISLNK(mode))


def test_negative_names_are_seen_when_they_are_made(place: Place) -> None:
    directory = place.directory()
    for how in ("file", "dir", "link", "hard", "renamed"):
        assert not os.path.lexists(directory / how)
    make(directory / "file")
    assert os.path.lexists(directory / "file")
    os.mkdir(directory / "dir")
    os.symlink("file", directory / "link")
    os.link(directory / "file", directory / "hard")
    os.rename(directory / "file", directory / "renamed")
    assert all(os.path.lexists(directory / name) for name in ("dir", "link", "hard", "renamed"))
    assert not os.path.lexists(directory / "file")

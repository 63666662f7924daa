"""Who may do what: search, write and read permission of directories and files, and access(2)."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from tests.posix.calls import contents, fails, make, opened
from tests.posix.place import COLLEAGUE, OTHER, run_as

if TYPE_CHECKING:
    from pathlib import Path

    from tests.posix.place import Place


def every_change(directory: Path) -> dict[str, object]:
    """One of each operation that changes a directory which has ``file``, ``link`` and ``dir``."""
    return {
        "create": lambda: os.open(directory / "new", os.O_WRONLY | os.O_CREAT),
        "mkdir": lambda: os.mkdir(directory / "new"),
        "symlink": lambda: os.symlink("x", directory / "new"),
        "mkfifo": lambda: os.mkfifo(directory / "new"),
        "unlink": lambda: os.unlink(directory / "file"),
        "rmdir": lambda: os.rmdir(directory / "dir"),
        "rename": lambda: os.rename(directory / "file", directory / "new"),
        "rename over": lambda: os.rename(directory / "file", directory / "other"),
    }


@pytest.mark.parametrize("mode", [0o755, 0o555, 0o777 & ~0o001, 0o700, 0o000])
def test_directory_of_another(shared: Place, mode: int) -> None:
    directory = shared.directory("dir", 0o755)
    shared.file("dir/file", b"data", 0o666, OTHER)
    shared.file("dir/other", b"data", 0o666, OTHER)
    shared.directory("dir/dir", 0o777, OTHER)
    directory.chmod(mode)

    def attempt() -> None:
        for name, call in every_change(directory).items():
            with fails(errno.EACCES):
                call()  # type: ignore[operator]
                pytest.fail(f"{name} was permitted")

    run_as(OTHER, attempt)
    directory.chmod(0o755)
    assert sorted(os.listdir(directory)) == ["dir", "file", "other"]


def test_search_permission(shared: Place) -> None:
    directory = shared.directory("dir", 0o755)
    path = shared.file("dir/file", b"data", 0o644)
    directory.chmod(0o644)

    def without_search() -> None:
        for call in (os.stat, os.listxattr, contents, os.readlink):
            with fails(errno.EACCES):
                call(path)
        assert os.listdir(directory) == ["file"]

    def without_read() -> None:
        assert contents(path) == b"data"
        with fails(errno.EACCES):
            os.listdir(directory)

    run_as(OTHER, without_search)
    directory.chmod(0o711)
    run_as(OTHER, without_read)


@pytest.mark.parametrize(
    ("mode", "readable", "writable"),
    [
        (0o600, False, False),
        (0o604, True, False),
        (0o602, False, True),
        (0o606, True, True),
        (0o060, False, False),
    ],
)
def test_file_of_another(shared: Place, mode: int, readable: bool, writable: bool) -> None:
    path = shared.file("file", b"data", mode)

    def attempt() -> None:
        for flags, permitted in (
            (os.O_RDONLY, readable),
            (os.O_WRONLY, writable),
            (os.O_RDWR, readable and writable),
            (os.O_WRONLY | os.O_TRUNC, writable),
            (os.O_WRONLY | os.O_APPEND, writable),
        ):
            if permitted:
                os.close(os.open(path, flags))
            else:
                with fails(errno.EACCES):
                    os.open(path, flags)
        assert os.access(path, os.R_OK) == readable
        assert os.access(path, os.W_OK) == writable
        assert not os.access(path, os.X_OK)

    run_as(OTHER, attempt)


def test_group(shared: Place) -> None:
    path = shared.file("file", b"data", 0o660)
    os.chown(path, 0, COLLEAGUE.groups[1])

    def attempt() -> None:
        with opened(path, os.O_RDWR) as fd:
            os.pwrite(fd, b"D", 0)

    run_as(COLLEAGUE, attempt)
    assert contents(path) == b"Data"
    with pytest.raises(PermissionError):
        run_as(OTHER, attempt)


def test_new_files_belong_to_who_made_them(shared: Place) -> None:
    directory = shared.directory("dir", 0o777)

    def write() -> None:
        make(directory / "file", b"data")
        os.mkdir(directory / "inner")
        os.symlink("file", directory / "link")
        make(directory / "inner/file")

    run_as(COLLEAGUE, write)
    for name in ("file", "inner", "link", "inner/file"):
        status = os.lstat(directory / name)
        assert (status.st_uid, status.st_gid) == (COLLEAGUE.uid, COLLEAGUE.gid), name


def test_owner_without_write_permission(place: Place) -> None:
    path = place.file("file", b"data", 0o444)
    directory = place.directory("dir", 0o555)
    if place.user.uid == 0:
        make(directory / "new")
        with opened(path, os.O_WRONLY) as fd:
            os.write(fd, b"DATA")
        assert contents(path) == b"DATA"
        return
    with fails(errno.EACCES):
        os.open(path, os.O_WRONLY)
    with fails(errno.EACCES):
        os.truncate(path, 0)
    for call in (every_change(directory)["create"], every_change(directory)["mkdir"]):
        with fails(errno.EACCES):
            call()  # type: ignore[operator]
    os.rename(path, place / "new")
    os.unlink(place / "new")
    os.rmdir(directory)


def test_create_without_write_permission_for_oneself(place: Place) -> None:
    """What git does with its objects: mode 0444, written by the one who made it."""
    with opened(place / "object", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o444) as fd:
        os.write(fd, b"data")
        os.fsync(fd)
    assert contents(place / "object") == b"data"
    os.rename(place / "object", place / "final")
    os.unlink(place / "final")

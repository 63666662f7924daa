"""chown(2): root gives files away, others only to their own groups."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from tests.posix.calls import contents, fails, opened, permissions
from tests.posix.place import COLLEAGUE, OTHER, run_as

if TYPE_CHECKING:
    from pathlib import Path

    from tests.posix.place import Place


def owner(path: Path) -> tuple[int, int]:
    status = os.lstat(path)
    return status.st_uid, status.st_gid


def test_root(shared: Place) -> None:
    path, directory = shared.file("file", b"data", 0o640), shared.directory()
    for each in (path, directory):
        os.chown(each, OTHER.uid, OTHER.gid)
        assert owner(each) == (OTHER.uid, OTHER.gid)
        os.chown(each, -1, 7)
        os.chown(each, 8, -1)
        assert owner(each) == (8, 7)
        os.chown(each, -1, -1)
        assert owner(each) == (8, 7)
    assert (contents(path), permissions(path)) == (b"data", 0o640)


def test_descriptor_and_link(shared: Place) -> None:
    path = shared.file("file", b"data")
    os.symlink("file", shared / "link")
    with opened(path) as fd:
        os.fchown(fd, 5, 6)
        assert owner(path) == (5, 6)
    os.lchown(shared / "link", 7, 8)
    assert (owner(shared / "link"), owner(path)) == ((7, 8), (5, 6))
    os.chown(shared / "link", 9, 9)
    assert owner(path) == (9, 9)


def test_set_id_bits_go(shared: Place) -> None:
    path = shared.file("file", b"data", 0o6755)
    os.chown(path, OTHER.uid, OTHER.gid)
    assert permissions(path) == 0o755
    path = shared.file("own", b"data", 0o6755, COLLEAGUE)
    run_as(COLLEAGUE, lambda: os.chown(path, -1, COLLEAGUE.groups[0]))
    assert permissions(path) == 0o755


def test_set_group_bit_of_a_directory_stays(shared: Place) -> None:
    path = shared.directory("dir", 0o2775)
    os.chown(path, OTHER.uid, OTHER.gid)
    assert permissions(path) == 0o2775


def test_times(shared: Place) -> None:
    path = shared.file("file", b"data")
    os.utime(path, ns=(1, 1))
    before = os.stat(path).st_ctime_ns
    os.chown(path, 1, 1)
    after = os.stat(path)
    assert after.st_mtime_ns == 1
    assert after.st_ctime_ns >= before


def test_owner_may_give_to_own_groups(shared: Place) -> None:
    path = shared.file("file", b"data", 0o644, COLLEAGUE)
    for group in (*COLLEAGUE.groups, COLLEAGUE.gid):
        run_as(COLLEAGUE, lambda group=group: os.chown(path, -1, group))
        assert owner(path) == (COLLEAGUE.uid, group)


def test_owner_may_not_give_away(shared: Place) -> None:
    path = shared.file("file", b"data", 0o644, COLLEAGUE)

    def attempt() -> None:
        for uid, gid in ((OTHER.uid, -1), (0, -1), (-1, 54321), (OTHER.uid, OTHER.gid)):
            with fails(errno.EPERM):
                os.chown(path, uid, gid)

    run_as(COLLEAGUE, attempt)
    assert owner(path) == (COLLEAGUE.uid, COLLEAGUE.gid)


def test_ordinary_user(place: Place) -> None:
    path = place.file("file", b"data")
    os.chown(path, place.user.uid, place.user.gid)
    if place.user.uid:
        for uid, gid in ((0, -1), (-1, 0), (place.user.uid + 1, -1)):
            with fails(errno.EPERM):
                os.chown(path, uid, gid)
    assert owner(path) == (place.user.uid, place.user.gid)


def test_errors(place: Place) -> None:
    path = place.file()
    for number, bad in (
        (errno.ENOENT, place / "nothing"),
        (errno.ENOTDIR, path / "inner"),
        (errno.ENAMETOOLONG, place / ("x" * 256)),
    ):
        with fails(number):
            os.chown(bad, place.user.uid, place.user.gid)

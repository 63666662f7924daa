"""chmod(2)."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from tests.grids import in_short
from tests.posix.calls import contents, fails, make, opened, permissions
from tests.posix.place import COLLEAGUE, OTHER, run_as

if TYPE_CHECKING:
    from tests.posix.place import Place

MODES = [0o000, 0o400, 0o644, 0o755, 0o777, 0o1777, 0o2755, 0o4755, 0o7777]
SHORT = [0o000, 0o644, 0o7777]


@pytest.mark.parametrize("mode", in_short(MODES, *SHORT))
def test_file(place: Place, mode: int) -> None:
    path = place.file("file", b"data", 0o600)
    os.utime(path, ns=(1, 1))
    before = os.stat(path)
    os.chmod(path, mode)
    after = os.stat(path)
    assert permissions(path) == mode
    assert after.st_mtime_ns == 1
    assert after.st_ctime_ns >= before.st_ctime_ns
    os.chmod(path, 0o600)
    assert contents(path) == b"data"


@pytest.mark.parametrize("mode", in_short(MODES, *SHORT))
def test_directory(place: Place, mode: int) -> None:
    path = place.directory("dir", 0o700)
    place.file("dir/file", b"data")
    os.chmod(path, mode)
    assert permissions(path) == mode
    os.chmod(path, 0o700)
    assert contents(path / "file") == b"data"


def test_open_file(place: Place) -> None:
    path = place.file("file", b"data", 0o600)
    with opened(path) as fd:
        os.fchmod(fd, 0o640)
        assert os.fstat(fd).st_mode & 0o7777 == permissions(path) == 0o640
        assert os.pread(fd, 10, 0) == b"data"
    with opened(path, os.O_RDWR) as fd:
        os.write(fd, b"D")
        os.fchmod(fd, 0o604)
        os.write(fd, b"A")
    assert (permissions(path), contents(path)) == (0o604, b"DAta")


def test_open_file_that_was_removed(place: Place) -> None:
    with opened(place.file("file", b"data"), os.O_RDWR) as fd:
        os.unlink(place / "file")
        os.fchmod(fd, 0o600)
        assert os.fstat(fd).st_mode & 0o7777 == 0o600


def test_through_a_link(place: Place) -> None:
    path = place.file("file", b"data", 0o600)
    os.symlink("file", place / "link")
    os.chmod(place / "link", 0o640)
    assert permissions(path) == 0o640


def test_errors(place: Place) -> None:
    path = place.file()
    (place / "loop").symlink_to("loop")
    for number, bad in (
        (errno.ENOENT, place / "nothing"),
        (errno.ENOTDIR, path / "inner"),
        (errno.ELOOP, place / "loop"),
        (errno.ENAMETOOLONG, place / ("x" * 256)),
    ):
        with fails(number):
            os.chmod(bad, 0o600)


def test_only_the_owner(shared: Place) -> None:
    path = shared.file("file", b"data", 0o666)
    directory = shared.directory("dir", 0o777)

    def attempt() -> None:
        for each in (path, directory):
            with fails(errno.EPERM):
                os.chmod(each, 0o600)

    run_as(OTHER, attempt)
    assert permissions(path) == 0o666
    own = shared.file("own", b"data", 0o600, OTHER)
    run_as(OTHER, lambda: os.chmod(own, 0o644))
    assert permissions(own) == 0o644
    os.chmod(own, 0o400)
    assert permissions(own) == 0o400


def test_set_group_bit_is_for_members(shared: Place) -> None:
    mine = shared.file("mine", b"", 0o755, OTHER)
    os.chown(mine, OTHER.uid, 54321)
    run_as(OTHER, lambda: os.chmod(mine, 0o2755))  # noqa: S103 -- of a test
    assert permissions(mine) == 0o755
    os.chown(mine, COLLEAGUE.uid, COLLEAGUE.groups[1])
    run_as(COLLEAGUE, lambda: os.chmod(mine, 0o2755))  # noqa: S103 -- of a test
    assert permissions(mine) == 0o2755


def test_what_nobody_may_read_is_not_read(place: Place) -> None:
    if place.user.uid == 0:
        pytest.skip("root may read everything")
    make(place / "new", b"secret", 0o200)
    with fails(errno.EACCES):
        os.open(place / "new", os.O_RDONLY)
    path = place.file("file", b"secret", 0o000)
    for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR):
        with fails(errno.EACCES):
            os.open(path, flags)
    os.chmod(path, 0o400)
    assert contents(path) == b"secret"
    with fails(errno.EACCES):
        os.open(path, os.O_WRONLY)

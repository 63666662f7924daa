"""fallocate(2) works, or says EOPNOTSUPP so that programs fall back, and has then changed nothing."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from tests.posix.calls import FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE, contents, fails, fallocate, opened

if TYPE_CHECKING:
    from tests.posix.place import Place


def allocated(fd: int, mode: int, offset: int, length: int) -> bool:
    """True if it was done, false if it was refused."""
    try:
        fallocate(fd, mode, offset, length)
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        return False
    return True


@pytest.mark.parametrize("mode", [0, FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE])
def test_modes(place: Place, mode: int) -> None:
    path = place.file("file", b"x" * 10_000)
    with opened(path, os.O_RDWR) as fd:
        done = allocated(fd, mode, 4_096, 20_000)
    wanted = b"x" * 10_000
    if done and mode == 0:
        wanted = wanted.ljust(24_096, b"\0")
    elif done and mode & FALLOC_PUNCH_HOLE:
        wanted = wanted[:4_096] + bytes(10_000 - 4_096)
    assert contents(path) == wanted
    assert done or place.mounted, "a plain disk can do it"


def test_with_the_library_s_emulation(place: Place) -> None:
    path = place.file("file", b"data")
    with opened(path, os.O_RDWR) as fd:
        os.posix_fallocate(fd, 0, 100_000)
        assert os.fstat(fd).st_size == 100_000
        assert os.pread(fd, 10, 0) == b"data" + bytes(6)


def test_errors(place: Place) -> None:
    path = place.file("file", b"data")
    with opened(path, os.O_RDWR) as fd:
        for offset, length in ((-1, 1), (0, 0), (0, -1)):
            with fails(errno.EINVAL):
                fallocate(fd, 0, offset, length)
    with opened(path) as fd, fails(errno.EBADF):
        fallocate(fd, 0, 0, 1)
    assert contents(path) == b"data"

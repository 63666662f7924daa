"""lseek(2), with SEEK_DATA and SEEK_HOLE."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from tests.posix.calls import fails, opened

if TYPE_CHECKING:
    from tests.posix.place import Place


def test_positions(place: Place) -> None:
    with opened(place.file("file", b"0123456789")) as fd:
        assert os.lseek(fd, 4, os.SEEK_SET) == 4
        assert os.lseek(fd, 2, os.SEEK_CUR) == 6
        assert os.lseek(fd, -3, os.SEEK_END) == 7
        assert os.read(fd, 10) == b"789"
        assert os.lseek(fd, 100, os.SEEK_SET) == 100
        assert os.read(fd, 10) == b""
        for offset, whence in ((-1, os.SEEK_SET), (-11, os.SEEK_END), (0, 77)):
            with fails(errno.EINVAL):
                os.lseek(fd, offset, whence)


def test_end_of_a_file_that_another_writes(place: Place) -> None:
    path = place.file("file", b"data")
    with opened(path) as reader, opened(path, os.O_WRONLY | os.O_APPEND) as writer:
        assert os.lseek(reader, 0, os.SEEK_END) == 4
        os.write(writer, b"more")
        assert os.lseek(reader, 0, os.SEEK_END) == 8


def test_data_and_holes(place: Place) -> None:
    """A file system may call all of it data; then the only hole is at the end."""
    path = place.file()
    with opened(path, os.O_RDWR) as fd:
        os.pwrite(fd, b"x" * 4_096, 1 << 20)
        size = os.fstat(fd).st_size
        assert os.lseek(fd, 0, os.SEEK_DATA) in (0, 1 << 20)
        assert os.lseek(fd, 1 << 20, os.SEEK_DATA) == 1 << 20
        assert os.lseek(fd, 1 << 20, os.SEEK_HOLE) == size
        for whence in (os.SEEK_DATA, os.SEEK_HOLE):
            with fails(errno.ENXIO):
                os.lseek(fd, size, whence)

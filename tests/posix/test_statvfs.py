"""statvfs(2) tells of the write layer's file system."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tests.posix.calls import opened

if TYPE_CHECKING:
    from tests.posix.place import Place


def test_space(place: Place) -> None:
    found, wanted = os.statvfs(place.path), os.statvfs(place.source)
    assert (found.f_namemax, found.f_frsize, found.f_blocks) == (255, wanted.f_frsize, wanted.f_blocks)
    assert found.f_files == wanted.f_files
    assert not found.f_flag & os.ST_RDONLY
    assert abs(found.f_bavail - wanted.f_bavail) * found.f_frsize < 1 << 30, "others write to this disk, too"


def test_of_a_file(place: Place) -> None:
    with opened(place.file(), os.O_RDWR) as fd:
        assert os.fstatvfs(fd).f_blocks == os.statvfs(place.source).f_blocks

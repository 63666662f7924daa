"""What `Disk.verify` takes for sound stays."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from copickfs.cache import Disk, Piece

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("path", ["map.mrc", "a/map.mrc", "a/" + "n" * 252])
@pytest.mark.parametrize("start", [0, 100])
def test_a_piece_is_sound_wherever_its_object_is(tmp_path: Path, path: str, start: int) -> None:
    pieces = [
        Piece("lab", path, "1", start, start + 100, 1_000),
        Piece("lab", "b/whole", "1", 0, 100, 100),
    ]
    with contextlib.closing(Disk(tmp_path / "cache", 1 << 24)) as disk:
        for piece in pieces:
            assert disk.put(piece, b"x" * 100)
        assert disk.verify() == (2, 0, 0)
        assert [disk.get(piece) for piece in pieces] == [b"x" * 100] * 2

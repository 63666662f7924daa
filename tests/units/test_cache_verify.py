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


def test_links_and_empty_directories_go(tmp_path: Path) -> None:
    piece = Piece("lab", "a/map.mrc", "1", 0, 100, 100)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine").write_bytes(b"mine")
    content = tmp_path / "cache" / "content"
    with contextlib.closing(Disk(tmp_path / "cache", 1 << 24)) as disk:
        assert disk.put(piece, b"x" * 100)
        (content / "lab" / "empty" / "inner").mkdir(parents=True)
        (content / "lab" / "a" / "directory").symlink_to(elsewhere)
        (content / "lab" / "a" / "file").symlink_to(elsewhere / "mine")
        (content / "lab" / "b" / "dangling").parent.mkdir()
        (content / "lab" / "b" / "dangling").symlink_to("nowhere")
        assert disk.verify() == (1, 0, 3)
        assert sorted(path.relative_to(content).as_posix() for path in content.rglob("*")) == [
            "lab", "lab/a", "lab/a/map.mrc",
        ]  # fmt: skip
        assert disk.get(piece) == b"x" * 100
    assert (elsewhere / "mine").read_bytes() == b"mine"

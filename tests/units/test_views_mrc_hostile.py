"""Volumes whose metadata says what nobody would write: enormous extents, chunks of one voxel."""

from __future__ import annotations

import json
import struct
import threading
from typing import TYPE_CHECKING, Any

import pytest

from copickfs.errors import Unreadable
from copickfs.virtual.volumes.renderer import MrcRenderer
from tests.volumes import HEADER_BYTES, Lab, opened, project_of, read, source_of, stored

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MILLION = 10**6
MOST = 2**31 - 1


@pytest.fixture
def renderer() -> Iterator[MrcRenderer]:
    made = MrcRenderer(1 << 20, spill_bytes=0)
    yield made
    made.close()


def sparse(shape: Sequence[int], chunks: Sequence[int], **chunk_files: bytes) -> Lab:
    """A store of an array of float32 that is 1.5 wherever no chunk is."""
    document: dict[str, Any] = {
        "zarr_format": 2, "shape": list(shape), "chunks": list(chunks), "dtype": "<f4", "fill_value": 1.5,
        "compressor": None, "filters": None, "order": "C",
    }  # fmt: skip
    named = {name[1:].replace("_", "."): data for name, data in chunk_files.items()}
    return Lab(stored([{".zarray": json.dumps(document).encode(), **named}], [(10, 10, 10)]))


@pytest.mark.parametrize("chunk", [(128, 128, 128), (1000, 1000, 1000), (MILLION, MILLION, 1)])
def test_a_volume_of_a_million_planes_is_read_in_the_middle(
    renderer: MrcRenderer, chunk: tuple[int, ...]
) -> None:
    lab = sparse([MILLION] * 3, chunk)
    project = project_of(lab)
    size_bytes = HEADER_BYTES + 4 * MILLION**3
    assert renderer.size_bytes(source_of(project), "wbp.mrc") == size_bytes
    contents = opened(renderer, project)
    for start in (0, HEADER_BYTES, HEADER_BYTES + 4 * (MILLION**3 // 2 + MILLION // 2), size_bytes - 8):
        data = read(contents, start, start + 8)
        assert data == (struct.pack("<2f", 1.5, 1.5) if start else struct.pack("<2i", MILLION, MILLION))
    contents.close()


def test_one_voxel_of_a_billion_chunks_is_found(renderer: MrcRenderer) -> None:
    lab = sparse([3, MILLION, MILLION], [1, 4, 4], _1_125000_249999=struct.pack("<16f", *range(16)))
    contents = opened(renderer, project_of(lab))
    row = HEADER_BYTES + 4 * (MILLION**2 + 500_001 * MILLION)
    assert struct.unpack("<5f", read(contents, row + 4 * (MILLION - 5), row + 4 * MILLION)) == (
        1.5, 4.0, 5.0, 6.0, 7.0,
    )  # fmt: skip
    contents.close()


def test_the_header_of_a_row_of_chunks_needs_no_list_of_them(renderer: MrcRenderer) -> None:
    """It was a list of two billion numbers, which ended the daemon."""
    found: list[bytes] = []
    project = project_of(sparse([MOST, 1, 1], [1, 1, 1]))

    def look() -> None:
        contents = opened(renderer, project)
        found.append(read(contents, 0, 12))
        contents.close()

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(20)
    assert found == [struct.pack("<3i", 1, 1, MOST)]


def test_what_would_be_longer_than_a_file_can_be_has_none(renderer: MrcRenderer) -> None:
    project = project_of(sparse([MOST] * 3, [64] * 3))
    with pytest.raises(Unreadable, match="longer than any can be"):
        renderer.files(source_of(project))


def test_what_would_never_be_known_is_not_computed(renderer: MrcRenderer) -> None:
    project = project_of(sparse([MILLION] * 3, [128] * 3))
    with pytest.raises(Unreadable, match="stay estimates, for it has more than 32,768 chunks"):
        renderer.compute_statistics(source_of(project))

"""Whole planes, which are put together ahead of those who go through a volume."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numcodecs
import numpy as np
import pytest

from copickfs.errors import Unreadable
from copickfs.model import ByteRange
from copickfs.virtual.volumes import ahead
from copickfs.virtual.volumes.buffers import Buffers
from copickfs.virtual.volumes.renderer import MrcRenderer
from copickfs.virtual.volumes.tiles import WholeKey
from copickfs.virtual.volumes.whole import Whole
from tests.arrays import written_2
from tests.sandbox import wait_until
from tests.volumes import HEADER_BYTES, WBP, Lab, opened, project_of, read, stored, voxels

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from copickfs.virtual.rendering import Contents

SHAPE = (32, 8, 10)
CHUNKS = (4, 4, 5)
PLANE_BYTES = 8 * 10 * 4
SLAB_BYTES = 4 * PLANE_BYTES
MEMORY_BYTES = 8 * SLAB_BYTES
"""A quarter may be ahead of a reader."""


@pytest.fixture
def values() -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).random(SHAPE).astype("f4")


@pytest.fixture
def lab(values: np.ndarray[Any, Any]) -> Lab:
    return Lab(stored([written_2(values, chunks=CHUNKS, compressor=numcodecs.Zlib(1))]))


@pytest.fixture
def renderer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MrcRenderer]:
    monkeypatch.setattr(ahead, "_WINDOW_BYTES", 1000)
    made = MrcRenderer(MEMORY_BYTES, tmp_path / "spill")
    yield made
    made.close()


def walked(renderer: MrcRenderer, contents: Contents) -> Whole:
    """Go through the first slab of planes; the next one, when it has been decoded ahead."""
    for plane in range(4):
        start = HEADER_BYTES + plane * PLANE_BYTES
        read(contents, start, start + PLANE_BYTES)
    wait_until(lambda: (whole := second(renderer, contents)) is not None and whole.is_over)
    found = second(renderer, contents)
    assert found is not None
    return found


def kept(renderer: MrcRenderer) -> list[Whole]:
    """All whole planes that are kept."""
    tiles = renderer._sharing.tiles
    with tiles._lock:
        return [held for held in tiles._held.values() if isinstance(held, Whole)]


def second(renderer: MrcRenderer, contents: Any) -> Whole | None:
    """The planes of the second slab, as far as they are kept."""
    return renderer._sharing.tiles.get_whole(WholeKey(contents._volume.number, 4))


def test_planes_that_were_decoded_ahead_are_given_as_they_are_in_memory(
    renderer: MrcRenderer, lab: Lab, values: np.ndarray[Any, Any]
) -> None:
    contents = opened(renderer, project_of(lab))
    assert not walked(renderer, contents).is_bad
    # Across rows and planes, and to the byte.
    start = HEADER_BYTES + SLAB_BYTES + 7
    spans = [ByteRange(start, start + PLANE_BYTES + 3), ByteRange(start + 50, start + 90)]
    found = [contents.read_nowait(span) for span in spans]
    data = values.tobytes()
    assert [bytes(each) for each in found] == [data[a - HEADER_BYTES : b - HEADER_BYTES] for a, b in spans]
    places = [np.frombuffer(each, np.uint8) for each in found]
    assert np.shares_memory(*places)
    assert not places[0].flags.writeable
    # From one slab into the next, and all of it.
    across = ByteRange(HEADER_BYTES + SLAB_BYTES - 3, HEADER_BYTES + SLAB_BYTES + 5)
    assert bytes(contents.read(across)) == data[SLAB_BYTES - 3 : SLAB_BYTES + 5]
    assert read(contents, HEADER_BYTES) == data
    contents.close()


def test_what_was_given_stays_when_others_need_the_memory(
    renderer: MrcRenderer, lab: Lab, values: np.ndarray[Any, Any]
) -> None:
    contents = opened(renderer, project_of(lab))
    walked(renderer, contents)
    start = HEADER_BYTES + SLAB_BYTES
    given = contents.read_nowait(ByteRange(start, start + SLAB_BYTES))
    for _time in range(2):
        for plane in range(SHAPE[0]):
            found = voxels(contents, values, plane, plane + 1)
            np.testing.assert_array_equal(found, values[plane : plane + 1])
            assert renderer._sharing.tiles.size_bytes <= MEMORY_BYTES
            assert sum(whole.size_bytes for whole in kept(renderer)) <= MEMORY_BYTES // 2
    assert kept(renderer)
    assert bytes(given) == values[4:8].tobytes()
    contents.close()


def test_planes_of_what_has_changed_are_not_given_any_more(
    renderer: MrcRenderer, lab: Lab, values: np.ndarray[Any, Any]
) -> None:
    contents = opened(renderer, project_of(lab))
    assert not walked(renderer, contents).is_bad
    other = np.ones_like(values)
    lab.put(f"{WBP}/0/1.0.1", written_2(other, chunks=CHUNKS, compressor=numcodecs.Zlib(1))["1.0.1"])
    renderer.forget(f"{WBP}/0/1.0.1")
    values[4:8, :4, 5:] = 1
    np.testing.assert_array_equal(voxels(contents, values, 4, 8), values[4:8])
    contents.close()


def test_a_broken_chunk_spoils_only_what_is_in_it(
    renderer: MrcRenderer, lab: Lab, values: np.ndarray[Any, Any]
) -> None:
    lab.put(f"{WBP}/0/1.1.1", b"broken")
    contents = opened(renderer, project_of(lab))
    assert walked(renderer, contents).is_bad
    start = HEADER_BYTES + SLAB_BYTES
    assert read(contents, start, start + PLANE_BYTES // 2) == values[4, :4].tobytes()
    with pytest.raises(Unreadable, match=r"0/1\.1\.1"):
        read(contents, start, start + PLANE_BYTES)
    np.testing.assert_array_equal(voxels(contents, values, 8, 32), values[8:])
    contents.close()


def test_memory_is_used_again_when_nobody_looks_at_it() -> None:
    buffers = Buffers()
    first = buffers.take(1000)
    first[:] = 1
    place = first.ctypes.data
    given = first.data.toreadonly()[10:20]
    del first
    second = buffers.take(1000)
    second[:] = 2
    assert second.ctypes.data != place
    assert bytes(given) == b"\1" * 10
    del given
    third = buffers.take(1000)
    assert third.ctypes.data == place
    del second, third
    assert buffers.take(500).nbytes == 500
    assert not [idle for idle in buffers._idle if idle.nbytes == 1000]

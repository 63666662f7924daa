"""Volumes while they are read: sharing, changes, faults, going ahead, the temporary file."""

from __future__ import annotations

import gc
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numcodecs
import numpy as np
import pytest

from copickfs.errors import Stale, Unavailable, Unreadable, WouldBlock, errno_of
from copickfs.model import ByteRange
from copickfs.virtual.project import Limits
from copickfs.virtual.volumes import ahead, chunkfiles
from copickfs.virtual.volumes.renderer import MrcRenderer
from tests.arrays import Files, written_2
from tests.sandbox import wait_until
from tests.volumes import HEADER_BYTES, WBP, Lab, opened, project_of, read, source_of, stored, voxels, whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from copickfs.virtual.project import Project
    from copickfs.virtual.rendering import Contents

ZLIB = numcodecs.Zlib(1)
SHAPE = (12, 8, 10)
CHUNKS = (4, 4, 5)


def array(seed: int = 0, shape: tuple[int, ...] = SHAPE) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).random(shape).astype("f4")


def files_of(values: np.ndarray[Any, Any], chunks: tuple[int, ...] = CHUNKS) -> Files:
    """Chunks that are decoded whole."""
    return written_2(values, chunks=chunks, compressor=ZLIB)


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Callable[..., MrcRenderer]]:
    renderers = []

    def make(memory_bytes: int = 1 << 20, **more: Any) -> MrcRenderer:
        renderers.append(MrcRenderer(memory_bytes, tmp_path / "spill", **more))
        return renderers[-1]

    yield make
    for renderer in renderers:
        renderer.close()


def quiet(renderer: MrcRenderer) -> MrcRenderer:
    """Without going ahead, so that it can be counted what is opened for readers."""
    renderer._sharing.ahead.close()
    return renderer


def test_a_plane_opens_only_the_chunks_that_it_is_in(made: Callable[..., MrcRenderer]) -> None:
    values = array()
    lab = Lab(stored([files_of(values)]))
    contents = opened(quiet(made()), project_of(lab))
    np.testing.assert_array_equal(voxels(contents, values, 5, 6), values[5:6])
    assert lab.chunks() == {f"{WBP}/0/1.{y}.{x}": 1 for y in range(2) for x in range(2)}
    row = HEADER_BYTES + values[:9].nbytes + values[9, :6].nbytes
    assert read(contents, row, row + 8) == values[9, 6, :2].tobytes()
    assert lab.chunks()[f"{WBP}/0/2.1.0"] == 1
    assert len(lab.chunks()) == 5
    contents.close()


def test_four_readers_decode_each_chunk_once(made: Callable[..., MrcRenderer]) -> None:
    values = array()
    lab = Lab(stored([files_of(values)]))
    project, renderer = project_of(lab), made()
    barrier = threading.Barrier(4)

    def go() -> bytes:
        contents = opened(renderer, project)
        barrier.wait()
        data = b"".join(
            read(contents, start, start + 100)
            for start in range(HEADER_BYTES, HEADER_BYTES + values.nbytes, 100)
        )
        contents.close()
        return data

    with ThreadPoolExecutor(4) as pool:
        found = [each.result() for each in [pool.submit(go) for _reader in range(4)]]
    assert found == [values.tobytes()] * 4
    assert set(lab.chunks().values()) == {1}
    assert len(lab.chunks()) == 3 * 2 * 2


def test_what_is_at_hand_is_answered_without_waiting(made: Callable[..., MrcRenderer]) -> None:
    values = array()
    lab = Lab(stored([files_of(values)]))
    contents = opened(quiet(made()), project_of(lab))
    span = ByteRange(HEADER_BYTES + 9, HEADER_BYTES + 500)
    for wanted in (span, ByteRange(0, 10)):
        with pytest.raises(WouldBlock):
            contents.read_nowait(wanted)
    assert not lab.chunks()
    assert read(contents, *span) == bytes(contents.read_nowait(span)) == values.tobytes()[9:500]
    assert read(contents, 0, 10) == bytes(contents.read_nowait(ByteRange(0, 10)))
    assert bytes(contents.read_nowait(ByteRange(1 << 40, 1 << 41))) == b""
    contents.close()


def test_a_chunk_that_changes_is_decoded_again(
    made: Callable[..., MrcRenderer], monkeypatch: pytest.MonkeyPatch
) -> None:
    values, other = array(1), array(2)
    lab = Lab(stored([files_of(values)]))
    renderer = quiet(made())
    contents = opened(renderer, project_of(lab))
    assert read(contents, HEADER_BYTES) == values.tobytes()
    lab.put(f"{WBP}/0/1.1.0", files_of(other)["1.1.0"])
    values[4:8, 4:, :5] = other[4:8, 4:, :5]
    renderer.forget(f"{WBP}/0/1.1.0")
    assert read(contents, HEADER_BYTES) == values.tobytes()
    assert lab.chunks().pop(f"{WBP}/0/1.1.0") == 2
    # Without a word of the layer it is seen as soon as versions are not believed any more.
    lab.remove(f"{WBP}/0/0.0.0")
    values[:4, :4, :5] = 0
    monkeypatch.setattr(chunkfiles, "_CURRENT_S", 0.0)
    assert read(contents, HEADER_BYTES) == values.tobytes()
    assert sum(lab.chunks().values()) == 12 + 2
    contents.close()


def test_a_chunk_that_changes_while_it_is_decoded_is_of_one_version(made: Callable[..., MrcRenderer]) -> None:
    values, other = array(1), array(2)
    lab = Lab(stored([files_of(values, SHAPE)]))
    contents = opened(quiet(made()), project_of(lab))
    changed = []

    def change(path: str) -> None:
        if path.endswith("/0.0.0") and not changed:
            changed.append(path)
            lab.put(path, files_of(other, SHAPE)["0.0.0"])

    lab.before = change
    assert read(contents, HEADER_BYTES) == other.tobytes()
    contents.close()


def test_a_store_that_goes_or_becomes_another_is_stale_and_never_zeros(
    made: Callable[..., MrcRenderer],
) -> None:
    values = array()
    for change in ("gone", "another", "the same"):
        lab = Lab(stored([files_of(values)]))
        project, renderer = project_of(lab), quiet(made())
        contents = opened(renderer, project)
        plane = voxels(contents, values, 0, 1)
        np.testing.assert_array_equal(plane, values[:1])
        if change == "gone":
            lab.remove(WBP)
        else:
            dtype = "f4" if change == "the same" else "i4"
            for name, data in stored([files_of((values * 100).astype(dtype))]).items():
                lab.put(name, data)
        renderer.forget(WBP)
        if change == "the same":
            np.testing.assert_array_equal(voxels(contents, values), values * 100)
        else:
            for first in (HEADER_BYTES, HEADER_BYTES + values[:4].nbytes):  # the former is decoded already
                with pytest.raises(Stale):
                    read(contents, first, first + 9)
            with pytest.raises((Stale, WouldBlock)):
                contents.read_nowait(ByteRange(HEADER_BYTES, HEADER_BYTES + 9))
        contents.close()
        if change != "gone":
            assert (
                whole(renderer, project)[HEADER_BYTES:] == (values * 100).astype(dtype).astype("f4").tobytes()
            )


def test_a_broken_chunk_is_an_error_and_is_read_when_it_is_mended(
    made: Callable[..., MrcRenderer], caplog: pytest.LogCaptureFixture
) -> None:
    values = array()
    files = stored([files_of(values)])
    good = files[f"{WBP}/0/1.0.0"]
    lab = Lab({**files, f"{WBP}/0/1.0.0": good[: len(good) // 2]})
    renderer = made()
    contents = opened(renderer, project_of(lab))
    np.testing.assert_array_equal(voxels(contents, values, 0, 4), values[:4])
    for _time in range(2):
        with pytest.raises(Unreadable, match=rf"{WBP}/0: 0/1\.0\.0") as failed:
            voxels(contents, values)
        assert errno_of(failed.value) == 5
    assert len(caplog.records) == 1
    lab.put(f"{WBP}/0/1.0.0", good)
    renderer.forget("")
    np.testing.assert_array_equal(voxels(contents, values), values)
    assert renderer.files(source_of(project_of(lab))) == ["wbp.mrc"]
    contents.close()


def test_an_outage_in_the_middle_passes_to_all_and_is_not_remembered(
    made: Callable[..., MrcRenderer],
) -> None:
    values = array()
    lab = Lab(stored([files_of(values)]))
    contents = opened(quiet(made()), project_of(lab))
    np.testing.assert_array_equal(voxels(contents, values, 0, 4), values[:4])
    lab.down = ("0/1.1.1", "0/0.0.0")
    together = threading.Barrier(3)

    def go() -> None:
        together.wait()
        with pytest.raises(Unavailable):
            voxels(contents, values)

    with ThreadPoolExecutor(3) as pool:
        for each in [pool.submit(go) for _reader in range(3)]:
            each.result()
    np.testing.assert_array_equal(voxels(contents, values, 0, 4), values[:4])  # what is decoded stays
    lab.down = ()
    np.testing.assert_array_equal(voxels(contents, values), values)
    contents.close()


def test_an_outage_at_the_header_or_when_it_is_opened_is_no_answer(made: Callable[..., MrcRenderer]) -> None:
    values = array()
    lab = Lab(stored([files_of(values), files_of(values[::2, ::2, ::2])]))
    project, renderer = project_of(lab), quiet(made())
    lab.down = (".zarray",)
    for ask in (renderer.files, lambda source: renderer.open(source, "wbp.mrc")):
        with pytest.raises(Unavailable):
            ask(source_of(project))
    lab.down = ()
    contents = opened(renderer, project)
    lab.down = ("/1/0.0.0",)
    for _time in range(2):
        with pytest.raises(Unavailable):
            read(contents, 0, 100)
    np.testing.assert_array_equal(voxels(contents, values), values)
    lab.down = ()
    assert read(contents, 0, 4) == (10).to_bytes(4, "little")
    contents.close()


def walk(contents: Contents, values: np.ndarray[Any, Any], step: int) -> bytes:
    """Read as `cat` does."""
    stop = HEADER_BYTES + values.nbytes
    return b"".join(read(contents, at, at + step) for at in range(HEADER_BYTES, stop, step))


def test_who_goes_through_a_volume_finds_the_next_chunks_decoded(
    made: Callable[..., MrcRenderer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "_WINDOW_BYTES", 1000)
    values = array(0, (64, 8, 10))
    lab = Lab(stored([files_of(values)]))
    renderer = made(16 << 10)  # of 20 KiB; a quarter may be ahead, which are 12 planes
    contents = opened(renderer, project_of(lab))
    for plane in range(3):
        voxels(contents, values, plane, plane + 1)
    wait_until(lambda: {f"{WBP}/0/{z}.1.1" for z in range(4)} <= set(lab.chunks()))
    wait_until(lambda: not renderer._sharing.ahead._has_target())
    assert max(int(name.rpartition("/")[2].partition(".")[0]) for name in lab.chunks()) <= 4
    # Whoever turns is not followed to where he went before.
    voxels(contents, values, 60, 61)
    assert not contents._walk.is_wanted
    assert walk(contents, values, 300) == values.tobytes()
    contents.close()
    assert not renderer._sharing.ahead.walkers


def test_an_error_ahead_is_told_only_who_comes_there(made: Callable[..., MrcRenderer]) -> None:
    values = array()
    lab = Lab(stored([files_of(values)]))
    renderer = made()
    contents = opened(renderer, project_of(lab))
    lab.down = ("0/1.0.0",)
    for plane in range(4):
        voxels(contents, values, plane, plane + 1)
    wait_until(lambda: not renderer._sharing.ahead._has_target())
    with pytest.raises(Unavailable):
        voxels(contents, values, 4, 5)
    lab.down = ()
    assert walk(contents, values, 1000) == values.tobytes()
    contents.close()


def slab_decodes(lab: Lab, contents: Contents, values: np.ndarray[Any, Any]) -> int:
    """How often chunks are opened while a volume is read plane by plane."""
    for plane in range(values.shape[0]):
        np.testing.assert_array_equal(voxels(contents, values, plane, plane + 1), values[plane : plane + 1])
    return sum(lab.chunks().values())


def test_slabs_that_do_not_fit_into_memory_are_decoded_once(
    made: Callable[..., MrcRenderer], tmp_path: Path
) -> None:
    values = array()
    lab = Lab(stored([files_of(values)]))
    renderer = quiet(made(900))  # two of the four tiles of a slab, which have 320 bytes each
    contents = opened(renderer, project_of(lab))
    assert slab_decodes(lab, contents, values) == 12
    assert renderer._sharing.tiles.size_bytes <= 900
    spill = renderer._sharing.tiles._spill
    assert spill.size_bytes >= 9 * 320
    assert not list((tmp_path / "spill").iterdir())  # it has no name
    assert walk(contents, values, 77) == values.tobytes()
    assert sum(lab.chunks().values()) == 12
    with pytest.raises(WouldBlock):
        contents.read_nowait(ByteRange(HEADER_BYTES, HEADER_BYTES + 9))  # it is on the disk
    lab.put(f"{WBP}/0/0.0.0", files_of(array(5))["0.0.0"])
    values[:4, :4, :5] = array(5)[:4, :4, :5]
    renderer.forget("")
    assert walk(contents, values, 1000) == values.tobytes()
    contents.close()


@pytest.mark.parametrize("trouble", ["full", "no file", "none wanted", "others need the room"])
def test_without_room_on_the_disk_chunks_are_decoded_again(
    made: Callable[..., MrcRenderer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    values = array()
    lab = Lab(stored([files_of(values)]))
    spill_bytes = {"none wanted": 0, "others need the room": 400}.get(trouble, 1 << 20)
    if trouble == "no file":
        (tmp_path / "spill").write_text("in the way")
    if trouble == "full":

        def full(*_call: Any) -> int:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "pwrite", full)
    renderer = quiet(made(900, spill_bytes=spill_bytes))
    contents = opened(renderer, project_of(lab))
    assert slab_decodes(lab, contents, values) > 12
    assert renderer._sharing.tiles._spill.size_bytes <= spill_bytes
    contents.close()


def test_room_on_the_disk_is_left_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = array()
    lab = Lab(stored([files_of(values)]))
    status = os.statvfs(tmp_path)
    left_bytes = 1 << 20
    told = os.statvfs_result((*status[:4], left_bytes // status.f_frsize, *status[5:]))
    monkeypatch.setattr(os, "fstatvfs", lambda _file: told)
    for floor_bytes, is_full in ((left_bytes - 2 * status.f_frsize, False), (left_bytes, True)):
        renderer = MrcRenderer()
        renderer.configure(Limits(900, 1 << 20, str(tmp_path / "spill"), floor_bytes))
        quiet(renderer)
        contents = opened(renderer, project_of(lab))
        lab.opened.clear()
        assert (slab_decodes(lab, contents, values) > 12) is is_full
        contents.close()
        renderer.close()


def test_a_disk_that_cannot_be_read_is_decoded_again(
    made: Callable[..., MrcRenderer], monkeypatch: pytest.MonkeyPatch
) -> None:
    values = array()
    lab = Lab(stored([files_of(values)]))
    contents = opened(quiet(made(900)), project_of(lab))
    voxels(contents, values, 0, 1)

    def broken(*_call: Any) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "preadv", broken)
    np.testing.assert_array_equal(voxels(contents, values), values)
    contents.close()


def test_nothing_is_left_behind(made: Callable[..., MrcRenderer]) -> None:
    values = array(0, (64, 8, 10))
    renderer = made(900)
    before = set(os.listdir("/proc/self/fd"))
    contents = opened(renderer, project_of(Lab(stored([files_of(values)]))))
    assert walk(contents, values, 500) == values.tobytes()
    assert len(os.listdir("/proc/self/fd")) == len(before) + 1
    renderer.close()
    contents.close()
    contents.close()
    renderer.close()
    wait_until(lambda: not [each for each in threading.enumerate() if "volumes-ahead" in each.name])
    assert set(os.listdir("/proc/self/fd")) <= before | {"9999"}


def test_memory_is_for_all_volumes_together_and_given_back(made: Callable[..., MrcRenderer]) -> None:
    values = array()
    other = WBP.replace("wbp", "dctf")
    lab = Lab(stored([files_of(values)]) | stored([files_of(values)], path=other))
    project, renderer = project_of(lab), quiet(made(3000))
    tiles = renderer._sharing.tiles
    one, two = opened(renderer, project), opened(renderer, project, "dctf.mrc", other)
    for contents in (one, two, one):
        np.testing.assert_array_equal(voxels(contents, values), values)
        assert 0 < tiles.size_bytes <= 3000
        assert tiles.size_bytes == sum(held.voxels.nbytes for held in tiles._held.values())
    one.close()
    two.close()
    for path in (WBP, other):
        for name, data in stored([files_of(values.astype("f2"))], path=path).items():
            lab.put(name, data)
        opened(renderer, project, f"{path.rpartition('/')[2][:-5]}.mrc", path).close()
    assert tiles.size_bytes == 0  # of arrays that have gone nothing is kept
    gc.collect()


def test_a_channel_does_not_keep_the_memory_of_all_channels(made: Callable[..., MrcRenderer]) -> None:
    values = array(0, (16, 8, 8, 8))
    lab = Lab(stored([files_of(values, (16, 8, 8, 8))]))
    renderer = quiet(made())
    contents = opened(renderer, project_of(lab), "wbp_c3.mrc")
    np.testing.assert_array_equal(voxels(contents, values[3]), values[3])
    (held,) = renderer._sharing.tiles._held.values()
    root: Any = held.voxels
    while getattr(root, "base", None) is not None or isinstance(root, memoryview):
        root = root.obj if isinstance(root, memoryview) else root.base
    assert memoryview(root).nbytes == held.voxels.nbytes
    contents.close()


def test_flags_are_counted_as_numbers(made: Callable[..., MrcRenderer]) -> None:
    values = array() > 0.25
    _lab, project = project_with(values)
    (found,) = made().compute_statistics(source_of(project)).values()
    assert found == (0, 1, pytest.approx(values.mean()), pytest.approx(values.std()), True)


def project_with(values: np.ndarray[Any, Any]) -> tuple[Lab, Project]:
    lab = Lab(stored([files_of(values)]))
    return lab, project_of(lab)


def test_a_file_that_is_opened_again_finds_what_was_decoded(made: Callable[..., MrcRenderer]) -> None:
    values = array()
    lab, project = project_with(values)
    renderer = quiet(made())
    assert whole(renderer, project) == whole(renderer, project)
    assert set(lab.chunks().values()) == {1}

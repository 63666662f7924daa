"""What the header of a volume says of its voxels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mrcfile
import numcodecs
import numpy as np
import pytest

from copickfs.errors import Unreadable
from copickfs.virtual.project import Statistics
from copickfs.virtual.volumes import statistics
from copickfs.virtual.volumes.moments import Moments, moments
from copickfs.virtual.volumes.renderer import MrcRenderer, compute_statistics
from tests.arrays import written_2
from tests.volumes import HEADER_BYTES, WBP, Lab, opened, project_of, read, source_of, stored, voxels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from copickfs.virtual.project import Project

SHAPE = (16, 8, 12)
ZLIB = numcodecs.Zlib(1)


@pytest.fixture
def renderer() -> Iterator[MrcRenderer]:
    made = MrcRenderer(memory_bytes=1 << 20, spill_bytes=0)
    made._sharing.ahead.close()  # so that nothing is decoded but what a reader wants
    yield made
    made.close()


def array(seed: int = 0) -> np.ndarray[Any, Any]:
    return (np.random.default_rng(seed).standard_normal(SHAPE) + 1000).astype("f4")


def lab_of(*levels: np.ndarray[Any, Any], chunks: tuple[int, ...] = (4, 8, 12)) -> Lab:
    return Lab(stored([written_2(each, chunks=chunks, compressor=ZLIB) for each in levels]))


def told(data: bytes) -> tuple[float, ...]:
    """What a header says: minimum, maximum, mean, root of the mean square deviation."""
    head = np.frombuffer(data[:HEADER_BYTES], mrcfile.dtypes.HEADER_DTYPE)[0]
    return tuple(float(head[field]) for field in ("dmin", "dmax", "dmean", "rms"))


def of(values: np.ndarray[Any, Any]) -> tuple[float, ...]:
    wide = values.astype("f8")
    return float(wide.min()), float(wide.max()), float(wide.mean()), float(wide.std())


def header(renderer: MrcRenderer, project: Project, name: str = "wbp.mrc") -> tuple[float, ...]:
    contents = opened(renderer, project, name)
    try:
        return told(read(contents, 0, HEADER_BYTES))
    finally:
        contents.close()


def test_an_estimate_is_that_of_the_coarsest_level_and_decodes_nothing_else(renderer: MrcRenderer) -> None:
    values, coarse = array(), array(1)[::4, ::4, ::4]
    lab = lab_of(values, values[::2, ::2, ::2], coarse, chunks=(2, 2, 3))
    assert header(renderer, project_of(lab)) == pytest.approx(of(coarse))
    assert {path.removeprefix(WBP)[1] for path in lab.chunks()} == {"2"}


def test_the_statistics_are_exact_and_kept_when_all_of_a_volume_was_read(renderer: MrcRenderer) -> None:
    values, coarse = array(), array(1)[::2, ::2, ::2]
    lab = lab_of(values, coarse)
    project = project_of(lab)
    contents = opened(renderer, project)
    estimate = told(read(contents, 0, HEADER_BYTES))
    for plane in (15, 3, 9):
        voxels(contents, values, plane, plane + 1)
    assert [path for path, _version in project.facts.kept] == [f"{WBP}/1"]
    voxels(contents, values, 4, 5)
    (kept,) = (known for (path, _version), known in project.facts.kept.items() if path == f"{WBP}/0")
    assert kept.exact
    assert kept[:4] == pytest.approx(of(values), rel=1e-6)
    assert told(read(contents, 0, HEADER_BYTES)) == estimate  # of one file that is open there is one header
    contents.close()
    assert header(renderer, project) == pytest.approx(of(values))
    again = MrcRenderer(spill_bytes=0)
    lab.opened.clear()
    assert header(again, project) == pytest.approx(of(values))
    assert not lab.chunks()
    lab.put(f"{WBP}/0/3.0.0", written_2(array(2), chunks=(4, 8, 12), compressor=ZLIB)["3.0.0"])
    again.forget(WBP)
    assert header(again, project) == pytest.approx(of(coarse))  # of another version nothing is known
    again.close()


def test_a_chunk_that_changed_in_between_is_counted_as_it_is_now(renderer: MrcRenderer) -> None:
    values, other = array(), array(1)
    lab = lab_of(values)
    project = project_of(lab)
    contents = opened(renderer, project)
    voxels(contents, values, 0, 12)
    lab.put(f"{WBP}/0/1.0.0", written_2(other, chunks=(4, 8, 12), compressor=ZLIB)["1.0.0"])
    renderer.forget(WBP)
    values[4:8] = other[4:8]
    np.testing.assert_array_equal(voxels(contents, values), values)
    ((_about, kept),) = project.facts.kept.items()
    assert kept[:4] == pytest.approx(of(values), rel=1e-6)
    contents.close()


@pytest.mark.parametrize("is_open", [False, True])
def test_they_are_exact_again_when_what_changed_was_read(renderer: MrcRenderer, *, is_open: bool) -> None:
    values, other, coarse = array(), array(1) + 500, array(2)[::2, ::2, ::2]
    lab = lab_of(values, coarse)
    project = project_of(lab)
    first = opened(renderer, project)
    read(first)
    if not is_open:
        first.close()
    lab.put(f"{WBP}/0/1.0.0", written_2(other, chunks=(4, 8, 12), compressor=ZLIB)["1.0.0"])
    renderer.forget(f"{WBP}/0/1.0.0")
    values[4:8] = other[4:8]
    assert header(renderer, project) == pytest.approx(of(coarse))
    second = opened(renderer, project)
    np.testing.assert_array_equal(voxels(second, values), values)
    second.close()
    first.close()
    assert header(renderer, project) == pytest.approx(of(values))
    again = MrcRenderer(spill_bytes=0)
    assert header(again, project) == pytest.approx(of(values))  # it is kept
    again.close()


def test_a_sample_is_never_taken_for_all(renderer: MrcRenderer, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.broadcast_to(np.arange(64, dtype="f4")[:, None, None], (64, 8, 8)).copy()
    lab = lab_of(values, chunks=(1, 4, 4))
    project = project_of(lab)
    contents = opened(renderer, project)
    read(contents)
    contents.close()
    project.facts.kept.clear()  # there is no index
    monkeypatch.setattr(statistics, "SAMPLE_BYTES", values.nbytes // 8)
    renderer.forget(WBP)
    assert header(renderer, project) == pytest.approx(of(values))


def test_a_small_volume_of_one_level_has_exact_statistics_at_once(renderer: MrcRenderer) -> None:
    values = array()
    project = project_of(lab_of(values))
    assert header(renderer, project) == pytest.approx(of(values))
    assert next(iter(project.facts.kept.values())).exact


def test_a_large_coarsest_level_is_sampled_all_over(
    renderer: MrcRenderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.broadcast_to(np.arange(64, dtype="f4")[:, None, None], (64, 8, 8)).copy()
    lab = lab_of(values, chunks=(1, 4, 4))
    monkeypatch.setattr(statistics, "SAMPLE_BYTES", values.nbytes // 8)
    minimum, maximum, mean, _rms = header(renderer, project_of(lab))
    assert sum(lab.chunks().values()) == 8 * 4
    assert minimum < 8
    assert maximum > 56
    assert mean == pytest.approx(32, abs=6)


def test_only_finite_values_count_and_without_any_nothing_is_known(renderer: MrcRenderer) -> None:
    values = array()
    values[3, 2, 1], values[4], values[15, 0, 0] = np.nan, np.inf, -np.inf
    assert header(renderer, project_of(lab_of(values))) == pytest.approx(of(values[np.isfinite(values)]))
    values[...] = np.nan
    assert header(renderer, project_of(lab_of(values))) == (0, -1, -2, -1)


def test_they_are_computed_on_request_for_all_files_and_kept(renderer: MrcRenderer) -> None:
    values, coarse = array(), array(1)[::2, ::2, ::2]
    lab = lab_of(values, coarse)
    project = project_of(lab)
    found = compute_statistics(source_of(project))
    assert {name: each[:4] for name, each in found.items()} == {
        "wbp.mrc": pytest.approx(of(values), rel=1e-6), "wbp_bin2.mrc": pytest.approx(of(coarse), rel=1e-7),
    }  # fmt: skip
    assert sorted(path for path, _version in project.facts.kept) == [f"{WBP}/0", f"{WBP}/1"]
    lab.opened.clear()
    assert renderer.compute_statistics(source_of(project)) == found
    assert header(renderer, project) == pytest.approx(of(values))
    assert not lab.chunks()
    assert not renderer._sharing.tiles.size_bytes


def test_computing_can_be_stopped_and_goes_on_later(renderer: MrcRenderer) -> None:
    lab = lab_of(array())
    project = project_of(lab)
    answers = iter((False, False, True))
    assert renderer.compute_statistics(source_of(project), lambda: next(answers)) == {}
    assert not project.facts.kept
    assert len(lab.chunks()) == 2
    assert renderer.compute_statistics(source_of(project)).keys() == {"wbp.mrc"}
    assert set(lab.chunks().values()) == {1}


def test_a_broken_level_leaves_the_others_to_be_computed(renderer: MrcRenderer) -> None:
    values, coarse = array(), array(1)[::2, ::2, ::2]
    lab = lab_of(values, coarse)
    project = project_of(lab)
    lab.put(f"{WBP}/0/1.0.0", b"broken")
    with pytest.raises(Unreadable, match=r"0/1\.0\.0"):
        renderer.compute_statistics(source_of(project))
    assert [path for path, _version in project.facts.kept] == [f"{WBP}/1"]


def test_computing_says_what_is_broken(renderer: MrcRenderer) -> None:
    lab = lab_of(array())
    lab.put(f"{WBP}/0/2.0.0", b"nonsense")
    with pytest.raises(Unreadable, match=r"0/2\.0\.0"):
        renderer.compute_statistics(source_of(project_of(lab)))


def test_values_that_no_file_can_have_are_counted_for_a_finer_level(renderer: MrcRenderer) -> None:
    values = array().astype("f8")
    project = project_of(lab_of(values, values[::2, ::2, ::2] / 3))
    assert header(renderer, project) == pytest.approx(of(values[::2, ::2, ::2] / 3))


@pytest.mark.parametrize("dtype", ["f4", "f2", "i1", "u2", "i8", "f8"])
def test_moments_of_parts_are_those_of_the_whole(dtype: str) -> None:
    values = (np.random.default_rng(3).standard_normal((40, 50, 60)) * 20 + 50).astype(dtype)
    parts = sum((moments(part) for part in np.array_split(values, 7)), Moments())
    for found in (moments(values), parts):
        known = found.statistics(exact=True)
        assert known is not None
        assert known[:4] == pytest.approx(of(values), rel=1e-6)
    assert Moments().statistics(exact=True) is None


def test_moments_of_values_whose_squares_are_no_float32() -> None:
    values = np.array([-2e30, 1e30, 3e38, np.nan], "f4")
    found = moments(values).statistics(exact=True)
    assert found is not None
    assert found[:4] == pytest.approx(of(values[:3]))


def test_moments_do_not_cancel_out() -> None:
    values = np.array([1e8, 1e8 + 8, 1e8 + 16], "f4")
    found = (moments(values[:1]) + moments(values[1:])).statistics(exact=True)
    assert found == Statistics(1e8, 1e8 + 16, 1e8 + 8, pytest.approx(np.std([0, 8, 16])), exact=True)

"""MRC files are byte for byte what mrcfile would write."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import mrcfile
import numcodecs
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from copickfs.model import ByteRange
from copickfs.virtual.volumes.renderer import MrcRenderer
from tests.arrays import written_2, written_3
from tests.volumes import (
    HEADER_BYTES,
    WBP,
    Lab,
    by_mrcfile,
    opened,
    project_of,
    read,
    source_of,
    stored,
    whole,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TYPES = ("<f4", ">f4", "<f2", "|i1", ">i2", "<i2", "|u1", "<u2", "|b1", ">f8", "<i4", "<u4", "<i8", ">u8")
CODECS: dict[str, Any] = {
    "none": None,
    "blosc-lz4": numcodecs.Blosc("lz4", 5, numcodecs.Blosc.SHUFFLE),
    "blosc-zstd": numcodecs.Blosc("zstd", 1, numcodecs.Blosc.BITSHUFFLE, blocksize=256),
    "zlib": numcodecs.Zlib(1),
    "zstd": numcodecs.Zstd(1),
    "bz2": numcodecs.BZ2(1),
}
EXTENTS = (1, 2, 3, 7, 13, 17)


@pytest.fixture(scope="module")
def renderer() -> Iterator[MrcRenderer]:
    made = MrcRenderer(memory_bytes=1 << 20, spill_bytes=0)
    yield made
    made.close()


def values_of(dtype: str, shape: tuple[int, ...], seed: int) -> np.ndarray[Any, Any]:
    """Values that a file can have: of types that have none of their own such as float32 has."""
    random = np.random.default_rng(seed)
    kind = np.dtype(dtype)
    if kind.kind == "b":
        return random.random(shape) > 0.5
    if kind.kind == "f":
        return (random.standard_normal(shape) * 100).astype("f2").astype(kind)
    low = 0 if kind.kind == "u" else -(1 << min(24, 8 * kind.itemsize - 1))
    return random.integers(low, 1 << min(24, 8 * kind.itemsize - 1), shape).astype(kind)


def in_file(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """As mrcfile takes them."""
    if values.dtype.kind == "b":
        values = values.astype("u1")
    return values if values.dtype.itemsize <= 4 and values.dtype.name[-2:] != "32" else values.astype("f4")


@st.composite
def arrays(draw: st.DrawFn) -> tuple[np.ndarray[Any, Any], dict[str, bytes]]:
    shape = tuple(draw(st.sampled_from(EXTENTS)) for _axis in range(3))
    values = values_of(draw(st.sampled_from(TYPES)), shape, draw(st.integers(0, 99)))
    files = written_2(
        values,
        chunks=tuple(draw(st.integers(1 + extent // 4, extent + 2)) for extent in shape),
        compressor=CODECS[draw(st.sampled_from(sorted(CODECS)))],
        order=draw(st.sampled_from("CF")),
        dimension_separator=draw(st.sampled_from("./")),
        fill_value=draw(st.sampled_from([0, 1])),
    )
    chunks = sorted(name for name in files if not name.startswith("."))
    for number in draw(st.sets(st.integers(0, 999), max_size=2)):
        files.pop(chunks[number % len(chunks)] if chunks else "", None)
    return values, files


def check_ranges(
    renderer: MrcRenderer, values: np.ndarray[Any, Any], files: dict[str, bytes], cuts: list[float]
) -> None:
    """Every range between two cuts, which are shares of the length, is that of mrcfile's file."""
    project = project_of(Lab(files))
    contents = opened(renderer, project)
    size_bytes = renderer.size_bytes(source_of(project), "wbp.mrc")
    try:
        got = read(contents)
        expected = by_mrcfile(in_file(values), (10, 10, 10), like=got)
        assert got == expected
        assert size_bytes == len(expected)
        places = sorted({0, size_bytes, *(round(cut * size_bytes) for cut in cuts)})
        for start, stop in zip(places, [*places[1:], size_bytes + 9], strict=True):
            assert read(contents, start, stop) == expected[start:stop]
            assert bytes(contents.read_nowait(ByteRange(start, stop))) == expected[start:stop]
    finally:
        contents.close()


def expected_values(values: np.ndarray[Any, Any], files: dict[str, bytes]) -> np.ndarray[Any, Any]:
    """What zarr reads of the files: fill values where chunks are missing."""
    import zarr

    return np.asarray(zarr.open_array(zarr.KVStore(dict(files)), mode="r")[...]).reshape(values.shape)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(arrays(), st.lists(st.floats(0, 1), max_size=4))
def test_every_range_is_that_of_the_file_that_mrcfile_writes(
    renderer: MrcRenderer, array: tuple[np.ndarray[Any, Any], dict[str, bytes]], cuts: list[float]
) -> None:
    values, files = array
    check_ranges(renderer, expected_values(values, files), stored([files]), cuts)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@settings(max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck))
@given(arrays(), st.lists(st.floats(0, 1), max_size=9))
def test_every_range_is_that_of_the_file_that_mrcfile_writes_long(
    renderer: MrcRenderer, array: tuple[np.ndarray[Any, Any], dict[str, bytes]], cuts: list[float]
) -> None:
    values, files = array
    check_ranges(renderer, expected_values(values, files), stored([files]), cuts)


@pytest.mark.parametrize("dtype", TYPES)
def test_every_type_is_what_mrcfile_makes_of_it(renderer: MrcRenderer, dtype: str) -> None:
    values = values_of(dtype, (3, 5, 7), 1)
    check_ranges(renderer, values, stored([written_2(values, chunks=(2, 3, 4))]), [0.5, 0.9])


@pytest.mark.parametrize("sharded", [False, True])
def test_format_3(renderer: MrcRenderer, sharded: bool) -> None:
    values = values_of("<f4", (9, 10, 11), 3)
    inner: list[Any] = [
        {"name": "bytes", "configuration": {"endian": "little"}},
        {"name": "gzip", "configuration": {"level": 1}},
    ]
    sharding = {
        "name": "sharding_indexed",
        "configuration": {
            "chunk_shape": [4, 4, 4], "codecs": inner,
            "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}],
        },
    }  # fmt: skip
    files = written_3(values, [8, 8, 8], [sharding] if sharded else inner)
    check_ranges(renderer, values, {f"{WBP}/{name}": data for name, data in files.items()}, [0.1, 0.7])


def test_a_plane_of_8k_by_8k(renderer: MrcRenderer) -> None:
    values = np.zeros((1, 8192, 8192), "i1")
    values[:, ::1111, ::999] = 7
    values[-1, -1, -1] = -3
    files = stored([written_2(values, chunks=(1, 1024, 2048), compressor=CODECS["blosc-lz4"])])
    lab = Lab(files)
    contents = opened(renderer, project_of(lab))
    start = HEADER_BYTES + 8192 * 8191 - 1000
    assert read(contents, start, start + 9000) == values.reshape(-1)[start - HEADER_BYTES :][:9000].tobytes()
    assert read(contents, HEADER_BYTES + values.size - 1) == b"\xfd"
    assert set(lab.chunks()) <= {f"{WBP}/0/0.7.{x}" for x in range(4)} | {
        f"{WBP}/0/0.0.{x}" for x in range(4)
    }
    contents.close()


def test_values_that_are_not_finite_pass(renderer: MrcRenderer) -> None:
    values = np.array([[[np.nan, np.inf, -np.inf, -0.0, 1e-45, 3.0]]], "f4")
    files = stored([written_2(values.astype("f8"), chunks=(1, 1, 6))])
    got = whole(renderer, project_of(Lab(files)))
    assert got == by_mrcfile(values, (10, 10, 10), like=got)
    head = np.frombuffer(got[:HEADER_BYTES], mrcfile.dtypes.HEADER_DTYPE)[0]
    assert (head["dmin"], head["dmax"], head["dmean"]) == (0, 3, 1)


def test_voxel_size_origin_and_names_are_those_of_the_multiscales(renderer: MrcRenderer) -> None:
    levels = [values_of("<f4", (8, 6, 4), 1)]
    levels += [levels[0][::2, ::2, ::2], levels[0][::4, ::4, ::4], levels[0][::2, ::1, ::1]]
    files = stored(
        [written_2(each) for each in levels],
        [(1.2, 1.3, 1.4), (2.4, 2.6, 2.8), (4.8, 5.2, 5.6), (2.4, 1.3, 1.4)],
        translations=[(0, 0, 0), (0.5, 0.25, -1), (1, 1, 1), (0, 0, 0)],
        unit="nanometer",
    )
    project = project_of(Lab(files))
    names = ["wbp.mrc", "wbp_bin2.mrc", "wbp_bin4.mrc", "wbp_level3.mrc"]
    assert renderer.files(source_of(project)) == names
    sizes = [(14, 13, 12), (28, 26, 24), (56, 52, 48), (14, 13, 24)]
    origins = [(0, 0, 0), (-10, 2.5, 5), (10, 10, 10), (0, 0, 0)]
    for name, values, size, origin in zip(names, levels, sizes, origins, strict=True):
        got = whole(renderer, project, name)
        expected = by_mrcfile(values, size, origin, like=got)
        assert got[HEADER_BYTES:] == expected[HEADER_BYTES:]
        cell = slice(40, 52)  # of products that are rounded in another order
        np.testing.assert_allclose(np.frombuffer(got[cell], "<f4"), np.frombuffer(expected[cell], "<f4"))
        assert got[:40] + got[52:] == expected[:40] + expected[52:]


@pytest.mark.parametrize(
    ("shapes", "scales", "names"),
    [
        ([(33, 33, 9), (17, 17, 5), (9, 9, 3)], None, ["", "_bin2", "_bin4"]),
        ([(33, 33, 9), (16, 16, 4), (8, 8, 2)], None, ["", "_bin2", "_bin4"]),
        ([(9, 9, 9), (5, 9, 9)], None, ["", "_level1"]),
        ([(9, 9, 9), (9, 9, 9)], None, ["", "_level1"]),
        ([(9, 9, 9), (6, 6, 6)], [1, 1.5], ["", "_level1"]),
        ([(9, 9, 9), (5, 5, 5), (4, 4, 4), (3, 3, 3)], [1, 2, 2, 3.001], ["", "_bin2", "_level2", "_bin3"]),
    ],
)
def test_names_of_levels(
    renderer: MrcRenderer, shapes: list[tuple[int, ...]], scales: list[float] | None, names: list[str]
) -> None:
    levels = [written_2(np.zeros(shape, "u1")) for shape in shapes]
    files = stored(levels, None if scales is None else [(scale,) * 3 for scale in scales])
    project = project_of(Lab(files))
    assert renderer.files(source_of(project)) == [f"wbp{name}.mrc" for name in names]
    last = whole(renderer, project, f"wbp{names[-1]}.mrc")
    # Without a scale the finest level has the voxel size of the entity, and all have one extent in space.
    cell = [10 * n for n in shapes[0]] if scales is None else [scales[-1] * n for n in shapes[-1]]
    np.testing.assert_allclose(np.frombuffer(last[40:52], "<f4"), cell[::-1], rtol=1e-6)


def test_listing_and_lengths_read_no_chunk_and_what_is_known_no_document(renderer: MrcRenderer) -> None:
    lab = Lab(stored([written_2(values_of("<f4", (9, 9, 9), 1))]))
    project = project_of(lab)
    source = source_of(project)
    assert [renderer.size_bytes(source, name) for name in renderer.files(source)] == [1024 + 729 * 4]
    assert not lab.chunks()
    lab.opened.clear()
    document = [["0", [3, 4, 5], "<i2", 0, 0, 0]]
    project.facts.known = lambda *_about: ("1", {"pyramid": document})
    source = source_of(project)
    assert [renderer.size_bytes(source, name) for name in renderer.files(source)] == [1024 + 60 * 2]
    assert not lab.opened


def test_mrcfile_validates_opens_and_maps_a_file(renderer: MrcRenderer, tmp_path: Path) -> None:
    values = values_of("<f4", (5, 6, 7), 1)
    path = tmp_path / "wbp.mrc"
    path.write_bytes(whole(renderer, project_of(Lab(stored([written_2(values)])))))
    assert mrcfile.validate(str(path), print_file=io.StringIO())
    with mrcfile.mmap(path) as mrc:
        np.testing.assert_array_equal(mrc.data, values)
        assert mrc.is_volume()
        assert [label.rstrip() for label in mrc.get_labels()] == ["Made by copickfs from a zarr array"]

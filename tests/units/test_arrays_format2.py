"""Arrays of zarr format 2 are read as zarr 2 reads them, whatever they are coded with."""

from __future__ import annotations

import base64
from typing import Any

import numcodecs
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from copickfs.arrays import array_metadata
from copickfs.errors import Unreadable
from tests.arrays import Files, document, reader, same, same_in_part, volume_of, voxels_of, written_2

DTYPES = ("<f4", ">f4", "<f8", "|u1", "|i1", "<i2", ">u2", "<u4", ">i8", "|b1", "<f2", "<c8")
COMPRESSORS: tuple[Any, ...] = (
    None, numcodecs.Blosc("lz4", 5, 1), numcodecs.Blosc("zstd", 1, 2), numcodecs.Blosc("zlib", 9, 0),
    numcodecs.Blosc("blosclz", 9, -1), numcodecs.Blosc("lz4hc", 3, 1, blocksize=512), numcodecs.Blosc("lz4",
    0),
    numcodecs.Zstd(3), numcodecs.GZip(1), numcodecs.Zlib(1), numcodecs.BZ2(1), numcodecs.LZMA(preset=0),
    numcodecs.LZ4(),
)  # fmt: skip
FILTERS: tuple[Any, ...] = (
    "delta", "delta-as", "astype", "shuffle", "crc32", "adler32", "jenkins", "fletcher32", "base64",
    "bitround", "quantize", "fixed", "packbits",
)  # fmt: skip


def filters_of(name: str | None, dtype: np.dtype[Any]) -> list[Any] | None:
    """A filter that can be used for a type; None where there is no such."""
    is_float, is_integer = dtype.kind == "f", dtype.kind in "iu"
    made = {
        "delta": lambda: is_integer and numcodecs.Delta(dtype),
        "delta-as": lambda: dtype.kind == "i" and numcodecs.Delta(dtype, "<i8"),
        "astype": lambda: dtype.kind in "fiu" and numcodecs.AsType("<f8", dtype),
        "shuffle": lambda: numcodecs.Shuffle(dtype.itemsize),
        "crc32": numcodecs.CRC32, "adler32": numcodecs.Adler32, "jenkins": numcodecs.JenkinsLookup3,
        "fletcher32": numcodecs.Fletcher32, "base64": numcodecs.Base64,
        "bitround": lambda: is_float and dtype.isnative and numcodecs.BitRound(8),
        "quantize": lambda: is_float and numcodecs.Quantize(2, dtype),
        "fixed": lambda: is_float and numcodecs.FixedScaleOffset(-50, 100, dtype, "<i4"),
        "packbits": lambda: dtype.kind == "b" and numcodecs.PackBits(),
    }  # fmt: skip
    found = made[name]() if name else None
    return [found] if found else None


def values_of(shape: tuple[int, ...], dtype: str, seed: int) -> np.ndarray[Any, Any]:
    """Values that compress a little, with whole chunks of zeros where the array is large."""
    rng = np.random.default_rng(seed)
    values = (rng.normal(size=shape) * 20).round(1)
    values[values.shape[0] // 2 :] = 0
    with np.errstate(all="ignore"):
        return np.abs(values).astype(dtype) if np.dtype(dtype).kind in "ub" else values.astype(dtype)


@st.composite
def arrays(draw: st.DrawFn) -> tuple[np.ndarray[Any, Any], dict[str, Any], tuple[int, ...]]:
    """Values, how they are written, and the leading indices."""
    extra = draw(st.lists(st.integers(1, 3), max_size=2))
    space = draw(st.tuples(*[st.integers(1, 24)] * 3))
    shape = (*extra, *space)
    chunks = tuple(draw(st.integers(1, n + 3)) for n in extra) + tuple(
        draw(st.integers(max(1, n // 3), n + 5)) for n in space
    )
    dtype = draw(st.sampled_from(DTYPES))
    options = {
        "chunks": chunks,
        "order": draw(st.sampled_from("CF")),
        "dimension_separator": draw(st.sampled_from("./")),
        "compressor": draw(st.sampled_from(COMPRESSORS)),
        "filters": filters_of(draw(st.sampled_from((None, None, *FILTERS))), np.dtype(dtype)),
    }
    values = values_of(shape, dtype, draw(st.integers(0, 99)))
    return values, options, tuple(draw(st.integers(0, n - 1)) for n in extra)


def check(case: tuple[np.ndarray[Any, Any], dict[str, Any], tuple[int, ...]], start: int, count: int) -> None:
    values, options, lead = case
    files = written_2(values, **options)
    expected = zarr.open(zarr.KVStore(dict(files)), mode="r")[lead]
    volume = volume_of(files, lead=lead)
    assert volume.shape == expected.shape
    assert volume.dtype == expected.dtype.newbyteorder("=")
    same_in_part(volume, expected, start, count)


@given(arrays(), st.integers(0, 20), st.integers(1, 20))
@settings(max_examples=60, deadline=None)
def test_arrays_as_zarr_reads_them(case: Any, start: int, count: int) -> None:
    check(case, start, count)


@pytest.mark.soak
@given(arrays(), st.integers(0, 20), st.integers(1, 20))
@settings(max_examples=5000, deadline=None)
@pytest.mark.timeout(1800)
def test_many_arrays_as_zarr_reads_them(case: Any, start: int, count: int) -> None:
    check(case, start, count)


@pytest.mark.parametrize("compressor", COMPRESSORS, ids=str)
def test_each_compressor(compressor: Any) -> None:
    values = values_of((20, 30, 40), "<f4", 1)
    same(voxels_of(volume_of(written_2(values, chunks=(16, 30, 17), compressor=compressor))), values)


@pytest.mark.parametrize("name", FILTERS)
def test_each_filter(name: str) -> None:
    dtype = np.dtype({"packbits": "|b1", "delta": "<u2", "delta-as": "<i4"}.get(name, "<f4"))
    filters = filters_of(name, dtype)
    assert filters is not None
    values = values_of((9, 10, 11), dtype.str, 2)
    files = written_2(values, chunks=(5, 5, 5), filters=filters, compressor=numcodecs.Zstd())
    same(voxels_of(volume_of(files)), zarr.open(zarr.KVStore(dict(files)), mode="r")[...])


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [">u2", ">f8", "<c8"])
def test_a_filter_that_gives_another_byte_order(dtype: str, order: str) -> None:
    values = values_of((9, 10, 11), dtype, 2).round()
    files = written_2(values, chunks=(5, 5, 5), filters=[numcodecs.Delta(dtype)], order=order)
    same(voxels_of(volume_of(files)), values)


def test_tiles_of_a_large_chunk() -> None:
    values = values_of((70, 200, 210), "<f4", 3)
    values += 1
    for options in ({"compressor": None}, {"compressor": numcodecs.Blosc("zstd", 1)}, {}):
        files = written_2(values, chunks=(64, 256, 256), **options)
        volume = volume_of(files)
        assert 3 <= len(volume.tiles(0, 70)) <= 20
        same(voxels_of(volume), values)
        same(voxels_of(volume, 63, 65), values[63:65])
        assert volume.tiles(5, 5) == volume.tiles(9, 3) == volume.tiles(70, 80) == []
        every = volume.tiles(0, 70)
        assert all(set(volume.tiles(z, z + 1)) <= set(every) for z in range(70))


@pytest.mark.parametrize(
    ("dtype", "told", "value"),
    [
        ("<f4", "NaN", np.nan), ("<f8", "Infinity", np.inf), (">f4", "-Infinity", -np.inf), ("<f4", None, 0),
        ("<f4", 2.5, 2.5), ("<i2", -7, -7), ("<i2", 3.0, 3), ("|u1", 255, 255), ("|b1", True, True),
        ("|b1", 0, False),
        ("<c8", [1.5, "NaN"], complex(1.5, np.nan)), ("<c16", 2, 2), ("<u8", (1 << 64) - 1, (1 << 64) - 1),
    ],
)  # fmt: skip
def test_what_no_chunk_holds_is_the_fill_value(dtype: str, told: Any, value: Any) -> None:
    files = document(written_2(np.zeros((3, 4, 5), dtype), fill_value=0), ".zarray", fill_value=told)
    found = voxels_of(volume_of(files))
    same(found, np.full((3, 4, 5), value, found.dtype))


@pytest.mark.parametrize(
    ("dtype", "told"),
    [("<i2", 40_000), ("|u1", -1), ("<i4", "NaN"), ("<f4", "nan"), ("<f4", [1]), ("<f4", {}), ("|b1", 2),
    ("<i4", 1.5),
     ("<c8", [1, 2, 3]), ("<i4", 10**400), ("<i4", float("inf"))],
)  # fmt: skip
def test_fill_values_that_are_none(dtype: str, told: Any) -> None:
    unreadable(written_2(np.zeros((3, 4, 5), dtype), fill_value=0), "fill_value", told)


def unreadable(files: Files, key: str, value: Any) -> None:
    with pytest.raises(Unreadable, match=r"^\.zarray: [^\n]*$") as error:
        array_metadata(reader(document(files, ".zarray", **{key: value})), "")
    assert len(str(error.value)) < 200


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("zarr_format", 3), ("zarr_format", None), ("shape", [-1, 2, 3]), ("shape", [10**1000, 2, 3]),
        ("shape", None),
        ("shape", [1 << 61] * 3), ("chunks", [0, 2, 3]), ("chunks", [2, 3]), ("chunks", ["2", 3, 4]),
        ("chunks", None),
        ("dtype", "|O"), ("dtype", "<M8[ns]"), ("dtype", [["a", "<f4"]]), ("dtype", "|S5"), ("dtype", 4),
        ("dtype", "f" * 9999),
        ("order", "K"), ("order", None), ("dimension_separator", "x"), ("dimension_separator", ""),
        ("filters", {"id": "delta"}),
        ("compressor", "zstd"), ("compressor", {}), ("compressor", {"id": "nothing"}),
        ("compressor", {"id": ["zstd"]}),
        ("compressor", {"id": "pickle"}), ("filters", [{"id": "pickle"}]), ("filters", [{"id": "json2"}]),
        ("filters", [{"id": "vlen-utf8"}]), ("filters", [{"id": "delta", "dtype": "|O"}]),
        ("filters", [{"id": "delta"}]),
        ("filters", [{"id": "astype", "encode_dtype": "<f4", "decode_dtype": "|O"}]), ("filters", [5]),
    ],
)  # fmt: skip
def test_documents_that_nobody_can_decode(key: str, value: Any) -> None:
    unreadable(written_2(np.zeros((3, 4, 5), "<f4")), key, value)


@pytest.mark.parametrize("data", [b"", b"{", b"null", b"[]", b"\xff", b"[" * 100_000, b" " * (2 << 20)])
def test_documents_that_are_none(data: bytes) -> None:
    with pytest.raises(Unreadable, match=r"^a/\.zarray: is no JSON object$"):
        array_metadata(reader({"a/.zarray": data}), "a")


def test_where_there_is_no_array() -> None:
    with pytest.raises(Unreadable, match="neither"):
        array_metadata(reader({}), "0")


def test_a_pickle_is_never_run() -> None:
    payload = base64.b64encode(b"cos\nsystem\n(S'touch /tmp/pwned'\ntR.")
    files = document(written_2(np.ones((3, 4, 5), "<f4")), ".zarray", compressor={"id": "pickle"})
    with pytest.raises(Unreadable, match="pickle"):
        volume_of({**files, "0.0.0": payload})


@pytest.mark.parametrize("shape", [(), (4,), (4, 5)])
def test_what_has_fewer_than_three_axes_is_no_volume(shape: tuple[int, ...]) -> None:
    with pytest.raises(Unreadable, match=f"an array of {len(shape)} axes is no volume"):
        volume_of(written_2(np.zeros(shape, "<f4")))


@pytest.mark.parametrize("lead", [(), (2,), (-1,), (0, 0)])
def test_indices_that_are_none(lead: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="no index"):
        volume_of(written_2(np.zeros((2, 3, 4, 5), "<f4")), lead=lead)


def test_arrays_without_voxels() -> None:
    volume = volume_of(written_2(np.zeros((4, 0, 5), "<f4")))
    assert (volume.shape, volume.tiles(0, 4)) == ((4, 0, 5), [])


@pytest.mark.parametrize(
    ("shape", "chunks", "compressor"),
    [
        ([1 << 20] * 3, [1 << 20] * 3, None), ([1 << 20] * 3, [1 << 20] * 3, {"id": "blosc"}),
        ([1 << 12] * 3, [1 << 12] * 3, {"id": "zstd"}),
        ([1 << 20] * 3, [1 << 10, 1 << 10, 1 << 10], {"id": "zlib"}),
    ],
)  # fmt: skip
def test_chunks_that_are_too_large(shape: list[int], chunks: list[int], compressor: Any) -> None:
    files = document(
        written_2(np.zeros((3, 4, 5), "<f4")), ".zarray", shape=shape, chunks=chunks, compressor=compressor
    )
    with pytest.raises(Unreadable, match="too large"):
        volume_of(files)


def test_more_chunks_than_anybody_can_list() -> None:
    shape = [1 << 20] * 3
    files = document(written_2(np.zeros((3, 4, 5), "<f4")), ".zarray", shape=shape, chunks=[1, 1, 1])
    with pytest.raises(Unreadable, match="too many chunks"):
        volume_of(files).tiles(0, 1)
    deep = document(files, ".zarray", shape=[1 << 60, 1, 1], chunks=[1 << 60, 1, 1], compressor=None)
    volume = volume_of(deep)
    assert len(volume.tiles((1 << 59) + 5, (1 << 59) + 6)) == 1

"""Arrays of zarr format 3 are read as tensorstore writes them, shards and all."""

from __future__ import annotations

import gzip
from typing import Any

import numcodecs
import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from copickfs.arrays import array_metadata
from copickfs.errors import Unreadable
from tests.arrays import Files, document, reader, same, same_in_part, volume_of, voxels_of, written_3

DTYPES = (
    "float32",
    "float64",
    "float16",
    "uint8",
    "int8",
    "int16",
    "uint16",
    "uint32",
    "int64",
    "complex64",
    "bool",
)
LITTLE = {"name": "bytes", "configuration": {"endian": "little"}}
BIG = {"name": "bytes", "configuration": {"endian": "big"}}
CRC32C = {"name": "crc32c"}


def blosc(cname: str, shuffle: str, item_bytes: int = 4, block_bytes: int = 0) -> dict[str, Any]:
    return {
        "name": "blosc",
        "configuration": {
            "cname": cname, "clevel": 3, "shuffle": shuffle, "typesize": item_bytes, "blocksize": block_bytes,
        },
    }  # fmt: skip


COMPRESSED: tuple[Any, ...] = (
    [], [blosc("lz4", "shuffle")], [blosc("zstd", "bitshuffle")], [blosc("blosclz", "noshuffle", 1)],
    [blosc("lz4", "shuffle", 4, 512)], [{"name": "gzip", "configuration": {"level": 1}}],
    [{"name": "zstd", "configuration": {"level": 1}}], [CRC32C], [blosc("zstd", "shuffle"), CRC32C],
    [{"name": "gzip", "configuration": {"level": 1}}, {"name": "zstd", "configuration": {"level": 1}}],
)  # fmt: skip


def sharded(chunks: list[int], codecs: list[Any], *, end: bool = True, index: Any = None) -> dict[str, Any]:
    return {
        "name": "sharding_indexed",
        "configuration": {
            "chunk_shape": chunks,
            "codecs": codecs,
            "index_codecs": index or [LITTLE, CRC32C],
            "index_location": "end" if end else "start",
        },
    }


def values_of(shape: tuple[int, ...], dtype: str, seed: int) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(seed)
    values = np.abs(rng.normal(size=shape) * 20).round(1)
    values[..., shape[-1] // 2 :] = 0
    return values.astype(dtype)


@st.composite
def codecs_of(draw: st.DrawFn, dimensions: int) -> list[Any]:
    """From an array to bytes, without shards."""
    order = draw(st.permutations(range(dimensions)))
    before = [{"name": "transpose", "configuration": {"order": order}}] if draw(st.booleans()) else []
    return [*before, draw(st.sampled_from((LITTLE, BIG))), *draw(st.sampled_from(COMPRESSED))]


@st.composite
def arrays(
    draw: st.DrawFn,
) -> tuple[np.ndarray[Any, Any], list[int], list[Any], dict[str, Any], bool, tuple[int, ...]]:
    """Values, chunks, codecs, how files are named, whether they are compressed, and the leading indices."""
    extra = draw(st.lists(st.integers(1, 3), max_size=1))
    shape = (*extra, *draw(st.tuples(*[st.integers(1, 20)] * 3)))
    chunks = [draw(st.integers(1, n + 3)) for n in extra] + [
        draw(st.integers(max(1, n // 2), n + 3)) for n in shape[len(extra) :]
    ]
    codecs = draw(codecs_of(len(shape)))
    for _nested in range(draw(st.sampled_from((0, 0, 1, 1, 2)))):
        index = [draw(st.sampled_from((LITTLE, BIG))), *draw(st.sampled_from(([], [CRC32C])))]
        codecs = [sharded(chunks, codecs, end=draw(st.booleans()), index=index)]
        chunks = [n * draw(st.integers(1, 3)) for n in chunks]
        if draw(st.sampled_from((False, False, True))):
            order = draw(st.permutations(range(len(shape))))
            codecs = [{"name": "transpose", "configuration": {"order": order}}, *codecs]
            chunks = [chunks[order.index(axis)] for axis in range(len(shape))]
    encoding = {
        "name": draw(st.sampled_from(("default", "v2"))),
        "configuration": {"separator": draw(st.sampled_from("./"))},
    }
    fields = {"chunk_key_encoding": encoding}
    is_packed = draw(st.sampled_from((False, False, True)))
    values = values_of(shape, draw(st.sampled_from(DTYPES)), draw(st.integers(0, 99)))
    return values, chunks, codecs, fields, is_packed, tuple(draw(st.integers(0, n - 1)) for n in extra)


def check(case: Any, start: int, count: int) -> None:
    values, chunks, codecs, fields, is_packed, lead = case
    files = written_3(values, chunks, codecs, **fields)
    if is_packed:  # tensorstore does not do this to shards
        codecs = [*codecs, {"name": "gzip"}]
        files = {
            name: data if name == "zarr.json" else gzip.compress(data, 1) for name, data in files.items()
        }
        files = document(files, "zarr.json", codecs=codecs)
    volume = volume_of(files, lead=lead)
    expected = values[lead]
    assert (volume.shape, volume.dtype) == (expected.shape, values.dtype)
    same_in_part(volume, expected, start, count)


@given(arrays(), st.integers(0, 20), st.integers(1, 20))
@settings(max_examples=60, deadline=None)
def test_arrays_as_tensorstore_writes_them(case: Any, start: int, count: int) -> None:
    check(case, start, count)


@pytest.mark.soak
@given(arrays(), st.integers(0, 20), st.integers(1, 20))
@settings(max_examples=5000, deadline=None)
@pytest.mark.timeout(1800)
def test_many_arrays_as_tensorstore_writes_them(case: Any, start: int, count: int) -> None:
    check(case, start, count)


def test_one_shard_for_a_volume() -> None:
    values = values_of((100, 120, 140), "float32", 1)
    codecs = [sharded([32, 32, 32], [LITTLE, blosc("zstd", "shuffle")])]
    files = written_3(values, [128, 128, 160], codecs)
    assert set(files) == {"zarr.json", "c/0/0/0"}
    metadata = array_metadata(reader(files), "")
    assert (metadata.chunks, metadata.shards) == ((32, 32, 32), (128, 128, 160))
    same(voxels_of(volume_of(files)), values)
    del files["c/0/0/0"]
    same(voxels_of(volume_of(files)), np.zeros_like(values))


def made(values: np.ndarray[Any, Any], codecs: list[Any], chunk: Any, **fields: Any) -> Files:
    """An array of one chunk with codecs that tensorstore does not know."""
    files = written_3(np.ones_like(values), list(values.shape), [LITTLE])
    return {**document(files, "zarr.json", codecs=codecs, **fields), "c/0/0/0": bytes(chunk)}


def named(codec: Any) -> dict[str, Any]:
    """The codec of numcodecs as a document of format 3 names it."""
    configuration = codec.get_config()
    return {"name": f"numcodecs.{configuration.pop('id')}", "configuration": configuration}


@pytest.mark.parametrize(
    "codec", [numcodecs.Zlib(), numcodecs.BZ2(), numcodecs.LZMA(), numcodecs.LZ4(), numcodecs.Zstd(),
              numcodecs.GZip(), numcodecs.Blosc(), numcodecs.Shuffle(4), numcodecs.CRC32(),
              numcodecs.Adler32(),
              numcodecs.Fletcher32(), numcodecs.JenkinsLookup3()], ids=str,
)  # fmt: skip
def test_codecs_of_numcodecs(codec: Any) -> None:
    values = values_of((4, 5, 6), "float32", 2)
    same(voxels_of(volume_of(made(values, [LITTLE, named(codec)], codec.encode(values)))), values)


def test_filters_of_numcodecs() -> None:
    values = values_of((4, 5, 6), "float32", 2).round()
    delta, scale = numcodecs.Delta("<f4"), numcodecs.FixedScaleOffset(0, 10, "<f4", "<i4")
    chunk = numcodecs.Zlib().encode(scale.encode(delta.encode(values.transpose(2, 0, 1))))
    transpose = {"name": "transpose", "configuration": {"order": [2, 0, 1]}}
    codecs = [transpose, named(delta), named(scale), LITTLE, named(numcodecs.Zlib())]
    same(voxels_of(volume_of(made(values, codecs, chunk))), values)
    for wrong in ([named(delta), transpose, LITTLE], [named(delta), BIG], [LITTLE, named(delta)],
                  [named(delta), sharded([2, 5, 6], [LITTLE])]):  # fmt: skip
        unreadable(made(values, wrong, b""))


def test_zstandard_without_its_length() -> None:
    values = values_of((4, 5, 6), "float32", 3)
    compressor = zstandard.ZstdCompressor(write_content_size=False)
    chunk = compressor.compress(values.tobytes())
    assert zstandard.frame_content_size(chunk) == -1
    same(voxels_of(volume_of(made(values, [LITTLE, {"name": "zstd"}], chunk))), values)
    for other in (values.tobytes()[:-4], values.tobytes() * 2):
        with pytest.raises(Unreadable, match="c/0/0/0"):
            voxels_of(volume_of(made(values, [LITTLE, {"name": "zstd"}], compressor.compress(other))))


def test_extensions_that_may_be_ignored() -> None:
    values = values_of((4, 5, 6), "uint8", 4)
    files = made(values, ["bytes"], values.tobytes(), note={"must_understand": False}, dimension_names=None)
    same(voxels_of(volume_of(document(files, "zarr.json", chunk_key_encoding="default"))), values)
    unreadable(document(files, "zarr.json", note={"name": "rotated"}))


@pytest.mark.parametrize(
    ("dtype", "told", "value"),
    [
        ("float32", "NaN", np.nan), ("float64", "-Infinity", -np.inf), ("float32", "0x3fc00000", 1.5),
        ("float16", "0x7e00", np.nan), ("float64", "0xc000000000000000", -2.0), ("int8", -128, -128),
        ("bool", True, True),
        ("complex64", [1, "Infinity"], complex(1, np.inf)), ("complex128", ["0x3ff8000000000000", 0], 1.5),
    ],
)  # fmt: skip
def test_fill_values(dtype: str, told: Any, value: Any) -> None:
    files = written_3(np.zeros((3, 4, 5), dtype), [2, 2, 2], [sharded([1, 2, 2], [LITTLE])])
    found = voxels_of(volume_of(document({"zarr.json": files["zarr.json"]}, "zarr.json", fill_value=told)))
    same(found, np.full((3, 4, 5), value, dtype))


def unreadable(files: Files) -> None:
    with pytest.raises(Unreadable, match=r"^zarr\.json: [^\n]*$") as error:
        array_metadata(reader(files), "")
    assert len(str(error.value)) < 200


GZIP_INDEX = [LITTLE, {"name": "gzip", "configuration": {"level": 1}}]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("zarr_format", 2), ("node_type", "group"), ("shape", [10**400, 2, 3]), ("shape", None),
        ("data_type", "string"),
        ("data_type", {"name": "numpy.datetime64"}), ("data_type", "r16"),
        ("chunk_grid", {"name": "rectilinear"}),
        ("chunk_grid", {"name": "regular", "configuration": {"chunk_shape": [0, 2, 2]}}), ("chunk_grid", 5),
        ("chunk_key_encoding", {"name": "default", "configuration": {"separator": "-"}}),
        ("chunk_key_encoding", None),
        ("storage_transformers", [{"name": "x"}]), ("fill_value", ...), ("fill_value", "0x12345678901234567"),
        ("fill_value", "0xffffffffff"), ("codecs", None), ("codecs", []), ("codecs", [LITTLE, LITTLE]),
        ("codecs", [5]),
        ("codecs", [{"name": "bytes"}]), ("codecs", [LITTLE, {"name": "pickle"}]),
        ("codecs", [LITTLE, {"name": "numcodecs.pickle"}]),
        ("codecs", [{"name": "vlen-utf8"}]), ("codecs", [{"name": "unknown"}, LITTLE]),
        ("codecs", [{"name": "transpose", "configuration": {"order": [0, 1, 1]}}, LITTLE]),
        ("codecs", [{"name": "transpose", "configuration": {"order": ["a", None, 1e400]}}, LITTLE]),
        ("codecs", [sharded([3, 2, 2], [LITTLE])]), ("codecs", [sharded([1, 2, 2], [])]),
        ("codecs", [sharded([1, 2, 2], [LITTLE], index=GZIP_INDEX)]),
        ("codecs", [sharded([1, 2, 2], [LITTLE], index=[{"name": "bytes"}])]),
        ("codecs", [{"name": "sharding_indexed"}]),
        ("codecs", [{"name": "sharding_indexed",
        "configuration": {"chunk_shape": [1, 1, 1], "index_location": 5}}]),
    ],
)  # fmt: skip
def test_documents_that_nobody_can_decode(key: str, value: Any) -> None:
    unreadable(
        document(written_3(np.zeros((3, 4, 5), "float32"), [2, 2, 2], [LITTLE]), "zarr.json", **{key: value})
    )


def test_shards_without_end() -> None:
    codecs: list[Any] = [LITTLE]
    for _nested in range(100):
        codecs = [sharded([2, 2, 2], codecs)]
    files = written_3(np.zeros((3, 4, 5), "float32"), [2, 2, 2], [LITTLE])
    unreadable(document(files, "zarr.json", codecs=codecs))
    grid = {"name": "regular", "configuration": {"chunk_shape": [1 << 20] * 3}}
    unreadable(document(files, "zarr.json", codecs=[sharded([1, 1, 1], [LITTLE])], chunk_grid=grid))


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("value", [3, 1, 1 << 40, (1 << 64) - 1, (1 << 63) + 5])
@pytest.mark.parametrize("end", [True, False])
def test_shards_whose_index_is_wrong(place: int, value: int, end: bool) -> None:
    values = values_of((4, 4, 4), "float32", 5) + 1
    codecs = [sharded([2, 4, 4], [LITTLE, blosc("lz4", "shuffle")], end=end, index=[LITTLE])]
    files = written_3(values, [4, 4, 4], codecs)
    shard = bytearray(files["c/0/0/0"])
    begin = (len(shard) - 32 if end else 0) + 8 * place
    shard[begin : begin + 8] = value.to_bytes(8, "little")
    volume = volume_of({**files, "c/0/0/0": bytes(shard)})
    with pytest.raises(Unreadable, match="c/0/0/0"):
        volume.decode(volume.tiles(0, 1)[0])
    same(voxels_of(volume, 2, 4), values[2:])


def test_a_shard_that_is_damaged() -> None:
    values = values_of((4, 4, 4), "float32", 6) + 1
    files = written_3(values, [4, 4, 4], [sharded([2, 4, 4], [LITTLE, CRC32C])])
    shard = files["c/0/0/0"]
    for size in range(0, len(shard), 7):
        volume = volume_of({**files, "c/0/0/0": shard[:size]})
        with pytest.raises(Unreadable, match="c/0/0/0"):
            volume.decode(volume.tiles(0, 1)[0])
    for place in (0, 100, len(shard) - 1, len(shard) - 20):
        flipped = bytearray(shard)
        flipped[place] ^= 1
        with pytest.raises(Unreadable, match="checksum"):
            voxels_of(volume_of({**files, "c/0/0/0": bytes(flipped)}))

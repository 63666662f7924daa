"""Chunks are decoded in part: no more is read, and no block is decoded twice."""

from __future__ import annotations

import itertools
import random
import struct
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numcodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copickfs.arrays import Volume, array_metadata
from copickfs.arrays.blosc import checked, decode_range
from copickfs.arrays.tiles import planes_of_a_tile
from copickfs.errors import AccessDenied, Stale, Unavailable
from tests.arrays import Files, opener, reader, same, voxels_of, written_2, written_3

if TYPE_CHECKING:
    from copickfs.layers.base import LayerFile
    from copickfs.model import ByteRange

LITTLE = {"name": "bytes", "configuration": {"endian": "little"}}
BLOSC = {"name": "blosc", "configuration": {"cname": "lz4", "clevel": 5, "shuffle": "shuffle", "typesize": 4,
                                            "blocksize": 0}}  # fmt: skip


class Counted:
    """A volume, and the ranges that were read of each of its files."""

    def __init__(self, files: Files, lead: tuple[int, ...] = ()) -> None:
        self.spans: list[tuple[str, int, int]] = []
        self.opened = self.closed = 0
        self.fault: Exception | None = None
        self._opened = opener(files)
        self.volume = Volume(array_metadata(reader(files), ""), self._open, lead)

    def _open(self, path: str) -> LayerFile:
        if self.fault:
            raise self.fault
        file = self._opened(path)
        self.opened += 1
        read, close = file.read, file.close

        def counted(span: ByteRange) -> bytes:
            self.spans.append((path, span.start, span.stop))
            return read(span)

        def closed() -> None:
            self.closed += 1
            close()

        file.read, file.close = counted, closed  # type: ignore[method-assign]
        return file

    def read_bytes(self) -> int:
        found = sum(stop - start for _path, start, stop in self.spans)
        self.spans.clear()
        return found


def values_of(*shape: int) -> np.ndarray[Any, Any]:
    return (np.random.default_rng(1).normal(size=shape) * 50).round().astype("f4") + 1000


def out_of_order(chunk: bytes) -> bytes:
    """A chunk whose blocks stand in another order, as several threads write them."""
    header = checked(chunk, len(chunk))
    table = 16 + 4 * header.blocks
    starts = struct.unpack_from(f"<{header.blocks}i", chunk, 16)
    ends = [min((place for place in starts if place > start), default=len(chunk)) for start in starts]
    order = list(range(header.blocks))
    random.Random(3).shuffle(order)
    places, body = {}, b""
    for number in order:
        places[number] = table + len(body)
        body += chunk[starts[number] : ends[number]]
    return chunk[:16] + struct.pack(f"<{header.blocks}i", *(places[n] for n in range(header.blocks))) + body


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_any_range_of_a_chunk(data: st.DataObject) -> None:
    items = data.draw(st.integers(1, 5000))
    dtype = data.draw(st.sampled_from(("u1", "i2", "f4", "f8")))
    cname = data.draw(st.sampled_from(("lz4", "lz4hc", "zstd", "zlib", "blosclz")))
    level, shuffle = data.draw(st.sampled_from((0, 1, 5, 9))), data.draw(st.integers(0, 2))
    block_bytes = data.draw(st.sampled_from((0, 64, 256, 1000, 4096)))
    values = np.arange(items).astype(dtype) // 3
    chunk = numcodecs.Blosc(cname, level, shuffle, block_bytes).encode(values)
    raw = values.tobytes()
    if not checked(chunk, len(chunk)).is_plain and data.draw(st.booleans()):
        chunk = out_of_order(chunk)
        assert numcodecs.Blosc().decode(chunk) == raw
    start = data.draw(st.integers(0, len(raw) - 1))
    stop = data.draw(st.integers(start + 1, len(raw)))
    found = decode_range(lambda a, b: chunk[a:b], len(chunk), len(raw), start, stop)
    assert bytes(found) == raw[start:stop]


def blosc_files() -> Files:
    return written_2(values_of(64, 128, 128), chunks=(64, 128, 128), compressor=numcodecs.Blosc("zstd", 3))


def test_a_plane_costs_a_part_of_a_chunk() -> None:
    counted = Counted(blosc_files())
    whole = len(blosc_files()["0.0.0"])
    (tile,) = counted.volume.tiles(40, 41)
    assert counted.read_bytes() == 16
    counted.volume.decode(tile)
    assert counted.read_bytes() < whole / 3
    assert counted.opened == counted.closed == 2


@pytest.mark.parametrize("kind", ["blosc", "out of order", "plain", "shards", "one shard of plain chunks"])
def test_a_walk_reads_everything_once(kind: str) -> None:
    values = values_of(64, 128, 128)
    if kind in ("blosc", "out of order"):
        files = blosc_files()
        if kind == "out of order":
            files["0.0.0"] = out_of_order(files["0.0.0"])
    elif kind == "plain":
        files = written_2(values, chunks=(64, 128, 128), compressor=None)
    else:
        inner = [LITTLE, BLOSC] if kind == "shards" else [LITTLE]
        shards = {"chunk_shape": [64, 64, 128], "codecs": inner, "index_codecs": [LITTLE, {"name": "crc32c"}]}
        files = written_3(values, [64, 128, 128], [{"name": "sharding_indexed", "configuration": shards}])
    counted = Counted(files)
    same(voxels_of(counted.volume), values)
    assert len(counted.volume.tiles(0, 64)) > 3
    bodies = sorted((start, stop) for _path, start, stop in counted.spans if stop - start > 4096)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(bodies))
    assert counted.opened == counted.closed
    (size,) = (len(data) for name, data in files.items() if name in ("0.0.0", "c/0/0/0"))
    assert size * 0.9 < sum(stop - start for start, stop in bodies) <= size


def test_the_index_of_a_shard_is_read_once() -> None:
    shards = {"chunk_shape": [8, 8, 8], "codecs": [LITTLE], "index_codecs": [LITTLE]}
    values = values_of(32, 32, 32)
    files = written_3(values, [32, 32, 32], [{"name": "sharding_indexed", "configuration": shards}])
    counted = Counted(files)
    same(voxels_of(counted.volume), values)
    assert len(counted.spans) == 64 + 1


def test_small_chunks_are_read_at_once() -> None:
    counted = Counted(written_2(values_of(32, 32, 32), chunks=(16, 16, 16)))
    tiles = counted.volume.tiles(0, 32)
    counted.spans.clear()
    for tile in tiles:
        counted.volume.decode(tile)
    assert len(counted.spans) == len(tiles) == 8


def test_leading_axes_in_one_chunk() -> None:
    values = values_of(3, 2, 20, 64, 64)
    for compressor in (None, numcodecs.Blosc("lz4", 5, blocksize=1 << 15), numcodecs.Zstd()):
        files = written_2(values, chunks=(2, 2, 16, 64, 64), compressor=compressor)
        counted = Counted(files, (1, 1))
        same(voxels_of(counted.volume), values[1, 1])
        counted.spans.clear()
        voxels_of(counted.volume, 0, 16)
        if not isinstance(compressor, numcodecs.Zstd):
            assert counted.read_bytes() < len(files["0.0.0.0.0"]) * 0.4


@pytest.mark.parametrize(
    "error", [Unavailable("down"), Stale("changed"), AccessDenied("no"), OSError(5, "bad disk")]
)
def test_errors_of_layers_pass(error: Exception) -> None:
    for files in (blosc_files(), written_2(values_of(4, 4, 4), compressor=numcodecs.Zstd())):
        counted = Counted(files)
        (tile, *_more) = counted.volume.tiles(0, 1)
        counted.fault = error
        with pytest.raises(type(error)):
            counted.volume.decode(tile)


def test_an_outage_while_blocks_are_looked_at() -> None:
    counted = Counted(blosc_files())
    counted.fault = Unavailable("down")
    with pytest.raises(Unavailable):
        counted.volume.tiles(0, 1)


def test_many_threads() -> None:
    shards = {"chunk_shape": [16, 64, 64], "codecs": [LITTLE, BLOSC], "index_codecs": [LITTLE]}
    values = values_of(64, 128, 128)
    files = written_3(values, [32, 64, 64], [{"name": "sharding_indexed", "configuration": shards}])
    volume = Counted(files).volume
    tiles = volume.tiles(0, 64) * 4
    with ThreadPoolExecutor(8) as pool:
        for tile, decoded in zip(tiles, pool.map(volume.decode, tiles), strict=True):
            box = tuple(slice(a, b) for a, b in zip(tile.start, tile.stop, strict=True))
            same(decoded, values[box])


@pytest.mark.parametrize(
    ("chunk", "block_bytes", "planes", "share"),
    [
        ((256, 256, 256), 1 << 18, 4, 1.0), ((128, 128, 128), 1 << 18, 16, 1.0),
        ((64, 64, 64), 1 << 19, 64, 1.0),
        ((512, 512, 512), 1 << 19, 1, 2.0), ((16, 1024, 1024), 1 << 18, 1, 1.0),
        ((100, 100, 100), 1 << 18, None, 1.1),
        ((200, 190, 180), 1 << 19, None, 1.25), ((5, 7, 9), 1, 5, 1.0), ((1, 4096, 4096), 1 << 18, 1, 1.0),
    ],
)  # fmt: skip
def test_tiles_cover_whole_blocks(chunk: Any, block_bytes: int, planes: int | None, share: float) -> None:
    plane_bytes = chunk[1] * chunk[2] * 4
    count = planes_of_a_tile(chunk[0], plane_bytes, block_bytes)
    assert planes in (None, count)
    edges = [min(n, chunk[0]) * plane_bytes for n in range(0, chunk[0] + count, count)]
    blocks = sum(-(-b // block_bytes) - a // block_bytes for a, b in itertools.pairwise(edges))
    assert blocks <= share * -(-chunk[0] * plane_bytes // block_bytes)

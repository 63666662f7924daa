"""Chunks that are damaged are refused, or give voxels; they end no process and take no room."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import random
import struct
import subprocess
import sys
import tracemalloc
import zlib
from typing import Any

import numcodecs
import numpy as np
import pytest

from copickfs.arrays.blosc import decode_range
from copickfs.errors import Unreadable
from tests.arrays import Files, document, volume_of, voxels_of, written_2

COMPRESSORS: tuple[Any, ...] = (
    None, numcodecs.Blosc("lz4", 5, 1, 4096), numcodecs.Blosc("zstd", 1, 2, 8192),
    numcodecs.Blosc("blosclz", 9, 1, 4096),
    numcodecs.Blosc("zlib", 1, 0, 4096), numcodecs.Blosc("lz4", 0), numcodecs.Zstd(), numcodecs.GZip(),
    numcodecs.Zlib(),
    numcodecs.BZ2(), numcodecs.LZMA(), numcodecs.LZ4(),
)  # fmt: skip
FILTERS: tuple[Any, ...] = (
    numcodecs.CRC32(), numcodecs.Fletcher32(), numcodecs.JenkinsLookup3(), numcodecs.Adler32(),
    numcodecs.Shuffle(4),
    numcodecs.Base64(), numcodecs.Delta("<f4"), numcodecs.AsType("<f8", "<f4"),
)  # fmt: skip
VALUES = (np.arange(16 * 40 * 50).reshape(16, 40, 50) % 1000 + 1).astype("<f4")


def files_of(compressor: Any, filters: list[Any] | None = None) -> Files:
    return written_2(VALUES, chunks=VALUES.shape, compressor=compressor, filters=filters)


def refused(files: Files, chunk: bytes) -> None:
    volume = volume_of({**files, "0.0.0": chunk})
    for tile in volume.tiles(0, 16):
        with pytest.raises(Unreadable, match=r"^0\.0\.0: cannot be decoded: "):
            volume.decode(tile)


def last_half(chunk: bytes) -> bytes | memoryview:
    """What needs some of the blocks of a chunk only."""
    return decode_range(
        lambda a, b: chunk[a:b], len(chunk), VALUES.nbytes, VALUES.nbytes // 2 + 40, VALUES.nbytes
    )


def refused_in_part(chunk: bytes) -> None:
    with pytest.raises((ValueError, RuntimeError)):
        last_half(chunk)


@pytest.mark.parametrize("compressor", COMPRESSORS, ids=str)
def test_a_chunk_that_is_cut_short_or_too_long(compressor: Any) -> None:
    files = files_of(compressor)
    chunk = files["0.0.0"]
    step = max(1, len(chunk) // 100)
    for size in {*range(0, len(chunk), step), *range(20), *range(len(chunk) - 20, len(chunk))}:
        refused(files, chunk[:size])
    if not isinstance(compressor, (numcodecs.Zlib, numcodecs.GZip, numcodecs.BZ2, numcodecs.LZMA)):
        refused(files, chunk + b"\0")  # a stream tells by itself where it ends


@pytest.mark.parametrize("codec", FILTERS, ids=str)
def test_what_a_filter_has_made_and_was_cut_short(codec: Any) -> None:
    files = files_of(None, [codec])
    chunk = files["0.0.0"]
    for size in {*range(0, len(chunk), 997), *range(10), *range(len(chunk) - 10, len(chunk))}:
        refused(files, chunk[:size])


def test_a_chunk_of_another_shape() -> None:
    other = written_2(VALUES[:, :, :25], chunks=(16, 40, 25), compressor=numcodecs.Blosc())["0.0.0"]
    refused(files_of(numcodecs.Blosc()), other)
    refused(files_of(numcodecs.Zstd()), numcodecs.Zstd().encode(VALUES[:8]))


def test_a_header_of_blosc_that_does_not_fit() -> None:
    files = files_of(numcodecs.Blosc("lz4", 5, 1, 4096))
    chunk = files["0.0.0"]
    size = len(chunk)
    decoded_bytes, block_bytes, coded_bytes = struct.unpack_from("<iii", chunk, 4)
    assert (decoded_bytes, coded_bytes) == (VALUES.nbytes, size)
    assert block_bytes < VALUES.nbytes
    for wrong in ((VALUES.nbytes + 4, 4096, size), (VALUES.nbytes, 0, size), (VALUES.nbytes, -1, size),
                  (VALUES.nbytes, 1, size), (VALUES.nbytes, 1 << 30, size), (VALUES.nbytes, 4096, size - 1),
                  (-1, 4096, size), (0, 0, size), (VALUES.nbytes, 4096, 1 << 30)):  # fmt: skip
        changed = chunk[:4] + struct.pack("<iii", *wrong) + chunk[16:]
        refused(files, changed)
        refused_in_part(changed)
    for place, value in ((0, 1), (0, 5), (3, 0)):
        changed = chunk[:place] + bytes([value]) + chunk[place + 1 :]
        refused(files, changed)
        refused_in_part(changed)
    for start in (3, size, -9, 1 << 30, 16):
        refused(files, chunk[:16] + struct.pack("<i", start) + chunk[20:])
        refused_in_part(chunk[:20] + struct.pack("<i", start) + chunk[24:])


MANY = 100


def flips(chunk: bytes, count: int, rng: random.Random) -> list[bytes]:
    """A chunk with bits of its first bytes turned (all, if ``count`` is large), and with others at random."""
    bits = list(range(0, 8 * min(36, len(chunk)), 3 if count < MANY else 1))
    found = []
    for places in [[bit] for bit in bits] + [
        [rng.randrange(8 * len(chunk)) for _ in range(rng.choice((1, 3, 30)))] for _ in range(count)
    ]:
        changed = bytearray(chunk)
        for place in places:
            changed[place // 8] ^= 1 << place % 8
        found.append(bytes(changed))
    return found


def try_flips(count: int, seed: int) -> None:
    """In a process of its own: what a C library makes of damage is not known before."""
    rng = random.Random(seed)
    cases = [(each, None) for each in COMPRESSORS] + [(None, [each]) for each in FILTERS]
    for compressor, filters in cases:
        files = files_of(compressor, filters)
        for chunk in flips(files["0.0.0"], count, rng):
            volume = volume_of({**files, "0.0.0": chunk})
            for tile in volume.tiles(0, 16):
                try:
                    decoded = volume.decode(tile)
                except Unreadable:
                    continue
                assert decoded.shape == tuple(b - a for a, b in zip(tile.start, tile.stop, strict=True))
            if isinstance(compressor, numcodecs.Blosc):
                with contextlib.suppress(ValueError, RuntimeError):
                    assert len(last_half(chunk)) == VALUES.nbytes // 2 - 40


def in_a_process(count: int, seed: int, timeout_s: float) -> None:
    program = f"from tests.units.test_arrays_damage import try_flips; try_flips({count}, {seed})"
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler",
        "-c", program], capture_output=True, text=True, timeout=timeout_s,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


def test_no_damage_ends_the_process() -> None:
    in_a_process(10, 1, 100)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_much_damage_does_not_end_the_process() -> None:
    in_a_process(5000, 2, 1700)


def lz4_of(size_bytes: int) -> bytes:
    return struct.pack("<i", size_bytes) + b"\x1fa\x01\x00" + b"\xff" * 1000


ZEROS = bytes(64 << 20)


@pytest.mark.parametrize(
    ("compressor", "chunk"),
    [
        ({"id": "gzip"}, gzip.compress(ZEROS, 1)), ({"id": "zlib"}, zlib.compress(ZEROS, 1)),
        ({"id": "bz2"}, bz2.compress(ZEROS, 1)), ({"id": "lzma"}, lzma.compress(ZEROS, preset=0)),
        ({"id": "zstd"}, bytes(numcodecs.Zstd().encode(ZEROS))), ({"id": "lz4"}, lz4_of(1 << 30)),
        ({"id": "blosc"}, bytes(numcodecs.Blosc().encode(ZEROS))),
        ({"id": "blosc"}, struct.pack("<BBBBiii", 2, 1, 0x21, 4, 0x7FFFFFF0, 0x7FFFFFF0, 16)),
    ],
    ids=lambda value: value["id"] if isinstance(value, dict) else "",
)  # fmt: skip
def test_little_that_would_become_much(compressor: Any, chunk: bytes) -> None:
    for filters in (None, [{"id": "delta", "dtype": "<f4"}]):
        files = document(files_of(None), ".zarray", compressor=compressor, filters=filters)
        tracemalloc.start()
        try:
            refused(files, chunk)
            assert tracemalloc.get_traced_memory()[1] < 16 << 20
        finally:
            tracemalloc.stop()


def test_a_file_that_is_much_too_long_is_not_read() -> None:
    files = files_of(numcodecs.Zstd())
    refused(files, files["0.0.0"] + bytes(1 << 20))
    other = files_of(None)
    same_file = voxels_of(volume_of(other))
    assert (same_file == VALUES).all()
    refused(other, other["0.0.0"] + bytes(1 << 20))

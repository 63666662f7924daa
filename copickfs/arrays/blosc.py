"""Chunks of Blosc 1 that are decoded in part.

The format is that of c-blosc's ``README_CHUNK_FORMAT.rst``: a header of 16 bytes, the start of each
block, the blocks. Only the blocks that are needed are read, and put together as a chunk of their own,
which the library then decodes as a whole: its function for parts keeps Python's lock, and wants the whole.
"""

from __future__ import annotations

import operator
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy import ndarray

    Read = Callable[[int, int], bytes]
    """The bytes of a chunk in a half-open range, all of them."""

BLOSC_ID = "blosc"

MAX_BYTES = (1 << 31) - 1
"""No chunk is longer, nor its contents."""

HEADER_BYTES = 16
_HEADER = struct.Struct("<BBBBiii")
_VERSION = 2
_MEMCPYED = 0x02
_WHOLE_BLOCKS = 0x10
"""Flag: the bytes of a block are not split into a stream for each byte of an item."""

_START_BYTES = 4
_FIRST_READ_BYTES = 4096
"""Holds the header and the starts of 1020 blocks."""


class Header(NamedTuple):
    """What a chunk of Blosc 1 begins with.

    Attributes:
        version: Of the format.
        codec_version: Of that of the compressor in it.
        flags: Bits.
        item_bytes: Length of an item, by which bytes are shuffled.
        decoded_bytes: Length of the contents.
        block_bytes: Length of a block of the contents; the last may be shorter.
        coded_bytes: Length of the chunk.
    """

    version: int
    codec_version: int
    flags: int
    item_bytes: int
    decoded_bytes: int
    block_bytes: int
    coded_bytes: int

    @property
    def is_plain(self) -> bool:
        """True if the contents follow the header as they are."""
        return bool(self.flags & _MEMCPYED)

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return -(-self.decoded_bytes // self.block_bytes) if self.decoded_bytes else 0


def checked(start: bytes | memoryview, coded_bytes: int) -> Header:
    """The header in the first bytes of a chunk that is ``coded_bytes`` long.

    Raises:
        ValueError: This is no such chunk.
    """
    if len(start) < HEADER_BYTES:
        raise ValueError("is too short for Blosc")
    header = Header(*_HEADER.unpack_from(start))
    if header.version != _VERSION:
        raise ValueError(f"is not of Blosc 1: its version is {header.version}")
    if header.coded_bytes != coded_bytes:
        raise ValueError(f"is of {header.coded_bytes:,} bytes as its header says, but has {coded_bytes:,}")
    if header.decoded_bytes < 0 or header.item_bytes == 0:
        raise ValueError("has sizes in its header that cannot be")
    if header.decoded_bytes and not 0 < header.block_bytes <= header.decoded_bytes:
        raise ValueError(f"has blocks of {header.block_bytes:,} bytes, of {header.decoded_bytes:,}")
    starts = 0 if header.is_plain else header.blocks * _START_BYTES
    if header.coded_bytes < HEADER_BYTES + (header.decoded_bytes if header.is_plain else starts):
        raise ValueError("is shorter than its header says")
    return header


def block_bytes_of(start: bytes) -> int | None:
    """The length of a block that a chunk's first bytes tell of; None if they are no header."""
    try:
        header = Header(*_HEADER.unpack_from(start))
    except struct.error:
        return None
    return header.block_bytes if header.version == _VERSION and header.block_bytes > 0 else None


def decode_range(
    read: Read, coded_bytes: int, decoded_bytes: int, start: int, stop: int
) -> bytes | memoryview:
    """The bytes ``start`` to ``stop`` of the contents of a chunk.

    Args:
        read: Gives bytes of the chunk.
        coded_bytes: Length of the chunk.
        decoded_bytes: Length that its contents have to have.
        start: First byte of the contents.
        stop: End of the range.

    Raises:
        ValueError, RuntimeError: The chunk is damaged.
    """
    is_whole = start == 0 and stop == decoded_bytes
    begin = read(0, coded_bytes if is_whole else min(_FIRST_READ_BYTES, coded_bytes))
    header = checked(begin, coded_bytes)
    if header.decoded_bytes != decoded_bytes:
        raise ValueError(f"has {header.decoded_bytes:,} bytes instead of {decoded_bytes:,}")
    if header.is_plain:
        return read(HEADER_BYTES + start, HEADER_BYTES + stop)
    first, last = start // header.block_bytes, -(-stop // header.block_bytes)
    chunk = begin if is_whole else _part(read, begin, header, first, last)
    size_bytes = min(last * header.block_bytes, decoded_bytes) - first * header.block_bytes
    found = memoryview(_decoded(chunk, size_bytes))
    return found[start - first * header.block_bytes : stop - first * header.block_bytes]


def _part(read: Read, begin: bytes, header: Header, first: int, last: int) -> bytes:
    """A chunk of the blocks ``first`` to ``last`` only."""
    table_stop = HEADER_BYTES + header.blocks * _START_BYTES
    if len(begin) < table_stop:
        begin += read(len(begin), table_stop)
    starts = struct.unpack_from(f"<{header.blocks}i", begin, HEADER_BYTES)
    ends = _ends(starts, table_stop, header.coded_bytes)
    parts, moved = [], []
    length = HEADER_BYTES + (last - first) * _START_BYTES
    for span_start, span_stop, numbers in _spans(starts, ends, range(first, last)):
        parts.append(read(span_start, span_stop))
        moved += [(number, length + starts[number] - span_start) for number in numbers]
        length += span_stop - span_start
    decoded_bytes = min(last * header.block_bytes, header.decoded_bytes) - first * header.block_bytes
    # A last block that is shorter is never split; as the only block, it would not be known for one.
    block_bytes, flags = min(header.block_bytes, decoded_bytes), header.flags
    if block_bytes < header.block_bytes:
        flags |= _WHOLE_BLOCKS
    return b"".join((
        _HEADER.pack(
            header.version, header.codec_version, flags, header.item_bytes, decoded_bytes, block_bytes, length
        ),
        struct.pack(f"<{last - first}i", *(place for _number, place in sorted(moved))),
        *parts,
    ))  # fmt: skip


def _ends(starts: Sequence[int], least: int, coded_bytes: int) -> list[int]:
    """Where each block ends: blocks stand in the order in which several threads were done with them."""
    if starts[0] >= least and starts[-1] < coded_bytes and all(map(operator.lt, starts, starts[1:])):
        return [*starts[1:], coded_bytes]
    order = sorted(range(len(starts)), key=starts.__getitem__)
    if starts[order[0]] < least or starts[order[-1]] >= coded_bytes:
        raise ValueError("has blocks outside of it")
    ends = [0] * len(starts)
    after, follower = coded_bytes, None
    for number in reversed(order):
        if follower is not None and starts[follower] > starts[number]:
            after = starts[follower]
        ends[number] = after
        follower = number
    return ends


def _spans(starts: Sequence[int], ends: Sequence[int], numbers: range) -> list[tuple[int, int, list[int]]]:
    """What to read for some blocks: ranges without gaps, and the blocks in each."""
    spans: list[tuple[int, int, list[int]]] = []
    for number in sorted(numbers, key=starts.__getitem__):
        if spans and spans[-1][1] >= starts[number]:
            start, stop, inside = spans[-1]
            spans[-1] = (start, max(stop, ends[number]), [*inside, number])
        else:
            spans.append((starts[number], ends[number], [number]))
    return spans


def _decoded(chunk: bytes, size_bytes: int) -> Any:
    import numcodecs
    import numpy as np

    out: ndarray[Any, Any] = np.empty(size_bytes, "u1")
    numcodecs.Blosc().decode(chunk, out)
    return out

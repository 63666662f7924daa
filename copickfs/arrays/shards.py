"""The index of a shard: where the smaller chunks in it are.

See https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed/index.html: two 64-bit numbers
for each chunk, offset and length, both 2^64-1 for one that is not there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from copickfs.arrays.codecs import decoded

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from copickfs.arrays.chain import Chain
    from copickfs.arrays.codecs import Codec

MAX_ENTRIES = 1 << 22
"""A shard of more chunks than this is not read: its index alone had 64 MiB."""

_ENTRY_BYTES = 16
_CHECKSUM_BYTES = 4
_ABSENT = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Sharding:
    """How smaller chunks stand in a chunk.

    Attributes:
        chunks: Their shape.
        chain: How they are coded.
        index_dtype: Type of the numbers of the index, as they are stored.
        index_codecs: Of the index, from bytes to bytes; only such as keep its length, or add to it.
        index_extra_bytes: What these add.
        at_end: True if the index follows the chunks, False if it comes first.
    """

    chunks: tuple[int, ...]
    chain: Chain
    index_dtype: str
    index_codecs: tuple[Codec, ...]
    index_extra_bytes: int
    at_end: bool

    def grid(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """How many of them are in a chunk of this shape, along each axis."""
        return tuple(n // m for n, m in zip(shape, self.chunks, strict=True))

    def room_bytes(self, shape: tuple[int, ...]) -> int:
        """Length of the index of a chunk of this shape."""
        return math.prod(self.grid(shape)) * _ENTRY_BYTES + self.index_extra_bytes


class ShardIndex:
    """The index of one shard.

    Args:
        entries: Offsets and lengths, of shape ``(*grid, 2)``, dtype uint64.
        size_bytes: Length of the shard.
    """

    def __init__(self, entries: np.ndarray[Any, Any], size_bytes: int) -> None:
        self._entries = entries
        self._size_bytes = size_bytes

    def span(self, place: tuple[int, ...]) -> tuple[int, int] | None:
        """The half-open range of a chunk's bytes in the shard; None if it is not there.

        Raises:
            ValueError: It is outside of the shard.
        """
        offset, length = (int(n) for n in self._entries[place])
        if offset == length == _ABSENT:
            return None
        if offset + length > self._size_bytes:
            raise ValueError(f"its chunk {'/'.join(map(str, place))} is outside of it")
        return offset, offset + length


def read_index(
    sharding: Sharding, shape: tuple[int, ...], read: Callable[[int, int], Any], size_bytes: int
) -> ShardIndex:
    """The index of a shard.

    Args:
        sharding: How it is made.
        shape: Of the shard.
        read: Gives the bytes of the shard in a half-open range.
        size_bytes: Length of the shard.

    Raises:
        Exception: Any, if it is damaged.
    """
    import numpy as np

    grid, length = sharding.grid(shape), sharding.room_bytes(shape)
    if length > size_bytes:
        raise ValueError(f"has {size_bytes:,} bytes, its index alone would have {length:,}")
    data = read(size_bytes - length, size_bytes) if sharding.at_end else read(0, length)
    data = decoded(sharding.index_codecs, data, math.prod(grid) * _ENTRY_BYTES)
    entries = np.frombuffer(data, sharding.index_dtype).reshape(*grid, 2)
    return ShardIndex(entries, size_bytes)


def extra_bytes_of(names: list[str]) -> int | None:
    """What codecs of an index, by their names, add to its length; None for such as change it otherwise."""
    return _CHECKSUM_BYTES * len(names) if all(name == "crc32c" for name in names) else None

"""What has to be known of an array to find and decode its chunks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from copickfs.arrays.documents import sizes
from copickfs.errors import Unreadable

if TYPE_CHECKING:
    import numpy as np

    from copickfs.arrays.chain import Chain

_MAX_ELEMENTS = 1 << 62


class Keys(NamedTuple):
    """How the files of an array's chunks are named.

    Attributes:
        begin: What comes before the numbers, with its separator.
        separator: Between the numbers.
    """

    begin: str
    separator: str

    def name(self, index: tuple[int, ...]) -> str:
        """The name of a chunk's file, relative to the array."""
        if not index:
            return self.begin.rstrip("/.") or "0"
        return self.begin + self.separator.join(map(str, index))


@dataclass(frozen=True, slots=True)
class ArrayMetadata:
    """One array.

    Attributes:
        path: In its store, ``""`` if it is the store.
        shape: Shape.
        dtype: Type of the voxels in native byte order.
        grid_chunks: The shape of what is in one file, as far as it is inside of the array: a chunk or,
            where there are shards, a shard.
        chunks: The shape of the smallest chunks that are decoded by themselves.
        shards: `grid_chunks` where those are shards, else None.
        fill_value: What is in chunks that are not there, a scalar of `dtype`.
        keys: How files are named.
        chain: How what is in one file is coded.
    """

    path: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    grid_chunks: tuple[int, ...]
    fill_value: Any
    keys: Keys
    chain: Chain

    @property
    def chunks(self) -> tuple[int, ...]:
        """The shape of the smallest chunks that are decoded by themselves."""
        return self.leaf[0]

    @property
    def shards(self) -> tuple[int, ...] | None:
        """The shape of what is in one file, where that are several chunks; None if they are files."""
        return self.grid_chunks if self.chain.is_seekable else None

    @property
    def leaf(self) -> tuple[tuple[int, ...], Chain]:
        """The shape of the smallest chunks that are decoded by themselves, and how they are coded."""
        chunks, chain = self.grid_chunks, self.chain
        while chain.sharding is not None and chain.is_seekable:
            chunks, chain = chain.sharding.chunks, chain.sharding.chain
        return chunks, chain

    def object_of(self, index: tuple[int, ...]) -> str:
        """The path in the store of the file that a chunk of the grid of files is in."""
        name = self.keys.name(index)
        return f"{self.path}/{name}" if self.path else name


def shape_of(value: Any, what: str) -> tuple[int, ...]:
    """A shape in a document. Raises `Unreadable` if it is none."""
    found = sizes(value)
    if found is None or math.prod(found) > _MAX_ELEMENTS:
        raise Unreadable(f"{what} is no shape that an array can have")
    return tuple(found)


def chunks_of(value: Any, what: str, dimensions: int) -> tuple[int, ...]:
    """The shape of a chunk in a document. Raises `Unreadable` if it is none of an array like this."""
    found = shape_of(value, what)
    if len(found) != dimensions or 0 in found:
        raise Unreadable(f"{what} is no shape of the chunks of an array of {dimensions} axes")
    return found

"""How chunks are cut into tiles: boxes of voxels that are decoded at once."""

from __future__ import annotations

import functools
import itertools
import math
from typing import NamedTuple

TILE_BYTES = 2 << 20
"""About as long are the contents of a tile."""

_MOST_BYTES = 4 << 20
_LEAST_BYTES = 1 << 19
_TRIED = 32


class Tile(NamedTuple):
    """A box of voxels that is decoded at once.

    Attributes:
        object: The path in the store of the file that holds it: a chunk, or a shard.
        chunk: The number of the smallest chunk in the grid of them, along each axis of the array.
        start: First voxel in the volume, ``(z, y, x)``.
        stop: End of the box, ``(z, y, x)``; inside of the volume.
    """

    object: str
    chunk: tuple[int, ...]
    start: tuple[int, int, int]
    stop: tuple[int, int, int]


@functools.lru_cache(maxsize=64)
def planes_of_a_tile(planes: int, plane_bytes: int, block_bytes: int, begin_bytes: int = 0) -> int:
    """In how many planes each a chunk is cut, so that few of its blocks are decoded twice.

    Args:
        planes: Of the chunk.
        plane_bytes: Length of the contents of one.
        block_bytes: What is decoded at once at the least.
        begin_bytes: Where the planes begin in what is cut into blocks.

    Returns:
        The number of planes of all tiles but the last. They are about `TILE_BYTES` long; of the numbers
        that are possible it is the one by which least is decoded in all.
    """
    most = max(1, min(planes, _MOST_BYTES // plane_bytes))
    least = min(most, max(1, _LEAST_BYTES // plane_bytes))
    wanted = min(most, max(least, TILE_BYTES // plane_bytes))
    whole = math.lcm(plane_bytes, block_bytes) // plane_bytes
    if begin_bytes % block_bytes == 0 and whole <= most:
        return max(whole, wanted // whole * whole)

    def decoded_blocks(count: int) -> int:
        edges = [begin_bytes + min(n, planes) * plane_bytes for n in range(0, planes + count, count)]
        pairs = itertools.pairwise(edges)
        return sum(-(-stop // block_bytes) - start // block_bytes for start, stop in pairs)

    tried = range(least, most + 1, max(1, (most - least) // _TRIED))
    return min(tried, key=lambda count: (decoded_blocks(count), abs(count - wanted)))

"""From the bytes of a chunk's file to its voxels, and back to where they are in them."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from copickfs.arrays.codecs import Blosc, Codec, decoded
from copickfs.arrays.shards import Sharding, read_index

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True)
class Chain:
    """How the chunks of an array are coded.

    Attributes:
        dtype: Type of the voxels, in the byte order in which they are stored.
        axes: For each stored axis, which axis of the array it is.
        codecs: From bytes to bytes, in the order in which they are applied in writing.
        sharding: How smaller chunks stand in the chunk; None if voxels do.
    """

    dtype: np.dtype[Any]
    axes: tuple[int, ...]
    codecs: tuple[Codec, ...]
    sharding: Sharding | None = None

    @property
    def is_in_order(self) -> bool:
        """True if the axes are stored as they are."""
        return self.axes == tuple(range(len(self.axes)))

    @property
    def is_plain(self) -> bool:
        """True if the bytes of a chunk are those of its voxels, one after the other."""
        return self.sharding is None and self.is_in_order and not self.codecs

    @property
    def is_blosc(self) -> bool:
        """True if they are once Blosc is undone, which can be done in part."""
        return (
            self.sharding is None
            and self.is_in_order
            and len(self.codecs) == 1
            and isinstance(self.codecs[0], Blosc)
        )

    @property
    def is_seekable(self) -> bool:
        """True if smaller chunks are found in a chunk without decoding it."""
        return self.sharding is not None and self.is_in_order and not self.codecs

    def decode(self, data: Any, shape: tuple[int, ...], fill_value: Any) -> np.ndarray[Any, Any]:
        """The voxels of a whole chunk.

        Args:
            data: The bytes of the chunk.
            shape: Its shape.
            fill_value: What smaller chunks hold that are not there.

        Raises:
            Exception: Any, if the chunk is damaged.
        """
        import numpy as np

        stored = tuple(shape[axis] for axis in self.axes)
        if self.sharding is None:
            data = decoded(self.codecs, data, math.prod(shape) * self.dtype.itemsize)
            flat = np.frombuffer(memoryview(data).cast("B"), self.dtype)
            return flat.reshape(stored).transpose(np.argsort(self.axes))
        if self.codecs:
            # Its length is not known: it depends on how well what is inside was compressed.
            most_bytes = 2 * math.prod(shape) * self.dtype.itemsize + self.sharding.room_bytes(stored)
            data = self.codecs_undone(data, most_bytes)
        voxels = np.full(stored, fill_value, self.dtype)
        view = memoryview(data).cast("B")
        index = read_index(self.sharding, stored, lambda start, stop: view[start:stop], len(view))
        inner = self.sharding.chunks
        for place in itertools.product(*(range(n // m) for n, m in zip(stored, inner, strict=True))):
            span = index.span(place)
            if span is not None:
                box = tuple(slice(i * n, i * n + n) for i, n in zip(place, inner, strict=True))
                voxels[box] = self.sharding.chain.decode(view[span[0] : span[1]], inner, fill_value)
        return voxels.transpose(np.argsort(self.axes))

    def codecs_undone(self, data: Any, most_bytes: int) -> Any:
        """The bytes before all `codecs`, at most so many."""
        for codec in reversed(self.codecs):
            data = codec.decode(data, None, most_bytes)
        return data

"""The voxels of a volume, decoded tile by tile."""

from __future__ import annotations

import itertools
import math
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Protocol

from copickfs.arrays.blosc import HEADER_BYTES, MAX_BYTES, block_bytes_of, decode_range
from copickfs.arrays.codecs import most_bytes_of
from copickfs.arrays.shards import read_index
from copickfs.arrays.tiles import Tile, planes_of_a_tile
from copickfs.errors import CopickfsError, NotADirectory, NotFound, Unreadable
from copickfs.model import ByteRange, Entry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np

    from copickfs.arrays.metadata import ArrayMetadata
    from copickfs.arrays.shards import ShardIndex

_SPACE = 3
_MAX_DECODED_BYTES = 1 << 30
"""Chunks, or planes of them, that are longer are not decoded."""

_MAX_TILES = 1 << 20
_KEPT_INDEXES = 8
_USUAL_BLOCK_BYTES = 1 << 18
_LOOKED_AT = 8
"""In so many chunks the length of a block is looked for."""


class File(Protocol):
    """As much of `copickfs.layers.base.LayerFile` as is needed here."""

    entry: Entry

    def read(self, span: ByteRange) -> bytes:
        """The bytes of a range, fewer only at the end of the file."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


class _Part:
    """The bytes of a chunk, in a file or in a shard."""

    def __init__(self, file: File, start: int, stop: int) -> None:
        self.file = file
        self.start = start
        self.stop = stop

    def __len__(self) -> int:
        return self.stop - self.start

    def read(self, start: int, stop: int) -> bytes:
        """The bytes of a half-open range, all of them. Raises `ValueError` if they are not there."""
        if not 0 <= start <= stop <= len(self):
            raise ValueError("is shorter than what it has to hold")
        data = self.file.read(ByteRange(self.start + start, self.start + stop)) if stop > start else b""
        if len(data) != stop - start:
            raise ValueError("is cut short")
        return data


class Volume:
    """The last three axes of an array, ``(z, y, x)``, with the others fixed. Thread-safe.

    Args:
        metadata: Of the array.
        open_object: Opens a file of the store by its path there. What it raises passes through, but for
            `NotFound`: the voxels in that file are the fill value.
        lead: The index along each axis before the last three.

    Attributes:
        shape: ``(z, y, x)``.
        dtype: Type of the voxels, in native byte order.
        chunk: Extent of a chunk, ``(y, x)``.
        columns: How many chunks there are along y and x.

    Raises:
        Unreadable: The array has fewer than three axes, or chunks that nobody can decode.
        ValueError: ``lead`` is no index of the array.
    """

    def __init__(
        self, metadata: ArrayMetadata, open_object: Callable[[str], File], lead: tuple[int, ...] = ()
    ) -> None:
        extra = len(metadata.shape) - _SPACE
        if extra < 0:
            raise Unreadable(
                f"{metadata.path or 'the store'}: an array of {extra + _SPACE} axes is no volume"
            )
        if len(lead) != extra or not all(0 <= i < n for i, n in zip(lead, metadata.shape, strict=False)):
            raise ValueError(f"{lead} is no index of the first {extra} axes of {metadata.shape}")
        z, y, x = metadata.shape[extra:]
        self.shape: tuple[int, int, int] = (z, y, x)
        self.dtype: np.dtype[Any] = metadata.dtype
        self._metadata = metadata
        self._open = open_object
        self._chunks, self._chain = metadata.leaf
        self.chunk: tuple[int, int] = (self._chunks[-2], self._chunks[-1])
        self.columns: tuple[int, int] = (-(-y // self.chunk[0]), -(-x // self.chunk[1]))
        self._lead = tuple(i // n for i, n in zip(lead, self._chunks, strict=False))
        self._in_chunk = tuple(i % n for i, n in zip(lead, self._chunks, strict=False))
        plane = math.prod(self._chunks[-2:]) * self.dtype.itemsize
        self._plane_bytes = plane
        self._chunk_bytes = math.prod(self._chunks) * self.dtype.itemsize
        self._is_in_part = self._chain.is_blosc or self._chain.is_plain
        is_impossible = self._chain.is_blosc and self._chunk_bytes > MAX_BYTES
        if is_impossible or (plane if self._is_in_part else self._chunk_bytes) > _MAX_DECODED_BYTES:
            raise Unreadable(f"{metadata.path or 'the store'}: its chunks are too large to be decoded")
        self._block_bytes: int | None = None
        self._indexes: OrderedDict[tuple[str, tuple[int, ...], str], ShardIndex] = OrderedDict()
        self._lock = threading.Lock()

    def tiles(self, start: int, stop: int) -> list[Tile]:
        """The tiles that hold the planes ``start`` to ``stop``, all of y and x, in order of z, y, x.

        Tiles of a chunk cut it along z, and are the same for every range. May read the beginning of a
        chunk.

        Raises:
            Unreadable: There are too many.
            Transient: A chunk was asked for, and its layer is out of reach.
        """
        start, stop = max(0, start), min(stop, self.shape[0])
        if start >= stop or 0 in self.shape:
            return []
        rows, columns = self.columns
        if rows * columns * ((stop - start) // self._planes_of_a_tile(start) + 2) > _MAX_TILES:
            raise Unreadable(f"{self._metadata.path or 'the store'}: has too many chunks")
        found = []
        while start < stop:
            low, start = self.planes(start)
            found += [self.tile(low, start, y, x) for y, x in _grid(self.columns)]
        return found

    def planes(self, plane: int) -> tuple[int, int]:
        """The half-open range of planes that the tiles hold in which a plane is.

        May read the beginning of a chunk. Raises as `tiles`.
        """
        depth, count = self._chunks[-3], self._planes_of_a_tile(plane)
        first = plane // depth * depth
        low = plane - (plane - first) % count
        return low, min(low + count, first + depth, self.shape[0])

    def tile(self, start: int, stop: int, row: int, column: int) -> Tile:
        """One of the tiles of a range of `planes`, by the number of its chunk along y and x."""
        return self._tile(start // self._chunks[-3], start, stop, row, column)

    def decode(self, tile: Tile) -> np.ndarray[Any, Any]:
        """The voxels of a tile, ``(z, y, x)``, C-contiguous, in native byte order; not to be written to.

        Raises:
            Unreadable: The file is damaged; one line that names it.
            Stale: The file changed while it was read.
            Transient: Its layer is out of reach.
        """
        import numpy as np

        box = tuple(b - a for a, b in zip(tile.start, tile.stop, strict=True))
        try:
            file = self._open(tile.object)
        except (NotFound, NotADirectory):
            return np.full(box, self._metadata.fill_value, self.dtype)
        try:
            voxels = self._voxels(file, tile)
        except (CopickfsError, OSError):
            raise
        except Exception as error:  # whatever a codec makes of damaged data
            raise Unreadable(f"{tile.object}: cannot be decoded: {error}") from error
        finally:
            file.close()
        if voxels is None:
            return np.full(box, self._metadata.fill_value, self.dtype)
        return np.ascontiguousarray(voxels[:, : box[1], : box[2]], self.dtype)

    def _voxels(self, file: File, tile: Tile) -> np.ndarray[Any, Any] | None:
        """The planes of a tile, as wide as its chunk; None if the chunk is not there."""
        import numpy as np

        part = self._part(file, tile)
        if part is None:
            return None
        low, high = (z - tile.chunk[-3] * self._chunks[-3] for z in (tile.start[0], tile.stop[0]))
        if len(part) > most_bytes_of(self._chunk_bytes):
            raise ValueError(f"has {len(part):,} bytes, for {self._chunk_bytes:,}")
        if not self._is_in_part:
            data = part.read(0, len(part))
            try:
                whole = self._chain.decode(data, self._chunks, self._metadata.fill_value)
            except OSError as error:  # gzip and bz2 tell of damage by those of files
                raise ValueError(str(error)) from error
            planes: np.ndarray[Any, Any] = whole[self._in_chunk][low:high]
            return planes
        start = self._begin_bytes + low * self._plane_bytes
        stop = self._begin_bytes + high * self._plane_bytes
        if self._chain.is_blosc:
            found = decode_range(part.read, len(part), self._chunk_bytes, start, stop)
        elif len(part) != self._chunk_bytes:
            raise ValueError(f"has {len(part):,} bytes instead of {self._chunk_bytes:,}")
        else:
            found = part.read(start, stop)
        return np.frombuffer(found, self._chain.dtype).reshape(high - low, *self._chunks[-2:])

    @property
    def _begin_bytes(self) -> int:
        """Where the volume begins in a chunk that has more than one of the leading axes."""
        place = 0
        for index, size in zip(self._in_chunk, self._chunks, strict=False):
            place = place * size + index
        return place * math.prod(self._chunks[-3:]) * self.dtype.itemsize

    def _part(self, file: File, tile: Tile) -> _Part | None:
        """Where in its file the chunk of a tile is; None if it is not there."""
        part = _Part(file, 0, file.entry.size_bytes)
        shape, chain = self._metadata.grid_chunks, self._metadata.chain
        voxel = tuple(i * n for i, n in zip(tile.chunk, self._chunks, strict=True))
        while chain.sharding is not None and chain.is_seekable:
            voxel = tuple(i % n for i, n in zip(voxel, shape, strict=True))
            place = tuple(i // n for i, n in zip(voxel, chain.sharding.chunks, strict=True))
            key = (tile.object, (part.start, part.stop), file.entry.version)
            span = self._index(key, chain.sharding, shape, part).span(place)
            if span is None:
                return None
            part = _Part(file, part.start + span[0], part.start + span[1])
            shape, chain = chain.sharding.chunks, chain.sharding.chain
        return part

    def _index(
        self, key: tuple[str, tuple[int, ...], str], sharding: Any, shape: tuple[int, ...], part: _Part
    ) -> ShardIndex:
        with self._lock:
            index = self._indexes.get(key)
            if index is not None:
                self._indexes.move_to_end(key)
                return index
        index = read_index(sharding, shape, part.read, len(part))
        with self._lock:
            self._indexes[key] = index
            while len(self._indexes) > _KEPT_INDEXES:
                self._indexes.popitem(last=False)
        return index

    def _tile(self, number: int, low: int, high: int, y: int, x: int) -> Tile:
        chunk = (*self._lead, number, y, x)
        sizes = zip(chunk, self._chunks, self._metadata.grid_chunks, strict=True)
        name = self._metadata.object_of(tuple(i * n // m for i, n, m in sizes))
        rows, columns = self._chunks[-2:]
        stop = (high, min((y + 1) * rows, self.shape[1]), min((x + 1) * columns, self.shape[2]))
        return Tile(name, chunk, (low, y * rows, x * columns), stop)

    def _planes_of_a_tile(self, start: int) -> int:
        planes = self._chunks[-3]
        if not self._is_in_part:
            return planes
        if self._chain.is_plain:
            return planes_of_a_tile(planes, self._plane_bytes, 1)
        if self._block_bytes is None:
            self._block_bytes = self._look(start)
        block_bytes = self._block_bytes or _USUAL_BLOCK_BYTES
        return planes_of_a_tile(planes, self._plane_bytes, block_bytes, self._begin_bytes)

    def _look(self, start: int) -> int | None:
        """The length of a block of Blosc: in all chunks of an array it is the same, but for plain ones."""
        number = start // self._chunks[-3]
        for y, x in itertools.islice(_grid(self.columns), _LOOKED_AT):
            tile = self._tile(number, start, start + 1, y, x)
            try:
                file = self._open(tile.object)
            except (NotFound, NotADirectory):
                continue
            try:
                part = self._part(file, tile)
                found = block_bytes_of(part.read(0, min(HEADER_BYTES, len(part)))) if part else None
            except (CopickfsError, OSError):
                raise
            except Exception:  # noqa: BLE001, S112 - a damaged chunk is told of where it is decoded
                continue
            finally:
                file.close()
            if found is not None:
                return found
        return None


def _grid(columns: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Not `itertools.product`, which makes lists of both ranges first, as long as an array may be."""
    return ((y, x) for y in range(columns[0]) for x in range(columns[1]))

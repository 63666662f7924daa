"""Arrays in memory, as zarr 2 and tensorstore write them, and the voxels that are read from them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorstore
import zarr

from copickfs import MemoryLayer
from copickfs.arrays import Volume, array_metadata
from copickfs.model import ByteRange

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from copickfs.layers.base import LayerFile

Files = dict[str, bytes]


def written_2(values: np.ndarray[Any, Any], **options: Any) -> Files:
    """The files of an array of format 2 that zarr has written; only chunks that are not empty."""
    files: dict[str, Any] = {}
    array = zarr.create(
        values.shape, dtype=values.dtype, store=zarr.KVStore(files), write_empty_chunks=False, **options
    )
    array[...] = values
    return {name: bytes(data) for name, data in files.items()}


def written_3(values: np.ndarray[Any, Any], chunks: list[int], codecs: list[Any], **fields: Any) -> Files:
    """The files of an array of format 3 that tensorstore has written."""
    store = tensorstore.KvStore.open("memory://").result()
    metadata = {
        "shape": list(values.shape),
        "data_type": values.dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunks}},
        "codecs": codecs,
        "fill_value": {"b": False, "c": [0, 0]}.get(values.dtype.kind, 0),
        **fields,
    }
    spec = {"driver": "zarr3", "kvstore": store.spec().to_json(), "metadata": metadata}
    context = tensorstore.Context()
    array = tensorstore.open(spec, create=True, context=context).result()
    array[...] = values
    kept = tensorstore.KvStore.open("memory://", context=context).result()
    return {name.decode(): bytes(kept.read(name).result().value) for name in kept.list().result()}


def reader(files: Files) -> Callable[[str], bytes]:
    """Documents of a store."""
    opened = opener(files)

    def read(path: str) -> bytes:
        file = opened(path)
        return file.read(ByteRange(0, file.entry.size_bytes))

    return read


def opener(files: Files) -> Callable[[str], LayerFile]:
    """Files of a store."""
    layer = MemoryLayer("a", 1, {f"s.zarr/{name}": data for name, data in files.items()})
    return lambda path: layer.open(f"s.zarr/{path}")


def volume_of(files: Files, path: str = "", lead: tuple[int, ...] = ()) -> Volume:
    return Volume(array_metadata(reader(files), path), opener(files), lead)


def voxels_of(volume: Volume, start: int = 0, stop: int | None = None) -> np.ndarray[Any, Any]:
    """Planes of a volume, of all its tiles; each voxel must be in one tile."""
    stop = volume.shape[0] if stop is None else stop
    found = np.zeros(volume.shape, volume.dtype)
    times = np.zeros(volume.shape, "u1")
    tiles = volume.tiles(start, stop)
    assert tiles == sorted(tiles, key=lambda tile: tile.start)
    for tile in tiles:
        box = tuple(slice(a, b) for a, b in zip(tile.start, tile.stop, strict=True))
        decoded = volume.decode(tile)
        assert decoded.dtype == volume.dtype
        assert decoded.dtype.isnative
        assert decoded.flags.c_contiguous
        assert tile.start[0] < stop
        assert tile.stop[0] > start
        found[box] = decoded
        times[box] += 1
    assert (times[start:stop] == 1).all()
    return found[start:stop]


def document(files: Files, name: str, **fields: Any) -> Files:
    """The files with other fields in a JSON document; those that are None are taken out."""
    changed = {**json.loads(files[name]), **fields}
    kept = {key: value for key, value in changed.items() if value is not ...}
    return {**files, name: json.dumps(kept).encode()}


def same(found: np.ndarray[Any, Any], values: Mapping[str, Any] | np.ndarray[Any, Any]) -> None:
    """Equal, bit by bit where they are numbers, NaN being NaN."""
    np.testing.assert_array_equal(found, values)


def same_in_part(volume: Volume, expected: np.ndarray[Any, Any], start: int, count: int) -> None:
    """All planes of a volume are the expected ones, and so are ``count`` of them from ``start`` on."""
    same(voxels_of(volume), expected)
    start = min(start, volume.shape[0] - 1)
    stop = min(start + count, volume.shape[0])
    same(voxels_of(volume, start, stop), expected[start:stop])

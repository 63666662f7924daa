"""What zarr 3 does to stores: ``python zarr3_program.py STEP STORE...``, with zarr 3 installed."""

from __future__ import annotations

import sys

import numpy as np
import zarr

DATA = np.arange(40**3, dtype="f4").reshape(40, 40, 40)


def create(path: str) -> None:
    """A new store in the place of what was there."""
    group = zarr.create_group(path, overwrite=True, attributes={"ome": {"version": "0.5"}})
    array = group.create_array("0", shape=DATA.shape, chunks=(16, 16, 16), dtype=DATA.dtype)
    array[:] = DATA


def change(path: str) -> None:
    """Parts of chunks, attributes, another shape."""
    group = zarr.open_group(path, mode="r+")
    array = group["0"]
    array[3:30, 5, :] = 7
    array.append(np.ones((6, 40, 40), "f4"))
    array.attrs["changed"] = True
    group.attrs["more"] = [1, 2, 3]


def shard(path: str) -> None:
    """Chunks inside of one large file, which is rewritten."""
    group = zarr.open_group(path, mode="r+")
    array = group.create_array("s", shape=(64, 64, 64), chunks=(16, 16, 16), shards=(64, 64, 64), dtype="f4")
    array[:40, :40, :40] = DATA
    array[0, 0, 0] = 42
    zarr.consolidate_metadata(path)


def shrink(path: str) -> None:
    """Chunks that go."""
    array = zarr.open_group(path, mode="r+")["0"]
    array.resize((20, 20, 20))
    array[19, 19, 19] = -1


def remove(path: str) -> None:
    """An array that goes, and another with its name."""
    group = zarr.open_group(path, mode="r+")
    del group["0"]
    group.create_array("0", shape=(8, 8), chunks=(8, 8), dtype="i2")[:] = 3


if __name__ == "__main__":
    assert zarr.__version__.startswith("3.")
    steps = {step.__name__: step for step in (create, change, shard, shrink, remove)}
    for store in sys.argv[2:]:
        steps[sys.argv[1]](store)

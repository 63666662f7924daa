"""Zarr arrays by themselves: what their metadata says, and decoding no more of them than is needed.

* `pyramid`: the arrays of a store, the finest first, and where their voxels are.
* `array_metadata`, `Volume`: the voxels of one of them, tile by tile.

Of zarr formats 2 and 3. Reading is the caller's: everything here is given documents, or opens files by a
function it was given. Whatever is in them, the answer is what they say or `copickfs.errors.Unreadable`.
"""

from copickfs.arrays.metadata import ArrayMetadata
from copickfs.arrays.pyramid import Documents, Level, levels_document, levels_of, pyramid
from copickfs.arrays.reading import array_metadata
from copickfs.arrays.tiles import Tile
from copickfs.arrays.volume import Volume

__all__ = [
    "ArrayMetadata",
    "Documents",
    "Level",
    "Tile",
    "Volume",
    "array_metadata",
    "levels_document",
    "levels_of",
    "pyramid",
]

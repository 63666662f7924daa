"""Decoding the tiles of one array, each of one version of its object."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, TypeVar

from copickfs.errors import Stale, Unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from copickfs.arrays import Tile, Volume
    from copickfs.virtual.volumes.chunkfiles import ChunkFiles

T = TypeVar("T")
_log = logging.getLogger(__name__)
_ATTEMPTS = 3
_MAX_REPORTED = 10_000


class Decoder:
    """Decodes, again where something changes meanwhile. Thread-safe.

    Args:
        name: What people know the volume by.
        volume: What decodes it; it opens its objects by ``files``.
        files: The objects of the array.

    Attributes:
        name: As given.
        files: As given.
        shape: ``(z, y, x)``.
        grid: Knows the tiles.
    """

    def __init__(self, name: str, volume: Volume, files: ChunkFiles) -> None:
        self.name = name
        self.files = files
        self.shape = volume.shape
        self.grid = volume
        self._volume = volume
        self._reported: set[tuple[str, str]] = set()

    def planes(self, plane: int) -> tuple[int, int]:
        """The planes that are decoded together with one. Raises as `decode`."""
        return self._again(lambda: self._volume.planes(plane))

    def decode(self, tile: Tile) -> tuple[NDArray[Any], str]:
        """The voxels of a tile, ``(z, y, x)``, as they are in the array, and the version of its object.

        Raises:
            Unreadable: The object is broken.
            Stale: The array is not what it was, or it changes all the time.
            Transient: Its layer is out of reach.
        """
        return self._again(lambda: self._decode(tile))

    def _decode(self, tile: Tile) -> tuple[NDArray[Any], str]:
        with self.files.noting() as seen:
            try:
                voxels = self._volume.decode(tile)
            except Unreadable as error:
                self._report(tile, seen, error)
                raise Unreadable(f"{self.name}: {error}") from error
        return voxels, seen.get(tile.object) or self.files.version(tile.object)

    def _again(self, work: Callable[[], T]) -> T:
        for _attempt in range(_ATTEMPTS - 1):
            try:
                return work()
            except Stale:
                self.files.forget()
        return work()

    def _report(self, tile: Tile, seen: Mapping[str, str], error: Unreadable) -> None:
        """Say that an object is broken, once for each version of it."""
        about = tile.object, seen.get(tile.object, "")
        if about in self._reported:
            return
        if len(self._reported) >= _MAX_REPORTED:
            self._reported.clear()
        self._reported.add(about)
        _log.warning("%s cannot be read as a volume: %s", self.name, error)

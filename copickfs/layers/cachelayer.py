"""The cache as a layer of the stack (specification, section 6): it holds no part of the tree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from copickfs.cache import Cache, Disk
from copickfs.cache.place import check_root
from copickfs.layers.base import BaseLayer
from copickfs.model import Health, Statistics


class CacheLayer(BaseLayer):
    """Keeps on a local disk what is read from remote layers.

    Args:
        config: A `CacheConfig` or `CopickConfigCache`.

    Attributes:
        config: As given.
        cache: What the layers read through.
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config.layer_name, config.priority, read_only=config.read_only)
        self.config = config
        self.disk = Disk(Path(config.root), config.max_size_bytes, config.min_free_bytes)
        self.cache = Cache(self.disk, config.memory_bytes)

    def connect(self) -> None:
        """See that the directory is one for a cache. One that cannot be used just now is gone on without.

        Raises:
            ConfigError: It holds something else.
        """
        check_root(self.disk.root)
        self.disk.used_bytes()  # which tells, once, if it cannot be used

    def close(self) -> None:
        """See `Layer.close`."""
        self.cache.close()

    def caches(self, layer_name: str) -> bool:
        """True if what is read from the layer of this name is kept here."""
        return self.config.parent_layer in (None, layer_name)

    def location(self, path: str) -> str:  # noqa: ARG002 - it has no paths
        """See `Layer.location`."""
        return str(self.disk.root)

    def health(self) -> Health:
        """Down while reads go on without it."""
        return Health("down", self.disk.fault) if self.disk.fault else Health("ok")

    def statistics(self) -> Statistics:
        """Pieces read from the disk, their bytes, and faults."""
        counts = self.disk.counts
        return Statistics(counts.hits, counts.hit_bytes, counts.faults + counts.damaged)

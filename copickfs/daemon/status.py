"""What a daemon says of itself: ``.copickfs/status.json`` and ``.copickfs/metrics``.

The keys are documented in ``docs/status.md``. Everything comes from memory: asking a daemon how it is
must work when its layers do not.
"""

from __future__ import annotations

import datetime as dt
import errno
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import copickfs
from copickfs.daemon.pending import pending_document

if TYPE_CHECKING:
    from copickfs.daemon.request import MountRequest
    from copickfs.indexing.kept import KeptIndex
    from copickfs.layers.base import Layer
    from copickfs.layers.manager import LayerManager
    from copickfs.ops.filesystem import Filesystem

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class DaemonStatus:
    """Live figures of one mount. Any thread may ask.

    Args:
        request: What is mounted, and how.
        manager: Its layers.

    Attributes:
        filesystem: What answers the kernel; set as soon as it exists.
        index: The index; set as soon as it is in use.
        started_s: Start of the daemon, in seconds since the epoch.
    """

    def __init__(self, request: MountRequest, manager: LayerManager) -> None:
        self.started_s = time.time()
        self.filesystem: Filesystem | None = None
        self.index: KeptIndex | None = None
        self._request = request
        self._manager = manager
        self._started_monotonic_s = time.monotonic()

    def document(self) -> dict[str, Any]:
        """The status document."""
        request = self._request
        started = dt.datetime.fromtimestamp(self.started_s, dt.UTC)
        return {
            "version": copickfs.__version__,
            "mountpoint": request.mountpoint,
            "configuration": request.config_file,
            "pid": os.getpid(),
            "log_file": str(request.log_file) if request.log_file else None,
            "started": started.isoformat(timespec="seconds"),
            "uptime_s": round(time.monotonic() - self._started_monotonic_s, 3),
            "private": request.private,
            "allow_other": request.options.allow_other,
            "memory_bytes": _memory_bytes(),
            **self._writing(),
            **self._figures(),
            "cache": self._cache(),
            "index": {} if self.index is None else self.index.document(),
            "layers": [self._layer(layer) for layer in self._manager.get_layers_by_priority()],
        }

    def metrics(self) -> bytes:
        """The same figures as Prometheus text."""
        from copickfs.daemon.metrics import render

        return render(self.document())

    def _writing(self) -> dict[str, Any]:
        config, read_only = self._request.config, self._request.options.read_only
        writable = bool(config.written_layers) and not read_only
        return {
            "writable": writable,
            "write_layer": self._manager.default_write_layer if writable else None,
            "write_strategy": config.write_strategy,
        }

    def _figures(self) -> dict[str, Any]:
        filesystem = self.filesystem
        if filesystem is None:
            return {
                "requests": 0, "operations": {}, "bytes_read": 0, "bytes_written": 0, "errors": {},
                "faults": 0, "waiting_reads": 0, "inodes": 0, "open_files": 0,
            }  # fmt: skip
        counters = filesystem.counters
        operations = dict(counters.requests)
        return {
            "requests": sum(operations.values()),
            "operations": operations,
            "bytes_read": counters.bytes_read,
            "bytes_written": counters.bytes_written,
            "errors": {errno.errorcode.get(code, str(code)): n for code, n in dict(counters.errors).items()},
            "faults": sum(dict(counters.faults).values()),
            "waiting_reads": filesystem.lanes.waiting_reads,
            "inodes": len(filesystem.inodes),
            "open_files": len(filesystem.files),
        }

    def _cache(self) -> dict[str, Any]:
        """The keys about the cache; empty without one."""
        layer = self._manager.cache_layer
        if layer is None:
            return {}
        counts = layer.cache.counts()
        return {
            "root": str(layer.disk.root),
            "message": layer.disk.fault,
            "max_size_bytes": layer.disk.limit_bytes,
            "memory_bytes": counts.memory_bytes,
            "memory_hits": counts.memory_hits,
            "memory_hit_bytes": counts.memory_hit_bytes,
            "disk_hits": counts.disk.hits,
            "disk_hit_bytes": counts.disk.hit_bytes,
            "stored": counts.disk.stored,
            "stored_bytes": counts.disk.stored_bytes,
            "unstored": counts.disk.unstored,
            "waiting_bytes": counts.waiting_bytes,
            "damaged": counts.disk.damaged,
            "faults": counts.disk.faults,
            "prefetched_bytes": counts.guesses.kept_bytes,
            "prefetch_hit_bytes": counts.guesses.hit_bytes,
            "prefetch_wasted_bytes": counts.guesses.wasted_bytes,
        }

    def _layer(self, layer: Layer) -> dict[str, Any]:
        health, statistics = layer.health(), layer.statistics()
        return {
            "name": layer.name,
            "kind": self._manager.configs[layer.name].config_type,
            "priority": layer.priority,
            "read_only": layer.read_only,
            "write_layer": layer.name == self._manager.default_write_layer,
            "location": layer.location(""),
            "on_unavailable": layer.on_unavailable,
            "state": health.state,
            "message": health.message,
            "requests": statistics.requests,
            "bytes_read": statistics.bytes_read,
            "errors": statistics.errors,
            "cache_hits": statistics.cache_hits,
            "cache_misses": statistics.cache_misses,
            "cached_bytes": statistics.cached_bytes,
            "prefetch_queued": statistics.prefetch_queued,
            **pending_document(layer),
            **layer.notes(),
        }


def _memory_bytes() -> int:
    """Resident memory of this process."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * _PAGE_BYTES

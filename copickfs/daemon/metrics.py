"""The status document as Prometheus text. Every name of a metric is in this file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import generate_latest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric

_GAUGES = {
    "uptime_s": ("copickfs_uptime_seconds", "Time since the daemon started."),
    "memory_bytes": ("copickfs_memory_bytes", "Resident memory of the daemon."),
    "inodes": ("copickfs_inodes", "Inodes that the kernel knows."),
    "open_files": ("copickfs_open_files", "Files that are open."),
    "waiting_reads": ("copickfs_waiting_reads", "Reads that wait for a layer to come back or to answer."),
}
_COUNTERS = {
    "bytes_read": ("copickfs_read_bytes", "Bytes given to readers."),
    "bytes_written": ("copickfs_written_bytes", "Bytes taken from writers."),
    "faults": ("copickfs_faults", "Unforeseen exceptions in request handlers."),
}
_LAYER_COUNTERS = {
    "requests": ("copickfs_layer_requests", "Requests to the source of a layer."),
    "bytes_read": ("copickfs_layer_read_bytes", "Bytes read from a layer."),
    "errors": ("copickfs_layer_errors", "Failed requests to the source of a layer."),
    "cache_hits": ("copickfs_layer_cache_hits", "Pieces of a layer that readers found in the cache."),
    "cache_misses": ("copickfs_layer_cache_misses", "Pieces of a layer that had to be fetched for readers."),
    "cached_bytes": ("copickfs_layer_cached_bytes", "Bytes of a layer that readers found in the cache."),
}
_CACHE_COUNTERS = {
    "memory_hit_bytes": ("copickfs_cache_memory_hit_bytes", "Bytes found in the memory of the cache."),
    "disk_hit_bytes": ("copickfs_cache_disk_hit_bytes", "Bytes found on the disk of the cache."),
    "stored_bytes": ("copickfs_cache_stored_bytes", "Bytes written to the disk of the cache."),
    "unstored": ("copickfs_cache_unstored", "Pieces that were not kept for want of room."),
    "damaged": ("copickfs_cache_damaged", "Pieces on the disk that were not what was written."),
    "faults": ("copickfs_cache_faults", "Times that the cache could not be used."),
    "prefetched_bytes": ("copickfs_prefetched_bytes", "Bytes fetched before anybody asked."),
    "prefetch_hit_bytes": ("copickfs_prefetch_hit_bytes", "Of these, bytes that were asked for then."),
    "prefetch_wasted_bytes": ("copickfs_prefetch_wasted_bytes", "Of these, bytes dropped without a reader."),
}
_CACHE_GAUGES = {
    "memory_bytes": ("copickfs_cache_memory_bytes", "Bytes in the memory of the cache."),
    "waiting_bytes": ("copickfs_cache_waiting_bytes", "Bytes still to be written to the disk of the cache."),
}
_LAYER_GAUGES = {
    "pending_entries": ("copickfs_layer_pending", "Changes that are still to be sent to a layer."),
    "pending_bytes": ("copickfs_layer_pending_bytes", "Bytes that are still to be sent to a layer."),
    "pending_oldest_s": ("copickfs_layer_pending_seconds", "Age of the oldest change still to be sent."),
}


class _Document:
    """A `prometheus_client` collector over one status document."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document

    def collect(self) -> Iterator[Metric]:
        """Each metric with its samples."""
        document = self._document
        for key, (name, text) in _GAUGES.items():
            yield GaugeMetricFamily(name, text, value=document[key])
        for key, (name, text) in _COUNTERS.items():
            yield CounterMetricFamily(name, text, value=document[key])
        yield _family("copickfs_requests", "Requests of the kernel.", "operation", document["operations"])
        yield _family("copickfs_errors", "Requests answered with an error.", "errno", document["errors"])
        layers = document["layers"]
        up = GaugeMetricFamily("copickfs_layer_up", "0 while a layer is out of reach.", labels=["layer"])
        for layer in layers:
            up.add_metric([layer["name"]], layer["state"] not in ("down", "offline"))
        yield up
        for key, (name, text) in _LAYER_COUNTERS.items():
            yield _family(name, text, "layer", {layer["name"]: layer[key] for layer in layers})
        if document["cache"]:
            for key, (name, text) in _CACHE_GAUGES.items():
                yield GaugeMetricFamily(name, text, value=document["cache"][key])
            for key, (name, text) in _CACHE_COUNTERS.items():
                yield CounterMetricFamily(name, text, value=document["cache"][key])
        for key, (name, text) in _LAYER_GAUGES.items():
            gauge = GaugeMetricFamily(name, text, labels=["layer"])
            for layer in layers:
                gauge.add_metric([layer["name"]], layer[key])
            yield gauge


def render(document: dict[str, Any]) -> bytes:
    """Prometheus text of a status document."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Document(document))
    return generate_latest(registry)


def _family(name: str, text: str, label: str, values: dict[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=[label])
    for value, count in values.items():
        family.add_metric([value], count)
    return family

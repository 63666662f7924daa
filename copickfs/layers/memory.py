"""A layer held in memory: the reference model of the layer contract, and a scratch layer for tests."""

from __future__ import annotations

import stat
import threading
from typing import TYPE_CHECKING

from copickfs.errors import IsADirectory, NotADirectory, NotFound
from copickfs.layers.base import BaseLayer, LayerFile
from copickfs.model import BLOCK_BYTES, ByteRange, Entry, Statistics

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_FILE_MODE = stat.S_IFREG | 0o644
_DIRECTORY_MODE = stat.S_IFDIR | 0o755


class MemoryFile:
    """An open file of a `MemoryLayer`: the bytes as they were at opening."""

    def __init__(self, layer: MemoryLayer, entry: Entry, data: bytes) -> None:
        self.entry = entry
        self._layer = layer
        self._data = data

    def read(self, span: ByteRange) -> bytes:
        """See `LayerFile.read`."""
        data = self._data[span.start : span.stop]
        self._layer.count_read(len(data))
        return data

    read_nowait = read

    def close(self) -> None:
        """Nothing to let go of."""


class MemoryLayer(BaseLayer):
    """Files and directories in a dictionary. Thread-safe.

    Args:
        name: Name of the layer.
        priority: Higher is asked first.
        files: Path to contents; the directories above each are made.
        directories: Paths of further directories, which may be empty.
    """

    def __init__(
        self,
        name: str,
        priority: int = 0,
        files: Mapping[str, bytes] | None = None,
        directories: tuple[str, ...] = (),
    ) -> None:
        super().__init__(name, priority)
        self._lock = threading.Lock()
        self._nodes: dict[str, bytes | None] = {"": None}
        self._mtimes_ns: dict[str, int] = {"": 0}
        self._clock_ns = 0
        self._callbacks: list[Callable[[str], None]] = []
        self._requests = 0
        self._bytes_read = 0
        for directory in directories:
            self.mkdir(directory)
        for path, data in (files or {}).items():
            self.put(path, data)

    def mkdir(self, path: str) -> None:
        """Make a directory and those above it. Raises `NotADirectory` if one of them is a file."""
        parts = path.split("/") if path else []
        with self._lock:
            for depth in range(1, len(parts) + 1):
                ancestor = "/".join(parts[:depth])
                if self._nodes.setdefault(ancestor, None) is not None:
                    raise NotADirectory(ancestor)
                self._mtimes_ns.setdefault(ancestor, 0)
        self._announce(path)

    def put(self, path: str, data: bytes) -> None:
        """Write a whole file, with the directories above it. Raises `IsADirectory`."""
        self.mkdir(path.rpartition("/")[0])
        with self._lock:
            if self._nodes.get(path, b"") is None:
                raise IsADirectory(path)
            self._clock_ns += 1
            self._nodes[path] = data
            self._mtimes_ns[path] = self._clock_ns
        self._announce(path)

    def remove(self, path: str) -> None:
        """Remove a file, or a directory with all that is in it. Raises `NotFound`."""
        with self._lock:
            if path not in self._nodes:
                raise NotFound(path)
            for node in [n for n in self._nodes if n == path or n.startswith(path + "/")]:
                del self._nodes[node], self._mtimes_ns[node]
        self._announce(path)

    def stat(self, path: str) -> Entry:
        """See `Layer.stat`."""
        with self._lock:
            self._requests += 1
            return self._entry(path)

    def scan(self, path: str) -> list[Entry]:
        """See `Layer.scan`."""
        with self._lock:
            self._requests += 1
            if not self._entry(path).is_dir:
                raise NotADirectory(path)
            prefix = path + "/" if path else ""
            names = {n[len(prefix) :] for n in self._nodes if n and n.startswith(prefix)}
            return [self._entry(prefix + name) for name in names if "/" not in name]

    def open(self, path: str) -> LayerFile:
        """See `Layer.open`."""
        with self._lock:
            self._requests += 1
            entry = self._entry(path)
            data = self._nodes[path]
        if data is None:
            raise IsADirectory(path)
        return MemoryFile(self, entry, data)

    stat_nowait = stat
    scan_nowait = scan
    open_nowait = open

    def subscribe(self, callback: Callable[[str], None]) -> None:
        """See `Layer.subscribe`."""
        self._callbacks.append(callback)

    def statistics(self) -> Statistics:
        """See `Layer.statistics`."""
        return Statistics(self._requests, self._bytes_read)

    def count_read(self, size_bytes: int) -> None:
        """Count bytes given to a reader."""
        with self._lock:
            self._bytes_read += size_bytes

    def _entry(self, path: str) -> Entry:
        name = path.rpartition("/")[2]
        try:
            data = self._nodes[path]
        except KeyError:
            parts = path.split("/")
            ancestors = ("/".join(parts[:depth]) for depth in range(1, len(parts)))
            if any(self._nodes.get(ancestor) is not None for ancestor in ancestors):
                raise NotADirectory(path) from None
            raise NotFound(path) from None
        mtime_ns = self._mtimes_ns[path]
        if data is None:
            return Entry(name, _DIRECTORY_MODE, 0, mtime_ns, self.name)
        blocks = -(-len(data) // BLOCK_BYTES)
        return Entry(name, _FILE_MODE, len(data), mtime_ns, self.name, etag=f"m{mtime_ns}", blocks=blocks)

    def _announce(self, path: str) -> None:
        for callback in self._callbacks:
            callback(path)

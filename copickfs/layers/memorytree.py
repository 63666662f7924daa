"""The readable half of a layer held in memory."""

from __future__ import annotations

import stat
import threading
from typing import TYPE_CHECKING

from copickfs import paths
from copickfs.errors import IsADirectory, NotADirectory, NotFound
from copickfs.layers.base import BaseLayer
from copickfs.layers.memoryfile import MemoryFile, Node
from copickfs.model import Entry, Statistics

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from copickfs.layers.base import LayerFile

_FILE_MODE = stat.S_IFREG | 0o644
_DIRECTORY_MODE = stat.S_IFDIR | 0o755


class MemoryTree(BaseLayer):
    """Files and directories in a dictionary. Thread-safe.

    Args:
        name: Name of the layer.
        priority: Higher is asked first.
        files: Path to contents; the directories above each are made.
        directories: Paths of further directories, which may be empty.
        read_only: True if no face may ever write here.

    Attributes:
        lock: Held while anything in the layer or in a file of it is looked at or changed.
    """

    def __init__(
        self,
        name: str,
        priority: int = 0,
        files: Mapping[str, bytes] | None = None,
        directories: tuple[str, ...] = (),
        *,
        read_only: bool = True,
    ) -> None:
        super().__init__(name, priority, read_only=read_only)
        self.lock = threading.RLock()
        self._clock_ns = 0
        self._inodes = 0
        self._nodes: dict[str, Node] = {"": Node(_DIRECTORY_MODE, self.next_inode())}
        self._callbacks: list[Callable[[str], None]] = []
        self._requests = 0
        self._bytes_read = 0
        for directory in directories:
            self.put_directory(directory)
        for path, data in (files or {}).items():
            self.put(path, data)

    def put_directory(self, path: str) -> None:
        """Be the source: make a directory and those above it, and announce it.

        Raises:
            NotADirectory: One of them is a file.
        """
        parts = path.split("/") if path else []
        with self.lock:
            for depth in range(1, len(parts) + 1):
                ancestor = "/".join(parts[:depth])
                if ancestor not in self._nodes:
                    self._nodes[ancestor] = Node(_DIRECTORY_MODE, self.next_inode())
                if not stat.S_ISDIR(self._nodes[ancestor].mode):
                    raise NotADirectory(ancestor)
        self._announce(path)

    def put(self, path: str, data: bytes) -> None:
        """Be the source: put a whole file, with the directories above it. Raises `IsADirectory`."""
        self.put_directory(paths.split(path)[0])
        with self.lock:
            if path in self._nodes and stat.S_ISDIR(self._nodes[path].mode):
                raise IsADirectory(path)
            now_ns = self.tick()
            self._nodes[path] = Node(
                _FILE_MODE, self.next_inode(), bytearray(data), mtime_ns=now_ns, ctime_ns=now_ns
            )
        self._announce(path)

    def remove(self, path: str) -> None:
        """Be the source: remove a file, or a directory with all that is in it. Raises `NotFound`."""
        with self.lock:
            if path not in self._nodes:
                raise NotFound(path)
            for node in self._tree(path):
                del self._nodes[node]
        self._announce(path)

    def stat(self, path: str) -> Entry:
        """See `Layer.stat`."""
        with self.lock:
            return self._entry(path)

    def scan(self, path: str) -> list[Entry]:
        """See `Layer.scan`."""
        with self.lock:
            if not self._entry(path).is_dir:
                raise NotADirectory(path)
            return [self._entry(paths.join(path, name)) for name in self._names(path)]

    def open(self, path: str) -> LayerFile:
        """See `Layer.open`."""
        with self.lock:
            entry = self._entry(path)
            if entry.is_dir:
                raise IsADirectory(path)
            return MemoryFile(self, entry, self._nodes[path])

    def readlink(self, path: str) -> str:
        """See `Layer.readlink`."""
        with self.lock:
            text = self.node(path).text
        return text or super().readlink(path)

    def get_xattr(self, path: str, name: str) -> bytes:
        """See `Layer.get_xattr`."""
        with self.lock:
            value = self.node(path).xattrs.get(name)
        return super().get_xattr(path, name) if value is None else value

    def list_xattrs(self, path: str) -> list[str]:
        """See `Layer.list_xattrs`."""
        with self.lock:
            return list(self.node(path).xattrs)

    stat_nowait = stat
    scan_nowait = scan
    open_nowait = open

    def subscribe(self, callback: Callable[[str], None]) -> None:
        """See `Layer.subscribe`."""
        self._callbacks.append(callback)

    def statistics(self) -> Statistics:
        """See `Layer.statistics`."""
        return Statistics(self._requests, self._bytes_read)

    def tick(self) -> int:
        """The next moment, in ns."""
        with self.lock:
            self._clock_ns += 1
            return self._clock_ns

    def next_inode(self) -> int:
        """A number that no file has had."""
        with self.lock:
            self._inodes += 1
            return self._inodes

    def count_read(self, size_bytes: int) -> None:
        """Count bytes given to a reader."""
        with self.lock:
            self._bytes_read += size_bytes

    def _tree(self, path: str) -> list[str]:
        return [name for name in self._nodes if name == path or name.startswith(path + "/")]

    def _names(self, path: str) -> list[str]:
        prefix = path + "/" if path else ""
        names = (name[len(prefix) :] for name in self._nodes if name and name.startswith(prefix))
        return [name for name in names if name and "/" not in name]

    def _entry(self, path: str) -> Entry:
        return self.node(path).entry(paths.split(path)[1], self.name)

    def node(self, path: str) -> Node:
        """What ``path`` stands for. Raises `NotFound`, `NotADirectory`."""
        self._requests += 1
        node = self._nodes.get(path)
        if node is not None:
            return node
        parts = path.split("/")
        ancestors = ("/".join(parts[:depth]) for depth in range(1, len(parts)))
        found = (self._nodes.get(ancestor) for ancestor in ancestors)
        if any(node is not None and not stat.S_ISDIR(node.mode) for node in found):
            raise NotADirectory(path)
        raise NotFound(path)

    def _announce(self, path: str) -> None:
        for callback in self._callbacks:
            callback(path)

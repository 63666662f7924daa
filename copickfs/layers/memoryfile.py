"""Files of a `copickfs.layers.memory.MemoryLayer`: what is stored, and what is open."""

from __future__ import annotations

import dataclasses
import os
import stat
from typing import TYPE_CHECKING

from copickfs.model import BLOCK_BYTES, ByteRange, Entry

if TYPE_CHECKING:
    from copickfs.layers.base import LayerFile
    from copickfs.layers.memory import MemoryLayer
    from copickfs.layers.memorytree import MemoryTree
    from copickfs.layers.writable import Change


@dataclasses.dataclass(slots=True)
class Node:
    """What one or more names stand for.

    Attributes:
        mode: File type and permission bits.
        inode: Number; a file that replaces another has a new one.
        data: Contents of a file.
        text: Text of a symbolic link.
        uid: Owner.
        gid: Group.
        nlink: Names of a file.
        mtime_ns: Modification time.
        atime_ns: Access time.
        ctime_ns: Change time.
        xattrs: Extended attributes.
    """

    mode: int
    inode: int
    data: bytearray = dataclasses.field(default_factory=bytearray)
    text: str = ""
    uid: int = 0
    gid: int = 0
    nlink: int = 1
    mtime_ns: int = 0
    atime_ns: int = 0
    ctime_ns: int = 0
    xattrs: dict[str, bytes] = dataclasses.field(default_factory=dict)

    def entry(self, name: str, layer: str) -> Entry:
        """The node as an entry."""
        size_bytes = len(os.fsencode(self.text)) if self.text else len(self.data)
        return Entry(
            name, self.mode, size_bytes, self.mtime_ns, layer,
            ctime_ns=self.ctime_ns, atime_ns=self.atime_ns, nlink=self.nlink, uid=self.uid, gid=self.gid,
            blocks=-(-len(self.data) // BLOCK_BYTES), volatile=self.nlink > 1, inode=self.inode,
        )  # fmt: skip

    def successor(self, inode: int) -> Node:
        """A file of its own with the same contents and attributes."""
        return dataclasses.replace(
            self, inode=inode, nlink=1, data=bytearray(self.data), xattrs=dict(self.xattrs)
        )

    def apply(self, change: Change, now_ns: int) -> None:
        """Change attributes."""
        if change.mode is not None:
            self.mode = stat.S_IFMT(self.mode) | stat.S_IMODE(change.mode)
        self.uid = self.uid if change.uid is None else change.uid
        self.gid = self.gid if change.gid is None else change.gid
        self.atime_ns = self.atime_ns if change.atime_ns is None else change.atime_ns
        self.mtime_ns = self.mtime_ns if change.mtime_ns is None else change.mtime_ns
        self.ctime_ns = now_ns


class MemoryFile:
    """An open file: what was opened, also after it was renamed, replaced or removed."""

    def __init__(self, layer: MemoryTree, entry: Entry, node: Node) -> None:
        self.entry = entry
        self._layer = layer
        self._node = node

    def read(self, span: ByteRange) -> bytes:
        """See `LayerFile.read`."""
        with self._layer.lock:
            data = bytes(self._node.data[span.start : span.stop])
        self._layer.count_read(len(data))
        return data

    read_nowait = read

    def close(self) -> None:
        """Nothing to let go of."""


class MemoryWritableFile(MemoryFile):
    """A file open for writing. See `copickfs.layers.writable.WritableFile`.

    Args:
        layer: The layer.
        path: Where it is, or will be.
        node: What is written: of a file that is published whole, one without a name.
        whole: It is published whole.
        new: It is published also if nothing is written.
        source: Closed with the file.

    Attributes:
        whole: As given.
    """

    _layer: MemoryLayer
    replaces = True

    def __init__(
        self,
        layer: MemoryLayer,
        path: str,
        node: Node,
        *,
        whole: bool,
        new: bool = False,
        source: LayerFile | None = None,
    ) -> None:
        super().__init__(layer, node.entry(path.rpartition("/")[2], layer.name), node)
        self.whole = whole
        self._path: str | None = path
        self._changed = new
        self._published: Node | None = None
        self._before = node.successor(node.inode) if whole else node
        self._source = source

    def status(self) -> Entry:
        """See `WritableFile.status`."""
        with self._layer.lock:
            return self._node.entry(self.entry.name, self._layer.name)

    def write(self, offset: int, data: bytes | memoryview) -> int:
        """See `WritableFile.write`."""
        with self._layer.lock:
            node = self._touched()
            if offset > len(node.data):
                node.data.extend(bytes(offset - len(node.data)))
            node.data[offset : offset + len(data)] = data
            return len(data)

    def truncate(self, size_bytes: int) -> None:
        """See `WritableFile.truncate`."""
        with self._layer.lock:
            data = self._touched().data
            del data[size_bytes:]
            data.extend(bytes(size_bytes - len(data)))

    def change(self, change: Change) -> None:
        """See `WritableFile.change`."""
        with self._layer.lock:
            self._go_on()
            self._node.apply(change, self._layer.tick())

    def flush(self) -> None:
        """See `WritableFile.flush`."""
        with self._layer.lock:
            if not self.whole or not self._changed or self._path is None:
                return
            self._layer.publish(self._path, self._node, replace=self.replaces)
            self._published = self._before = self._node
            self._changed = False

    sync = flush

    def discard(self) -> None:
        """See `WritableFile.discard`."""
        with self._layer.lock:
            if self.whole and self._changed:
                self._node = self._before if self._published else self._before.successor(self._node.inode)
                self._changed = False

    def move(self, path: str | None) -> None:
        """See `WritableFile.move`."""
        with self._layer.lock:
            self._path = path
            if path is not None:
                self.entry = self.entry._replace(name=path.rpartition("/")[2])

    def close(self) -> None:
        """See `WritableFile.close`."""
        source, self._source = self._source, None
        if source is not None:
            source.close()

    def _go_on(self) -> None:
        """After a publication a new version begins as a copy."""
        if self.whole and self._node is self._published:
            self._node = self._node.successor(self._layer.next_inode())
            self.entry = self._node.entry(self.entry.name, self._layer.name)
        self._changed = True

    def _touched(self) -> Node:
        self._go_on()
        self._node.mtime_ns = self._node.ctime_ns = self._layer.tick()
        return self._node

"""A layer held in memory: the reference model of the layer contract, and a scratch layer for tests."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from copickfs import paths
from copickfs.errors import IsADirectory, NotADirectory
from copickfs.layers.memoryfile import MemoryWritableFile, Node
from copickfs.layers.memorytree import MemoryTree
from copickfs.model import ByteRange, Entry

if TYPE_CHECKING:
    from copickfs.layers.base import LayerFile
    from copickfs.layers.writable import Change, Owner


class MemoryLayer(MemoryTree):
    """Files and directories in a dictionary, read and written. Thread-safe. See `MemoryTree`.

    Attributes:
        prompt: True.
    """

    prompt = True

    def create(
        self, path: str, mode: int, owner: Owner, *, whole: bool, source: LayerFile | None = None
    ) -> MemoryWritableFile:
        """See `WritableLayer.create`."""
        with self.lock:
            node = self._made(path, stat.S_IFREG | stat.S_IMODE(mode), owner, free=not whole)
            if source is not None:
                node.data[:] = source.read(ByteRange(0, source.entry.size_bytes))
                node.mtime_ns, node.atime_ns = source.entry.mtime_ns, source.entry.atime_ns
            if not whole:
                self._nodes[path] = node
            return MemoryWritableFile(self, path, node, whole=whole, new=whole, source=source)

    def edit(self, path: str, *, whole: bool) -> MemoryWritableFile:
        """See `WritableLayer.edit`."""
        with self.lock:
            node = self.node(path)
            if stat.S_ISDIR(node.mode):
                raise IsADirectory(path)
            if not stat.S_ISREG(node.mode):
                raise _error(errno.ELOOP if node.text else errno.ENXIO, path)
            whole = whole and node.nlink == 1
            written = node.successor(self.next_inode()) if whole else node
            return MemoryWritableFile(self, path, written, whole=whole)

    def mkdir(self, path: str, mode: int, owner: Owner) -> Entry:
        """See `WritableLayer.mkdir`."""
        return self._make(path, stat.S_IFDIR | stat.S_IMODE(mode), owner)

    def mknod(self, path: str, mode: int, device: int, owner: Owner) -> Entry:  # noqa: ARG002
        """See `WritableLayer.mknod`. Devices are refused."""
        kind = stat.S_IFMT(mode) or stat.S_IFREG
        if kind not in (stat.S_IFREG, stat.S_IFIFO, stat.S_IFSOCK):
            raise _error(errno.EPERM, path)
        return self._make(path, kind | stat.S_IMODE(mode), owner)

    def symlink(self, path: str, text: str, owner: Owner) -> Entry:
        """See `WritableLayer.symlink`."""
        if not text:
            raise _error(errno.ENOENT, path)
        return self._make(path, stat.S_IFLNK | 0o777, owner, text)

    def link(self, path: str, new_path: str) -> Entry:
        """See `WritableLayer.link`."""
        with self.lock:
            node = self.node(path)
            if stat.S_ISDIR(node.mode):
                raise _error(errno.EPERM, path)
            self._check_free(new_path)
            node.nlink += 1
            node.ctime_ns = self.tick()
            self._nodes[new_path] = node
            return self._entry(new_path)

    def unlink(self, path: str) -> None:
        """See `WritableLayer.unlink`."""
        with self.lock:
            if stat.S_ISDIR(self.node(path).mode):
                raise IsADirectory(path)
            self._leave(path)

    def rmdir(self, path: str) -> None:
        """See `WritableLayer.rmdir`."""
        with self.lock:
            if not stat.S_ISDIR(self.node(path).mode):
                raise NotADirectory(path)
            if self._names(path):
                raise _error(errno.ENOTEMPTY, path)
            self._leave(path)

    def rename(self, path: str, new_path: str, *, replace: bool = True) -> None:
        """See `WritableLayer.rename`."""
        with self.lock:
            node = self.node(path)
            self._check_parent(new_path)
            old = self._nodes.get(new_path)
            if old is not None and not replace:
                raise _error(errno.EEXIST, new_path)
            if old is node:
                return
            if new_path.startswith(path + "/"):
                raise _error(errno.EINVAL, new_path)
            if old is not None and stat.S_ISDIR(node.mode):
                self.rmdir(new_path)
            elif old is not None:
                self.unlink(new_path)
            for name in self._tree(path):
                self._nodes[new_path + name[len(path) :]] = self._nodes.pop(name)
            node.ctime_ns = self.tick()

    def exchange(self, path: str, other_path: str) -> None:
        """See `WritableLayer.exchange`."""
        with self.lock:
            self.node(path)
            self.node(other_path)
            if f"{path}/".startswith(f"{other_path}/") or f"{other_path}/".startswith(f"{path}/"):
                if path == other_path:
                    return
                raise _error(errno.EINVAL, path)
            one = {other_path + name[len(path) :]: self._nodes.pop(name) for name in self._tree(path)}
            other = {path + name[len(other_path) :]: self._nodes.pop(name) for name in self._tree(other_path)}
            self._nodes.update({**one, **other})

    def change(self, path: str, change: Change) -> Entry:
        """See `WritableLayer.change`."""
        with self.lock:
            self.node(path).apply(change, self.tick())
            return self._entry(path)

    def set_xattr(self, path: str, name: str, value: bytes, flags: int = 0) -> None:
        """See `WritableLayer.set_xattr`."""
        with self.lock:
            xattrs = self.node(path).xattrs
            if flags & os.XATTR_CREATE and name in xattrs:
                raise _error(errno.EEXIST, path)
            if flags & os.XATTR_REPLACE and name not in xattrs:
                raise _error(errno.ENODATA, path)
            xattrs[name] = bytes(value)

    def remove_xattr(self, path: str, name: str) -> None:
        """See `WritableLayer.remove_xattr`."""
        with self.lock:
            if self.node(path).xattrs.pop(name, None) is None:
                raise _error(errno.ENODATA, path)

    def sync_directory(self, path: str) -> None:
        """See `WritableLayer.sync_directory`: memory is not stable, there is nothing to wait for."""
        self.stat(path)

    def publish(self, path: str, node: Node, *, replace: bool = True) -> None:
        """Put ``node`` in the place of what has the name ``path``; EEXIST unless it may ``replace`` that."""
        with self.lock:
            if replace:
                self._check_parent(path)
            else:
                self._check_free(path)
            if path in self._nodes:
                self.unlink(path)
            node.nlink = 1
            self._nodes[path] = node

    def _make(self, path: str, mode: int, owner: Owner, text: str = "") -> Entry:
        with self.lock:
            node = self._made(path, mode, owner, free=True)
            node.text = text
            self._nodes[path] = node
            return self._entry(path)

    def _made(self, path: str, mode: int, owner: Owner, *, free: bool) -> Node:
        parent = self._check_free(path) if free else self._check_parent(path)
        gid = owner.gid
        if parent.mode & stat.S_ISGID:
            gid = parent.gid
            mode |= stat.S_ISGID if stat.S_ISDIR(mode) else 0
        now_ns = self.tick()
        return Node(mode, self.next_inode(), uid=owner.uid, gid=gid, mtime_ns=now_ns, ctime_ns=now_ns)

    def _check_free(self, path: str) -> Node:
        parent = self._check_parent(path)
        if path in self._nodes:
            raise _error(errno.EEXIST, path)
        return parent

    def _check_parent(self, path: str) -> Node:
        parent = self.node(paths.split(path)[0])
        if not stat.S_ISDIR(parent.mode):
            raise NotADirectory(path)
        return parent

    def _leave(self, path: str) -> None:
        node = self._nodes.pop(path)
        node.nlink -= 1
        node.ctime_ns = self.tick()


def _error(code: int, path: str) -> OSError:
    """The error of a system call."""
    return OSError(code, os.strerror(code), path)

"""The FUSE operations: each hands over to the part that does it."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Any

import pyfuse3

from copickfs.errors import ReadOnly
from copickfs.layers.writable import Change
from copickfs.ops.attributes import Attributes
from copickfs.ops.directories import Directories
from copickfs.ops.faults import Counters, handler
from copickfs.ops.files import Files
from copickfs.ops.inodes import InodeTable
from copickfs.ops.lanes import Lanes
from copickfs.ops.names import Names
from copickfs.ops.unpublished import Unpublished
from copickfs.ops.writing import Writing
from copickfs.ops.xattrs import Xattrs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from copickfs.view import Found, View
    from copickfs.view.writing import Writer

_NOTHING_LOCAL = 1 << 40
"""Bytes of room that statfs claims where no layer is on a local disk: it never asks a network."""


class Filesystem(pyfuse3.Operations):
    """The merged tree as `pyfuse3.Operations`.

    Args:
        view: The merged tree.
        writer: What changes it; None on a read-only mount.

    Attributes:
        counters: What was asked and answered.
        inodes: The inodes that the kernel knows.
        lanes: The worker threads.
    """

    supports_dot_lookup = True
    enable_writeback_cache = False
    enable_acl = False

    def __init__(self, view: View, writer: Writer | None = None) -> None:
        super().__init__()
        self.view = view
        self.writer = writer
        self.counters = Counters()
        self.inodes = InodeTable()
        self.lanes = Lanes()
        self.files = Files(view, self.inodes, self.lanes, self.counters)
        self._attributes = Attributes()
        self._unpublished = Unpublished()
        self.directories = Directories(
            view, self.inodes, self.lanes, self._attributes, self.files, self._unpublished
        )
        self._writing = Writing(
            writer, view, self.inodes, self.lanes, self.files, self._unpublished, self.counters
        )
        self._names = Names(view, self._writing, self.inodes, self._unpublished)
        self._xattrs = Xattrs(view, self._writing, self.inodes, self.lanes)

    def __repr__(self) -> str:
        return f"<Filesystem {self.view!r}, {len(self.inodes)} inodes, {len(self.files)} open files>"

    def close(self) -> None:
        """Let go of every open file. Idempotent."""
        self._unpublished.close()
        self.files.close()

    @handler
    async def lookup(self, parent_inode: int, name: bytes, ctx: Any) -> pyfuse3.EntryAttributes:
        """See `Directories.lookup`."""
        return await self.directories.lookup(parent_inode, name, ctx.pid)

    @handler
    async def getattr(self, inode: int, _ctx: Any) -> pyfuse3.EntryAttributes:
        """See `Directories.getattr`."""
        return await self.directories.getattr(inode)

    @handler
    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        """The kernel drops references to inodes."""
        for inode, count in inode_list:
            if self.inodes.forget(inode, count):
                self.files.forget(inode)

    @handler
    async def readlink(self, inode: int, _ctx: Any) -> bytes:
        """See `Directories.readlink`."""
        return await self.directories.readlink(inode)

    @handler
    async def opendir(self, inode: int, _ctx: Any) -> int:
        """See `Directories.opendir`."""
        return await self.directories.opendir(inode)

    @handler
    async def readdir(self, fh: int, start_id: int, token: Any) -> None:
        """See `Directories.readdir`."""
        await self.directories.readdir(fh, start_id, token)

    @handler
    async def releasedir(self, fh: int) -> None:
        """See `Directories.releasedir`."""
        self.directories.releasedir(fh)

    @handler
    async def open(self, inode: int, flags: int, ctx: Any) -> pyfuse3.FileInfo:
        """See `Files.open` and `Writing.open`."""
        if flags & (os.O_ACCMODE | os.O_TRUNC):
            return await self._writing.open(inode, flags, ctx.pid)
        return await self.files.open(inode)

    @handler
    async def create(
        self, parent_inode: int, name: bytes, mode: int, flags: int, ctx: Any
    ) -> tuple[pyfuse3.FileInfo, pyfuse3.EntryAttributes]:
        """See `Writing.create`."""
        info, number, entry, ttl_s = await self._writing.create(parent_inode, name, mode, flags, ctx)
        return info, self._attributes.of(number, entry, ttl_s)

    @handler
    async def read(self, fh: int, off: int, size: int) -> bytes | memoryview:
        """See `Files.read`."""
        return await self.files.read(fh, off, size)

    @handler
    async def write(self, fh: int, off: int, buf: bytes) -> int:
        """See `Writing.write`."""
        return await self._writing.write(fh, off, buf)

    @handler
    async def release(self, fh: int) -> None:
        """See `Writing.release`."""
        await self._writing.release(fh)

    @handler
    async def flush(self, fh: int) -> None:
        """See `Writing.flush`. On a read-only mount ENOSYS spares all further requests of the kind."""
        if self.writer is None:
            raise pyfuse3.FUSEError(errno.ENOSYS)
        await self._writing.flush(fh)

    @handler
    async def fsync(self, fh: int, _datasync: bool) -> None:
        """See `Writing.sync`."""
        if self.writer is not None:
            await self._writing.sync(fh)

    @handler
    async def fsyncdir(self, fh: int, _datasync: bool) -> None:
        """The names in a directory are on stable storage."""
        if self.writer is not None:
            await self.lanes.work("writing", self.writer.sync_directory, self.directories.path_of(fh))

    @handler
    async def setattr(
        self,
        inode: int,
        attr: pyfuse3.EntryAttributes,
        fields: pyfuse3.SetattrFields,
        fh: int | None,
        _ctx: Any,
    ) -> pyfuse3.EntryAttributes:
        """See `Writing.set_size` and `Writing.change`."""
        change = Change(
            stat.S_IMODE(attr.st_mode) if fields.update_mode else None,
            attr.st_uid if fields.update_uid else None,
            attr.st_gid if fields.update_gid else None,
            attr.st_atime_ns if fields.update_atime else None,
            attr.st_mtime_ns if fields.update_mtime else None,
        )
        if fields.update_size:
            await self._writing.set_size(inode, fh, attr.st_size)
        if change != Change():
            await self._writing.change(inode, change)
        return await self.directories.getattr(inode)

    @handler
    async def mkdir(self, parent_inode: int, name: bytes, mode: int, ctx: Any) -> pyfuse3.EntryAttributes:
        """See `Names.mkdir`."""
        return self._answer(*await self._names.mkdir((parent_inode, name), mode, ctx))

    @handler
    async def mknod(
        self, parent_inode: int, name: bytes, mode: int, rdev: int, ctx: Any
    ) -> pyfuse3.EntryAttributes:
        """See `Names.mknod`."""
        return self._answer(*await self._names.mknod((parent_inode, name), mode, rdev, ctx))

    @handler
    async def symlink(
        self, parent_inode: int, name: bytes, target: bytes, ctx: Any
    ) -> pyfuse3.EntryAttributes:
        """See `Names.symlink`."""
        return self._answer(*await self._names.symlink((parent_inode, name), target, ctx))

    @handler
    async def link(
        self, inode: int, new_parent_inode: int, new_name: bytes, _ctx: Any
    ) -> pyfuse3.EntryAttributes:
        """See `Names.link`."""
        return self._answer(inode, await self._names.link(inode, (new_parent_inode, new_name)))

    @handler
    async def unlink(self, parent_inode: int, name: bytes, ctx: Any) -> None:
        """See `Names.unlink`."""
        await self._names.unlink((parent_inode, name), ctx.pid)

    @handler
    async def rmdir(self, parent_inode: int, name: bytes, _ctx: Any) -> None:
        """See `Names.rmdir`."""
        await self.directories.removing(parent_inode, name)
        await self._names.rmdir((parent_inode, name))

    @handler
    async def rename(
        self,
        parent_inode_old: int,
        name_old: bytes,
        parent_inode_new: int,
        name_new: bytes,
        flags: int,
        _ctx: Any,
    ) -> None:
        """See `Names.rename`."""
        await self._names.rename((parent_inode_old, name_old), (parent_inode_new, name_new), flags)

    def _answer(self, number: int, found: Found) -> pyfuse3.EntryAttributes:
        return self._attributes.of(number, found.entry, found.ttl_s)

    @handler
    async def statfs(self, _ctx: Any) -> pyfuse3.StatvfsData:
        """Room on the write layer, or else on the highest local one; never asks a network."""
        answer = pyfuse3.StatvfsData()
        space = (self.writer.space() if self.writer else None) or self.view.space()
        if space is None:
            answer.f_bsize = answer.f_frsize = 4096
            answer.f_blocks = _NOTHING_LOCAL // 4096
            answer.f_namemax = 255
            return answer
        answer.f_bsize = answer.f_frsize = space.block_bytes
        answer.f_blocks, answer.f_bfree, answer.f_bavail = (
            space.blocks, space.blocks_free, space.blocks_available,
        )  # fmt: skip
        answer.f_files, answer.f_ffree, answer.f_favail = (
            space.files, space.files_free, space.files_available,
        )  # fmt: skip
        answer.f_namemax = space.name_max_bytes
        return answer

    @handler
    async def access(self, inode: int, mode: int, ctx: Any) -> bool:
        """By owner, group and mode; the kernel itself decides under ``default_permissions``."""
        if mode & os.W_OK and self.writer is None:
            raise ReadOnly(errno.EROFS, os.strerror(errno.EROFS))
        attributes = await self.directories.getattr(inode)
        if ctx.uid == 0:
            return not mode & os.X_OK or bool(attributes.st_mode & 0o111)
        shift = 6 if ctx.uid == attributes.st_uid else 3 if ctx.gid == attributes.st_gid else 0
        return (attributes.st_mode >> shift) & mode == mode

    @handler
    async def getxattr(self, inode: int, name: bytes, _ctx: Any) -> bytes:
        """See `Xattrs.get`."""
        return await self._xattrs.get(inode, name)

    @handler
    async def listxattr(self, inode: int, _ctx: Any) -> list[bytes]:
        """See `Xattrs.names`."""
        return await self._xattrs.names(inode)

    @handler
    async def setxattr(self, inode: int, name: bytes, value: bytes, _ctx: Any) -> None:
        """See `Xattrs.set`."""
        await self._xattrs.set(inode, name, value)

    @handler
    async def removexattr(self, inode: int, name: bytes, _ctx: Any) -> None:
        """See `Xattrs.remove`."""
        await self._xattrs.remove(inode, name)

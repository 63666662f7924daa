"""The FUSE operations: each hands over to the part that does it."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any, NoReturn

import pyfuse3

from copickfs.errors import ReadOnly
from copickfs.ops.attributes import Attributes
from copickfs.ops.directories import Directories
from copickfs.ops.faults import Counters, handler
from copickfs.ops.files import Files
from copickfs.ops.inodes import InodeTable
from copickfs.ops.lanes import Lanes
from copickfs.ops.xattrs import Xattrs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from copickfs.view import View

_NOTHING_LOCAL = 1 << 40
"""Bytes of room that statfs claims where no layer is on a local disk: it never asks a network."""


def _refusal(operation: str) -> Any:
    """A handler that answers EROFS."""

    async def refuse(_filesystem: Filesystem, *_args: Any) -> NoReturn:
        raise ReadOnly(errno.EROFS, os.strerror(errno.EROFS))

    refuse.__name__ = operation
    return handler(refuse)


class Filesystem(pyfuse3.Operations):
    """The merged tree as `pyfuse3.Operations`, read-only.

    Args:
        view: The merged tree.

    Attributes:
        counters: What was asked and answered.
        inodes: The inodes that the kernel knows.
        lanes: The worker threads.
    """

    supports_dot_lookup = True
    enable_writeback_cache = False
    enable_acl = False

    def __init__(self, view: View) -> None:
        super().__init__()
        self.view = view
        self.counters = Counters()
        self.inodes = InodeTable()
        self.lanes = Lanes()
        self.files = Files(view, self.inodes, self.lanes, self.counters)
        self.directories = Directories(view, self.inodes, self.lanes, Attributes(), self.files)
        self._xattrs = Xattrs(view, self.inodes, self.lanes)

    def __repr__(self) -> str:
        return f"<Filesystem {self.view!r}, {len(self.inodes)} inodes, {len(self.files)} open files>"

    def close(self) -> None:
        """Let go of every open file. Idempotent."""
        self.files.close()

    @handler
    async def lookup(self, parent_inode: int, name: bytes, _ctx: Any) -> pyfuse3.EntryAttributes:
        """See `Directories.lookup`."""
        return await self.directories.lookup(parent_inode, name)

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
    async def open(self, inode: int, flags: int, _ctx: Any) -> pyfuse3.FileInfo:
        """See `Files.open`."""
        return await self.files.open(inode, flags)

    @handler
    async def read(self, fh: int, off: int, size: int) -> bytes | memoryview:
        """See `Files.read`."""
        return await self.files.read(fh, off, size)

    @handler
    async def release(self, fh: int) -> None:
        """See `Files.release`."""
        self.files.release(fh)

    @handler
    async def flush(self, _fh: int) -> None:
        """Nothing to flush on a read-only mount: ENOSYS spares all further requests of the kind."""
        raise pyfuse3.FUSEError(errno.ENOSYS)

    @handler
    async def fsync(self, _fh: int, _datasync: bool) -> None:
        """Nothing to write back."""

    @handler
    async def fsyncdir(self, _fh: int, _datasync: bool) -> None:
        """Nothing to write back."""

    @handler
    async def statfs(self, _ctx: Any) -> pyfuse3.StatvfsData:
        """Room on the highest local layer; never asks a network."""
        answer = pyfuse3.StatvfsData()
        space = self.view.space()
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
        if mode & os.W_OK:
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

    setattr = _refusal("setattr")
    mknod = _refusal("mknod")
    mkdir = _refusal("mkdir")
    create = _refusal("create")
    unlink = _refusal("unlink")
    rmdir = _refusal("rmdir")
    symlink = _refusal("symlink")
    rename = _refusal("rename")
    link = _refusal("link")
    write = _refusal("write")
    setxattr = _refusal("setxattr")
    removexattr = _refusal("removexattr")

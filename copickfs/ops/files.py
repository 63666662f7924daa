"""OPEN, READ and RELEASE."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import stat
from typing import TYPE_CHECKING

import pyfuse3

from copickfs.errors import IsADirectory, ReadOnly, Stale, WouldBlock
from copickfs.model import ByteRange
from copickfs.ops.pages import PageCache

if TYPE_CHECKING:
    from copickfs.layers.base import Layer, LayerFile
    from copickfs.model import Entry
    from copickfs.ops.faults import Counters
    from copickfs.ops.inodes import InodeTable
    from copickfs.ops.lanes import Lanes
    from copickfs.view import View


class _Handle:
    """One open file."""

    __slots__ = ("direct_io", "file", "layer", "number")

    def __init__(self, number: int, file: LayerFile, layer: Layer, *, direct_io: bool) -> None:
        self.number = number
        self.file = file
        self.layer = layer
        self.direct_io = direct_io


class Files:
    """Open files and their contents. Used on the event loop only."""

    def __init__(self, view: View, inodes: InodeTable, lanes: Lanes, counters: Counters) -> None:
        self._view = view
        self._inodes = inodes
        self._lanes = lanes
        self._counters = counters
        self._handles: dict[int, _Handle] = {}
        self._next_handle = itertools.count(1)
        self._pages = PageCache(view.control)

    def __len__(self) -> int:
        return len(self._handles)

    async def open(self, number: int, flags: int) -> pyfuse3.FileInfo:
        """Open a file for reading.

        Raises:
            ReadOnly: It was to be written.
            Stale: The name stands for something else by now; the system asks for it again.
        """
        if flags & os.O_ACCMODE != os.O_RDONLY or flags & os.O_TRUNC:
            raise ReadOnly(errno.EROFS, os.strerror(errno.EROFS))
        path = self._inodes.path(number)
        try:
            file, layer = await self._open(path)
        except IsADirectory:
            raise Stale(f"a directory has taken the place of {path!r}") from None
        try:
            direct_io, keep_cache = self._how(number, path, file, layer)
        except BaseException:
            file.close()
            raise
        handle = next(self._next_handle)
        self._handles[handle] = _Handle(number, file, layer, direct_io=direct_io)
        return pyfuse3.FileInfo(fh=handle, direct_io=direct_io, keep_cache=keep_cache)

    def _how(self, number: int, path: str, file: LayerFile, layer: Layer) -> tuple[bool, bool]:
        """How a file just opened is to be read: ``(direct_io, keep_cache)``."""
        if not stat.S_ISREG(file.entry.mode):
            raise Stale(f"something else has taken the place of {path!r}")
        same = self._inodes.is_of(number, file.entry.identity)
        told = self._inodes.told(number) == file.entry.look
        if not told:
            with contextlib.suppress(OSError):
                pyfuse3.invalidate_inode(number, attr_only=True)
        if not same:
            # Another file has taken the place since the name was looked up. It is read whole, around the
            # pages and past the size that the kernel has of the one before.
            return True, False
        return self._pages.on_open(number, path, file, layer, told=told)

    async def _open(self, path: str) -> tuple[LayerFile, Layer]:
        try:
            return self._view.open_nowait(path)
        except WouldBlock as block:
            return await self._lanes.call(block.lane, self._view.open, path)

    async def read(self, handle: int, offset: int, size_bytes: int) -> bytes | memoryview:
        """The bytes from ``offset`` on, fewer only at the end of the file."""
        opened = self._handles[handle]
        span = ByteRange(offset, offset + size_bytes)
        try:
            data = opened.file.read_nowait(span)
        except WouldBlock:
            data = await self._lanes.read(opened.layer, opened.file.read, span)
        self._counters.bytes_read += len(data)
        return data

    def release(self, handle: int) -> None:
        """Let go of an open file."""
        opened = self._handles.pop(handle, None)
        if opened is None:
            return
        if not self._pages.on_release(opened.number, opened.file, direct_io=opened.direct_io):
            opened.file.close()

    def entry_of(self, number: int) -> Entry | None:
        """What is known of an inode from an open file; None if none is open."""
        for opened in self._handles.values():
            if opened.number == number:
                return opened.file.entry
        return None

    def close(self) -> None:
        """Let go of every open file."""
        for opened in self._handles.values():
            opened.file.close()
        self._handles.clear()
        self._pages.close()

    def forget(self, number: int) -> None:
        """The kernel has dropped an inode, and its pages with it."""
        self._pages.forget(number)

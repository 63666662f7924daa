"""OPEN for reading, READ and RELEASE."""

from __future__ import annotations

import contextlib
import stat
from typing import TYPE_CHECKING

import pyfuse3

from copickfs.errors import IsADirectory, Stale, WouldBlock
from copickfs.model import ByteRange
from copickfs.ops.handles import Handle, Handles
from copickfs.ops.pages import PageCache

if TYPE_CHECKING:
    from copickfs.layers.base import Layer, LayerFile
    from copickfs.model import Entry
    from copickfs.ops.faults import Counters
    from copickfs.ops.inodes import InodeTable
    from copickfs.ops.lanes import Lanes
    from copickfs.view import View


class Files:
    """Open files and their contents. Used on the event loop only."""

    def __init__(self, view: View, inodes: InodeTable, lanes: Lanes, counters: Counters) -> None:
        self._view = view
        self._inodes = inodes
        self._lanes = lanes
        self._counters = counters
        self.handles = Handles()
        self.pages = PageCache(view.control)

    def __len__(self) -> int:
        return len(self.handles)

    async def open(self, number: int) -> pyfuse3.FileInfo:
        """Open a file for reading.

        Raises:
            Stale: The name stands for something else by now; the system asks for it again.
        """
        writer = self.handles.writer_of(number)
        if writer is not None and writer.written.whole:
            # Only its writer sees this version; nobody else is told of the inode.
            return pyfuse3.FileInfo(fh=self.handles.add(Handle(number, writer.file, writer.layer)))
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
        handle = self.handles.add(Handle(number, file, layer, direct_io=direct_io))
        return pyfuse3.FileInfo(fh=handle, direct_io=direct_io, keep_cache=keep_cache)

    def _how(self, number: int, path: str, file: LayerFile, layer: Layer) -> tuple[bool, bool]:
        """How a file just opened is to be read: ``(direct_io, keep_cache)``."""
        if not stat.S_ISREG(file.entry.mode):
            raise Stale(f"something else has taken the place of {path!r}")
        same = self._inodes.is_of(number, file.entry.identity, linked=file.entry.nlink > 1)
        told = self._inodes.told(number) == file.entry.look
        if not told:
            with contextlib.suppress(OSError):
                pyfuse3.invalidate_inode(number, attr_only=True)
        if not same:
            # Another file has taken the place since the name was looked up. It is read whole, around the
            # pages and past the size that the kernel has of the one before.
            return True, False
        if self.handles.writer_of(number) is not None:
            # The kernel holds the locks of the pages that are being written until the event loop answers.
            return self.pages.on_open_written(number)
        return self.pages.on_open(number, path, file, layer, told=told)

    async def _open(self, path: str) -> tuple[LayerFile, Layer]:
        try:
            return self._view.open_nowait(path)
        except WouldBlock as block:
            return await self._lanes.call(block.lane, self._view.open, path)

    async def read(self, handle: int, offset: int, size_bytes: int) -> bytes | memoryview:
        """The bytes from ``offset`` on, fewer only at the end of the file."""
        opened = self.handles[handle]
        span = ByteRange(offset, offset + size_bytes)
        try:
            data = opened.file.read_nowait(span)
        except WouldBlock:
            data = await self._lanes.read(opened.layer, opened.file.read, span)
        self._counters.bytes_read += len(data)
        return data

    def release(self, handle: int) -> None:
        """Let go of a file that was open for reading."""
        opened = self.handles.pop(handle)
        if opened is None or self.handles.shared(opened):
            return
        if not self.pages.on_release(opened.number, opened.file, direct_io=opened.direct_io):
            opened.file.close()

    async def renew(self, number: int, path: str) -> None:
        """Let all who read an inode go on with the file that has its name by now: it was copied up."""
        for opened in self.handles.of(number):
            if not opened.writes:
                file, layer = await self._open(path)
                opened.file.close()
                opened.file, opened.layer = file, layer

    def entry_of(self, number: int) -> Entry | None:
        """What is known of an inode from an open file; None if none is open."""
        writer = self.handles.writer_of(number)
        if writer is not None:
            return writer.written.status()
        return next((opened.file.entry for opened in self.handles.of(number)), None)

    def close(self) -> None:
        """Let go of every open file."""
        self.handles.close()
        self.pages.close()

    def forget(self, number: int) -> None:
        """The kernel has dropped an inode, and its pages with it."""
        self.pages.forget(number)

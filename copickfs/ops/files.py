"""OPEN for reading, READ and RELEASE."""

from __future__ import annotations

import contextlib
import stat
from typing import TYPE_CHECKING

import pyfuse3
import trio

from copickfs import paths
from copickfs.errors import CopickfsError, IsADirectory, Stale, WouldBlock
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

_LOOK_LIMIT_S = 5.0
"""So long OPEN may wait to hear whether what it opens is still there; its caller cannot be killed."""

_LOOK_BYTES = 8 << 20
"""What is no larger comes with one request, which READ saves then."""

_LOOKS = 3


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
        path, file, layer = await self._inodes.by_name(number, lambda path: self._open_at(path, number))
        try:
            direct_io, keep_cache = self._how(number, path, file, layer)
        except BaseException:
            file.close()
            raise
        handle = self.handles.add(Handle(number, file, layer, direct_io=direct_io))
        return pyfuse3.FileInfo(fh=handle, direct_io=direct_io, keep_cache=keep_cache)

    async def _open_at(self, path: str, number: int) -> tuple[str, LayerFile, Layer]:
        """What is open now, and by which of its names."""
        try:
            return path, *await self._open(path, number)
        except IsADirectory:
            raise Stale(f"a directory has taken the place of {path!r}") from None

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

    async def _open(self, path: str, number: int) -> tuple[LayerFile, Layer]:
        """What has the name, in the version that its source has now.

        A source that tells of no changes may have replaced what was listed, which a read of it finds
        out. zarr takes an error of a chunk for "all zeros", so that must not be left to READ.
        """
        latest_s = trio.current_time() + _LOOK_LIMIT_S
        file, layer = await self._named(path)
        try:
            with trio.move_on_at(latest_s):
                for _ in range(_LOOKS):
                    if self._is_known(number, file) or await self._is_there(path, file, layer):
                        break
                    newer, its_layer = await self._named(path)
                    file.close()
                    file, layer = newer, its_layer
        except BaseException:
            file.close()
            raise
        return file, layer

    async def _named(self, path: str) -> tuple[LayerFile, Layer]:
        try:
            return self._view.open_nowait(path)
        except WouldBlock as block:
            return await self._lanes.call(block.lane, self._view.open, path)

    def _is_known(self, number: int, file: LayerFile) -> bool:
        """True if the kernel has the contents, and what it drops of them is in the cache."""
        return self.pages.has(number, file.entry.version) and getattr(file, "is_at_hand", bool)()

    async def _is_there(self, path: str, file: LayerFile, layer: Layer) -> bool:
        """False if the source of a file in a store has another version by now; in doubt True."""
        if file.entry.inode or not 0 < file.entry.size_bytes <= _LOOK_BYTES or not paths.store_of(path):
            return True
        try:
            file.read_nowait(ByteRange(0, 1))
        except WouldBlock:
            try:
                await self._lanes.work(layer.name, file.read, ByteRange(0, 1))
            except Stale:
                return False
            except (CopickfsError, OSError):
                return True  # READ will say so, or wait
        return True

    async def read(self, handle: int, offset: int, size_bytes: int) -> bytes | memoryview:
        """The bytes from ``offset`` on, fewer only at the end of the file."""
        opened = self.handles[handle]
        span = ByteRange(offset, offset + size_bytes)
        while True:
            file = opened.file
            try:
                data = await self._read(opened, file, span)
            except (CopickfsError, OSError) as error:
                if opened.file is file and not (isinstance(error, Stale) and await self._renewed(opened)):
                    raise
            else:
                if opened.file is file:
                    break
        opened.given = True
        if not opened.direct_io:
            self.pages.given(opened.number)
        self._counters.bytes_read += len(data)
        return data

    async def _read(self, opened: Handle, file: LayerFile, span: ByteRange) -> bytes | memoryview:
        try:
            return file.read_nowait(span)
        except WouldBlock:
            lane = getattr(file, "lane", None)
            return await self._lanes.read(opened.layer, file.read, span, lane=lane)

    async def _renewed(self, opened: Handle) -> bool:
        """Go on with the version that the source has by now; False where bytes of another may be out.

        All who read the inode through its pages go on together, or their pages would be a mixture.
        """
        file = opened.file
        if not self._may_renew(opened):
            return False
        try:
            path = self._inodes.path(opened.number)
            newer, layer = await self._lanes.read(opened.layer, self._view.open, path)
        except (CopickfsError, OSError):
            return False
        if opened.file is not file:
            newer.close()
            return True
        together = [opened] if opened.direct_io else self._paged(opened.number)
        fresh = [(newer, layer)]
        try:
            if newer.entry.version == file.entry.version or not self._suits(opened, newer):
                raise Stale(path)
            fresh += [self._view.open_nowait(path) for _ in together[1:]]
            if any(other.entry.version != newer.entry.version for other, _ in fresh):
                raise Stale(path)
        except (CopickfsError, OSError):
            for other, _ in fresh:
                other.close()
            return False
        for reader, (other, its_layer) in zip(together, fresh, strict=True):
            self.handles.replace(reader, other, its_layer)
        if not opened.direct_io:
            self.pages.renewed(opened.number, newer.entry.version)
        with contextlib.suppress(OSError):
            pyfuse3.invalidate_inode(opened.number, attr_only=True)
        return True

    def _paged(self, number: int) -> list[Handle]:
        return [handle for handle in self.handles.of(number) if not handle.direct_io]

    def _may_renew(self, opened: Handle) -> bool:
        """True if no byte of the version that a handle has is known to anybody who goes on reading it."""
        if self.handles.writer_of(opened.number) is not None:
            return False
        return not opened.given if opened.direct_io else self.pages.is_blank(opened.number)

    def _suits(self, opened: Handle, newer: LayerFile) -> bool:
        """True if a handle may go on with a newer version.

        The kernel cuts what comes through its pages at the size that it knows, and asks for that again
        only where it reads on beyond; a file that has become shorter it would fill up with zeros.
        """
        is_no_shorter = newer.entry.size_bytes >= opened.file.entry.size_bytes
        return (
            self._may_renew(opened) and stat.S_ISREG(newer.entry.mode) and (opened.direct_io or is_no_shorter)
        )

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
            if opened.writes:
                continue
            file, layer = await self._open(path, number)
            if opened.gone:
                file.close()
            else:
                self.handles.replace(opened, file, layer)

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

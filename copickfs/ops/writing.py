"""CREATE, OPEN for writing, WRITE, FLUSH, FSYNC, RELEASE, and SETATTR."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
import time
from typing import TYPE_CHECKING, Any, TypeVar

import pyfuse3

from copickfs import paths
from copickfs.errors import CopickfsError, NotFound, ReadOnly, Stale, WouldBlock
from copickfs.layers.writable import Change, Owner
from copickfs.ops.handles import Handle
from copickfs.ops.unpublished import Expected
from copickfs.ops.writers import process_of, still_writes, was_killed

if TYPE_CHECKING:
    from collections.abc import Callable

    from copickfs.layers.base import Layer
    from copickfs.layers.writable import WritableFile
    from copickfs.model import Entry
    from copickfs.ops.faults import Counters
    from copickfs.ops.files import Files
    from copickfs.ops.handles import Place
    from copickfs.ops.inodes import InodeTable
    from copickfs.ops.lanes import Lanes
    from copickfs.ops.unpublished import Unpublished
    from copickfs.view import View
    from copickfs.view.writing import Writer

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

INLINE_BYTES = 1 << 16
"""More than this is written by a worker thread, so that the event loop goes on meanwhile."""


class Writing:
    """Files that are written. Used on the event loop only.

    Args:
        writer: What changes the tree; None on a read-only mount.
        view: The merged tree.
        inodes: The inodes that the kernel knows.
        lanes: The worker threads.
        files: The open files.
        unpublished: Versions that only their writers see.
        counters: What was asked and answered.
    """

    def __init__(
        self,
        writer: Writer | None,
        view: View,
        inodes: InodeTable,
        lanes: Lanes,
        files: Files,
        unpublished: Unpublished,
        counters: Counters,
    ) -> None:
        self._writer = writer
        self._view = view
        self._inodes = inodes
        self._lanes = lanes
        self._files = files
        self._handles = files.handles
        self._unpublished = unpublished
        self._counters = counters

    @property
    def writer(self) -> Writer:
        """What changes the tree. Raises `ReadOnly` where nothing may."""
        if self._writer is None:
            raise ReadOnly(errno.EROFS, os.strerror(errno.EROFS))
        return self._writer

    async def do(self, function: Callable[..., _T], *args: Any) -> _T:
        """A change of the tree: at once if no layer can make it wait, else in a worker thread."""
        if self.writer.prompt:
            return function(*args)
        return await self._lanes.work("writing", function, *args)

    async def create(
        self, parent: int, name: bytes, mode: int, flags: int, ctx: pyfuse3.RequestContext
    ) -> tuple[pyfuse3.FileInfo, int, Entry, float]:
        """Make a file and open it.

        Returns:
            What the kernel gets for the handle, the inode, its entry, and how long the name may be
            believed to stand for it.
        """
        place = parent, name
        if flags & os.O_EXCL and self._unpublished.at(place):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        path = self._path(place)
        file, layer = await self.do(self.writer.create, path, stat.S_IMODE(mode), Owner(ctx.uid, ctx.gid))
        entry = file.entry
        number = self._inodes.fresh(parent, name, entry.identity)
        self._inodes.hold(number, parent, name, entry.look)
        ttl_s = 0.0 if file.whole else layer.ttl_s(paths.split(path)[0])
        return self._opened(number, file, layer, place, ctx.pid), number, entry, ttl_s

    async def open(self, number: int, flags: int, thread: int) -> pyfuse3.FileInfo:
        """Open a file for writing.

        Raises:
            ReadOnly: It cannot be written.
            Stale: It is published whole: the kernel comes back for an inode of the writer's own.
        """
        expected = self._unpublished.take(number)
        if expected is None:
            expected = await self._open(number, flags, thread)
        file = expected.file
        opened = self._opened(number, file, expected.layer, self._inodes.place(number), thread)
        if flags & os.O_TRUNC:
            # It is open by now, and another handle that has the file does not close it meanwhile.
            try:
                await self.do(file.truncate, 0)
            except BaseException:
                self._let_go(opened.fh)
                raise
            self._files.pages.forget(number)
        return opened

    async def _open(self, number: int, flags: int, thread: int) -> Expected:
        async with self._handles.holding_writer(number) as own:
            if own is not None and own.written.whole and await self._shares(own, thread):
                return Expected(number, own.written, own.layer, 0.0)  # the caller has it before it waits
        place = self._inodes.place(number)
        waiting = self._unpublished.take_at(place, thread)
        if waiting is not None:
            # It was opened by its number, through /proc: there is no name for the kernel to look up.
            return waiting
        path = await self._path_of(number)
        file, layer = await self._open_for_writing(path, truncate=bool(flags & os.O_TRUNC))
        if not file.whole:
            await self._copied_up(number, path, file.entry)
            return Expected(number, file, layer, 0.0)
        private = self._inodes.fresh(*place, file.entry.identity)
        self._unpublished.expect(place, thread, Expected(private, file, layer, time.monotonic()))
        raise Stale(f"{path!r} is opened for writing as an inode of its own")

    async def _shares(self, own: Handle, thread: int) -> bool:
        """True if who opens the inode of a version goes on writing that one, and no version of its own.

        Another process that was told of the inode by a name writes its own, unless there is no version by
        that name to begin with: it came through /proc.
        """
        if process_of(thread) == own.process:
            return True
        try:
            await self._path_of(own.number)
        except (Stale, NotFound):
            return True
        return False

    async def _open_for_writing(self, path: str, *, truncate: bool) -> tuple[WritableFile, Layer]:
        writer = self.writer
        if writer.prompt:
            try:
                found = self._view.lookup_nowait(path)
            except WouldBlock:
                found = None
            if found is not None and (writer.may_write(found.layer) or truncate):
                return writer.open(path, truncate=truncate)
        # The contents may have to be copied up.
        return await self._lanes.work("writing", lambda: writer.open(path, truncate=truncate))

    async def _copied_up(self, number: int, path: str, entry: Entry) -> None:
        linked = entry.nlink > 1
        if not self._inodes.is_of(number, entry.identity, linked=linked):
            self._inodes.adopt(number, *self._inodes.place(number), entry.identity, linked=linked)
            await self._files.renew(number, path)

    def _opened(
        self, number: int, file: WritableFile, layer: Layer, place: Place, thread: int
    ) -> pyfuse3.FileInfo:
        handle = Handle(number, file, layer)
        handle.writes = True
        handle.place = place
        if file.whole:
            handle.thread = thread
            handle.process = process_of(thread)
            self._unpublished.add(handle)
        return pyfuse3.FileInfo(fh=self._handles.add(handle), direct_io=False, keep_cache=False)

    async def write(self, handle: int, offset: int, data: bytes) -> int:
        """Write ``data`` at ``offset``."""
        opened = self._handles[handle]
        if not opened.writes:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        opened.failed = False
        if self.writer.prompt and len(data) <= INLINE_BYTES:
            size_bytes = opened.written.write(offset, data)
        else:
            size_bytes = await self._lanes.work("writing", opened.written.write, offset, data)
        self._counters.bytes_written += size_bytes
        return size_bytes

    async def flush(self, handle: int) -> None:
        """What a program's ``close`` waits for. Its error is the program's.

        A file that is published whole is published when the process that opened it has closed it.
        """
        opened = self._handles[handle]
        if not opened.writes:
            return
        if opened.written.whole and still_writes(opened.process, opened.number, opened.place[1]):
            return
        await self._publish(opened)

    async def _publish(self, opened: Handle) -> None:
        file = opened.written
        if file.whole and was_killed(opened.process):
            _log.info("%r: its writer was killed, the version before stays", self._path(opened.place))
            file.discard()
            return
        try:
            await self.do(file.flush)
        except Exception:
            opened.failed = True
            raise
        if file.whole:
            self._follow(opened.number, file.status())

    def _follow(self, number: int, entry: Entry) -> None:
        """Have the kernel go on with the inode of a file that has become ``entry``.

        At a source without inode numbers every version is a file of its own.
        """
        if not entry.inode and self._inodes.knows(number):
            self._inodes.renew(number, entry.identity)

    def _follow_closed(self, number: int) -> None:
        """The same for a file that was written in place, which has had a number of its own until now."""
        if self._handles.writer_of(number) is None and self._inodes.knows(number):
            with contextlib.suppress(CopickfsError, OSError):  # it has no name any more
                self._follow(number, self._view.lookup_nowait(self._inodes.path(number)).entry)

    async def sync(self, handle: int) -> None:
        """FSYNC: what was written through any handle of the file is on stable storage."""
        opened = self._handles[handle]
        for writer in [other for other in self._handles.of(opened.number) if other.writes]:
            async with writer.held() as stays:
                if stays:
                    await self._lanes.work("writing", writer.written.sync)

    async def publish(self, handle: Handle) -> None:
        """Publish what was written so far through a handle, if it is open still."""
        async with handle.held() as stays:
            if stays:
                await self.do(handle.written.flush)

    async def release(self, handle: int) -> None:
        """Let go of a file. What was written through a memory map after the last ``close`` is kept, too.

        That of a file which somebody goes on writing is kept with the rest of it, or others would see a part.
        """
        opened = self._handles[handle]
        if not opened.writes:
            self._files.release(handle)
            return
        async with opened.held():
            try:
                if not (opened.failed or self._handles.is_written_by_others(opened)):
                    await self._publish(opened)
                    if opened.written.whole:
                        # Nobody else can have changed this version: what the kernel has of it is all of it.
                        self._files.pages.written(opened.number, opened.written.status().version)
            except Exception as error:  # noqa: BLE001 -- nobody waits for the answer
                _log.warning("%r could not be kept when it was closed: %s", self._path(opened.place), error)
            finally:
                self._let_go(handle)
                if not (opened.written.whole or self.writer.prompt):
                    self._follow_closed(opened.number)

    def _let_go(self, handle: int) -> None:
        opened = self._handles.pop(handle)
        if opened is not None:
            self._unpublished.remove(opened)
            if not self._handles.shared(opened):
                opened.file.close()

    async def set_size(self, number: int, handle: int | None, size_bytes: int) -> None:
        """Cut or extend a file, open or not."""
        self._files.pages.forget(number)
        if handle is not None and self._handles[handle].writes:
            await self._cut(self._handles[handle], size_bytes)
            return
        async with self._handles.holding_writer(number) as opened:
            if opened is not None:
                await self._cut(opened, size_bytes)
                return
        expected = self._unpublished.entry_of(number)
        if expected is not None:
            return  # its opening cuts it
        path = await self._path_of(number)
        file, _layer = await self._open_for_writing(path, truncate=size_bytes == 0)
        try:
            await self.do(file.truncate, size_bytes)
            await self.do(file.flush)
            await self._copied_up(number, path, file.status())
        finally:
            file.close()

    async def _cut(self, opened: Handle, size_bytes: int) -> None:
        opened.failed = False
        await self.do(opened.written.truncate, size_bytes)

    async def change(self, number: int, change: Change) -> None:
        """Change mode, owner or times of an inode."""
        async with self._handles.holding_writer(number) as opened:
            if opened is not None:
                await self.do(opened.written.change, change)
                return
        path = await self._path_of(number)
        found = self._found_nowait(path)
        if found and self.writer.may_write(found):
            entry = self.writer.change(path, change).entry
        else:
            entry = (await self._lanes.work("writing", self.writer.change, path, change)).entry
        await self._copied_up(number, path, entry)

    async def _path_of(self, number: int) -> str:
        """The path of an inode that is to be changed by it. Raises `Stale` if another file has it by now."""
        path = self._inodes.path(number)
        try:
            entry = self._view.lookup_nowait(path).entry
        except WouldBlock as block:
            entry = (await self._lanes.call(block.lane, self._view.lookup, path)).entry
        if not self._inodes.is_of(number, entry.identity, linked=entry.nlink > 1 and not entry.is_dir):
            raise Stale(f"another file has taken the place of {path!r}")
        return path

    def _found_nowait(self, path: str) -> Layer | None:
        if not self.writer.prompt:
            return None
        try:
            return self._view.lookup_nowait(path).layer
        except WouldBlock:
            return None

    def _path(self, place: Place) -> str:
        return paths.join(self._inodes.path(place[0]), place[1].decode(errors="surrogateescape"))

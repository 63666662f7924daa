"""A file of a local layer that is published whole: others see the version before, or all of the new one."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from copickfs.errors import WouldBlock, errno_of
from copickfs.layers import localattributes, localcalls
from copickfs.layers.localfile import LocalFile
from copickfs.model import ByteRange

if TYPE_CHECKING:
    from copickfs.layers.base import LayerFile
    from copickfs.layers.localplace import Place
    from copickfs.layers.localstaging import Draft
    from copickfs.layers.localwrite import WritableLocalLayer
    from copickfs.layers.writable import Change
    from copickfs.model import Entry


class StagedFile:
    """See `copickfs.layers.writable.WritableFile`.

    What is written goes to a draft, a file without a name. It is empty until the first write, which
    copies the version before, and until then that version is what is read.

    Concurrency: ``_lock`` is held while anything is read or changed, also while a remote source is
    copied; ``_versions`` only while one version takes the place of another, so that `status` never waits.

    Args:
        layer: The layer.
        path: Where it is, or will be.
        place: The directory that it is published in, and its name there; closed with the file.
        draft: The first draft, empty, with owner and mode; closed with the file.
        base: The version before; None for a new file. Closed with the file.
        new: It is published also if nothing is written.

    Attributes:
        entry: See `WritableFile`.
        whole: True.
        replaces: See `WritableFile`.
        path: Where it will be published; None if it was removed.
    """

    whole = True
    replaces = True

    def __init__(
        self,
        layer: WritableLocalLayer,
        path: str,
        place: Place,
        draft: Draft,
        base: LayerFile | None,
        *,
        new: bool,
    ) -> None:
        self.path: str | None = path
        self._layer = layer
        self._place = place
        self._draft: Draft | None = draft
        self._base = base
        self._filled = base is None
        self._changed = new
        self._missing: ByteRange | None = None
        self._failure: Exception | None = None
        self._lock = threading.Lock()
        self._versions = threading.Lock()
        self.entry = self.status()
        self._drafted = LocalFile(layer, self.entry, draft.descriptor)
        layer.opened(self)

    def __repr__(self) -> str:
        return f"<StagedFile {self.path!r}{', changed' if self._changed else ''}>"

    def status(self) -> Entry:
        """See `WritableFile.status`."""
        with self._versions:
            base = self._base_entry()
            if self._draft is None:
                return base or self.entry
            name = self._place.name
            entry = self._layer.entry_of(name, os.fstat(self._draft.descriptor))._replace(nlink=1)
            if self._filled or base is None:
                return entry._replace(volatile=False)
        return entry._replace(
            size_bytes=base.size_bytes, mtime_ns=base.mtime_ns, atime_ns=base.atime_ns, blocks=base.blocks
        )

    def read(self, span: ByteRange) -> bytes:
        """See `LayerFile.read`."""
        with self._lock:
            return self._current().read(span)

    def read_nowait(self, span: ByteRange) -> bytes | memoryview:
        """See `LayerFile.read_nowait`."""
        if not self._lock.acquire(blocking=False):
            raise WouldBlock(self._layer.name)
        try:
            return self._current().read_nowait(span)
        finally:
            self._lock.release()

    def write(self, offset: int, data: bytes | memoryview) -> int:
        """See `WritableFile.write`. A version that lacks what could not be written is not published."""
        with self._lock:
            try:
                base = self._base_entry()
                self._prepare(copy=bool(offset) or base is None or len(data) < base.size_bytes)
                localcalls.write_whole(self._drafted.fileno(), offset, data)
            except Exception as error:
                self._lacks(ByteRange(offset, offset + len(data)), error)
                raise
            self._settle()
            missing = self._missing
            if missing is not None and offset <= missing.start:
                rest = ByteRange(max(missing.start, offset + len(data)), missing.stop)
                self._missing = rest if rest.size_bytes else None
            return len(data)

    def truncate(self, size_bytes: int) -> None:
        """See `WritableFile.truncate`. Cut to nothing, the version before need not be copied."""
        with self._lock:
            self._prepare(copy=size_bytes > 0)
            os.ftruncate(self._drafted.fileno(), size_bytes)
            self._settle()
            if self._missing is not None and size_bytes <= self._missing.start:
                self._missing = None

    def change(self, change: Change) -> None:
        """See `WritableFile.change`."""
        with self._lock:
            self._prepare(copy=True)
            localattributes.apply(self._drafted.fileno(), change)
            self._settle()

    def flush(self) -> None:
        """See `WritableFile.flush`."""
        with self._lock:
            # Another machine may refuse what it has not been asked to keep yet.
            self._publish(durable=not self._layer.prompt)

    def sync(self) -> None:
        """See `WritableFile.sync`."""
        with self._lock:
            published = self._publish(durable=True)
            if self.path is not None and self._draft is None:
                if not published:
                    os.fsync(self._drafted.fileno())
                self._place.sync()

    def discard(self) -> None:
        """See `WritableFile.discard`."""
        with self._lock, self._versions:
            self._changed = False
            self._missing = None
            if self._draft is not None:
                os.ftruncate(self._draft.descriptor, 0)
                self._filled = self._base is None

    def move(self, path: str | None) -> None:
        """See `WritableFile.move`."""
        place = None
        if path is not None:
            with self._layer.answers(path):
                place = self._layer.place(path)
        with self._lock, self._versions:
            self.path = path
            if place is not None:
                self._place.close()
                self._place = place

    def close(self) -> None:
        """See `WritableFile.close`."""
        self._layer.forgotten(self)
        with self._lock, self._versions:
            if self._draft is not None:
                self._draft.abandon()
                self._draft = None
            self._drafted.close()
            if self._base is not None:
                self._base.close()
            self._place.close()

    def _current(self) -> LayerFile:
        """What is read."""
        if self._draft is not None and self._filled:
            return self._drafted
        return self._drafted if self._base is None else self._base

    def _base_entry(self) -> Entry | None:
        """What the version before is now: it may be one that others write in place."""
        if isinstance(self._base, LocalFile):
            return self._layer.entry_of(self._place.name, os.fstat(self._base.fileno()))
        return None if self._base is None else self._base.entry

    def _prepare(self, *, copy: bool) -> None:
        """There is a draft; with ``copy``, it holds at least what the version before holds."""
        if self._draft is None:
            self._begin()
        if copy and not self._filled:
            self._copy()
            with self._versions:
                self._filled = True

    def _settle(self) -> None:
        """The draft is what the file holds from now on."""
        with self._versions:
            self._filled = True
        self._changed = True

    def _begin(self) -> None:
        """Go on with a new version after the one that was published."""
        draft = self._layer.draft_like(self.path or "", self._place, self._drafted.fileno())
        with self._versions:
            self._draft, self._filled = draft, False
            self._drafted = LocalFile(self._layer, self.entry, draft.descriptor)
        self.entry = self.status()

    def _copy(self) -> None:
        descriptor, base = self._drafted.fileno(), self._base
        entry = self._base_entry()
        if base is None or entry is None:
            return
        try:
            localcalls.copy_file(base, descriptor)
        except BaseException:
            os.ftruncate(descriptor, 0)
            raise
        localcalls.set_times(localcalls.descriptor_path(descriptor), entry.atime_ns, entry.mtime_ns)

    def _lacks(self, span: ByteRange, error: Exception) -> None:
        if not self._filled and self._draft is not None:
            os.ftruncate(self._draft.descriptor, 0)
        if self._missing is not None:
            span = ByteRange(min(span.start, self._missing.start), max(span.stop, self._missing.stop))
        self._missing, self._failure = span, error

    def _publish(self, *, durable: bool) -> bool:
        if self.path is None:
            return False
        if self._missing is not None and self._failure is not None:
            code = errno_of(self._failure)
            raise OSError(code, os.strerror(code), self.path)
        if not self._changed:
            return False
        self._prepare(copy=True)
        draft, descriptor = self._draft, self._drafted.fileno()
        if draft is None:
            return False
        if durable:
            os.fsync(descriptor)
        with self._layer.answers(self.path), self._layer.own.publishing(self.path, descriptor):
            publish = draft.publish if self.replaces else draft.publish_new
            publish(self._place.directory, self._place.name)
        entry = self.status()
        with self._versions:
            before, self._base = self._base, self._drafted
            self._draft = None
            self._filled = False
        self._drafted.entry = entry
        self._changed = False
        if before is not None:
            before.close()
        return True

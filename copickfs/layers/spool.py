"""Contents of a file that is open for writing to a remote layer, on local disk."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from copickfs.errors import WouldBlock
from copickfs.model import BLOCK_BYTES, ByteRange, Entry

if TYPE_CHECKING:
    from collections.abc import Callable

    from copickfs.layers.base import LayerFile

_COPY_BYTES = 4 << 20


class Snapshot(NamedTuple):
    """A file on disk that holds one version and does not change.

    Attributes:
        file: Its name.
        size_bytes: Its length.
        mtime_ns: When it was last written.
        changes: The number of changes that are in it.
    """

    file: str
    size_bytes: int
    mtime_ns: int
    changes: int


class StagedFile:
    """Bytes that can be read and written anywhere, copied from their source no later than the first write.

    Thread-safe; nothing but a copy from the source waits for a network, and `size_bytes`, `mtime_ns`
    and `changes` can be read meanwhile.

    Args:
        new_name: Gives names for files in the spool.
        source: What is there at first; closed with this file.
        is_new: There is something to be published even if nothing is written.
        owns_source: Nobody else reads the source: it is closed as soon as it is not needed.

    Attributes:
        size_bytes: Length.
        mtime_ns: Time of the last change.
        changes: Counts the changes.
    """

    def __init__(
        self,
        new_name: Callable[[], str],
        source: LayerFile | None,
        *,
        is_new: bool,
        owns_source: bool = False,
    ) -> None:
        self._new_name = new_name
        self._source = source
        self._owns_source = owns_source
        self._lock = threading.RLock()
        self._file = ""
        self._descriptor: int | None = None
        self._is_frozen = False
        self.size_bytes = 0 if source is None else source.entry.size_bytes
        self.mtime_ns = source.entry.mtime_ns if source is not None and not is_new else time.time_ns()
        self.changes = int(is_new)

    def read(self, span: ByteRange) -> bytes:
        """The bytes of ``span``, fewer only at the end."""
        with self._lock:
            if self._descriptor is None:
                return b"" if self._source is None else self._source.read(span)
            return _pread(self._descriptor, span.start, min(span.stop, self.size_bytes))

    def read_nowait(self, span: ByteRange) -> bytes | memoryview:
        """The same if it is on local disk. Raises `WouldBlock`."""
        if not self._lock.acquire(blocking=False):
            raise WouldBlock("")
        try:
            if self._descriptor is None and self._source is not None:
                return self._source.read_nowait(span)
            return self.read(span)
        finally:
            self._lock.release()

    def write(self, offset: int, data: bytes | memoryview) -> int:
        """Write all of ``data``."""
        with self._lock:
            descriptor = self._own()
            view = memoryview(data)
            at = offset
            try:
                while view:
                    written = os.pwrite(descriptor, view, at)
                    at, view = at + written, view[written:]
            finally:
                if at > offset:
                    self._changed(max(self.size_bytes, at))
            return len(data)

    def truncate(self, size_bytes: int) -> None:
        """Cut or extend."""
        with self._lock:
            os.ftruncate(self._own(size_bytes), size_bytes)
            self._changed(size_bytes)

    def snapshot(self) -> Snapshot:
        """The contents as a file, which later writes leave alone."""
        with self._lock:
            self._own(thaw=False)
            self._is_frozen = True
            return Snapshot(self._file, self.size_bytes, self.mtime_ns, self.changes)

    def release(self, snapshot: Snapshot) -> None:
        """The snapshot is not needed any more."""
        with self._lock:
            if self._file == snapshot.file:
                self._is_frozen = False
                return
        with contextlib.suppress(FileNotFoundError):
            Path(snapshot.file).unlink()

    def give(self, snapshot: Snapshot) -> None:
        """The snapshot's file was taken away; what is written from now on goes to another one."""
        with self._lock:
            if self._file == snapshot.file:
                self._file = ""

    def reset(self, source: LayerFile | None) -> None:
        """Forget everything that was written: it holds what ``source`` does, or nothing."""
        with self._lock:
            self.close()
            self._source, self._owns_source, self._is_frozen = source, True, False
            self._changed(0 if source is None else source.entry.size_bytes)

    def close(self) -> None:
        """Let go of everything. Idempotent."""
        with self._lock:
            descriptor, self._descriptor = self._descriptor, None
            source, self._source = self._source, None
            file, self._file = self._file, ""
        if descriptor is not None:
            os.close(descriptor)
        if file:
            with contextlib.suppress(FileNotFoundError):
                Path(file).unlink()
        if source is not None:
            source.close()

    def _changed(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.mtime_ns = time.time_ns()
        self.changes += 1

    def _own(self, needed_bytes: int | None = None, *, thaw: bool = True) -> int:
        """The descriptor of a file that may be changed, with what is needed of the contents."""
        if self._descriptor is not None and not (self._is_frozen and thaw):
            return self._descriptor
        wanted = self.size_bytes if needed_bytes is None else min(self.size_bytes, needed_bytes)
        name = self._new_name()
        descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            if self._descriptor is not None:
                _copy(self._descriptor, descriptor, wanted)
            elif self._source is not None:
                self._fill(descriptor, self._source, wanted)
        except BaseException:
            os.close(descriptor)
            Path(name).unlink()
            raise
        if self._descriptor is not None:
            os.close(self._descriptor)  # the frozen file is its snapshot's from now on
        self._descriptor, self._file, self._is_frozen = descriptor, name, False
        if self._source is not None and self._owns_source:
            self._source.close()
            self._source = None
        return descriptor

    @staticmethod
    def _fill(descriptor: int, source: LayerFile, size_bytes: int) -> None:
        for start in range(0, size_bytes, _COPY_BYTES):
            data = source.read(ByteRange(start, min(start + _COPY_BYTES, size_bytes)))
            view = memoryview(data)
            at = start
            while view:
                written = os.pwrite(descriptor, view, at)
                at, view = at + written, view[written:]
        os.ftruncate(descriptor, size_bytes)


class SpooledFile:
    """An open file for reading whose contents are on local disk. Thread-safe.

    Args:
        file: Name of the file.
        entry: What it is shown as.
    """

    def __init__(self, file: str, entry: Entry) -> None:
        self.entry = entry
        self._lock = threading.Lock()
        self._descriptor: int | None = os.open(file, os.O_RDONLY | os.O_CLOEXEC)

    def read(self, span: ByteRange) -> bytes:
        """See `LayerFile.read`."""
        with self._lock:
            if self._descriptor is None:
                raise ValueError("the file is closed")
            return _pread(self._descriptor, span.start, span.stop)

    read_nowait = read

    def close(self) -> None:
        """See `LayerFile.close`."""
        with self._lock:
            descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def blocks_of(size_bytes: int) -> int:
    """Space on disk in units of 512 bytes."""
    return -(-size_bytes // BLOCK_BYTES)


def _pread(descriptor: int, start: int, stop: int) -> bytes:
    pieces = []
    while start < stop and (piece := os.pread(descriptor, min(stop - start, 1 << 30), start)):
        pieces.append(piece)
        start += len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _copy(source: int, target: int, size_bytes: int) -> None:
    at = 0
    while at < size_bytes:
        copied = os.copy_file_range(source, target, size_bytes - at, at, at)
        if not copied:
            break
        at += copied
    os.ftruncate(target, size_bytes)

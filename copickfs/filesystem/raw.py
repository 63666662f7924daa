"""Open files of layers as raw Python files, on which the buffered ones of `files` stand."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

from copickfs.filesystem.faults import changing, reading
from copickfs.model import ByteRange

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import ReadableBuffer, WriteableBuffer

    from copickfs.layers.base import LayerFile
    from copickfs.layers.writable import WritableFile


class RawFile(io.RawIOBase):
    """One open file of a layer as a raw Python file, for reading.

    Args:
        file: The layer's file; closed with this one.
        path: Its path in the tree.
    """

    def __init__(self, file: LayerFile, path: str) -> None:
        self._file = file
        self._position = 0
        self.name = path

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def size_bytes(self) -> int:
        """Length of the file by now."""
        return self._file.entry.size_bytes

    def tell(self) -> int:
        """The position, bytes from the start."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to ``offset`` bytes from the start, the position or the end."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position}.get(whence)
        position = offset + (self.size_bytes() if base is None else base)
        if position < 0:
            raise ValueError(f"negative seek position {position}")
        self._position = position
        return position

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read as much as there is, at most the length of ``buffer``."""
        view = memoryview(buffer).cast("B")
        data = self._read(len(view))
        view[: len(data)] = data
        return len(data)

    def readall(self) -> bytes:
        """Read to the end in one go."""
        return self._read(max(0, self.size_bytes() - self._position))

    def _read(self, size_bytes: int) -> bytes:
        with reading(self.name):
            data = self._file.read(ByteRange(self._position, self._position + size_bytes))
        self._position += len(data)
        return data

    def close(self) -> None:
        """Let go of the layer's file."""
        if not self.closed:
            self._file.close()
        super().close()


class RawVersion(RawFile):
    """A version of a file that is being written, as a raw Python file; `publish` shows it to everybody.

    Args:
        file: The layer's file.
        path: Its path in the tree.
        reads: It is open for reading as well.
        appends: Every write goes to the end.
        deferred: `close` does not publish: somebody calls `publish` or `discard` later.
        check: Called before the version is published; may raise.
    """

    _file: WritableFile

    def __init__(
        self,
        file: WritableFile,
        path: str,
        *,
        reads: bool,
        appends: bool,
        deferred: bool,
        check: Callable[[], None],
    ) -> None:
        super().__init__(file, path)
        self._reads = reads
        self._appends = appends
        self._deferred = deferred
        self._check = check
        self._pid = os.getpid()
        self._ended = False
        self._failed = False
        if appends:
            self._position = self.size_bytes()

    def readable(self) -> bool:
        """True if it was opened for both."""
        return self._reads

    def writable(self) -> bool:
        """True."""
        return True

    def size_bytes(self) -> int:
        """Length of what is written so far."""
        return self._file.status().size_bytes

    def write(self, data: ReadableBuffer) -> int:
        """Write all of ``data``; nothing any more once the version was discarded."""
        view = memoryview(data).cast("B")
        if self._is_over():
            return len(view)
        if self._appends:
            self._position = self.size_bytes()
        try:
            with changing(self.name):
                written = self._file.write(self._position, view)
        except BaseException:
            self._failed = True  # what lacks a part must not be shown
            raise
        self._position += written
        return written

    def truncate(self, size: int | None = None) -> int:
        """Cut or extend to ``size`` bytes, or to the position."""
        size = self._position if size is None else size
        if not self._is_over():
            with changing(self.name):
                self._file.truncate(size)
        return size

    def publish(self) -> None:
        """Show the version under its name, in one step, unless a write failed. Idempotent."""
        if self._is_over():
            return
        if self._failed:
            self.discard()
            return
        try:
            with changing(self.name):
                self._check()
                self._file.flush()
        except BaseException:
            self.discard()
            raise
        self._ended = True
        self._file.close()

    def discard(self) -> None:
        """Give the version up: what was there before stays. Idempotent."""
        if not self._is_over():
            self._ended = True
            self._file.discard()
            self._file.close()

    def close(self) -> None:
        """Publish, unless that is left to somebody else."""
        if self.closed:
            return
        try:
            if not self._deferred:
                self.publish()
        finally:
            io.RawIOBase.close(self)

    def _is_over(self) -> bool:
        """True if nothing more happens here; a forked child never goes on with a file of its parent's."""
        return self._ended or os.getpid() != self._pid

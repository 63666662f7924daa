"""The files that programs get: for reading, and for writing with all of it published at the end."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from types import FrameType, TracebackType

    from _typeshed import ReadableBuffer

    from copickfs.filesystem.tree import CopickFileSystem


class _Described:
    """What programs ask of a file of fsspec's beyond Python's own."""

    raw: Any
    fs: CopickFileSystem
    path: str
    blocksize: int

    def describe(self, fs: CopickFileSystem, path: str, mode: str, blocksize: int) -> Self:
        """Remember where the file comes from."""
        self.fs, self.path, self._mode, self.blocksize = fs, path, mode, blocksize
        return self

    @property
    def mode(self) -> str:
        """As it was opened."""
        return self._mode

    @property
    def size(self) -> int:
        """Length in bytes."""
        size_bytes: int = self.raw.size_bytes()
        return size_bytes

    @property
    def full_name(self) -> str:
        """The URL."""
        return str(self.fs.unstrip_protocol(self.path))


class ReadFile(_Described, io.BufferedReader):
    """A file that is read. Pickled, it is opened again at the same position."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (self.fs, self.path, self.blocksize, 0 if self.closed else self.tell())


def _reopened(fs: CopickFileSystem, path: str, blocksize: int, position: int) -> ReadFile:
    file: ReadFile = fs.open(path, "rb", block_size=blocksize)
    file.seek(position)
    return file


class _Published(_Described):
    """A file that is published when it is closed, and not at all if its ``with`` block failed."""

    closed: bool

    def describe(self, fs: CopickFileSystem, path: str, mode: str, blocksize: int) -> Self:
        """Remember where the file comes from, and what was going wrong already when it was opened."""
        self._handled = sys.exception()
        return super().describe(fs, path, mode, blocksize)

    def commit(self) -> None:
        """Publish, after `close` left that to a transaction."""
        self.raw.publish()

    def discard(self) -> None:
        """Publish nothing."""
        self.raw.discard()

    def close(self) -> None:
        """Publish what was written."""
        if not self.closed:
            if _is_left_by_error(self._handled):
                self.raw.discard()
            self._handled = None
        super().close()  # type: ignore[misc]  # of the buffered file that this is mixed into

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.raw.discard()
        self.close()


class WriteFile(_Published, io.BufferedWriter):
    """A file that is written."""


class UpdateFile(_Published, io.BufferedRandom):  # type: ignore[override]  # typeshed lets a mode be set
    """A file that is read and written."""


class TextFile(io.TextIOWrapper):
    """Text of one of these files."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and self.writable():
            self.buffer.discard()  # type: ignore[attr-defined]  # one of the files above
        self.close()


class CompressedFile(io.BufferedIOBase):
    """Compresses what is written to one of these files, and closes it.

    Args:
        compressor: A file that writes to ``file``.
        file: Published, or not, with this one.
    """

    def __init__(self, compressor: Any, file: WriteFile) -> None:
        self._compressor = compressor
        self._file = file

    def writable(self) -> bool:
        """True."""
        return True

    def write(self, data: ReadableBuffer) -> int:
        """Compress all of ``data``."""
        self._compressor.write(data)
        return memoryview(data).nbytes

    def discard(self) -> None:
        """Publish nothing."""
        self._file.discard()

    def close(self) -> None:
        """Write what is left, and publish."""
        if self.closed:
            return
        try:
            self._compressor.close()
            self._file.close()
        finally:
            super().close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.discard()
        self.close()


def _is_left_by_error(handled: BaseException | None) -> bool:
    """True if an exception is leaving a context that closes the file without telling it.

    The contexts of ``fsspec.open`` and of pandas do so. ``handled`` is what was being handled when the file
    was opened: a file that is written because of an error is published like any other.
    """
    error = sys.exception()
    if error is None or error is handled:
        return False
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 -- there is no other way to know
    while frame is not None:
        if frame.f_code.co_name == "__exit__":
            for value in frame.f_locals.values():
                if value is error or (isinstance(value, tuple) and any(item is error for item in value)):
                    return True
        frame = frame.f_back
    return False

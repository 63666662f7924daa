"""Open files of a remote layer that stay what they were when this daemon replaces or removes them.

A source knows files by name only. So before a name is given to something else, what is open of it is
fetched to local disk; what others do to it is told as `Stale`, as ever.
"""

from __future__ import annotations

import contextlib
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

from copickfs.errors import CopickfsError
from copickfs.layers.spool import SpooledFile
from copickfs.model import ByteRange

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from copickfs.layers.base import LayerFile

PINNED_BYTES = 64 << 20
"""Larger files are not fetched: whoever reads one that is replaced is told `Stale`."""

_PIECE_BYTES = 4 << 20


class PinnedFile:
    """An open file of the source, or its copy on local disk. Thread-safe.

    Args:
        file: The file of the source.
    """

    def __init__(self, file: LayerFile) -> None:
        self.entry = file.entry
        self._lock = threading.Lock()
        self._file: LayerFile = file
        self._is_closed = False

    def read(self, span: ByteRange) -> bytes:
        """See `LayerFile.read`."""
        return self._file.read(span)

    def read_nowait(self, span: ByteRange) -> bytes | memoryview:
        """See `LayerFile.read_nowait`."""
        return self._file.read_nowait(span)

    def close(self) -> None:
        """See `LayerFile.close`."""
        with self._lock:
            self._is_closed = True
            self._file.close()

    def pin(self, new_name: Callable[[], str]) -> None:
        """Go on with a copy on local disk. Raises what the source, or the disk, says."""
        if self._is_closed or isinstance(self._file, SpooledFile) or self.entry.size_bytes > PINNED_BYTES:
            return
        name = Path(new_name())
        try:
            with name.open("xb") as target:
                for start in range(0, self.entry.size_bytes, _PIECE_BYTES):
                    stop = min(start + _PIECE_BYTES, self.entry.size_bytes)
                    target.write(self._file.read(ByteRange(start, stop)))
            copy = SpooledFile(str(name), self.entry)
        finally:
            name.unlink(missing_ok=True)
        with self._lock:
            before, self._file = self._file, copy
            left = copy if self._is_closed else before
        left.close()


class OpenFiles:
    """The open files of one layer, by their path at the source. Thread-safe.

    Args:
        new_name: Gives names for files in the spool.
    """

    def __init__(self, new_name: Callable[[], str]) -> None:
        self._new_name = new_name
        self._lock = threading.Lock()
        self._files: dict[str, weakref.WeakSet[PinnedFile]] = {}
        self._changing: list[str] = []

    def opened(self, source_path: str, file: LayerFile) -> PinnedFile:
        """The file, which can be pinned from now on."""
        pinned = PinnedFile(file)
        with self._lock:
            self._files.setdefault(source_path, weakref.WeakSet()).add(pinned)
            if len(self._files) % 1_000 == 0:
                self._files = {path: files for path, files in self._files.items() if files}
        return pinned

    def is_changing(self, source_path: str) -> bool:
        """True while this daemon changes what has this name, or what it is in."""
        with self._lock:
            return any(f"{source_path}/".startswith(path + "/") for path in self._changing)

    @contextlib.contextmanager
    def changing(self, *source_paths: str) -> Iterator[None]:
        """Around a change of what has these names: first, what is open of it is fetched."""
        for path in source_paths:
            self._pin(path)
        with self._lock:
            self._changing += source_paths
        try:
            yield
        finally:
            with self._lock:
                for path in source_paths:
                    self._changing.remove(path)

    def _pin(self, source_path: str) -> None:
        with self._lock:
            chosen = [
                file
                for path, files in self._files.items()
                if f"{path}/".startswith(source_path + "/")
                for file in files
            ]
            self._files = {
                path: files
                for path, files in self._files.items()
                if not f"{path}/".startswith(source_path + "/")
            }
        for file in chosen:
            with contextlib.suppress(OSError, CopickfsError):
                file.pin(self._new_name)

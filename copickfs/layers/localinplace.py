"""A file of a local layer that is written in place: everybody sees each write."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from copickfs.layers import localattributes, localcalls
from copickfs.layers.localfile import LocalFile

if TYPE_CHECKING:
    from copickfs.layers.localwrite import WritableLocalLayer
    from copickfs.layers.writable import Change
    from copickfs.model import Entry


class InPlaceFile(LocalFile):
    """See `copickfs.layers.writable.WritableFile`.

    Args:
        layer: The layer.
        path: Where it is.
        entry: What was opened.
        descriptor: The open file; closed with this one.

    Attributes:
        whole: False.
        replaces: See `WritableFile`; of no meaning here.
        path: Where it is by now; None if it was removed.
    """

    _layer: WritableLocalLayer
    whole = False
    replaces = True

    def __init__(self, layer: WritableLocalLayer, path: str, entry: Entry, descriptor: int) -> None:
        super().__init__(layer, entry, descriptor)
        self.path: str | None = path
        self._lock = threading.Lock()
        layer.opened(self)

    def __repr__(self) -> str:
        return f"<InPlaceFile {self.path!r}>"

    def status(self) -> Entry:
        """See `WritableFile.status`."""
        return self._layer.entry_of(self.entry.name, os.fstat(self._descriptor))

    def write(self, offset: int, data: bytes | memoryview) -> int:
        """See `WritableFile.write`."""
        with self._lock, self._layer.own.writing(self.path, self._descriptor):
            return localcalls.write(self._descriptor, offset, data)

    def truncate(self, size_bytes: int) -> None:
        """See `WritableFile.truncate`."""
        with self._lock, self._layer.own.writing(self.path, self._descriptor):
            os.ftruncate(self._descriptor, size_bytes)

    def change(self, change: Change) -> None:
        """See `WritableFile.change`."""
        with self._lock, self._layer.own.writing(self.path, self._descriptor):
            localattributes.apply(self._descriptor, change)

    def flush(self) -> None:
        """See `WritableFile.flush`. The kernel has it all; another machine may not take it."""
        if not self._layer.prompt:
            with self._lock:
                os.close(os.dup(self._descriptor))

    def sync(self) -> None:
        """See `WritableFile.sync`."""
        os.fsync(self._descriptor)

    def discard(self) -> None:
        """See `WritableFile.discard`."""

    def move(self, path: str | None) -> None:
        """See `WritableFile.move`."""
        self.path = path

    def close(self) -> None:
        """See `WritableFile.close`."""
        self._layer.forgotten(self)
        with self._lock:  # what is being written must not go on in another file, which gets the number
            super().close()

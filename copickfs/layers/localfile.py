"""An open file of a local layer."""

from __future__ import annotations

import errno
import mmap
import os
import threading
from typing import TYPE_CHECKING

from copickfs.errors import WouldBlock
from copickfs.layers.residence import is_resident

if TYPE_CHECKING:
    from copickfs.layers.local import LocalLayer
    from copickfs.model import ByteRange, Entry

_scratch = threading.local()


def _scratch_view(size_bytes: int) -> memoryview:
    """A buffer of this thread, used again by every call: a fresh one costs more than reading into it."""
    view: memoryview | None = getattr(_scratch, "view", None)
    if view is None or len(view) < size_bytes:
        view = _scratch.view = memoryview(bytearray(max(size_bytes, 1 << 20)))
    return view[:size_bytes]


class LocalFile:
    """An open descriptor: the file that was opened, also after it was renamed, replaced or removed."""

    def __init__(self, layer: LocalLayer, entry: Entry, descriptor: int) -> None:
        self.entry = entry
        self._layer = layer
        self._descriptor = descriptor

    def read(self, span: ByteRange) -> bytes:
        """See `LayerFile.read`."""
        data = os.pread(self._descriptor, span.stop - span.start, span.start)
        while len(data) < span.stop - span.start:
            more = os.pread(self._descriptor, span.stop - span.start - len(data), span.start + len(data))
            if not more:
                break
            data += more
        self._layer.bytes_read += len(data)
        return data

    def read_nowait(self, span: ByteRange) -> memoryview:
        """See `LayerFile.read_nowait`: only what the page cache holds, and without waiting for a disk."""
        inline = self._layer.inline_reads
        if inline is False:
            raise WouldBlock(self._layer.name)
        view = _scratch_view(span.stop - span.start)
        if inline:
            size = os.preadv(self._descriptor, [view], span.start)
        else:
            size = self._read_resident(view, span.start)
        self._layer.bytes_read += size
        return view[:size]

    def _read_resident(self, view: memoryview, start: int) -> int:
        """Fill ``view`` from the page cache.

        Raises:
            WouldBlock: Not all of it is there.
        """
        done = self._read_without_waiting(view, start)
        while done < len(view):
            here = start + done
            if here >= os.fstat(self._descriptor).st_size:
                break  # the end of the file
            page = view[done : done + mmap.PAGESIZE]
            # Where the kernel has marked a page for its read-ahead it stops, although the page is there.
            if not done or not is_resident(self._descriptor, here, here + len(page)):
                raise WouldBlock(self._layer.name)
            done += os.preadv(self._descriptor, [page], here)
            done += self._read_without_waiting(view[done:], start + done)
        return done

    def _read_without_waiting(self, view: memoryview, start: int) -> int:
        try:
            return os.preadv(self._descriptor, [view], start, os.RWF_NOWAIT)
        except BlockingIOError:
            return 0
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise
            self._layer.inline_reads = False
            raise WouldBlock(self._layer.name) from None

    def fileno(self) -> int:
        """The descriptor; -1 once it is closed."""
        return self._descriptor

    def close(self) -> None:
        """See `LayerFile.close`."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

"""One open MRC file: ranges of bytes, of the header and of the voxels."""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from copickfs.errors import WouldBlock
from copickfs.model import ByteRange
from copickfs.virtual.volumes import statistics
from copickfs.virtual.volumes.ahead import Walk
from copickfs.virtual.volumes.boxes import boxes
from copickfs.virtual.volumes.header import HEADER_BYTES, header

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from copickfs.virtual.project import Facts, Statistics
    from copickfs.virtual.volumes.plans import Plan
    from copickfs.virtual.volumes.sharing import Sharing
    from copickfs.virtual.volumes.volume import SharedVolume


class MrcContents:
    """The contents of one file. Thread-safe. See `copickfs.virtual.rendering.Contents`.

    Args:
        plan: The file.
        volume: Its voxels.
        coarsest: The coarsest level of the same pyramid.
        facts: What is known of the project.
        sharing: What all volumes share.
        release: Called once with each of the volumes when they are not needed any more.
    """

    def __init__(
        self,
        plan: Plan,
        volume: SharedVolume,
        coarsest: SharedVolume,
        facts: Facts,
        sharing: Sharing,
        release: Callable[[SharedVolume], None],
    ) -> None:
        self._plan = plan
        self._volume = volume
        self._coarsest = coarsest
        self._facts = facts
        self._ahead = sharing.ahead
        self._release = release
        self._walk = Walk(volume, lambda: sharing.ahead_bytes)
        self._header: bytes | None = None
        self._lock = threading.Lock()
        self._is_closed = False

    def __repr__(self) -> str:
        return f"<MrcContents {self._plan.name} of {self._volume.name}>"

    def read(self, span: ByteRange) -> bytes | memoryview:
        """See `Contents.read`.

        Raises:
            Unreadable: A chunk is broken, or has a value that the file cannot have.
            Stale: The array is not what it was when the file was opened.
            Transient: A layer is out of reach.
        """
        return self._read(span, wait=True)

    def read_nowait(self, span: ByteRange) -> bytes | memoryview:
        """See `Contents.read_nowait`."""
        return self._read(span, wait=False)

    def close(self) -> None:
        """See `Contents.close`."""
        with self._lock:
            was_closed, self._is_closed = self._is_closed, True
        if not was_closed:
            self._ahead.remove(self._walk)
            self._release(self._volume)
            self._release(self._coarsest)

    def _read(self, span: ByteRange, *, wait: bool) -> bytes | memoryview:
        start, stop = span.start, min(span.stop, self._plan.size_bytes)
        if start >= stop:
            return b""
        begin, end = max(0, start - HEADER_BYTES), max(0, stop - HEADER_BYTES)
        if not end:
            return self._head(wait=wait)[start:stop]
        if self._walk.read(ByteRange(begin, end)):
            self._ahead.note(self._walk)
        voxels = self._voxels(begin, end, wait=wait)
        if start >= HEADER_BYTES:
            return voxels
        return self._head(wait=wait)[start:] + voxels

    def _voxels(self, begin: int, end: int, *, wait: bool) -> memoryview:
        """A range of the bytes that follow the header, of whole planes where they are in memory."""
        plane_bytes = math.prod(self._volume.shape[1:]) * self._volume.dtype.itemsize
        found = []
        while begin < end:
            slab = self._volume.slab(begin // plane_bytes, wait=wait)
            start, stop = slab.start * plane_bytes, min(end, slab.stop * plane_bytes)
            whole = self._volume.whole(slab, wait=wait)
            if whole is None:
                found.append(self._gathered(begin, stop, wait=wait))
            else:
                found.append(whole.read(begin - start, stop - start))
            begin = stop
        return found[0] if len(found) == 1 else memoryview(b"".join(found))

    def _gathered(self, begin: int, end: int, *, wait: bool) -> memoryview:
        """The same, put together of tiles."""
        itemsize = self._volume.dtype.itemsize
        first, last = begin // itemsize, -(-end // itemsize)
        found: NDArray[Any] = np.empty(last - first, self._volume.dtype)
        done = 0
        for box in boxes(first, last, self._volume.shape):
            self._volume.copy(box, found[done : done + box.voxels].reshape(box.shape), wait=wait)
            done += box.voxels
        return found.view(np.uint8).data[begin - first * itemsize : end - first * itemsize]

    def _head(self, *, wait: bool) -> bytes:
        if self._header is None:
            if not wait:
                raise WouldBlock
            self._header = header(
                self._plan.shape,
                self._plan.dtype,
                voxel_size_angstrom=self._plan.voxel_size_angstrom,
                origin_angstrom=self._plan.level.translation_angstrom,
                statistics=self._volume.described(self._find_statistics),
            )
        return self._header

    def _find_statistics(self) -> Statistics | None:
        volume = self._volume
        exact = statistics.known(volume, self._facts)
        return exact or volume.estimate or statistics.estimated(volume, self._coarsest)

"""An open file of a remote layer."""

from __future__ import annotations

import errno
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from copickfs.errors import Stale, WouldBlock
from copickfs.layers.flight import SingleFlight
from copickfs.layers.sources import RangesIgnored
from copickfs.model import ByteRange, Entry

if TYPE_CHECKING:
    from collections.abc import Callable

BLOCK_BYTES = 1 << 20
"""What is fetched at a time; the kernel asks for an eighth of it."""

WHOLE_BYTES = 8 << 20
"""A file up to this size is fetched in one request."""

WHOLE_LIMIT_BYTES = 64 << 20
"""The same for servers that send nothing but whole files; larger ones cannot be read from those."""

KEPT_BLOCKS = 4


class RemoteFile:
    """The version of a file that was there when it was opened, and its last few blocks. Thread-safe.

    Args:
        entry: What was opened.
        fetch: Exactly the bytes of a range of that version; raises `Stale` and `Transient`.
        stale: Called when the source was seen to have another version.
    """

    def __init__(self, entry: Entry, fetch: Callable[[ByteRange], bytes], stale: Callable[[], None]) -> None:
        self.entry = entry
        self._fetch = fetch
        self._stale = stale
        self._block_bytes = entry.size_bytes if entry.size_bytes <= WHOLE_BYTES else BLOCK_BYTES
        self._lock = threading.Lock()
        self._blocks: OrderedDict[ByteRange, bytes] = OrderedDict()
        self._flights = SingleFlight()

    def read(self, span: ByteRange) -> bytes:
        """See `LayerFile.read`. A range of a block or more goes to the source as it is."""
        start, stop = span.start, min(span.stop, self.entry.size_bytes)
        if start >= stop:
            return b""
        try:
            if self._block_bytes == BLOCK_BYTES and stop - start >= BLOCK_BYTES:
                return self._fetch(ByteRange(start, stop))
            return self._joined(start, stop, self._block)
        except RangesIgnored:
            self._take_whole()
            return self._joined(start, stop, self._block)
        except Stale:
            self._stale()
            raise

    def read_nowait(self, span: ByteRange) -> bytes:
        """See `LayerFile.read_nowait`: only what the last blocks hold."""
        start, stop = span.start, min(span.stop, self.entry.size_bytes)
        return self._joined(start, stop, self._block_at_hand) if start < stop else b""

    def close(self) -> None:
        """See `LayerFile.close`."""
        with self._lock:
            self._blocks.clear()

    def _joined(self, start: int, stop: int, block_of: Callable[[ByteRange], bytes]) -> bytes:
        size = self._block_bytes
        pieces = []
        for first in range(start // size * size, stop, size):
            block = block_of(ByteRange(first, min(first + size, self.entry.size_bytes)))
            pieces.append(block[max(0, start - first) : stop - first])
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _block_at_hand(self, span: ByteRange) -> bytes:
        with self._lock:
            block = self._blocks.get(span)
        if block is None:
            raise WouldBlock(self.entry.layer)
        return block

    def _block(self, span: ByteRange) -> bytes:
        with self._lock:
            block = self._blocks.get(span)
            if block is not None:
                self._blocks.move_to_end(span)
                return block
        return self._flights.run(span, lambda: self._fetched(span))

    def _fetched(self, span: ByteRange) -> bytes:
        with self._lock:
            landed = self._blocks.get(span)  # by another flight, after this reader had looked
        if landed is not None:
            return landed
        block = self._fetch(span)
        with self._lock:
            self._blocks[span] = block
            while len(self._blocks) > KEPT_BLOCKS:
                self._blocks.popitem(last=False)
        return block

    def _take_whole(self) -> None:
        """The server sends whole files only."""
        if self.entry.size_bytes > WHOLE_LIMIT_BYTES:
            raise OSError(
                errno.EOPNOTSUPP,
                f"layer {self.entry.layer}: the server cannot send a part of {self.entry.name!r}, and "
                f"{self.entry.size_bytes} bytes are too many to fetch at once",
            )
        self._block_bytes = self.entry.size_bytes

"""An open file of a remote layer."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from copickfs.cache.piece import piece_bytes
from copickfs.errors import Stale, WouldBlock
from copickfs.layers.sources import RangesIgnored
from copickfs.model import ByteRange, Entry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from copickfs.cache import Piece
    from copickfs.layers.pieces import Pieces
    from copickfs.layers.sources import Found

WHOLE_LIMIT_BYTES = 64 << 20
"""A file up to this size is fetched whole from servers that send nothing else; larger ones cannot be read."""


_NOTHING: Mapping[int, bytes] = {}


class RemoteFile:
    """The version of a file that was there when it was opened. Thread-safe.

    Args:
        entry: What was opened.
        path: Where it is at the source.
        found: What the source has there.
        pieces: Reads it.
        stale: Called when the source was seen to have another version.
    """

    def __init__(
        self, entry: Entry, path: str, found: Found, pieces: Pieces, stale: Callable[[], None]
    ) -> None:
        self.entry = entry
        self._path = path
        self._found = found
        self._pieces = pieces
        self._stale = stale
        self._version = pieces.version_of(found)
        self._piece_bytes = piece_bytes(entry.size_bytes)
        # The piece read last stays, for the kernel asks for it in parts; the rest is the cache's.
        self._last: tuple[int, bytes] = (-1, b"")

    def read(self, span: ByteRange) -> bytes:
        """See `LayerFile.read`."""
        start, stop = span.start, min(span.stop, self.entry.size_bytes)
        if start >= stop:
            return b""
        try:
            return self._joined(start, stop, self._pieces.get, self._together(start, stop))
        except RangesIgnored:
            self._take_whole()
            return self._joined(start, stop, self._pieces.get)
        except Stale:
            self._stale()
            raise

    def read_nowait(self, span: ByteRange) -> bytes:
        """See `LayerFile.read_nowait`: only what is in memory."""
        start, stop = span.start, min(span.stop, self.entry.size_bytes)
        return self._joined(start, stop, self._at_hand) if start < stop else b""

    def is_kept(self) -> bool:
        """True if all of it is in the cache, as one piece."""
        return self._piece_bytes >= self.entry.size_bytes and self._pieces.is_kept(self._piece(0))

    def close(self) -> None:
        """See `LayerFile.close`."""
        self._last = (-1, b"")

    def _together(self, start: int, stop: int) -> dict[int, bytes]:
        """What of a long range is not here yet, by first byte."""
        starts = self._starts(start, stop)
        if len(starts) <= 1:
            return {}
        return self._pieces.get_together([self._piece(first) for first in starts], self._found)

    def _joined(
        self,
        start: int,
        stop: int,
        get: Callable[[Piece, Found], bytes],
        ready: Mapping[int, bytes] = _NOTHING,
    ) -> bytes:
        parts = []
        for first in self._starts(start, stop):
            at, data = self._last
            if at != first:
                data = ready.get(first) or get(self._piece(first), self._found)
                self._last = (first, data)
            parts.append(data[max(0, start - first) : stop - first])
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _starts(self, start: int, stop: int) -> range:
        size = self._piece_bytes
        return range(start // size * size, stop, size)

    def _piece(self, first: int) -> Piece:
        size = self.entry.size_bytes
        span = ByteRange(first, min(first + self._piece_bytes, size))
        return self._pieces.piece(self._path, self._version, span, size)

    def _at_hand(self, piece: Piece, found: Found) -> bytes:
        data = self._pieces.get_nowait(piece, found)
        if data is None:
            raise WouldBlock(self.entry.layer)
        return data

    def _take_whole(self) -> None:
        """The server sends whole files only."""
        if self.entry.size_bytes > WHOLE_LIMIT_BYTES:
            raise OSError(
                errno.EOPNOTSUPP,
                f"layer {self.entry.layer}: the server cannot send a part of {self.entry.name!r}, and "
                f"{self.entry.size_bytes} bytes are too many to fetch at once",
            )
        self._last = (-1, b"")
        self._piece_bytes = self.entry.size_bytes

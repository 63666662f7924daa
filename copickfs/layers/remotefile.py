"""An open file of a remote layer."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, NamedTuple

from copickfs.cache.piece import piece_bytes
from copickfs.errors import Stale, Unavailable, WouldBlock
from copickfs.layers.sources import RangesIgnored
from copickfs.model import ByteRange, Entry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from copickfs.cache import Piece
    from copickfs.layers.pieces import Pieces
    from copickfs.layers.sources import Found

WHOLE_LIMIT_BYTES = 64 << 20
"""A file up to this size is fetched whole from servers that send nothing else; larger ones cannot be read."""


class Part(NamedTuple):
    """A part of a file that `RemoteFile.keep` has come to.

    Attributes:
        size_bytes: Its length.
        was_kept: It was on the disk before.
        is_kept: It is there now.
    """

    size_bytes: int
    was_kept: bool
    is_kept: bool


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
            return self._joined(start, stop, self._pieces.get)
        except RangesIgnored:
            self._take_whole()
            return self._joined(start, stop, self._pieces.get)
        except Stale:
            self._stale()
            raise
        except Unavailable:
            if not self._may_be_one or not self._pieces.kept(self._piece(0, self.entry.size_bytes)):
                raise
            self._take_whole()  # as it was when the server could be asked
            return self._joined(start, stop, self._pieces.get)

    def read_nowait(self, span: ByteRange) -> bytes:
        """See `LayerFile.read_nowait`: only what is in memory."""
        start, stop = span.start, min(span.stop, self.entry.size_bytes)
        return self._joined(start, stop, self._at_hand) if start < stop else b""

    def close(self) -> None:
        """See `LayerFile.close`."""
        self._last = (-1, b"")

    @property
    def is_lasting(self) -> bool:
        """True if the source names the version in a way that another process understands."""
        return self._piece(0).is_lasting

    def is_kept(self) -> bool:
        """True if all of it is on the disk of the cache. Costs no request."""
        size_bytes = self.entry.size_bytes
        whole = self._piece(0, size_bytes)
        return set(range(0, size_bytes, self._piece_bytes)) <= self._pieces.kept(self._piece(0)) or (
            self._may_be_one and self._pieces.kept(whole) == {0}
        )

    def keep(self) -> Iterator[Part]:
        """Have all of it on the disk of the cache, and tell of each part; what is there costs no request.

        Raises:
            Stale: The source has changed since the file was opened.
            Transient: The source is out of reach.
        """
        if self.is_kept():
            yield Part(self.entry.size_bytes, was_kept=True, is_kept=True)
            return
        try:
            yield from self._keep_missing()
        except RangesIgnored:
            self._take_whole()
            yield from self._keep_missing()
        except Stale:
            self._stale()
            raise

    def _keep_missing(self) -> Iterator[Part]:
        here = self._pieces.kept(self._piece(0))
        for start in range(0, self.entry.size_bytes, self._piece_bytes):
            piece = self._piece(start)
            is_kept = start in here or self._pieces.keep(piece, self._found)
            yield Part(piece.size_bytes, start in here, is_kept)

    @property
    def _may_be_one(self) -> bool:
        """True if it may be one piece though it is a large file, from a server that sends nothing else."""
        return self._piece_bytes < self.entry.size_bytes <= WHOLE_LIMIT_BYTES

    def _piece(self, start: int, size_bytes: int = 0) -> Piece:
        object_bytes = self.entry.size_bytes
        span = ByteRange(start, min(start + (size_bytes or self._piece_bytes), object_bytes))
        return self._pieces.piece(self._path, self._version, span, object_bytes)

    def _joined(self, start: int, stop: int, get: Callable[[Piece, Found], bytes]) -> bytes:
        size = self._piece_bytes
        parts = []
        for first in range(start // size * size, stop, size):
            at, data = self._last
            if at != first:
                data = get(self._piece(first), self._found)
                self._last = (first, data)
            parts.append(data[max(0, start - first) : stop - first])
        return parts[0] if len(parts) == 1 else b"".join(parts)

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

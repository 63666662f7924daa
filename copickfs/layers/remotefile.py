"""An open file of a remote layer."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, NamedTuple

from copickfs.cache.piece import piece_bytes
from copickfs.errors import Stale, Unavailable, WouldBlock
from copickfs.layers.pieces import runs
from copickfs.layers.sources import RangesIgnored
from copickfs.model import ByteRange, Entry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from copickfs.cache import Piece
    from copickfs.layers.pieces import Pieces
    from copickfs.layers.sources import Found

WHOLE_LIMIT_BYTES = 64 << 20
"""A file up to this size is fetched whole from servers that send nothing else; larger ones cannot be read."""


_NOTHING: Mapping[int, bytes] = {}


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
            return self._joined(start, stop, self._pieces.get, self._together(start, stop))
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

    def is_at_hand(self) -> bool:
        """True if it is one piece, and that is in memory or on the disk of the cache."""
        return self._piece_bytes >= self.entry.size_bytes and self._pieces.holds(self._piece(0))

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
        pieces = [self._piece(start) for start in self._starts(0, self.entry.size_bytes)]
        for piece in pieces:
            if piece.start in here:
                yield Part(piece.size_bytes, was_kept=True, is_kept=True)
        for run in runs([piece for piece in pieces if piece.start not in here]):
            for piece, is_kept in self._pieces.keep(run, self._found):
                yield Part(piece.size_bytes, was_kept=False, is_kept=is_kept)

    @property
    def _may_be_one(self) -> bool:
        """True if it may be one piece though it is a large file, from a server that sends nothing else."""
        return self._piece_bytes < self.entry.size_bytes <= WHOLE_LIMIT_BYTES

    def _piece(self, start: int, size_bytes: int = 0) -> Piece:
        object_bytes = self.entry.size_bytes
        span = ByteRange(start, min(start + (size_bytes or self._piece_bytes), object_bytes))
        return self._pieces.piece(self._path, self._version, span, object_bytes)

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

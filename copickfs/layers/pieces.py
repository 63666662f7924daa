"""The contents of a remote layer's files: from the cache, or once from the source for all who ask.

A piece is named by the version that its object was listed in, so that bytes of two versions never meet.
Where a source tells nothing that changes with the contents, or the file has changed in these very seconds
(times have no better grain), nothing is kept beyond the open file.
"""

from __future__ import annotations

import itertools
import threading
import time
from typing import TYPE_CHECKING

from copickfs.cache import Piece
from copickfs.errors import Transient
from copickfs.layers.flight import SingleFlight
from copickfs.model import ByteRange

if TYPE_CHECKING:
    from collections.abc import Callable

    from copickfs.cache import Cache
    from copickfs.layers.sources import Found

SETTLED_NS = 2_000_000_000
"""A file that was changed less than this ago may be changed again without looking any different."""

_UNNAMED = "#"


class Pieces:
    """Reads pieces for the open files of one layer. Thread-safe.

    Args:
        cache: Where they are kept.
        source: The name of the layer's root in it.
        read: Exactly the bytes of a range of the version that was found; raises `Stale` and `Transient`.
        immutable: Nothing there ever changes.

    Attributes:
        cache: As given.
        on_use: Called with each path and piece that a reader comes to, from any thread; must not wait.
        hits: Pieces that readers found in the cache.
        misses: Pieces that had to be fetched for readers.
        hit_bytes: Length of the former.
    """

    def __init__(
        self,
        cache: Cache,
        source: str,
        read: Callable[[str, ByteRange, Found], bytes],
        *,
        immutable: bool = False,
    ) -> None:
        self.cache = cache
        self.on_use: Callable[[Piece, Found], None] | None = None
        self.hits = 0
        self.misses = 0
        self.hit_bytes = 0
        self._source = source
        self._read = read
        self._immutable = immutable
        self._flights = SingleFlight()
        self._lock = threading.Lock()
        self._openings = itertools.count()

    def version_of(self, found: Found) -> str:
        """What names the version that was found: of no use for another open file if nothing tells it."""
        if found.etag:
            return f"{found.etag}:{found.size_bytes:x}"
        is_settled = 0 < found.mtime_ns < time.time_ns() - SETTLED_NS
        if self._immutable or is_settled:
            return f"{found.mtime_ns:x}:{found.size_bytes:x}"
        return f"{_UNNAMED}{next(self._openings)}"

    def piece(self, path: str, version: str, span: ByteRange, object_bytes: int) -> Piece:
        """A range of a version of a file of this layer."""
        is_lasting = not version.startswith(_UNNAMED)
        return Piece(self._source, path, version, span.start, span.stop, object_bytes, is_lasting)

    def get_nowait(self, piece: Piece, found: Found) -> bytes | None:
        """A piece, for a reader that comes to it, if it is in memory."""
        data = self.cache.get_nowait(piece)
        if data is not None:
            self._used(piece, found, data)
        return data

    def get(self, piece: Piece, found: Found) -> bytes:
        """A piece, for a reader that comes to it. Raises `Stale` and `Transient`."""
        data = self.cache.get_nowait(piece)
        if data is None:
            data, is_hit = self._shared(piece, found)
            self.cache.claim(piece)
            self._used(piece, found, data if is_hit else None)
        else:
            self._used(piece, found, data)
        return data

    def guess(self, piece: Piece, found: Found) -> None:
        """Fetch a piece that nobody has asked for yet. Raises `Stale` and `Transient`."""
        if piece not in self.cache.memory:
            self._flights.run(piece, lambda: self._fetched(piece, found, is_guess=True))

    def is_here(self, piece: Piece) -> bool:
        """True if a piece is in memory or being fetched."""
        return piece in self.cache.memory or self._flights.is_under_way(piece)

    def _shared(self, piece: Piece, found: Found) -> tuple[bytes, bool]:
        """The piece, fetched once for all who ask. That a guess has failed is nothing to a reader."""
        is_own = False

        def fetch() -> tuple[bytes, bool]:
            nonlocal is_own
            is_own = True
            return self._fetched(piece, found)

        try:
            return self._flights.run(piece, fetch)
        except Transient:
            if is_own:
                raise
            return self._flights.run(piece, fetch)

    def _fetched(self, piece: Piece, found: Found, *, is_guess: bool = False) -> tuple[bytes, bool]:
        """The piece, and whether it was in the cache."""
        data = self.cache.get(piece)
        if data is not None:
            return data, True
        data = self._read(piece.path, ByteRange(piece.start, piece.stop), found)
        if is_guess:
            self.cache.put_guess(piece, data)
        else:
            self.cache.put(piece, data)
        return data, False

    def _used(self, piece: Piece, found: Found, hit: bytes | None) -> None:
        with self._lock:
            if hit is None:
                self.misses += 1
            else:
                self.hits += 1
                self.hit_bytes += len(hit)
        if self.on_use is not None:
            self.on_use(piece, found)

"""The contents of a remote layer's files: from the cache, or once from the source for all who ask.

A piece is named by the version that its object was listed in, so that bytes of two versions never meet.
Where a source tells nothing that changes with the contents, or the file has changed in these very seconds
(times have no better grain), nothing is kept beyond the open file.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from copickfs.cache import Piece
from copickfs.cache.piece import piece_bytes
from copickfs.errors import Transient
from copickfs.layers.flight import SingleFlight
from copickfs.model import ByteRange

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Sequence

    from copickfs.cache import Cache
    from copickfs.layers.sources import Found

_log = logging.getLogger(__name__)

SETTLED_NS = 2_000_000_000
"""A file that was changed less than this ago may be changed again without looking any different."""

_UNNAMED = "#"
_TOGETHER_BYTES = 16 << 20


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

    def get_together(self, pieces: Sequence[Piece], found: Found) -> dict[int, bytes]:
        """Those of a file's pieces, in order, that are best fetched with their neighbours, by first byte.

        Raises:
            Stale: The source has another version.
            Transient: It is out of reach.
        """
        absent = [piece for piece in pieces if not self.is_here(piece) and not self.holds(piece)]
        fetched = {}
        for run in runs(absent):
            if len(run) > 1:
                for piece, data in self._read_run(run, found):
                    self.cache.put(piece, data)
                    self._used(piece, found, None)
                    fetched[piece.start] = data
        return fetched

    def guess(self, piece: Piece, found: Found) -> None:
        """Fetch a piece that nobody has asked for yet. Raises `Stale` and `Transient`."""
        if piece not in self.cache.memory:
            self._flights.run(piece, lambda: self._fetched(piece, found, is_guess=True))

    def adopt(self, path: str, found: Found, file: str | os.PathLike[str]) -> None:
        """Keep the contents of a local file that has just become ``found`` at the source. Never raises."""
        version, size = self.version_of(found), found.size_bytes
        step = piece_bytes(size)
        try:
            with Path(file).open("rb") as contents:
                for start in range(0, size, step):
                    piece = self.piece(path, version, ByteRange(start, min(start + step, size)), size)
                    data = contents.read(piece.size_bytes)
                    if not piece.is_lasting or len(data) != piece.size_bytes:
                        return
                    self.cache.put(piece, data)
        except OSError as error:
            _log.debug("%s is not kept: %s", path, error)

    def kept(self, piece: Piece) -> set[int]:
        """Where the pieces start that are on the disk of the object of ``piece``; they count as read now."""
        disk = self.cache.disk
        if disk is None or not piece.is_lasting:
            return set()
        disk.flush_touches()
        return disk.starts(piece)

    def keep(self, run: Sequence[Piece], found: Found) -> Iterator[tuple[Piece, bool]]:
        """Fetch pieces that follow each other, and write each to the disk; False if it is not there then.

        Raises `Stale` and `Transient`.
        """
        disk = self.cache.disk
        for piece, data in self._read_run(run, found):
            yield piece, disk is not None and piece.is_lasting and disk.put(piece, data)

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

    def holds(self, piece: Piece) -> bool:
        """True if a piece is in memory or on the disk of the cache."""
        return self.cache.holds(piece)

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

    def _read_run(self, run: Sequence[Piece], found: Found) -> list[tuple[Piece, bytes]]:
        """Pieces that follow each other, with one request."""
        first = run[0].start
        data = self._read(run[0].path, ByteRange(first, run[-1].stop), found)
        if len(run) == 1:
            return [(run[0], data)]
        return [(piece, data[piece.start - first : piece.stop - first]) for piece in run]

    def _used(self, piece: Piece, found: Found, hit: bytes | None) -> None:
        with self._lock:
            if hit is None:
                self.misses += 1
            else:
                self.hits += 1
                self.hit_bytes += len(hit)
        if self.on_use is not None:
            self.on_use(piece, found)


def runs(pieces: Sequence[Piece]) -> Iterator[list[Piece]]:
    """Pieces in order, those together for which one request is enough."""
    run: list[Piece] = []
    for piece in pieces:
        if run and (piece.start != run[-1].stop or piece.stop - run[0].start > _TOGETHER_BYTES):
            yield run
            run = []
        run.append(piece)
    if run:
        yield run

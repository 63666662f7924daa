"""Both tiers of the cache, and the thread that writes what was read."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from copickfs.cache.disk import Disk, DiskCounts
from copickfs.cache.memory import GuessCounts, Memory

if TYPE_CHECKING:
    from copickfs.cache.piece import Piece

_log = logging.getLogger(__name__)

MEMORY_BYTES = 256 << 20
"""Room of the memory tier if nobody says otherwise."""

_MOST_WAITING_BYTES = 64 << 20
_PAUSE_S = 1.0
_CLOSE_LIMIT_S = 5.0


class CacheCounts(NamedTuple):
    """What a cache has met since it was made.

    Attributes:
        memory_hits: Pieces that were in memory.
        memory_hit_bytes: Their length.
        memory_bytes: What is in memory now.
        waiting_bytes: What is still to be written.
        disk: The same of the disk tier.
        guesses: What became of pieces that were fetched on a guess.
    """

    memory_hits: int
    memory_hit_bytes: int
    memory_bytes: int
    waiting_bytes: int
    disk: DiskCounts
    guesses: GuessCounts


class Cache:
    """Pieces of remote objects, in memory and perhaps on a disk. Thread-safe.

    No method raises because of the disk: what cannot be kept is fetched again.

    Args:
        disk: The disk tier; None for none.
        memory_bytes: Room of the memory tier.

    Attributes:
        disk: As given.
        memory: The memory tier.
    """

    def __init__(self, disk: Disk | None = None, memory_bytes: int = MEMORY_BYTES) -> None:
        self.disk = disk
        self.memory = Memory(memory_bytes)
        self._lock = threading.Condition()
        self._waiting: deque[tuple[Piece, bytes]] = deque()
        self._waiting_bytes = 0
        self._queued: set[Piece] = set()
        self._thread: threading.Thread | None = None
        self._is_closed = False
        self._memory_hits = 0
        self._memory_hit_bytes = 0

    def __repr__(self) -> str:
        return f"<Cache {self.disk or 'in memory'}>"

    def get_nowait(self, piece: Piece) -> bytes | None:
        """The bytes of a piece if they are in memory; never waits."""
        data, was_guess = self.memory.get(piece)
        if data is None:
            return None
        if was_guess:
            self._write_later(piece, data, must=True)
        with self._lock:
            self._memory_hits += 1
            self._memory_hit_bytes += len(data)
        return data

    def get(self, piece: Piece) -> bytes | None:
        """The bytes of a piece if they are in memory or on the disk."""
        data = self.get_nowait(piece)
        if data is not None:
            return data
        data = None if self.disk is None or not piece.is_lasting else self.disk.get(piece)
        if data is None:
            return None
        self.memory.put(piece, data)
        self._start()  # what was read is to be written down
        return data

    def holds(self, piece: Piece) -> bool:
        """True if a piece is in memory or on the disk. Asks the database, which waits for no writer."""
        if piece in self.memory:
            return True
        return self.disk is not None and piece.is_lasting and self.disk.holds(piece)

    def put(self, piece: Piece, data: bytes) -> None:
        """Keep what was fetched because somebody has asked for it."""
        self.memory.put(piece, data)
        if not self._write_later(piece, data) and self.disk is not None:
            self.disk.put(piece, data)  # the reader waits, so that what waits to be written is bounded

    def put_guess(self, piece: Piece, data: bytes) -> None:
        """Keep what nobody has asked for yet: in memory, until somebody does."""
        self.memory.put_guess(piece, data)

    def claim(self, piece: Piece) -> None:
        """Somebody has got the bytes of a piece while they were fetched: they were no guess."""
        data, was_guess = self.memory.get(piece)
        if data is not None and was_guess:
            self._write_later(piece, data, must=True)

    @property
    def is_behind(self) -> bool:
        """True while so much is waiting to be written that nothing should be fetched on a guess."""
        return self._waiting_bytes > _MOST_WAITING_BYTES // 2

    def flush(self, timeout_s: float) -> bool:
        """Wait until everything is written, at most ``timeout_s``; True if it is."""
        with self._lock:
            return self._lock.wait_for(lambda: not self._queued, timeout_s)

    def counts(self) -> CacheCounts:
        """What it has met; from memory."""
        return CacheCounts(
            self._memory_hits,
            self._memory_hit_bytes,
            self.memory.size_bytes,
            self._waiting_bytes,
            DiskCounts() if self.disk is None else self.disk.counts,
            self.memory.guesses,
        )

    def close(self) -> None:
        """Write what waits, for a few seconds at most, and let go of everything. Idempotent."""
        with self._lock:
            self._is_closed = True
            if self._thread is not None:
                self._lock.wait_for(lambda: not self._queued, _CLOSE_LIMIT_S)
            self._waiting.clear()
            self._queued.clear()
            self._waiting_bytes = 0
            self._lock.notify_all()
        if self._thread is not None:
            self._thread.join(_CLOSE_LIMIT_S)
        if self.disk is not None:
            self.disk.close()
        self.memory.clear()

    def _write_later(self, piece: Piece, data: bytes, *, must: bool = False) -> bool:
        """Have a piece written soon; False if too much is waiting, unless it ``must`` be: guesses are few."""
        if self.disk is None or not piece.is_lasting:
            return True
        with self._lock:
            if self._is_closed or piece in self._queued:
                return True
            if not must and self._waiting_bytes + len(data) > _MOST_WAITING_BYTES:
                return False
            self._waiting.append((piece, data))
            self._queued.add(piece)
            self._waiting_bytes += len(data)
            self._lock.notify_all()
        self._start()
        return True

    def _start(self) -> None:
        if self._thread is not None:
            return
        with self._lock:
            if self._thread is None and not self._is_closed:
                thread = threading.Thread(target=self._write, name="copickfs-cache", daemon=True)
                with contextlib.suppress(RuntimeError):  # no thread to be had: the next one tries again
                    thread.start()
                    self._thread = thread

    def _write(self) -> None:
        assert self.disk is not None  # noqa: S101 -- there is no such thread without one
        while not (self._is_closed and not self._waiting):
            self.disk.flush_touches()
            with self._lock:
                if not self._lock.wait_for(lambda: self._waiting or self._is_closed, _PAUSE_S):
                    continue
                if not self._waiting:
                    return
                piece, data = self._waiting.popleft()
            try:
                self.disk.put(piece, data)
            except Exception:  # noqa: BLE001 - the thread must not end: nothing would be kept any more
                _log.exception("a piece of %r cannot be kept", piece.path)
            with self._lock:
                self._queued.discard(piece)
                self._waiting_bytes -= len(data)
                self._lock.notify_all()

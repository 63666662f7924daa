"""The memory tier: the pieces that were used last, and those that nobody has asked for yet."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from copickfs.cache.piece import Piece

_GUESSED_SHARE = 2
"""Guesses may take this part of the room: what was read lately keeps the other one."""


class GuessCounts(NamedTuple):
    """What became of pieces that were fetched before anybody asked.

    Attributes:
        kept_bytes: All of them; what is in neither of the others is still there.
        hit_bytes: Those that somebody has asked for since.
        wasted_bytes: Those that nobody will be given.
    """

    kept_bytes: int = 0
    hit_bytes: int = 0
    wasted_bytes: int = 0


class Memory:
    """Pieces in memory, bounded by bytes. Thread-safe, never waits.

    Args:
        limit_bytes: Most that it holds, guesses included.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self._lock = threading.Lock()
        self._read: OrderedDict[Piece, bytes] = OrderedDict()
        self._guessed: OrderedDict[Piece, bytes] = OrderedDict()
        self._read_bytes = 0
        self._guessed_bytes = 0
        self._guesses = GuessCounts()

    def __contains__(self, piece: Piece) -> bool:
        return piece in self._read or piece in self._guessed

    @property
    def size_bytes(self) -> int:
        """Bytes held."""
        return self._read_bytes + self._guessed_bytes

    @property
    def guesses(self) -> GuessCounts:
        """What became of guesses so far."""
        return self._guesses

    @property
    def guess_limit_bytes(self) -> int:
        """Most that guesses may take."""
        return self.limit_bytes // _GUESSED_SHARE

    def get(self, piece: Piece) -> tuple[bytes | None, bool]:
        """The bytes of ``piece`` if they are here, and whether they were a guess until now."""
        with self._lock:
            data = self._read.get(piece)
            if data is not None:
                self._read.move_to_end(piece)
                return data, False
            data = self._guessed.pop(piece, None)
            if data is None:
                return None, False
            self._guessed_bytes -= len(data)
            hit_bytes = self._guesses.hit_bytes + len(data)
            self._guesses = self._guesses._replace(hit_bytes=hit_bytes)
            self._put_read(piece, data)
            return data, True

    def put(self, piece: Piece, data: bytes) -> None:
        """Keep what was read."""
        with self._lock:
            if piece in self._guessed:  # somebody has fetched it meanwhile as well
                self._drop_guess(piece)
            self._put_read(piece, data)

    def put_guess(self, piece: Piece, data: bytes) -> None:
        """Keep what nobody has asked for yet; older guesses make room for it first."""
        with self._lock:
            if piece in self._read or piece in self._guessed:
                return
            self._guesses = self._guesses._replace(kept_bytes=self._guesses.kept_bytes + len(data))
            self._guessed[piece] = data
            self._guessed_bytes += len(data)
            while self._guessed_bytes > self.guess_limit_bytes:
                self._drop_guess(next(iter(self._guessed)))
            self._make_room()

    def clear(self) -> None:
        """Let go of everything."""
        with self._lock:
            self._read.clear()
            self._read_bytes = 0
            for piece in list(self._guessed):
                self._drop_guess(piece)

    def _put_read(self, piece: Piece, data: bytes) -> None:
        before = self._read.pop(piece, None)
        if before is not None:
            self._read_bytes -= len(before)
        self._read[piece] = data
        self._read_bytes += len(data)
        self._make_room()

    def _make_room(self) -> None:
        """What was read longest ago goes: guesses never take more than their part."""
        while self.size_bytes > self.limit_bytes and self._read:
            _, old = self._read.popitem(last=False)
            self._read_bytes -= len(old)

    def _drop_guess(self, piece: Piece) -> None:
        data = self._guessed.pop(piece)
        self._guessed_bytes -= len(data)
        self._guesses = self._guesses._replace(wasted_bytes=self._guesses.wasted_bytes + len(data))

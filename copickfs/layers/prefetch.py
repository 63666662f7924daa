"""Fetching what a reader is about to ask for: the next chunks of its walk, the next blocks of a big file.

A guess never costs anybody anything: it is fetched while fewer reads are under way than the layer may
have, waits while one of those waits, is kept in a share of the memory of its own until it is asked for,
and is given up when the reader turns.
"""

from __future__ import annotations

import contextlib
import logging
import re
import threading
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, NamedTuple

from copickfs.cache.piece import BLOCK_BYTES, WHOLE_BYTES
from copickfs.errors import CopickfsError, NotADirectory, NotFound, WouldBlock
from copickfs.layers.sources import FILE, RangesIgnored
from copickfs.layers.walks import Walk
from copickfs.model import ByteRange

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from copickfs.cache import Piece
    from copickfs.layers.pieces import Pieces
    from copickfs.layers.sources import Found

_log = logging.getLogger(__name__)

_GRIDS = 32
_WALKS = 8
_FIRST_PIECES = 4
_IDLE_S = 10.0
_GIVE_WAY_S = 0.02
_CHUNK = re.compile(r"(c[/.])?([0-9]+(?:([/.])[0-9]+)*)")


class _Target(NamedTuple):
    piece: Piece
    found: Found


class _Way:
    """A walk, and how far ahead of it to go."""

    def __init__(self, walk: Walk) -> None:
        self.walk = walk
        self.pieces = _FIRST_PIECES
        self.targets: deque[_Target] = deque()


class Prefetcher:
    """Goes ahead of the readers of one layer. Thread-safe; `seen` never waits.

    Args:
        name: Name of the layer.
        pieces: Fetches.
        find: What is at a path, from memory; raises `NotFound` and `WouldBlock`.
        array_at: The array that a directory belongs to, from memory; None if it belongs to none.
        is_busy: True while nothing is to be guessed, for readers wait for the layer.
        window_bytes: How far ahead to go at most.
        workers: Guesses that are fetched at a time.
    """

    def __init__(
        self,
        name: str,
        pieces: Pieces,
        find: Callable[[str], Found],
        array_at: Callable[[str], str | None],
        is_busy: Callable[[], bool],
        window_bytes: int,
        workers: int,
    ) -> None:
        self._name = name
        self._pieces = pieces
        self._find = find
        self._array_at = array_at
        self._is_busy = is_busy
        self._window_bytes = min(window_bytes, pieces.cache.memory.guess_limit_bytes)
        self._lock = threading.Condition()
        self._events: deque[tuple[Piece, Found]] = deque(maxlen=4_096)
        self._grids: OrderedDict[str, list[_Way]] = OrderedDict()
        self._most_workers = workers
        self._workers = 0
        self._idle = 0
        self._is_closed = False

    @property
    def queued(self) -> int:
        """Guesses that are still to be fetched."""
        with self._lock:
            return sum(len(way.targets) for way in self._ways())

    def seen(self, piece: Piece, found: Found) -> None:
        """A reader has come to ``piece``."""
        with self._lock:
            if self._is_closed:
                return
            self._events.append((piece, found))
            self._lock.notify()
            if not self._idle and self._workers < self._most_workers:
                self._hire()

    def close(self) -> None:
        """Fetch nothing more. Idempotent, does not wait for what is under way."""
        with self._lock:
            self._is_closed = True
            self._events.clear()
            self._grids.clear()
            self._lock.notify_all()

    def _hire(self) -> None:
        thread = threading.Thread(target=self._work, name=f"copickfs-ahead-{self._name}", daemon=True)
        with contextlib.suppress(RuntimeError):  # no thread to be had: nothing is guessed
            thread.start()
            self._workers += 1

    def _work(self) -> None:
        try:
            while (target := self._next()) is not None:
                self._fetch(target)
        finally:
            with self._lock:
                self._workers -= 1

    def _next(self) -> _Target | None:
        with self._lock:
            while not self._is_closed:
                while self._events:
                    self._plan(*self._events.popleft())
                way = next((way for way in self._ways() if way.targets), None)
                if way is None:
                    if not self._rest():
                        return None
                elif self._is_busy():
                    self._lock.wait(_GIVE_WAY_S)
                else:
                    target = way.targets.popleft()
                    if not self._idle and self._workers < self._most_workers:
                        self._hire()
                    return target
        return None

    def _rest(self) -> bool:
        """Wait for something to do; False if there is nothing for long."""
        self._idle += 1
        told = self._lock.wait(_IDLE_S)
        self._idle -= 1
        return told or bool(self._events)

    def _fetch(self, target: _Target) -> None:
        try:
            self._pieces.guess(target.piece, target.found)
        except (CopickfsError, OSError, RangesIgnored) as error:
            # Whoever wants it will ask, and be told.
            _log.debug("layer %s: nothing more is guessed: %s", self._name, error)
            with self._lock:
                for way in self._ways():
                    way.targets.clear()

    def _plan(self, piece: Piece, found: Found) -> None:
        """A reader has come to a piece: what comes next is to be fetched, and nothing else."""
        grid = self._grid(piece)
        if grid is None:
            return
        key, index, piece_at = grid
        way = self._way(key, index)
        if not way.walk.is_certain:
            way.targets.clear()
            way.pieces = _FIRST_PIECES
            return
        most = max(1, self._window_bytes // piece.size_bytes)
        way.pieces = min(2 * way.pieces, most)
        way.targets = deque(self._ahead(way, piece_at, found))

    def _way(self, key: str, index: tuple[int, ...]) -> _Way:
        """The walk that has come to ``index``; several readers may be under way in one grid."""
        ways = self._grids.setdefault(key, [])
        self._grids.move_to_end(key)
        near = [
            (distance, number)
            for number, way in enumerate(ways)
            if way.walk.dimensions == len(index) and (distance := way.walk.distance(index)) is not None
        ]
        if near:
            way = ways.pop(min(near)[1])
            way.walk.step(index)
        else:
            for other in ways:  # it may be one of them that has turned to something else
                other.targets.clear()
            way = _Way(Walk(index))
        ways.insert(0, way)
        del ways[_WALKS:]
        if len(self._grids) > _GRIDS:
            self._grids.popitem(last=False)
        return way

    def _ways(self) -> Iterator[_Way]:
        """All walks, those first in whose grid somebody was last."""
        for ways in reversed(self._grids.values()):
            yield from ways

    def _ahead(
        self, way: _Way, piece_at: Callable[[tuple[int, ...], Found], _Target | None], found: Found
    ) -> Iterator[_Target]:
        count, absent = 0, 0
        for index in way.walk.ahead():
            target = piece_at(index, found)
            if target is None:
                absent += 1
                if absent > way.pieces:
                    return  # beyond the end of the array
                continue
            count += 1
            if not self._pieces.is_here(target.piece):
                yield target
            if count >= way.pieces:
                return

    def _grid(
        self, piece: Piece
    ) -> tuple[str, tuple[int, ...], Callable[[tuple[int, ...], Found], _Target | None]] | None:
        """What a piece is one of many of: the grid, its place there, and what is at other places."""
        if piece.object_bytes > WHOLE_BYTES and piece.size_bytes <= BLOCK_BYTES:
            return piece.path, (piece.start // BLOCK_BYTES,), lambda i, found: _block(piece, i[0], found)
        directory = piece.path.rpartition("/")[0]
        array = self._array_at(directory)
        matched = None if array is None else _CHUNK.fullmatch(piece.path[len(array) + 1 :])
        if array is None or matched is None:
            return None
        prefix, numbers, separator = matched[1] or "", matched[2], matched[3] or "."
        index = tuple(map(int, numbers.split(separator)))
        return array, index, lambda i, _: self._chunk(f"{array}/{prefix}{separator.join(map(str, i))}")

    def _chunk(self, path: str) -> _Target | None:
        try:
            found = self._find(path)
        except (NotFound, NotADirectory, WouldBlock):
            return None
        if found.kind != FILE or not 0 < found.size_bytes <= WHOLE_BYTES:
            return None
        span = ByteRange(0, found.size_bytes)
        piece = self._pieces.piece(path, self._pieces.version_of(found), span, found.size_bytes)
        return _Target(piece, found) if piece.is_lasting else None


def _block(piece: Piece, number: int, found: Found) -> _Target | None:
    start = number * BLOCK_BYTES
    if start >= piece.object_bytes:
        return None
    stop = min(start + BLOCK_BYTES, piece.object_bytes)
    return _Target(piece._replace(start=start, stop=stop), found)

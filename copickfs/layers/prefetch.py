"""Fetching what a reader is about to ask for: the next chunks of its walk, the next blocks of a big file.

A guess never costs anybody anything: it is fetched while fewer reads are under way than the layer may
have, waits while one of those waits, is kept in a share of the memory of its own until it is asked for,
and is given up when the reader turns. Nobody goes further ahead than the reader has come, so that a short
walk costs little; all walks together stay within the window. When one guess fails, all walks are forgotten:
a source in trouble is asked for no more than readers want.
"""

from __future__ import annotations

import logging
import re
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from copickfs.cache.piece import BLOCK_BYTES, WHOLE_BYTES
from copickfs.errors import CopickfsError
from copickfs.layers.ahead import IDLE_S, GoingAhead
from copickfs.layers.sources import FILE
from copickfs.layers.walks import Walk
from copickfs.model import ByteRange

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from copickfs.cache import Piece
    from copickfs.layers.pieces import Pieces
    from copickfs.layers.sources import Found
    from copickfs.layers.walks import Index

_log = logging.getLogger(__name__)

_GRIDS = 32
_WALKS = 8
_MOST_PIECES = 512
_OFTEN = 16
_MOST_ABSENT = 1_024
_MOST_PLANNED = 8_192
_CHUNK = re.compile(r"(c[/.])?([0-9]{1,9}(?:([/.])[0-9]{1,9}(?:\3[0-9]{1,9})*)?)")


class _Target(NamedTuple):
    piece: Piece
    found: Found


class _Grid(NamedTuple):
    """What a piece is one of many of."""

    key: str
    at: Index
    piece_at: Callable[[Index, Found], _Target | None]


class _Way:
    """A walk, and what was done ahead of it."""

    def __init__(self, walk: Walk) -> None:
        self.walk = walk
        self.used_s = time.monotonic()
        self.targets: dict[Index, _Target] = {}
        # The size of what was looked up: 0 where there is nothing. It is looked up once.
        self.planned: dict[Index, int] = {}
        self.planned_until = 0

    def comes_to(self, index: Index) -> bool:
        """True if its reader may have come to ``index``."""
        return self.walk.dimensions == len(index) and self.walk.comes_to(index)

    def turn(self) -> None:
        """What was planned does not lie ahead any more."""
        self.targets.clear()
        self.planned.clear()
        self.planned_until = 0


class Prefetcher(GoingAhead[tuple["Piece", "Found"], _Target]):
    """Goes ahead of the readers of one layer.

    Args:
        name: Name of the layer.
        pieces: Fetches.
        find: What is at a path, from memory; raises `NotFound` and `WouldBlock`.
        array_at: The array that a directory belongs to, from memory; None if it belongs to none.
        is_busy: True while readers wait for the layer.
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
        super().__init__(f"copickfs-ahead-{name}", is_busy, workers)
        self._name = name
        self._pieces = pieces
        self._find = find
        self._array_at = array_at
        self._window_bytes = min(window_bytes, pieces.cache.memory.guess_limit_bytes)
        self._ways: OrderedDict[str, list[_Way]] = OrderedDict()

    @property
    def queued(self) -> int:
        """Guesses that are still to be fetched."""
        with self._lock:
            return sum(len(way.targets) for way in self._all())

    def seen(self, piece: Piece, found: Found) -> None:
        """A reader has come to ``piece``. Never waits."""
        self.note((piece, found))

    def _has_target(self) -> bool:
        return any(way.targets for way in self._all())

    def _take(self) -> _Target:
        way = next(way for way in self._all() if way.targets)
        return way.targets.pop(next(iter(way.targets)))

    def _forget(self) -> None:
        self._ways.clear()

    def _do(self, target: _Target) -> None:
        try:
            self._pieces.guess(target.piece, target.found)
        except Exception as error:  # noqa: BLE001 - whoever wants it will ask, and be told
            _log.debug("layer %s: nothing more is guessed: %s", self._name, error)
            with self._lock:
                self._forget()

    def _plan(self) -> None:
        """What comes next of where readers are by now is to be fetched, and nothing else."""
        latest: dict[int, tuple[_Way, _Grid, Found]] = {}
        while self._events:
            piece, found = self._events.popleft()
            grid = self._grid(piece)
            way = None if grid is None else self._followed(grid)
            if grid is not None and way is not None:
                latest[id(way)] = (way, grid, found)
        for way, grid, found in latest.values():
            if not way.walk.is_certain:
                way.turn()
            elif way.walk.steps >= way.planned_until:
                self._go_ahead(way, grid, found)

    def _followed(self, grid: _Grid) -> _Way | None:
        """The walk of a reader that has come to a place; None if it begins there."""
        ways = self._ways.setdefault(grid.key, [])
        self._ways.move_to_end(grid.key)
        way = next((way for way in ways if way.comes_to(grid.at)), None)
        if way is None:
            for other in ways:  # it may be one of them that has turned to something else
                other.turn()
            ways.insert(0, _Way(Walk(grid.at, ways[0].walk if ways else None)))
            del ways[_WALKS:]
            while len(self._ways) > _GRIDS:
                self._ways.popitem(last=False)
            return None
        ways.remove(way)
        ways.insert(0, way)
        way.used_s = time.monotonic()
        before = way.walk.course
        way.walk.step(grid.at)
        way.planned.pop(grid.at, None)
        way.targets.pop(grid.at, None)
        if way.walk.course != before or len(way.planned) > _MOST_PLANNED:
            way.turn()
        return way

    def _all(self) -> Iterator[_Way]:
        """All walks, those first in whose grid somebody was last."""
        for ways in reversed(self._ways.values()):
            yield from ways

    def _go_ahead(self, way: _Way, grid: _Grid, found: Found) -> None:
        """Have fetched what lies ahead, as far as that is looked at for the first time."""
        room_bytes = self._share_bytes()
        most = min(way.walk.steps, _MOST_PIECES)
        way.planned_until = way.walk.steps + most // _OFTEN
        count = absent = 0
        for index in way.walk.ahead():
            size_bytes = way.planned.get(index)
            if size_bytes is None:
                target = grid.piece_at(index, found)
                size_bytes = 0 if target is None else target.piece.size_bytes
                if size_bytes > room_bytes:
                    return
                way.planned[index] = size_bytes
                if target is not None and not self._pieces.is_here(target.piece):
                    way.targets[index] = target
            room_bytes -= size_bytes
            count += size_bytes > 0
            absent += not size_bytes
            if count >= most or absent > _MOST_ABSENT or room_bytes <= 0:
                return  # far enough, or beyond the end of the array

    def _share_bytes(self) -> int:
        """How far ahead one walk may go while others are under way."""
        since_s = time.monotonic() - IDLE_S
        walks = sum(way.used_s > since_s and way.walk.is_certain for way in self._all())
        return self._window_bytes // max(1, walks)

    def _grid(self, piece: Piece) -> _Grid | None:
        """The grid that a piece belongs to, its place there, and what is at other places."""
        if piece.object_bytes > WHOLE_BYTES and piece.size_bytes <= BLOCK_BYTES:
            at = (piece.start // BLOCK_BYTES,)
            return _Grid(piece.path, at, lambda i, found: _block(piece, i[0], found))
        directory = piece.path.rpartition("/")[0]
        array = self._array_at(directory)
        matched = None if array is None else _CHUNK.fullmatch(piece.path[len(array) + 1 :])
        if array is None or matched is None:
            return None
        prefix, numbers, separator = matched[1] or "", matched[2], matched[3] or "."
        index = tuple(map(int, numbers.split(separator)))
        return _Grid(array, index, lambda i, _: self._chunk(f"{array}/{prefix}{separator.join(map(str, i))}"))

    def _chunk(self, path: str) -> _Target | None:
        try:
            found = self._find(path)
        except (CopickfsError, OSError):
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

"""Where a reader is going: recognised from the numbers of the chunks, or blocks, that it has come to.

Zarr and its readers go through a box of chunks, the last axis fastest, and then to the next box: a walk
along z is planes of chunks one behind the other, whichever axes are called so and at whichever level of a
pyramid. The axis that has changed most seldom is the one that is walked along; the extent of the others is
what was seen of them.
"""

from __future__ import annotations

import itertools
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

Index = tuple[int, ...]

STEPS_BEFORE = 2
"""So many steps make a walk."""

_REMEMBERED = 4_096
_MOST_LOOKED_AT = 8_192


class Walk:
    """One reader's way through one grid. Not thread-safe.

    Args:
        index: Where it starts.

    Attributes:
        steps: Steps since it began.
    """

    def __init__(self, index: Index) -> None:
        self.steps = 0
        self._last = index
        self._low = list(index)
        self._high = list(index)
        self._changes = [0] * len(index)
        self._heading = 1
        self._contrary = 0
        self._axis: int | None = None
        self._seen: deque[Index] = deque([index], _REMEMBERED)
        self._is_seen = {index}

    @property
    def dimensions(self) -> int:
        """Number of axes."""
        return len(self._last)

    @property
    def is_certain(self) -> bool:
        """True if it is worth the while to go ahead of it."""
        return self.steps >= STEPS_BEFORE and not self._contrary

    def distance(self, index: Index) -> int | None:
        """How far ``index`` is from where the reader was; None if it cannot have got there by walking."""
        moves = self._moves(index)
        is_near = all(
            low - 1 <= i <= high + 1 for low, i, high in zip(self._low, index, self._high, strict=True)
        )
        if not is_near or (any(moves) and abs(moves[self._slowest(moves)]) > 1):
            return None
        return sum(map(abs, moves))

    def step(self, index: Index) -> None:
        """The reader has come to ``index``, from which `distance` is known."""
        moves = self._moves(index)
        if not any(moves):
            return
        axis = self._slowest(moves)
        self._changes = self._with(moves)
        self._head(axis, moves[axis])
        self._low = list(map(min, self._low, index))
        self._high = list(map(max, self._high, index))
        self._last = index
        self.steps += 1
        self._see(index)

    def ahead(self) -> Iterator[Index]:
        """What comes next, in order; ends where nobody has been seen to go."""
        axis = self._axis
        if axis is None:
            return
        others = [range(low, high + 1) for low, high in zip(self._low, self._high, strict=True)]
        looked_at = 0
        for place in itertools.count(self._last[axis], self._heading):
            if place < 0:
                return
            others[axis] = range(place, place + 1)
            for index in itertools.product(*others):
                looked_at += 1
                if looked_at > _MOST_LOOKED_AT:
                    return
                if index not in self._is_seen:
                    yield index

    def _moves(self, index: Index) -> list[int]:
        return [now - before for before, now in zip(self._last, index, strict=True)]

    def _with(self, moves: list[int]) -> list[int]:
        return [n + (move != 0) for n, move in zip(self._changes, moves, strict=True)]

    def _slowest(self, moves: list[int]) -> int:
        """The axis that has changed most seldom of those that have, these moves included."""
        return min((n, axis) for axis, n in enumerate(self._with(moves)) if n)[1]

    def _head(self, axis: int, move: int) -> None:
        """One step back may be another thread that lags behind; two are a turn."""
        if axis != self._axis:
            self._axis, self._heading, self._contrary = axis, move or 1, 0
        elif move == -self._heading:
            self._contrary += 1
            if self._contrary > 1:
                self._heading, self._contrary = move, 0
        elif move:
            self._contrary = 0

    def _see(self, index: Index) -> None:
        if index in self._is_seen:
            return
        if len(self._seen) == _REMEMBERED:
            self._is_seen.discard(self._seen[0])
        self._seen.append(index)
        self._is_seen.add(index)

"""Where a reader is going: recognised from the numbers of the chunks, or blocks, that it has come to.

Zarr and its readers go through a box of chunks, the last axis fastest, and then to the next box: a walk
along z is planes of chunks one behind the other, whichever axes are called so and at whichever level of a
pyramid. Several threads jumble the order. So what counts is not one step after the other but the box of
what was seen since the walk began: it grows, by chunks beside such as were seen, and what comes next is
the next layer where it grew last, as the layer before was read: whoever leaves out every other column there
will do so again. Whoever leaves the box has jumped; one who jumps again and again is believed later.
"""

from __future__ import annotations

import itertools
from collections import Counter, deque
from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

Index = tuple[int, ...]

STEPS_BEFORE = 2
"""So many steps make a walk, unless the last ones came to nothing."""

_READERS = 8
"""So many readers may share a walk; each is somewhere before or behind the others."""

_MOST_STEPS_BEFORE = 256
_LASTING = 8
_MOST_REPEATED = 4
_LATE = 3
_REMEMBERED = 8_192
_MOST_LOOKED_AT = 8_192


class Walk:
    """One reader's way through one grid. Not thread-safe.

    Args:
        index: Where it starts.
        before: The walk in the same grid that has not come here; it may be the same reader, who has jumped.

    Attributes:
        steps: Steps since it began.
        course: The axis that it goes along, and 1 or -1; None while nobody knows.
    """

    def __init__(self, index: Index, before: Walk | None = None) -> None:
        self._steps_before = STEPS_BEFORE if before is None else before.patience
        self._begin(index)

    def _begin(self, index: Index) -> None:
        self.steps = 0
        self.course: tuple[int, int] | None = None
        self._low = list(index)
        self._high = list(index)
        self._last = index
        self._repeated = 0
        self._late = 0
        self._beside: deque[bool] = deque(maxlen=_READERS)
        self._seen: deque[Index] = deque([index], _REMEMBERED)
        self._is_seen = {index}
        self._counts = [Counter({place: 1}) for place in index]  # for each axis, of its layers

    @property
    def dimensions(self) -> int:
        """Number of axes."""
        return len(self._low)

    @property
    def is_certain(self) -> bool:
        """True if it is worth the while to go ahead of it."""
        return (
            self.steps >= self._steps_before
            and self._repeated < _MOST_REPEATED
            and 2 * sum(self._beside) >= len(self._beside)
        )

    @property
    def patience(self) -> int:
        """Steps before the next walk is believed: more if this one has ended soon after it was."""
        if self.steps >= _LASTING * self._steps_before:
            return STEPS_BEFORE
        if self.steps >= self._steps_before:
            return min(2 * self._steps_before, _MOST_STEPS_BEFORE)
        return self._steps_before

    def comes_to(self, index: Index) -> bool:
        """True if the reader may have come to ``index`` by walking."""
        return index in self._is_seen or self._is_near(index)

    def step(self, index: Index) -> None:
        """The reader has come to ``index``; a walk that does not come there begins anew."""
        self._last = index
        if index in self._is_seen:
            self._repeated += 1
            return
        if not self._is_near(index):
            self._steps_before = self.patience
            self._begin(index)
            return
        self._repeated = 0
        self._beside.append(self._is_beside(index))
        self._grow(index)
        self._see(index)
        self.steps += 1

    def ahead(self) -> Iterator[Index]:
        """What comes next, in order: in each layer what was read, or is expected, in the one before."""
        if self.course is None:
            return
        axis, heading = self.course
        front = self._high[axis] if heading > 0 else self._low[axis]
        # The layer before may have holes yet, left by those who lag behind.
        has_holes = 0 < self._counts[axis][front - heading] < self._layer(axis)
        first = front - heading if has_holes else front
        # And several readers, each in a part of its own, leave whole layers for later.
        if self._counts[axis][self._last[axis]] > 1:
            first = min(first * heading, self._last[axis] * heading) * heading
        others = [range(low, high + 1) for low, high in zip(self._low, self._high, strict=True)]
        expected: set[Index] = set()
        looked_at = 0
        for place in itertools.count(first, heading):
            others[axis] = range(place, place + 1)
            for index in itertools.product(*others) if place >= 0 else ():
                looked_at += 1
                if index in self._is_seen:
                    continue
                before = (*index[:axis], place - heading, *index[axis + 1 :])
                if before in self._is_seen or before in expected:
                    expected.add(index)
                    yield index
            is_beyond = (place - front) * heading > 0
            if place < 0 or looked_at > _MOST_LOOKED_AT or (is_beyond and not expected):
                return

    def _layer(self, axis: int) -> int:
        """Chunks in a layer of the box across an axis."""
        return prod(self._high[a] - self._low[a] + 1 for a in range(self.dimensions) if a != axis)

    def _is_near(self, index: Index) -> bool:
        """True if some of several readers may have come to ``index``, by the next layers of the box."""
        for axis, place in enumerate(index):
            beyond = max(self._low[axis] - place, place - self._high[axis])
            if beyond > 0 and beyond > 1 + _READERS // self._layer(axis):
                return False
        return True

    def _is_beside(self, index: Index) -> bool:
        return any(
            (*index[:axis], index[axis] + move, *index[axis + 1 :]) in self._is_seen
            for axis in range(self.dimensions)
            for move in (-1, 1)
        )

    def _grow(self, index: Index) -> None:
        """The box grows along the course. A shorter side that grows is one who is late, or another course."""
        grown = [
            (self._layer(axis), axis, 1 if place > self._high[axis] else -1)
            for axis, place in enumerate(index)
            if not self._low[axis] <= place <= self._high[axis]
        ]
        if not grown:
            return
        layer, axis, heading = max(grown)
        self._low = list(map(min, self._low, index))
        self._high = list(map(max, self._high, index))
        is_side = self.course is not None and axis != self.course[0] and layer < self._layer(self.course[0])
        self._late = self._late + 1 if is_side else 0
        if not is_side or self._late >= _LATE:
            self.course = axis, heading

    def _see(self, index: Index) -> None:
        if len(self._seen) == _REMEMBERED:
            self._is_seen.discard(self._seen[0])
        self._seen.append(index)
        self._is_seen.add(index)
        for axis, place in enumerate(index):
            self._counts[axis][place] += 1

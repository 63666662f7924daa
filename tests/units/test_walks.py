"""Walks through grids of chunks are recognised, in whatever order their readers come, and others are not."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING, NamedTuple

import pytest

from copickfs.layers.walks import STEPS_BEFORE, Walk
from tests.grids import in_short, soak

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Index = tuple[int, ...]
MOST_AHEAD = 32


class Outcome(NamedTuple):
    """What became of guesses: the part that was of use, the part of all reads that was guessed, the waste."""

    hit_rate: float
    coverage: float
    wasted: int


def box(low: Index, high: Index, along: int = 0, *, back: bool = False) -> list[Index]:
    """The chunks of a box as they are read in a walk along an axis: planes, and C order within each."""
    order = [along, *(axis for axis in range(len(low)) if axis != along)]
    ranges = [range(low[axis], high[axis]) for axis in order]
    if back:
        ranges[0] = ranges[0][::-1]
    return [
        tuple(place for _, place in sorted(zip(order, at, strict=True))) for at in itertools.product(*ranges)
    ]


def grid(*shape: int, along: int = 0, back: bool = False) -> list[Index]:
    return box((0,) * len(shape), shape, along, back=back)


def jumbled(indices: list[Index], readers: int = 8, seed: int = 1) -> Iterator[Index]:
    """As so many threads come to them that take one after the other, each as fast as it happens to be."""
    chance = random.Random(seed)
    under_way: list[Index] = []
    for index in indices:
        under_way.append(index)
        if len(under_way) == readers:
            yield under_way.pop(chance.randrange(readers))
    while under_way:
        yield under_way.pop(chance.randrange(len(under_way)))


def follow(indices: Iterable[Index], shape: Index) -> Outcome:
    """Go ahead of a reader as the prefetcher does, by one chunk for each that it has come to."""
    walk: Walk | None = None
    guessed: set[Index] = set()
    read: set[Index] = set()
    reads = covered = 0
    for index in indices:
        reads += 1
        covered += index in guessed
        read.add(index)
        if walk is None:
            walk = Walk(index)
            continue
        walk.step(index)
        if walk.is_certain:
            inside = (i for i in itertools.islice(walk.ahead(), 500) if all(map(int.__lt__, i, shape)))
            guessed.update(i for i in itertools.islice(inside, min(walk.steps, MOST_AHEAD)) if i not in read)
    useful = len(guessed & read)
    return Outcome(useful / len(guessed) if guessed else 1.0, covered / reads, len(guessed) - useful)


SHAPES = [
    (20, 20, 20), (9, 9, 9), (5, 5, 5), (3, 4, 5), (12, 3, 3), (1, 20, 20), (2, 20, 7), (20, 1, 20),
]  # fmt: skip
SHORT = [(5, 5, 5), (3, 4, 5), (1, 20, 20)]


@pytest.mark.parametrize("back", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("along", [0, 1, 2], ids="zyx")
@pytest.mark.parametrize("shape", in_short(SHAPES, *SHORT), ids=str)
def test_a_walk_through_a_whole_array_is_gone_ahead_of(shape: Index, along: int, back: bool) -> None:
    outcome = follow(grid(*shape, along=along, back=back), shape)
    assert outcome.hit_rate == 1
    assert outcome.coverage >= 0.9
    for seed in range(2):
        outcome = follow(jumbled(grid(*shape, along=along, back=back), seed=seed), shape)
        assert outcome.hit_rate == 1
        assert outcome.coverage >= (0.9 if len(grid(*shape)) >= 400 else 0.6)


@pytest.mark.parametrize(("edges", "least"), [((2, 7), 0.9), soak((2, 4, 9), 0.93)], ids=str)
def test_walks_of_all_shapes_on_the_whole(edges: tuple[int, ...], least: float) -> None:
    covered = chunks = 0.0
    for shape in itertools.product(edges, repeat=3):
        for along, readers in itertools.product(range(3), (2, 8)):
            outcome = follow(jumbled(grid(*shape, along=along), readers), shape)
            assert outcome.hit_rate == 1
            covered += outcome.coverage * len(grid(*shape))
            chunks += len(grid(*shape))
    assert covered / chunks > least


@pytest.mark.parametrize("shape", [(20,), (9, 20), (3, 4, 5, 6), (1, 1, 1, 40), (2, 2, 2, 2, 4)], ids=str)
def test_any_number_of_axes(shape: Index) -> None:
    assert follow(grid(*shape), shape).coverage >= 0.85
    assert follow(grid(*shape), shape).hit_rate == 1


WINDOWS = [
    ((5, 5, 5), (15, 15, 15)), ((0, 6, 6), (20, 10, 10)), ((8, 0, 0), (9, 20, 20)),
    ((3, 10, 2), (18, 11, 19)), ((0, 5, 5), (20, 9, 9)), ((10, 3, 0), (14, 17, 20)),
]  # fmt: skip


@pytest.mark.parametrize("along", [0, 1, 2], ids="zyx")
@pytest.mark.parametrize(("low", "high"), in_short(WINDOWS, *WINDOWS[-2:], are_rows=True), ids=str)
def test_a_window_somewhere_in_the_middle(low: Index, high: Index, along: int) -> None:
    """Where it ends is seen when it has ended: what was guessed beyond is wasted once a side."""
    for indices in (box(low, high, along), list(jumbled(box(low, high, along)))):
        outcome = follow(indices, (20, 20, 20))
        assert outcome.coverage >= 0.94
        assert outcome.hit_rate >= 0.85


@pytest.mark.parametrize("parts", [2, 4])
def test_readers_of_a_part_each_are_gone_ahead_of_to_their_ends(parts: int) -> None:
    shape = (8, 8, 8)
    depth = shape[0] // parts
    ways = [box((at, 0, 0), (at + depth, 8, 8)) for at in range(0, shape[0], depth)]
    outcome = follow((index for together in zip(*ways, strict=True) for index in together), shape)
    assert outcome.coverage > 0.85
    assert outcome.hit_rate > 0.95


def test_planes_one_after_the_other_with_others_left_out() -> None:
    planes = [index for index in grid(20, 10, 10) if index[0] % 4 == 0]
    outcome = follow(planes, (20, 10, 10))
    assert outcome.coverage > 0.9
    assert outcome.hit_rate > 0.75


STRIDES = [(2, 2, 2), (1, 3, 3), (1, 2, 2), (3, 1, 3), (1, 1, 2), (2, 3, 1)]


@pytest.mark.parametrize("shape", [(20, 20, 20), (6, 5, 5)], ids=str)
def test_who_takes_some_here_and_there_is_not_gone_ahead_of(shape: Index) -> None:
    chance = random.Random(3)
    wasted = reads = 0
    for stride in STRIDES:
        strided = [
            index for index in grid(*shape) if all(i % s == 0 for i, s in zip(index, stride, strict=True))
        ]
        outcome = follow(strided, shape)
        assert outcome.wasted <= len(strided) / 2
        wasted, reads = wasted + outcome.wasted, reads + len(strided)
    everywhere = chance.choices(grid(*shape), k=500)
    assert follow(everywhere, shape).wasted <= 5
    assert wasted / reads < 0.1


def test_cubes_here_and_there_cost_little_in_the_long_run() -> None:
    chance = random.Random(4)
    shape = (20, 20, 20)
    reads: list[Index] = []
    for _ in range(200):
        low = tuple(chance.randrange(18) for _ in range(3))
        reads += box(low, tuple(i + 2 for i in low))
    assert follow(reads, shape).wasted < len(reads) / 20


def test_a_file_is_a_grid_of_one_axis() -> None:
    shape = (1000,)
    assert follow(grid(1000), shape) == (1, pytest.approx(1, abs=0.01), 0)
    assert follow(grid(1000, back=True), shape) == (1, pytest.approx(1, abs=0.01), 0)
    assert follow([(at,) for at in range(0, 1000, 2)], shape).wasted == 0
    chance = random.Random(5)
    assert follow([(chance.randrange(1000),) for _ in range(500)], shape).wasted < 10
    both = [(at,) for at in range(1000)]
    assert follow(jumbled(both), shape).coverage > 0.95


def certain(indices: Iterable[Index]) -> Walk:
    first, *rest = indices
    walk = Walk(first)
    for index in rest:
        walk.step(index)
    return walk


def ahead(walk: Walk, count: int) -> list[Index]:
    return list(itertools.islice(walk.ahead(), count))


def test_two_steps_make_a_walk() -> None:
    walk = Walk((4, 4))
    assert ahead(walk, 3) == []
    for step in range(STEPS_BEFORE):
        assert not walk.is_certain
        walk.step((4, 5 + step))
    assert walk.is_certain
    assert ahead(walk, 3) == [(4, 7), (4, 8), (4, 9)]


def test_the_rest_of_the_plane_comes_first_then_the_next_one() -> None:
    walk = certain([*grid(2, 3, 3), (2, 0, 0), (2, 0, 1)])
    assert ahead(walk, 9) == [(2, 0, 2), *((2, 1, x) for x in range(3)), *((2, 2, x) for x in range(3)),
                              (3, 0, 0), (3, 0, 1)]  # fmt: skip


def test_a_walk_backward_ends_at_the_beginning() -> None:
    walk = certain([(at, 0) for at in (5, 4, 3)])
    assert ahead(walk, 10) == [(2, 0), (1, 0), (0, 0)]


def test_turning_and_repeating_stop_it() -> None:
    walk = certain([(at,) for at in range(5, 15)])
    assert walk.is_certain
    for at in range(13, 4, -1):
        walk.step((at,))
    assert not walk.is_certain
    walk.step((4,))
    assert walk.is_certain
    assert ahead(walk, 2) == [(3,), (2,)]


def test_jumping_stops_it_and_makes_it_harder_to_believe() -> None:
    walk = Walk((0,))
    needed = []
    for jump in range(1, 12):
        walk.step((1000 * jump,))
        assert not walk.is_certain
        steps = 0
        while not walk.is_certain:
            steps += 1
            walk.step((1000 * jump + steps,))
        needed.append(steps)
    assert needed == [2, 4, 8, 16, 32, 64, 128, 256, 256, 256, 256]
    for step in range(8 * 256 + 1):
        walk.step((100_000 + step,))
    walk.step((0,))
    walk.step((1,))
    walk.step((2,))
    assert walk.is_certain, "a walk that has lasted is forgiven"


def test_it_remembers_no_more_than_it_needs() -> None:
    walk = certain(grid(1, 100, 100))
    assert len(walk._is_seen) == len(walk._seen) == 8192
    assert len(list(itertools.islice(walk.ahead(), 100_000))) <= 2 * 8192 + 100

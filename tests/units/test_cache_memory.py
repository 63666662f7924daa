"""The memory tier is bounded, and knows what became of every guess."""

from __future__ import annotations

import random

from copickfs.cache import Cache, Memory, Piece
from tests.cachedisks import bytes_of, in_threads, piece_of


def pieces(*names: str, size: int = 10) -> list[Piece]:
    return [piece_of(name, size) for name in names]


def put(memory: Memory, *names: str, size: int = 10) -> None:
    for piece in pieces(*names, size=size):
        memory.put(piece, bytes_of(piece))


def guess(memory: Memory, *names: str, size: int = 10) -> None:
    for piece in pieces(*names, size=size):
        memory.put_guess(piece, bytes_of(piece))


def names_in(memory: Memory, names: str) -> str:
    return "".join(name for name in names if piece_of(name, 10) in memory)


def assert_guesses_add_up(memory: Memory) -> None:
    counts = memory.guesses
    assert counts.kept_bytes == counts.hit_bytes + counts.wasted_bytes + memory._guessed_bytes


def test_what_was_used_last_stays() -> None:
    memory = Memory(50)
    put(memory, *"abcde")
    assert memory.get(piece_of("a", 10)) == (bytes_of(piece_of("a", 10)), False)
    put(memory, "f")
    assert names_in(memory, "abcdef") == "acdef"
    assert memory.get(piece_of("b", 10)) == (None, False)
    put(memory, "c")
    assert memory.size_bytes == 50


def test_another_version_is_another_piece() -> None:
    memory = Memory(1000)
    put(memory, "a")
    assert memory.get(piece_of("a", 10, "w")) == (None, False)


def test_what_is_larger_than_the_room_is_not_kept() -> None:
    memory = Memory(50)
    put(memory, "a", size=51)
    guess(memory, "b", size=26)
    assert memory.size_bytes == 0
    assert_guesses_add_up(memory)


def test_guesses_take_half_of_the_room_at_most_and_the_oldest_goes_first() -> None:
    memory = Memory(100)
    put(memory, *"abcdefghij")
    guess(memory, *"123456")
    assert names_in(memory, "123456") == "23456"
    assert names_in(memory, "abcdefghij") == "fghij"
    assert memory.size_bytes == 100
    put(memory, *"klmno")
    assert names_in(memory, "23456klmno") == "23456klmno", "what is read takes nothing from guesses"
    assert memory.guesses == (60, 0, 10)


def test_a_guess_that_is_read_is_one_no_more() -> None:
    memory = Memory(100)
    guess(memory, "a", "a")
    assert memory.get(piece_of("a", 10)) == (bytes_of(piece_of("a", 10)), True)
    assert memory.get(piece_of("a", 10)) == (bytes_of(piece_of("a", 10)), False)
    guess(memory, "a")
    assert memory.guesses == (10, 10, 0)
    guess(memory, "b")
    put(memory, "b")  # by a reader who did not wait for it
    assert memory.guesses == (20, 10, 10)
    guess(memory, "c")
    memory.clear()
    assert memory.guesses == (30, 10, 20)
    assert memory.size_bytes == 0


def test_counters_add_up_whatever_threads_do() -> None:
    memory = Memory(1000)

    def work(number: int) -> None:
        chance = random.Random(number)
        for _ in range(2000):
            piece = piece_of(str(chance.randrange(80)), chance.choice([1, 10, 40]))
            data, _ = memory.get(piece)
            assert data in (None, bytes_of(piece))
            chance.choice([memory.put, memory.put_guess])(piece, bytes_of(piece))
            assert memory.size_bytes <= 1000 + 40  # read without the lock

    in_threads(8, work)
    assert memory.size_bytes <= 1000
    assert memory.size_bytes == sum(map(len, [*memory._read.values(), *memory._guessed.values()]))
    assert_guesses_add_up(memory)
    memory.clear()
    assert_guesses_add_up(memory)


def test_a_cache_without_a_disk_is_its_memory() -> None:
    cache = Cache(memory_bytes=100)
    piece, other = pieces("a", "b")
    cache.put(piece, bytes_of(piece))
    cache.put_guess(other, bytes_of(other))
    assert cache.get(piece) == cache.get_nowait(piece) == bytes_of(piece)
    cache.claim(other)
    assert cache.counts().guesses.hit_bytes == 10
    assert cache.counts().memory_hits == 2
    assert cache.flush(0)
    cache.close()
    cache.close()
    assert cache.get(piece) is None

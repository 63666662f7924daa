"""Processes that are killed while they fill a cache: no wrong byte afterwards, and no room is lost."""

from __future__ import annotations

import contextlib
import os
import random
import time
from typing import TYPE_CHECKING

import pytest

from copickfs.cache import Disk
from tests.cachedisks import MIB, User, assert_tidy, bytes_of, files_in, keep, kept, piece_of

if TYPE_CHECKING:
    from pathlib import Path

LIMIT = 8 * MIB
SIZES = [1000, 40_000, 300_000]
PIECES = [piece_of(f"a/{at}/{size}", size) for at in range(60) for size in SIZES]


def fill_and_kill(root: Path, seed: int) -> None:
    """Two processes fill the cache; one is killed at any moment, the other one goes on for a while."""
    told = {"root": root, "task": "fill", "limit": LIMIT, "threads": 4, "sizes": SIZES, "count": 100_000}
    users = [User(**told, seed=2 * seed + number, names=60) for number in range(2)]
    chance = random.Random(seed)
    time.sleep(chance.uniform(0.05, 0.5))
    for user in users:
        user.kill()
        time.sleep(chance.uniform(0, 0.1))


def check(root: Path) -> None:
    disk = Disk(root, LIMIT)
    with disk.using() as opened:
        assert opened.ledger.owners() == [], "what the killed ones had booked"
        assert len(os.listdir(root / ".copickfs/running")) == 1
    assert disk.verify()[1:] == (0, 0)
    kept(disk, *PIECES)
    assert disk.counts.damaged == 0
    keep(disk, piece_of("new", 500_000))
    disk.close()
    assert sum(files_in(root).values()) <= LIMIT
    assert_tidy(root)


def kill(root: Path, count: int) -> None:
    for seed in range(count):
        fill_and_kill(root, seed)
        check(root)
    disk = Disk(root, LIMIT)
    assert kept(disk, *PIECES), "nothing was ever kept"
    disk.close()


def test_a_cache_whose_users_are_killed(tmp_path: Path) -> None:
    kill(tmp_path / "cache", 5)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_a_cache_whose_users_are_killed_again_and_again(tmp_path: Path) -> None:
    kill(tmp_path / "cache", 100)


def test_one_who_is_alive_keeps_what_it_has_booked(tmp_path: Path) -> None:
    root = tmp_path / "cache"
    disk, other = Disk(root, LIMIT), Disk(root, LIMIT)
    piece = piece_of("a")
    with disk.using() as opened:
        number = opened.ledger.reserve(piece, 0, opened.room.most)
        assert number is not None
        assert not other.put(piece, bytes_of(piece)), "it is being written"
        assert other.used_bytes() == 4096
        opened.ledger.abandon(number, 0)
    keep(other, piece)
    assert kept(disk, piece) == [piece]
    with contextlib.closing(other), contextlib.closing(disk):
        pass
    assert_tidy(root)

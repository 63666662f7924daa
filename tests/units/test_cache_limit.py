"""The directory never takes more than its limit, nor of the disk what is left to others."""

from __future__ import annotations

import json
import os
import threading
from typing import TYPE_CHECKING

import pytest

from copickfs.cache import Disk
from tests.cachedisks import (
    MIB,
    User,
    assert_tidy,
    bytes_of,
    files_in,
    in_threads,
    keep,
    kept,
    piece_of,
    sampling,
    small_disk,
)
from tests.sandbox import needs_root, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIMIT = 24 * MIB
SIZE = 128 << 10
PIECES = 10 * LIMIT // SIZE


pytestmark = needs_root


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", "400m") as disk:
        yield disk / "cache"


def test_many_threads_keep_to_the_limit(root: Path) -> None:
    disk = Disk(root, LIMIT)

    def work(number: int) -> None:
        for at in range(number, PIECES, 32):
            piece = piece_of(f"a/{at // 50}/{at}", SIZE)
            assert disk.put(piece, bytes_of(piece))
            kept(disk, piece, piece_of(f"a/{at // 100}/{at // 2}", SIZE))

    with sampling(root.parent) as peak:
        in_threads(32, work)
    assert disk.counts.stored == PIECES
    assert LIMIT / 2 < peak[0] <= LIMIT
    disk.close()
    assert_tidy(root)


def test_many_processes_keep_to_the_limit(root: Path) -> None:
    told = {
        "root": root,
        "task": "fill",
        "limit": LIMIT,
        "threads": 8,
        "sizes": [4096, 10_000, SIZE, 2 * SIZE],
    }
    with sampling(root.parent) as peak:
        users = [User(**told, seed=seed, count=80, names=400) for seed in range(4)]
        told_last = [json.loads(user.finish()) for user in users]
    assert LIMIT / 2 < peak[0] <= LIMIT
    for wrong, counts in told_last:
        hits, _, stored, _, unstored, damaged, faults = counts
        assert wrong == damaged == faults == 0
        assert stored > 100
        assert hits + stored + unstored <= 640
    assert_tidy(root)


def test_small_pieces_in_a_great_number_keep_to_the_limit(root: Path) -> None:
    """Their database is a good part of the whole."""
    limit = 8 * MIB
    disk = Disk(root, limit)
    with sampling(root.parent) as peak:
        in_threads(8, lambda n: [keep(disk, piece_of(f"{n}/{at}", 100)) for at in range(500)])
    assert peak[0] <= limit
    assert len(files_in(root / "content")) > 500
    disk.close()
    assert_tidy(root)


@pytest.mark.parametrize("limit", [0, 100_000, 256 << 10, 512 << 10, MIB, 2 * MIB])
def test_tiny_limits_keep_little_or_nothing(root: Path, limit: int) -> None:
    disk = Disk(root, limit)
    with sampling(root.parent) as peak:
        for at in range(500):
            piece = piece_of(str(at), 4096)
            disk.put(piece, bytes_of(piece))
            kept(disk, piece)
    assert peak[0] <= max(limit, 200_000)  # the empty database is there in any case
    assert (disk.counts.stored > 0) == (limit >= 256 << 10)
    assert disk.counts.faults == 0
    disk.close()
    assert_tidy(root)


def test_what_is_larger_than_the_limit_pushes_nothing_out(root: Path) -> None:
    disk = Disk(root, 16 * MIB)
    small = [piece_of(str(at)) for at in range(20)]
    keep(disk, *small)
    large = piece_of("large", 16 * MIB)
    assert not disk.put(large, bytes_of(large))
    assert kept(disk, *small) == small
    assert disk.counts.unstored == 1
    disk.close()
    assert_tidy(root)


def test_pins_that_fill_the_cache_leave_the_rest_unkept(root: Path) -> None:
    disk = Disk(root, 16 * MIB)
    with disk.using() as opened:
        opened.ledger.pin("lab-1234", "pinned", is_pinned=True)
    pinned = [piece_of(f"pinned/{at}", MIB) for at in range(20)]
    stayed = [piece for piece in pinned if disk.put(piece, bytes_of(piece))]
    assert 8 < len(stayed) < 16
    other, small = piece_of("other", MIB), piece_of("small", 1000)
    keep(disk, small)
    assert not disk.put(other, bytes_of(other))
    assert kept(disk, *pinned, other, small) == [*stayed, small]
    with disk.using() as opened:
        opened.ledger.pin("lab-1234", "pinned", is_pinned=False)
    keep(disk, other)
    assert len(kept(disk, *pinned)) < len(stayed)
    disk.close()
    assert_tidy(root)


def test_the_room_that_is_left_to_others_is_left(tmp_path: Path) -> None:
    floor = 20 * MIB
    with small_disk(tmp_path / "small", "48m") as small:
        lowest = [1 << 40]
        done = threading.Event()

        def look() -> None:
            while not done.wait(0.002):
                status = os.statvfs(small)
                lowest[0] = min(lowest[0], status.f_bavail * status.f_frsize)

        watcher = threading.Thread(target=look)
        watcher.start()
        disk = Disk(small / "cache", 1 << 40, floor)
        in_threads(16, lambda n: [keep(disk, piece_of(f"{n}/{at}", SIZE)) for at in range(40)])
        done.set()
        watcher.join()
        assert floor <= lowest[0] < floor + 8 * MIB
        (small / "others").write_bytes(bytes(15 * MIB))  # the cache gives way
        keep(disk, piece_of("x", SIZE))
        status = os.statvfs(small)
        assert status.f_bavail * status.f_frsize >= floor
        (small / "others").write_bytes(bytes(27 * MIB))
        assert not disk.put(piece_of("y", SIZE), bytes_of(piece_of("y", SIZE)))
        disk.close()
        assert_tidy(small / "cache")


def test_a_journal_that_readers_hold_is_begun_anew(root: Path) -> None:
    """One who reads for long keeps the journal from being used again: its growth counts against the limit."""
    limit = 16 * MIB
    disk = Disk(root, limit)
    keep(disk, piece_of("first"))
    with disk.using() as opened, opened.database.reading() as connection:
        connection.execute("SELECT count(*) FROM piece").fetchone()
        with sampling(root.parent) as peak:
            in_threads(1, lambda _: [disk.put(piece_of(str(n)), bytes(1000)) for n in range(600)])
    assert peak[0] <= limit
    assert disk.counts.faults == 0
    wait_until(lambda: disk.put(piece_of("last"), bytes_of(piece_of("last"))), what="the journal to be short")
    disk.close()
    assert_tidy(root)

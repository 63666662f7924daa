"""Databases, disks and directories that fail: readers go on, nothing wrong is served, one WARNING."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sqlite3
import subprocess
from typing import TYPE_CHECKING

import pytest

import copickfs.cache.disk
from copickfs.cache import Disk
from copickfs.errors import CacheUnavailable
from tests.cachedisks import (
    MIB,
    NEVER,
    assert_tidy,
    bytes_of,
    content_of,
    database_of,
    in_threads,
    keep,
    kept,
    piece_of,
)
from tests.sandbox import needs_root

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PIECES = [piece_of(f"a/{at}", 2000) for at in range(80)]


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now_s = 10_000.0

    def monotonic(self) -> float:
        return self.now_s

    def time_ns(self) -> int:
        return int(self.now_s * 1e9)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(copickfs.cache.disk, "time", made)
    return made


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def disk(root: Path) -> Iterator[Disk]:
    opened = Disk(root, NEVER)
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path: Path) -> Iterator[None]:
    before = len(os.listdir("/proc/self/fd"))
    yield
    with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
        assert str(tmp_path) not in mounts.read()
    assert len(os.listdir("/proc/self/fd")) <= before


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def use(disk: Disk) -> list[str]:
    """Read, or fetch and keep, everything twice; what was there the second time."""
    for _ in range(2):
        here = kept(disk, *PIECES)
        for piece in PIECES:
            if piece not in here:
                disk.put(piece, bytes_of(piece))
    disk.flush_touches(now=True)
    return [piece.path for piece in here]


def verify(disk: Disk) -> None:
    with contextlib.suppress(CacheUnavailable):
        disk.verify()


def change(root: Path, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(database_of(root))) as connection:
        connection.execute(statement)
        connection.commit()


def overwrite(root: Path, data: bytes) -> None:
    with database_of(root).open("r+b") as file:
        file.truncate(0)
        file.write(data)


def scribble(root: Path) -> None:
    size = database_of(root).stat().st_size
    with database_of(root).open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(size - 4096))


def remove_database(root: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        database_of(root).with_name(f"cache.db{suffix}").unlink(missing_ok=True)


FILE_DAMAGES: dict[str, Callable[[Path], object]] = {
    "garbage": lambda root: overwrite(root, os.urandom(100_000)),
    "a text": lambda root: overwrite(root, b"no database"),
    "no bytes": lambda root: overwrite(root, b""),
    "half": lambda root: os.truncate(database_of(root), database_of(root).stat().st_size // 8192 * 4096),
    "a page": lambda root: os.truncate(database_of(root), 4096),
    "scribbled": scribble,
    "removed": remove_database,
    "another program's": lambda root: (remove_database(root), change(root, "CREATE TABLE theirs (x)")),
    "the whole directory": shutil.rmtree,
    "all of content": lambda root: shutil.rmtree(root / "content"),
    "its own files": lambda root: shutil.rmtree(root / ".copickfs/running"),
}

ROW_DAMAGES = {
    "digests": "UPDATE piece SET digest = digest + 1",
    "sizes": "UPDATE piece SET size_bytes = size_bytes + 1",
    "sizes as text": "UPDATE piece SET size_bytes = 'much'",
    "huge sizes": "UPDATE piece SET size_bytes = 1 << 60",
    "negative sizes": "UPDATE piece SET size_bytes = -1",
    "starts": "UPDATE piece SET start = start + 7",
    "charges": "UPDATE piece SET charge_bytes = 0",
    "charges as text": "UPDATE piece SET charge_bytes = 'much'",
    "a sum that is too small": "UPDATE used SET charge_bytes = -1000000",
    "a sum that is none": "UPDATE used SET charge_bytes = 'much'",
    "no sum": "DELETE FROM used",
    "paths that lead out": "UPDATE object SET path = '../../../precious/' || id",
    "sources that lead out": "UPDATE object SET source = '../../precious'",
    "paths that are numbers": "UPDATE object SET path = id",
    "versions": "UPDATE object SET version = 'w'",
    "no objects": "DELETE FROM object",
    "no pieces": "DELETE FROM piece",
    "owners": "UPDATE piece SET owner = 'nobody'",
    "owners that lead out": "UPDATE piece SET owner = '../../../precious'",
    "a table that is gone": "DROP TABLE piece",
    "an empty schema": "DROP TABLE used",
}


@pytest.fixture(autouse=True)
def precious(tmp_path: Path) -> Iterator[None]:
    """Files beside the cache that nothing in it may touch."""
    directory = tmp_path / "precious"
    directory.mkdir()
    for number in range(150):
        (directory / str(number)).write_text("theirs")
    yield
    assert len(list(directory.iterdir())) == 150


@pytest.mark.parametrize("damage", FILE_DAMAGES)
@pytest.mark.parametrize("is_open", [True, False], ids=["while it is open", "before it is opened"])
def test_a_damaged_directory_is_made_anew_or_done_without(
    root: Path, clock: Clock, disk: Disk, damage: str, is_open: bool, caplog: pytest.LogCaptureFixture
) -> None:
    use(disk)
    if not is_open:
        disk.close()
        disk = Disk(root, NEVER)
    FILE_DAMAGES[damage](root)
    use(disk)
    clock.now_s += copickfs.cache.disk.REST_S + 1
    use(disk)
    use(disk)
    assert len(warnings(caplog)) <= 1, warnings(caplog)
    if damage == "another program's":
        assert content_of(root), "nothing is emptied because of what another program has put there"
        disk.close()
        return
    disk.close()  # what this process had in memory it has not looked at again
    again = Disk(root, NEVER)
    verify(again)
    assert len(use(again)) == len(PIECES)
    again.close()
    assert_tidy(root)
    assert len(warnings(caplog)) <= 1


@pytest.mark.parametrize("damage", ROW_DAMAGES)
@pytest.mark.parametrize("is_open", [True, False], ids=["while it is open", "before it is opened"])
def test_damaged_rows_are_never_believed(
    root: Path, clock: Clock, damage: str, is_open: bool, caplog: pytest.LogCaptureFixture
) -> None:
    limit = 8 * MIB
    disk = Disk(root, limit)
    use(disk)
    if not is_open:
        disk.close()
        disk = Disk(root, limit)
    change(root, ROW_DAMAGES[damage])
    use(disk)
    keeping = [piece_of(f"b/{at}", 300_000) for at in range(40)]
    for piece in keeping:
        disk.put(piece, bytes_of(piece))
        kept(disk, piece)
    clock.now_s += copickfs.cache.disk.REST_S + 1
    use(disk)
    disk.verify()
    use(disk)
    assert len(use(disk)) == len(PIECES)
    assert len(warnings(caplog)) <= 1, warnings(caplog)
    disk.close()
    assert_tidy(root)


def test_a_cache_of_a_newer_version_is_left_alone(
    root: Path, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    keep(disk, *PIECES[:5])
    disk.close()
    change(root, "PRAGMA user_version = 99")
    newer = Disk(root, NEVER)
    assert use(newer) == []
    assert "newer version" in newer.fault
    assert ["newer version" in message for message in warnings(caplog)] == [True]
    newer.close()
    assert len(content_of(root)) == 5


def test_a_cache_of_an_older_version_is_made_anew(
    root: Path, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    keep(disk, piece_of("old"))
    disk.close()
    change(root, "PRAGMA user_version = -1")
    again = Disk(root, NEVER)
    assert len(use(again)) == len(PIECES)
    assert ["old" in message for message in warnings(caplog)] == [True]
    again.close()
    assert_tidy(root)


def test_two_who_find_the_same_damage_do_not_empty_the_new_cache(
    root: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = Disk(root, NEVER), Disk(root, NEVER)
    use(first)
    use(second)
    scribble(root)
    in_threads(2, lambda number: verify((first, second)[number]))
    assert len(use(first)) == len(PIECES)
    clock.now_s += copickfs.cache.disk.REST_S + 1  # the second one looks whether it is the same database
    assert len(use(second)) == len(PIECES)
    assert len(warnings(caplog)) <= 2
    first.close()
    second.close()
    assert_tidy(root)


@contextlib.contextmanager
def mounted(directory: Path, *arguments: str) -> Iterator[Path]:
    directory.mkdir(exist_ok=True)
    subprocess.run(["mount", *arguments, str(directory)], check=True)
    try:
        yield directory
    finally:
        if subprocess.run(["umount", str(directory)], check=False).returncode:
            subprocess.run(["umount", "-l", str(directory)], check=True)
            raise AssertionError("somebody still has a file there")


@needs_root
def test_a_full_disk_is_read_from_and_written_again_when_there_is_room(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=8m", "tmpfs") as small:
        disk = Disk(small / "cache", NEVER)
        keep(disk, *PIECES[:60])
        filler = small / "filler"
        with contextlib.suppress(OSError), filler.open("wb") as file:
            file.write(bytes(8 * MIB))
        for _ in range(2):
            for at in range(50):
                large = piece_of(f"b/{at}", 500_000)
                disk.put(large, bytes_of(large))
                kept(disk, large)
        assert len(kept(disk, *PIECES[:60])) > 0
        disk.flush_touches(now=True)
        assert len(warnings(caplog)) <= 1
        filler.unlink()
        clock.now_s += copickfs.cache.disk.REST_S + 1
        assert len(use(disk)) == len(PIECES)
        disk.close()
        assert_tidy(small / "cache")


@needs_root
def test_a_disk_that_is_full_when_a_cache_is_to_be_made(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=1m", "tmpfs") as small:
        with contextlib.suppress(OSError), (small / "filler").open("wb") as file:
            file.write(bytes(MIB))
        disk = Disk(small / "cache", NEVER)
        assert use(disk) == []
        assert len(warnings(caplog)) == 1
        (small / "filler").unlink()
        clock.now_s += copickfs.cache.disk.REST_S + 1
        use(disk)
        assert disk.fault == ""
        assert disk.counts.faults == 1
        disk.close()


@needs_root
def test_a_read_only_directory_is_done_without(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    place = tmp_path / "place"
    disk = Disk(place / "cache", NEVER)
    use(disk)
    with mounted(place, "--bind", str(place)):
        subprocess.run(["mount", "-o", "remount,bind,ro", str(place)], check=True)
        use(disk)
        assert not disk.put(piece_of("new"), bytes_of(piece_of("new")))
        again = Disk(place / "cache", NEVER)
        assert use(again) == []
        assert "Read-only" in again.fault
        again.close()
    assert len(warnings(caplog)) == 2
    clock.now_s += copickfs.cache.disk.REST_S + 1
    assert len(use(disk)) == len(PIECES)
    assert disk.fault == ""
    disk.close()
    assert_tidy(place / "cache")


@needs_root
def test_a_disk_that_vanishes_and_comes_back(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    image, place = tmp_path / "image", tmp_path / "place"
    image.mkdir()
    place.mkdir()
    subprocess.run(["mount", "--bind", str(image), str(place)], check=True)
    disk = Disk(place / "cache", NEVER)
    assert len(use(disk)) == len(PIECES)
    subprocess.run(["umount", "-l", str(place)], check=True)
    place.chmod(0o500)
    subprocess.run(["mount", "--bind", "-o", "ro", str(place), str(place)], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", str(place)], check=True)
    use(disk)
    assert len(warnings(caplog)) <= 1
    subprocess.run(["umount", str(place)], check=True)
    with mounted(place, "--bind", str(image)):
        clock.now_s += copickfs.cache.disk.REST_S + 1
        assert len(use(disk)) == len(PIECES)
        assert len(warnings(caplog)) <= 1
        disk.close()
        assert_tidy(place / "cache")


def test_a_database_that_others_keep_locked_is_waited_for_in_vain_and_no_fault(
    root: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("copickfs.cache.opened.BUSY_S", 0.1)
    keep(disk, *PIECES[:3])
    with contextlib.closing(sqlite3.connect(database_of(root), isolation_level=None)) as locker:
        locker.execute("BEGIN IMMEDIATE")
        assert not disk.put(PIECES[3], bytes_of(PIECES[3]))
        assert kept(disk, *PIECES[:4]) == PIECES[:3]
        disk.flush_touches(now=True)
        locker.execute("ROLLBACK")
    keep(disk, PIECES[3])
    assert disk.counts.faults == 0
    disk.close()
    assert_tidy(root)

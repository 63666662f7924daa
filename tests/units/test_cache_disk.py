"""The disk tier: versions, names, pins, what stays, and what somebody has done to the files."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
from typing import TYPE_CHECKING

import pytest

from copickfs.cache import Cache, Disk
from copickfs.cache.place import check_root
from copickfs.errors import CacheUnavailable, ConfigError
from tests.cachedisks import (
    MIB,
    NEVER,
    SOURCE,
    assert_tidy,
    bytes_of,
    content_of,
    in_threads,
    keep,
    kept,
    piece_of,
)
from tests.units.conftest import own_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from copickfs.cache import Piece


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "made" / "cache"


@pytest.fixture(autouse=True)
def no_warning(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    assert [record.getMessage() for record in caplog.records if record.levelname != "DEBUG"] == []


@pytest.fixture
def disk(root: Path) -> Iterator[Disk]:
    opened = Disk(root, NEVER)
    yield opened
    opened.close()
    if root.exists():
        assert_tidy(root)


def file_of(root: Path, path: str) -> Path:
    return root / "content" / SOURCE / path


def pin(disk: Disk, path: str, *, is_pinned: bool = True) -> None:
    with disk.using() as opened:
        opened.ledger.pin(SOURCE, path, is_pinned=is_pinned)


def forget(disk: Disk, path: str) -> tuple[int, int]:
    with disk.using() as opened:
        return opened.ledger.forget(SOURCE, path)


def test_what_is_kept_is_there_for_the_next_process(root: Path, disk: Disk) -> None:
    whole, first, last = (
        piece_of("a/b", 5000),
        piece_of("c", MIB, whole=3 * MIB),
        piece_of("c", MIB, "v", 2 * MIB),
    )
    last = last._replace(object_bytes=3 * MIB)
    keep(disk, whole, first, last)
    keep(disk, whole)
    assert disk.counts.stored == 3
    disk.close()
    disk.close()
    again = Disk(root, NEVER)
    assert kept(again, whole, first, last) == [whole, first, last]
    assert again.starts(first) == {0, 2 * MIB}
    assert again.used_bytes() == 8192 + 2 * MIB
    assert file_of(root, "a/b").read_bytes() == bytes_of(whole)
    again.close()


def test_a_closed_disk_keeps_and_has_nothing(disk: Disk) -> None:
    keep(disk, piece_of("a"))
    disk.close()
    assert disk.get(piece_of("a")) is None
    assert not disk.put(piece_of("a"), bytes(1000))
    assert disk.starts(piece_of("a")) == set()
    disk.flush_touches(now=True)
    with pytest.raises(CacheUnavailable, match="closed"):
        disk.verify()


def test_another_version_replaces_the_one_that_was(root: Path, disk: Disk) -> None:
    old = [piece_of("big", MIB, "v1", at * MIB, 9 * MIB) for at in range(9)]
    keep(disk, *old)
    new = piece_of("big", MIB, "v2", MIB, 9 * MIB)
    keep(disk, new)
    assert kept(disk, *old, new) == [new]
    assert len(content_of(root)) == 1
    shorter = piece_of("big", 700, "v2")  # the same name of the version, of another length
    keep(disk, shorter)
    assert kept(disk, new, shorter) == [shorter]
    assert list(content_of(root)) == [str(file_of(root, "big"))]


def test_many_blocks_of_an_old_version_go_in_steps(root: Path, disk: Disk) -> None:
    keep(disk, *(piece_of("big", 10, "v1", at * 10, 5000) for at in range(300)))
    keep(disk, piece_of("big", 10, "v2", 0, 5000))
    assert len(content_of(root)) == 1


def test_readers_of_two_versions_never_get_mixed_bytes(disk: Disk) -> None:
    def work(number: int) -> None:
        chance = random.Random(number)
        for _ in range(150):
            piece = piece_of("a", 100_000, f"v{number % 2}", 100_000 * chance.randrange(3), 300_000)
            if not kept(disk, piece):
                disk.put(piece, bytes_of(piece))

    in_threads(8, work)
    assert disk.counts.stored > 2
    assert disk.counts.faults == 0


def test_a_whole_object_takes_the_place_of_a_block_at_the_same_byte(disk: Disk) -> None:
    block, whole = piece_of("a", 1000, whole=5000), piece_of("a", 5000)
    keep(disk, block, whole)
    assert kept(disk, block, whole) == [whole]


def test_a_file_becomes_a_directory_and_back(root: Path, disk: Disk) -> None:
    file, inner = piece_of("a/b"), piece_of("a/b/c/d")
    for _ in range(2):
        keep(disk, file)
        assert kept(disk, file, inner) == [file]
        keep(disk, inner)
        assert kept(disk, file, inner) == [inner]
    keep(disk, file)
    disk.verify()
    assert list(content_of(root)) == [str(file_of(root, "a/b"))]


NAMES = {
    "not UTF-8": os.fsdecode(b"a/\xff\xfe/\x80"), "spaces": " a / b ", "percent": "%s/%2f%",
    "newline": "a\nb",
    "255 bytes": "x" * 255, "255 bytes of others": "\N{EURO SIGN}" * 85, "quotes": "a'b\"c`",
    "blocks": "x.blocks", "digits": "x.blocks/00000000000000000000", "dots": "...", "dash": "-rf",
    "star": "*",
    "as long as can be": "/".join(["d" * 200] * 19),
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_names_of_all_kinds(root: Path, disk: Disk, name: str) -> None:
    path = NAMES[name]
    whole, block = piece_of(path, 500), piece_of(path + "2"[: len(path) < 255], 500, whole=9000)
    longest = name == "as long as can be"
    if not longest:
        keep(disk, block)
        assert kept(disk, block) == [block]
    if name.startswith("255"):
        assert content_of(root), "its name is abridged"
    keep(disk, whole)
    assert kept(disk, whole) == [whole]
    pin(disk, path)
    assert forget(disk, path.partition("/")[0])[0] >= 1
    assert kept(disk, whole) == []


@pytest.mark.parametrize(
    "path",
    ["", "/", "a//b", "../../../etc/passwd", "a/../../b", ".", "a/.", "/etc/passwd", "a\0b", "a/", "x" * 256,
     "/".join(["d" * 255] * 17), "/".join(["d"] * 3000)],
)  # fmt: skip
def test_names_that_cannot_be_are_not_kept_and_no_fault(root: Path, disk: Disk, path: str) -> None:
    keep(disk, piece_of("sound"))
    for piece in (piece_of(path), piece_of(path, 10, whole=9000)):
        if len(path) != 256 or piece.is_whole:  # the name of a block is abridged
            assert not disk.put(piece, bytes_of(piece))
        assert kept(disk, piece, piece_of("sound"))[-1:] == [piece_of("sound")]
    assert not disk.put(piece_of("huge", 10, "v", 0, 1 << 70), bytes(10))
    assert disk.get(piece_of("huge", 10, "v", 0, 1 << 70)) is None
    assert disk.counts.faults == 0
    forget(disk, "")
    assert content_of(root) == {}


def test_blocks_and_an_object_with_the_name_of_their_directory(disk: Disk) -> None:
    block = piece_of("x", 100, whole=9000)
    twin = piece_of("x.blocks/00000000000000000000", 100)
    file = piece_of("x.blocks", 100)
    chance = random.Random(1)
    for _ in range(60):
        piece = chance.choice([block, twin, file])
        if not kept(disk, piece):
            disk.put(piece, bytes_of(piece))
            kept(disk, block, twin, file)
    disk.verify()


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def replace_by_directory(file: Path) -> None:
    file.unlink()
    (file / "precious").mkdir(parents=True)


def replace_by_link(file: Path) -> None:
    other = file.with_name("other")
    file.rename(other)
    file.symlink_to(other)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "flipped": flip,
    "truncated": lambda file: os.truncate(file, 400),
    "lengthened": lambda file: os.truncate(file, 1001),
    "much longer": lambda file: os.truncate(file, 1 << 40),
    "emptied": lambda file: os.truncate(file, 0),
    "removed": os.unlink,
    "a directory": replace_by_directory,
    "a link": replace_by_link,
    "a link to nowhere": lambda file: (file.unlink(), file.symlink_to("nowhere")),
    "a device": lambda file: (file.unlink(), os.mkfifo(file)),
    "its directory": lambda file: shutil.rmtree(file.parent),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("found_by", ["reading", "verifying", "making room", "a new version"])
def test_what_somebody_did_to_a_file_is_never_served(
    root: Path, disk: Disk, damage: str, found_by: str
) -> None:
    piece, other = piece_of("a/b/c"), piece_of("a/d")
    keep(disk, piece, other)
    DAMAGES[damage](file_of(root, "a/b/c"))
    if found_by == "reading":
        assert kept(disk, piece, other) == [other]
        assert disk.counts.damaged == 1
    elif found_by == "verifying":
        assert disk.verify()[:2] == (1, 1)
    elif found_by == "making room":
        forget(disk, "a/b")
    else:
        piece = piece_of("a/b/c", 1000, "w")
    keep(disk, piece)
    assert kept(disk, piece, other) == [piece, other]
    assert disk.counts.faults == 0
    disk.verify()


def test_a_link_to_a_directory_leads_to_nothing_of_ours(root: Path, tmp_path: Path, disk: Disk) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "c").write_bytes(b"theirs")
    keep(disk, piece_of("a/b/c"), piece_of("a/b/d"))
    shutil.rmtree(file_of(root, "a/b"))
    file_of(root, "a/b").symlink_to(precious)
    assert kept(disk, piece_of("a/b/c")) == []
    assert forget(disk, "a/b/d")[0] == 1
    keep(disk, piece_of("a/b/c"))
    keep(disk, piece_of("a/b/e"))
    assert os.listdir(precious) == ["c"]
    assert (precious / "c").read_bytes() == b"theirs"
    assert kept(disk, piece_of("a/b/c")) == [piece_of("a/b/c")]


def test_strays_are_removed_when_all_is_verified(root: Path, disk: Disk) -> None:
    pieces = [piece_of(f"a/{at}") for at in range(200)]
    keep(disk, *pieces, piece_of("big", 10, whole=9000))
    for at in range(100):
        file_of(root, f"a/stray{at}").write_bytes(b"x")
    (file_of(root, "deep/deeper")).mkdir(parents=True)
    (file_of(root, "deep/deeper/stray")).write_bytes(b"x")
    read: list[int] = []
    assert disk.verify(read.append) == (201, 0, 101)
    assert sum(read) == 200 * 1000 + 10
    assert not file_of(root, "deep").exists()
    assert len(kept(disk, *pieces)) == 200


@pytest.mark.parametrize("files", [["precious.txt"], ["content/x"], ["a/b", "c"]])
def test_a_directory_with_other_files_is_refused(tmp_path: Path, files: list[str]) -> None:
    theirs = tmp_path / "theirs"
    for name in files:
        (theirs / name).parent.mkdir(parents=True, exist_ok=True)
        (theirs / name).write_text("precious")
    with pytest.raises(ConfigError, match="other files"):
        check_root(theirs)
    with pytest.raises(CacheUnavailable, match="other files"), Disk(theirs, NEVER).using():
        pass
    assert {str(file.relative_to(theirs)) for file in theirs.rglob("*") if file.is_file()} == set(files)


def test_a_file_is_no_directory_for_a_cache(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    with pytest.raises(ConfigError, match="not a directory"):
        check_root(tmp_path / "file")
    check_root(tmp_path / "nothing")
    (tmp_path / "lost+found").mkdir()
    assert (tmp_path / "file").read_text() == "precious"


def test_pins_stay_with_what_comes_later_and_over_a_restart(root: Path) -> None:
    limit = 16 * MIB
    with contextlib.closing(Disk(root, limit)) as disk:
        early = [piece_of(f"a/b/{at}", 100_000) for at in range(10)]
        keep(disk, *early, piece_of("a/bc", 100_000))
        pin(disk, "a/b")
        pin(disk, "a/b/3")
    with contextlib.closing(Disk(root, limit)) as disk:
        with disk.using() as opened:
            assert opened.ledger.pins() == [(SOURCE, "a/b"), (SOURCE, "a/b/3")]
        late = piece_of("a/b/late", 100_000)
        keep(disk, late, *(piece_of(f"x/{at}", 100_000) for at in range(200)))
        assert kept(disk, *early, late, piece_of("a/bc", 100_000)) == [*early, late]
        with disk.using() as opened:
            (summary,) = opened.ledger.summaries()
            assert summary.pinned_bytes == 11 * (25 * 4096)
            assert [found.path for found in opened.ledger.objects(SOURCE, "a") if found.is_pinned] == [
                *(piece.path for piece in early), "a/b/late",
            ]  # fmt: skip
        pin(disk, "a/b", is_pinned=False)
        keep(disk, *(piece_of(f"y/{at}", 100_000) for at in range(200)))
        assert kept(disk, *early, late) == [early[3]]
        assert forget(disk, "a") == (1, 25 * 4096)
    assert_tidy(root)


def test_pins_of_names_that_are_not_utf8_and_of_everything(disk: Disk) -> None:
    odd = os.fsdecode(b"\xff")
    keep(disk, piece_of(f"{odd}/x"), piece_of("y"))
    pin(disk, odd)
    with disk.using() as opened:
        assert [found.is_pinned for found in opened.ledger.objects(None, "")] == [False, True]
        assert opened.ledger.objects(None, f"{odd}/x")[0].path == f"{odd}/x"
    pin(disk, "")
    keep(disk, piece_of("z"))
    with disk.using() as opened:
        assert all(found.is_pinned for found in opened.ledger.objects(None, ""))
    pin(disk, "", is_pinned=False)
    with disk.using() as opened:
        assert [found.is_pinned for found in opened.ledger.objects(None, "")] == [False, False, True]


def test_a_pin_reaches_more_pieces_than_fit_in_a_step(disk: Disk) -> None:
    keep(
        disk, *(piece_of(f"a/{at}", 10) for at in range(150)), *(piece_of(f"b/{at}", 10) for at in range(150))
    )
    pin(disk, "a")
    with disk.using() as opened:
        assert sum(found.is_pinned for found in opened.ledger.objects(None, "")) == 150
    assert forget(disk, "") == (300, 300 * 4096)


@pytest.mark.parametrize("by_another", [False, True])
def test_what_was_read_last_stays(root: Path, by_another: bool) -> None:
    limit = 16 * MIB
    pieces = [piece_of(f"a/{at}", MIB // 2) for at in range(18)]
    disk = Disk(root, limit)
    keep(disk, *pieces)
    reader = Disk(root, limit) if by_another else disk
    assert kept(reader, *pieces[:4]) == pieces[:4]
    reader.flush_touches(now=True)
    keep(disk, *(piece_of(f"b/{at}", MIB // 2) for at in range(14)))
    assert kept(disk, *pieces[:8]) == pieces[:4]
    reader.close()
    disk.close()
    assert_tidy(root)


def test_closing_writes_down_what_was_read(root: Path) -> None:
    limit = 16 * MIB
    pieces = [piece_of(f"a/{at}", MIB // 2) for at in range(18)]
    with contextlib.closing(Disk(root, limit)) as disk:
        keep(disk, *pieces)
        kept(disk, pieces[0])
    with contextlib.closing(Disk(root, limit)) as disk:
        keep(disk, *(piece_of(f"b/{at}", MIB // 2) for at in range(8)))
        assert kept(disk, *pieces[:2]) == pieces[:1]


def test_what_goes_while_it_is_read_is_read_whole_or_not_at_all(root: Path) -> None:
    disk = Disk(root, 8 * MIB)

    def work(number: int) -> None:
        chance = random.Random(number)
        for _ in range(60):
            piece = piece_of(f"a/{chance.randrange(30)}", 400_000)
            if not kept(disk, piece):
                disk.put(piece, bytes_of(piece))

    in_threads(8, work)
    assert disk.counts.hits > 0
    assert disk.counts.stored > 30
    assert disk.counts.faults == 0
    disk.close()
    assert_tidy(root)


def test_closing_while_others_read_and_write(root: Path) -> None:
    for _ in range(15):
        disk = Disk(root, 8 * MIB)
        keep(disk, piece_of("a/0"))

        def work(number: int, disk: Disk = disk) -> None:
            if number < 2:
                disk.close()
                return
            for at in range(60):
                piece = piece_of(f"a/{at % 7}", 10_000)
                kept(disk, piece)
                disk.put(piece, bytes_of(piece))
                disk.starts(piece)

        in_threads(10, work)
        assert disk.counts.faults == 0
        assert_tidy(root)


def test_a_cache_writes_what_was_read_and_what_was_guessed_rightly(root: Path, disk: Disk) -> None:
    cache = Cache(Disk(root, NEVER), memory_bytes=MIB)
    read, guess, wrong, brief = (piece_of(name) for name in ("read", "guess", "wrong", "brief"))
    brief = brief._replace(is_lasting=False)
    for piece in (guess, wrong):
        cache.put_guess(piece, bytes_of(piece))
    for piece in (read, brief):
        cache.put(piece, bytes_of(piece))
    assert cache.get_nowait(guess) == bytes_of(guess)
    assert cache.flush(10)
    assert kept(disk, read, guess, wrong, brief) == [read, guess]
    cache.close()
    cache.close()
    assert own_threads() == []
    again = Cache(Disk(root, NEVER), memory_bytes=MIB)
    assert again.get_nowait(read) is None
    assert again.get(read) == again.get_nowait(read) == bytes_of(read)
    assert again.counts().disk.hits == again.counts().memory_hits == 1
    again.close()
    assert own_threads() == []


def test_readers_wait_when_too_much_is_to_be_written(root: Path, disk: Disk) -> None:
    cache = Cache(Disk(root, NEVER), memory_bytes=MIB)
    pieces = [piece_of(f"a/{at}", 8 * MIB) for at in range(20)]

    def work(number: int) -> None:
        for piece in pieces[number::4]:
            cache.put(piece, bytes_of(piece))
            assert cache.counts().waiting_bytes <= 64 * MIB

    in_threads(4, work)
    assert cache.flush(60)
    assert cache.counts().waiting_bytes == 0
    cache.close()
    assert kept(disk, *pieces) == pieces
    assert own_threads() == []


def test_a_cache_that_is_closed_while_it_is_used(root: Path) -> None:
    for _ in range(5):
        cache = Cache(Disk(root, NEVER), memory_bytes=MIB)
        cache.put(piece_of("a/first"), bytes_of(piece_of("a/first")))
        assert cache.flush(10)

        def work(number: int, cache: Cache = cache) -> None:
            if number < 2:
                cache.close()
                return
            for at in range(100):
                piece: Piece = piece_of(f"a/{number}/{at}")
                cache.put(piece, bytes_of(piece))
                assert cache.get(piece) in (None, bytes_of(piece))

        in_threads(8, work)
        assert own_threads() == []
        assert_tidy(root)

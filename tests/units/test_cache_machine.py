"""A cache that is used and spoilt at random has what a dictionary has, or nothing."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from copickfs.cache import Disk, Piece
from tests.cachedisks import MIB, SOURCE, assert_tidy, bytes_of, files_in, kept, piece_of

EXAMPLES = int(os.environ.get("COPICKFS_CACHE_EXAMPLES", "25"))
"""More of them for a long run by hand."""

LIMIT = 4 * MIB
PATHS = st.sampled_from(["a", "a/b", "a/b/c", "a.blocks", "a/\udcff", "b", "b/%", "c/d", "c/d2"])
VERSIONS = st.sampled_from(["v", "w"])
SIZES = st.sampled_from([1, 4096, 50_000, 700_000])
BLOCKS = st.sampled_from([None, 0, 1, 2])


def made(path: str, version: str, size: int, block: int | None) -> Piece:
    """A whole object, or a block of one of three blocks."""
    if block is None:
        return piece_of(path, size, version)
    return piece_of(path, size, version, block * size, 3 * size)


class Machine(RuleBasedStateMachine):
    """What was put is in ``put`` until something may have removed it."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.root = self.directory / "cache"
        self.disks = [Disk(self.root, LIMIT), Disk(self.root, LIMIT)]
        self.put: dict[tuple[str, int], Piece] = {}
        self.pins: set[str] = set()
        self.is_sound = True

    def teardown(self) -> None:
        for disk in self.disks:
            disk.close()
            assert disk.counts.faults == 0
        if self.root.exists():
            if not self.is_sound:
                self._verify()
            assert_tidy(self.root)
        shutil.rmtree(self.directory)

    @rule(path=PATHS, version=VERSIONS, size=SIZES, block=BLOCKS, which=st.integers(0, 1))
    def keep(self, path: str, version: str, size: int, block: int | None, which: int) -> None:
        piece = made(path, version, size, block)
        kept(self.disks[which], piece)  # as readers do, who fetch only what they have not found
        is_kept = self.disks[which].put(piece, bytes_of(piece))
        if not is_kept:
            assert self.pins, "there is room for each of them"
            return
        assert kept(self.disks[which], piece) == [piece]
        for key, other in list(self.put.items()):
            if other.path == path and (other.version, other.object_bytes) != (version, piece.object_bytes):
                del self.put[key]
        self.put[path, piece.start] = piece
        self.is_sound = False  # it may have taken the place of a directory

    @rule(path=PATHS, version=VERSIONS, size=SIZES, block=BLOCKS, which=st.integers(0, 1))
    def get(self, path: str, version: str, size: int, block: int | None, which: int) -> None:
        piece = made(path, version, size, block)
        if kept(self.disks[which], piece):
            assert self.put.get((path, piece.start)) == piece, "nobody has put it there"

    @rule(path=PATHS, which=st.integers(0, 1))
    def forget(self, path: str, which: int) -> None:
        with self.disks[which].using() as opened:
            opened.ledger.forget(SOURCE, path)
            assert opened.ledger.objects(SOURCE, path) == []
        for key in list(self.put):
            if f"{key[0]}/".startswith(f"{path}/"):
                del self.put[key]

    @rule(path=PATHS, is_pinned=st.booleans(), which=st.integers(0, 1))
    def pin(self, path: str, is_pinned: bool, which: int) -> None:
        with self.disks[which].using() as opened:
            opened.ledger.pin(SOURCE, path, is_pinned=is_pinned)
            (self.pins.add if is_pinned else self.pins.discard)(path)
            assert set(opened.ledger.pins()) == {(SOURCE, pinned) for pinned in self.pins}
            for found in opened.ledger.objects(SOURCE, ""):
                assert found.is_pinned == any(f"{found.path}/".startswith(f"{p}/") for p in self.pins)

    @rule(which=st.integers(0, 1))
    def reopen(self, which: int) -> None:
        self.disks[which].close()
        self.disks[which] = Disk(self.root, LIMIT)

    @rule(data=st.data())
    def flip(self, data: Any) -> None:
        files = sorted(files_in(self.root / "content"))
        if not files:
            return
        file = Path(data.draw(st.sampled_from(files)))
        contents = bytearray(file.read_bytes())
        contents[data.draw(st.integers(0, len(contents) - 1))] ^= 255
        file.write_bytes(contents)
        self.is_sound = False

    @rule()
    def verify(self) -> None:
        self._verify()

    @invariant()
    def the_limit_holds(self) -> None:
        assert sum(files_in(self.root).values()) <= LIMIT

    def _verify(self) -> None:
        disk = Disk(self.root, LIMIT)
        _, damaged, strays = disk.verify()
        assert strays == 0
        assert damaged == 0 or not self.is_sound
        self.is_sound = True
        assert disk.verify()[1:] == (0, 0)
        disk.close()


def test_a_cache_has_what_was_put_or_nothing() -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )

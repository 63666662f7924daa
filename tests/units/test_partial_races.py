"""Never a wrong chunk while partial copies are made, completed and removed by some and read by others."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from copickfs.view import materialize
from tests.model import hash_tree
from tests.overlays import Stack, fill
from tests.units.test_partial import CHUNKS, LOWER, is_whole

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHUNK = "R/t.zarr/0/0/3"


@pytest.fixture
def roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """A write layer and a lower one with a store; completion begins at once."""
    monkeypatch.setattr(materialize, "QUIET_S", 0.1)
    low = fill(tmp_path / "low", LOWER)
    before = hash_tree(low)
    yield [fill(tmp_path / "write", {}), low]
    assert hash_tree(low) == before


def test_readers_never_see_an_old_chunk(roots: list[Path]) -> None:
    read_while_written(roots, turns=10)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_readers_never_see_an_old_chunk_for_long(roots: list[Path]) -> None:
    read_while_written(roots, turns=400)


def read_while_written(roots: list[Path], turns: int) -> None:
    """Chunks are written, completed, removed with their store and made again while others read them."""
    with Stack(roots) as stack:
        wrong: list[str] = []
        newest = [0]
        ended = threading.Event()

        def read() -> None:
            while not ended.is_set():
                least = newest[0]
                try:
                    data = stack.read("R/t.zarr/0/0/3")
                except FileNotFoundError:
                    continue
                found = int(data.split()[1]) if data.startswith(b"new") else -1
                if least and newest[0] == least and found < least:
                    wrong.append(f"{data!r} after {least}")

        readers = [threading.Thread(target=read) for _ in range(3)]
        for reader in readers:
            reader.start()
        for turn in range(1, turns + 1):
            stack.write("R/t.zarr/0/0/3", b"new %d" % turn)
            newest[0] = turn
            stack.writer.materialize("R/t.zarr")
            assert is_whole(roots[0])
            newest[0] = 0
            # As if nobody had written it: the whole store is put aside, and the lower one is back.
            (roots[0] / "R/t.zarr").rename(roots[0].parent / f"aside{turn}")
            stack.view.membership.announce("")
        ended.set()
        for reader in readers:
            reader.join()
        assert wrong == []


def test_a_store_that_is_removed_while_it_is_read_does_not_come_back(roots: list[Path]) -> None:
    with Stack(roots) as stack:
        seen: list[bytes] = []
        removed, ended = threading.Event(), threading.Event()

        def read() -> None:
            while not ended.is_set():
                gone = removed.is_set()
                try:
                    data = stack.read("R/t.zarr/0/0/3")
                except FileNotFoundError:
                    continue
                if gone or data != b"new":
                    seen.append(data)

        stack.write("R/t.zarr/0/0/3", b"new")
        readers = [threading.Thread(target=read) for _ in range(3)]
        for reader in readers:
            reader.start()
        stack.remove("R/t.zarr")
        removed.set()
        for _ in range(200):
            assert "t.zarr" not in stack.names("R")
        ended.set()
        for reader in readers:
            reader.join()
        assert seen == []


def test_writers_and_the_completion_do_not_disturb_each_other(roots: list[Path]) -> None:
    with Stack(roots) as stack:

        def write(first: int) -> None:
            for turn in range(30):
                for z in range(first, len(CHUNKS), 4):
                    stack.write(f"R/t.zarr/0/0/{z}", b"turn %d of %d" % (turn, z))

        writers = [threading.Thread(target=write, args=(i,)) for i in range(4)]
        for writer in writers:
            writer.start()
        while any(writer.is_alive() for writer in writers):
            stack.writer.materialize("R")
        for writer in writers:
            writer.join()
        stack.writer.materialize("R")
        for z in range(len(CHUNKS)):
            assert stack.read(f"R/t.zarr/0/0/{z}") == b"turn 29 of %d" % z
        assert is_whole(roots[0])


def test_the_completion_does_not_publish_over_what_was_written_meanwhile(
    roots: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program's version becomes visible between the completion's last look and the end of its copy."""
    monkeypatch.setattr(materialize, "QUIET_S", 100)
    begin_copy = materialize.begin_copy
    with Stack(roots) as stack:
        written, _layer = stack.writer.open(CHUNK, truncate=True)
        written.write(0, b"NEW")
        flush = threading.Thread(target=written.flush)

        def begin(path: str, *arguments: Any) -> Any:
            file = begin_copy(path, *arguments)
            if file is not None and path == CHUNK:
                sync = file.sync

                def sync_late() -> None:
                    flush.start()
                    flush.join(0.2)  # it has to wait for the copy
                    sync()

                monkeypatch.setattr(file, "sync", sync_late)
            return file

        monkeypatch.setattr(materialize, "begin_copy", begin)
        stack.writer.materialize("R/t.zarr")
        flush.join()
        written.close()
        assert stack.read(CHUNK) == b"NEW"
        assert is_whole(roots[0])


def test_what_is_found_out_while_others_forget_is_not_kept(roots: list[Path]) -> None:
    with Stack(roots) as stack:
        reader = threading.Thread(target=stack.read, args=[CHUNK])

        class Late(str):
            """A directory after which a reader comes; those that it is found out from are still known."""

            __slots__ = ()

            def startswith(self, *arguments: Any) -> bool:
                reader.start()
                reader.join(0.2)
                return super().startswith(*arguments)

        stack.read("R/t.zarr/0/.zarray")
        membership = stack.view.membership
        membership._known = {Late("R/other"): membership._root, **membership._known}
        fill(roots[0], {"R/t.zarr/.zgroup": b"{}", CHUNK: b"new"})
        membership.changed("R")
        reader.join()
        assert stack.read(CHUNK) == b"new"

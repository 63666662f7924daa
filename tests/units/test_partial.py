"""Partial copies of stores: completed behind, and taken up again."""

from __future__ import annotations

import errno
import logging
import threading
from typing import TYPE_CHECKING, Any

import pytest

from copickfs.errors import Unavailable, WouldBlock
from copickfs.layers.local import LocalLayer
from copickfs.layers.localwrite import WritableLocalLayer
from copickfs.model import UNSIZED
from copickfs.view import View, materialize
from copickfs.view.writing import Writer
from tests.model import hash_tree
from tests.overlays import Stack, fill
from tests.sandbox import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from copickfs.model import Entry
    from copickfs.view import Found

CHUNKS = {f"R/t.zarr/0/0/{z}": b"old %d" % z for z in range(20)}
LOWER = {"R/t.zarr/.zgroup": b"{}", "R/t.zarr/0/.zarray": b"{1}", "R/x": b"x", **CHUNKS}


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(materialize, "QUIET_S", 0.1)
    monkeypatch.setattr(materialize, "RETRY_S", 0.2)


@pytest.fixture
def roots(tmp_path: Path) -> Iterator[list[Path]]:
    write, low = fill(tmp_path / "write", {}), fill(tmp_path / "low", LOWER)
    before = hash_tree(low)
    yield [write, low]
    assert hash_tree(low) == before
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("copickfs")]


def is_whole(root: Path) -> bool:
    """True if the write layer has the store, and nothing that copickfs kept beside it."""
    store = root / "R/t.zarr"
    return (
        store.is_dir()
        and not list(root.rglob(".copickfs-*"))
        and not list((root / ".copickfs/partial").iterdir())
        and len(list((store / "0/0").iterdir())) == len(CHUNKS)
    )


def test_a_small_store_is_completed_behind(roots: list[Path]) -> None:
    with Stack(roots) as stack:
        stack.write("R/t.zarr/0/0/3", b"NEW")
        wanted = stack.tree()
        wait_until(lambda: is_whole(roots[0]), what="the completion")
        assert stack.tree() == wanted
        assert stack.view.lookup("R/t.zarr").layer.name == "write"
        wait_until(lambda: not threads(), what="the end of the thread")


@pytest.mark.parametrize("is_sized", [True, False])
def test_a_large_store_is_left_alone_until_it_is_asked_for(
    roots: list[Path], monkeypatch: pytest.MonkeyPatch, *, is_sized: bool
) -> None:
    if not is_sized:
        scan = LocalLayer.scan

        def unsized(layer: LocalLayer, path: str) -> list[Entry]:
            entries = scan(layer, path)
            return [entry if entry.is_dir else entry._replace(size_bytes=UNSIZED) for entry in entries]

        monkeypatch.setattr(LocalLayer, "scan", unsized)
    with Stack(roots, small_store_bytes=50) as stack:
        stack.write("R/t.zarr/0/0/3", b"NEW")
        wait_until(lambda: not threads(), what="the end of the thread")
        assert not (roots[0] / "R/t.zarr").exists()
        assert stack.writer.materialize("R/t.zarr/0/0/3") == len(CHUNKS) + 1
        assert is_whole(roots[0])
        assert stack.writer.materialize("") == 0


def test_the_next_mount_goes_on(roots: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(materialize, "QUIET_S", 100)
    with Stack(roots) as stack:
        stack.write("R/t.zarr/0/0/3", b"NEW")
        stack.writer.unlink("R/x")
        wanted = stack.tree()
    assert not (roots[0] / "R/t.zarr").exists()
    monkeypatch.setattr(materialize, "QUIET_S", 0.1)
    with Stack(roots) as stack:
        wait_until((roots[0] / "R/t.zarr").exists, what="the completion")
        wait_until(lambda: not threads(), what="the end of the thread")
        assert stack.tree() == wanted


def test_the_next_mount_removes_what_was_discarded(
    roots: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("copickfs.view.background.Background.schedule", lambda *_arguments: None)
    with Stack(roots) as stack:
        stack.remove("R/t.zarr")
        assert list((roots[0] / ".copickfs/removed").iterdir())
    monkeypatch.undo()
    with Stack(roots) as stack:
        removed = roots[0] / ".copickfs/removed"
        wait_until(lambda: not list(removed.iterdir()), what="the end of what was discarded")
        assert stack.names("R") == ["x"]


class Flaky(LocalLayer):
    """A layer that is out of reach for a while."""

    down = False

    def open(self, path: str) -> Any:
        if self.down:
            raise Unavailable(f"{self.name} is down")
        return super().open(path)


class Full(WritableLocalLayer):
    """A write layer without room for new files."""

    full = False

    def create(self, *args: Any, **options: Any) -> Any:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().create(*args, **options)


def stack_of(write: WritableLocalLayer, low: LocalLayer) -> tuple[View, Writer]:
    for layer in (write, low):
        layer.connect()
    view = View([write, low])
    return view, Writer(view, write)


@pytest.mark.parametrize("fault", ["down", "full"])
def test_faults_put_the_completion_off(
    fault: str, roots: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    write, low = Full("write", roots[0], 2), Flaky("low", roots[1], 1)
    _view, writer = stack_of(write, low)
    file, _layer = writer.open("R/t.zarr/0/0/3")
    write.full, low.down = fault == "full", fault == "down"
    file.write(0, b"NEW")
    file.flush()
    file.close()
    caplog.set_level(logging.INFO)
    wait_until(lambda: "complete" in caplog.text, what="a line in the log")
    assert not (roots[0] / "R/t.zarr").exists()
    write.full = low.down = False
    wait_until(lambda: is_whole(roots[0]), what="the completion")
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == (fault == "full")
    writer.close()


def test_an_outage_below_does_not_stop_the_removal_of_an_upper_file(roots: list[Path]) -> None:
    class Dead(LocalLayer):
        dead = False

        def stat(self, path: str) -> Entry:
            if self.dead:
                raise Unavailable("down")
            return super().stat(path)

        stat_nowait = stat

    write, low = WritableLocalLayer("write", roots[0], 2), Dead("low", roots[1], 1)
    view, writer = stack_of(write, low)
    file, _layer = writer.open("R/x", truncate=True)
    file.flush()
    file.close()
    low.dead = True
    writer.unlink("R/x")
    low.dead = False
    assert [entry.name for entry in view.listing("R").entries] == ["t.zarr"]
    writer.close()


class Slow(LocalLayer):
    """A layer whose answers always take their time."""

    def stat_nowait(self, _path: str) -> Entry:
        raise WouldBlock(self.name)

    def scan_nowait(self, _path: str) -> Sequence[Entry]:  # type: ignore[override]
        raise WouldBlock(self.name)

    def open_nowait(self, _path: str) -> Any:
        raise WouldBlock(self.name)


def test_the_twins_say_whose_lane_to_wait_in(roots: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(materialize, "QUIET_S", 100)  # a store that is whole asks no layer below
    with Stack(roots) as stack:
        stack.write("R/t.zarr/0/0/3", b"NEW")
    # No writer: it would take the partial copy over, and ask the lower layer for the view meanwhile.
    layers = [WritableLocalLayer("write", roots[0], 2), Slow("low", roots[1], 1)]
    for layer in layers:
        layer.connect()
    view = View(layers)
    for ask in (view.lookup_nowait, view.open_nowait):
        with pytest.raises(WouldBlock) as block:
            ask("R/t.zarr/0/0/3")
        assert block.value.lane == "low"
    assert view.lookup("R/t.zarr/0/0/3").entry.layer == "write"
    assert view.lookup_nowait("R/t.zarr/0/0/3").entry.layer == "write"


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "copickfs-behind"]


def test_the_completion_never_replaces_what_another_process_has_written(roots: list[Path]) -> None:
    with Stack(roots, small_store_bytes=0) as completing, Stack(roots, small_store_bytes=0) as writing:
        completing.write("R/t.zarr/0/0/0", b"first")
        lookup, written = completing.view.lookup, set[str]()

        def lookup_then_the_other_writes(path: str) -> Found:
            found = lookup(path)
            if path in CHUNKS and found.layer.name == "low":
                if path in written:  # its version was compared, and is about to be published
                    writing.view.catch_up()
                    writing.write(path, b"other")
                written.add(path)
            return found

        completing.view.lookup = lookup_then_the_other_writes
        completing.writer.materialize("R")
    with Stack(roots) as stack:
        chunks = {path: stack.read(path) for path in CHUNKS}
    assert chunks == {**dict.fromkeys(CHUNKS, b"other"), "R/t.zarr/0/0/0": b"first"}

"""A daemon that is killed between any two steps leaves the tree as it was, or as it was to be."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from copickfs.layers.writable import Change
from copickfs.view.background import Background
from tests.model import hash_tree
from tests.overlays import OWNER, DyingLayer, Killed, Stack, fill

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Step = Callable[[Stack], object]

UPPER = {
    "R/own/x": b"own", "R/both/up": b"U", "R/file": b"upper file", "R/own.zarr/.zarray": b"{}",
    "R/over": b"a file over a directory", "R/empty": None, "R/shut.zarr/0/0": b"whole",
}  # fmt: skip
LOWER = {
    "R/both/low": b"L", "R/file": b"lower file", "R/low.txt": b"lower text", "R/other.txt": b"other",
    "R/t.zarr/.zgroup": b"{}", "R/t.zarr/0/.zarray": b"{1}", "R/t.zarr/0/0/0": b"c0",
    "R/t.zarr/0/0/1": b"c1", "R/t.zarr/0/1/0": b"c2", "R/over/deep/x": b"hidden", "R/empty": None,
    "R/lowempty": None, "R/Picks/a_b_c.json": b"[1]", "R/shut.zarr/0/9": b"hidden chunk",
    "R/emptystore.zarr": None,
}  # fmt: skip


def empty_store(stack: Stack) -> None:
    for name in stack.names("R/t.zarr"):
        stack.remove(f"R/t.zarr/{name}")


def change_chunk(stack: Stack) -> None:
    stack.write("R/t.zarr/0/0/0", b"CHANGED")


def empty_merged(stack: Stack) -> None:
    stack.remove("R/both/low")
    stack.remove("R/both/up")


SCENARIOS: dict[str, tuple[list[Step], Step]] = {
    "create a file": ([], lambda s: s.create("R/both/new.txt")),
    "create in a lower directory": ([], lambda s: s.create("R/Picks/d_e_f.json", b"[2]")),
    "create a chunk": ([], lambda s: s.create("R/t.zarr/0/0/2", b"c9")),
    "rewrite picks": ([], lambda s: s.write("R/Picks/a_b_c.json", b"[3, 4]")),
    "rewrite a chunk": ([], change_chunk),
    "rewrite a chunk again": ([change_chunk], lambda s: s.write("R/t.zarr/0/0/0", b"AGAIN")),
    "copy up by chmod": ([], lambda s: s.writer.change("R/low.txt", Change(mode=0o600))),
    "copy up a directory": ([], lambda s: s.writer.change("R/Picks", Change(mode=0o700))),
    "copy up a store": ([], lambda s: s.writer.change("R/t.zarr", Change(mode=0o700))),
    "make a directory": ([], lambda s: s.mkdir("R/Picks/n")),
    "make a directory in a store": ([], lambda s: s.mkdir("R/t.zarr/1")),
    "make a link": ([], lambda s: s.writer.symlink("R/Picks/l", "/nowhere", OWNER)),
    "link a lower file": ([], lambda s: s.writer.link("R/low.txt", "R/both/linked")),
    "unlink an upper file": ([], lambda s: s.writer.unlink("R/own/x")),
    "unlink a lower file": ([], lambda s: s.writer.unlink("R/low.txt")),
    "unlink a shadowing file": ([], lambda s: s.writer.unlink("R/file")),
    "unlink a file over a directory": ([], lambda s: s.writer.unlink("R/over")),
    "unlink a lower chunk": ([], lambda s: s.writer.unlink("R/t.zarr/0/0/1")),
    "unlink a changed chunk": ([change_chunk], lambda s: s.writer.unlink("R/t.zarr/0/0/0")),
    "rmdir a lower directory": ([], lambda s: s.writer.rmdir("R/lowempty")),
    "rmdir an empty directory of both": ([], lambda s: s.writer.rmdir("R/empty")),
    "rmdir a merged directory": ([empty_merged], lambda s: s.writer.rmdir("R/both")),
    "rmdir an emptied store": ([empty_store], lambda s: s.writer.rmdir("R/t.zarr")),
    "rmdir a lower empty store": ([], lambda s: s.writer.rmdir("R/emptystore.zarr")),
    "make a store again": ([lambda s: s.remove("R/t.zarr")], lambda s: s.mkdir("R/t.zarr")),
    "rename an upper file": ([], lambda s: s.writer.rename("R/own/x", "R/own/y", 0)),
    "rename a shadowing file": ([], lambda s: s.writer.rename("R/file", "R/moved", 0)),
    "rename a lower file": ([], lambda s: s.writer.rename("R/low.txt", "R/own/low.txt", 0)),
    "rename over a lower file": ([], lambda s: s.writer.rename("R/own/x", "R/low.txt", 0)),
    "rename lower over lower": ([], lambda s: s.writer.rename("R/low.txt", "R/other.txt", 0)),
    "rename a chunk into place": (
        [lambda s: s.create("R/t.zarr/0/0/1.abc.partial", b"NEW")],
        lambda s: s.writer.rename("R/t.zarr/0/0/1.abc.partial", "R/t.zarr/0/0/1", 0),
    ),
    "rename into a lower store": ([], lambda s: s.writer.rename("R/own/x", "R/t.zarr/0/0/1", 0)),
    "rename a directory": ([], lambda s: s.writer.rename("R/own", "R/renamed", 0)),
    "rename a directory over a lower one": ([], lambda s: s.writer.rename("R/own", "R/lowempty", 0)),
    "rename a directory over one of both": ([], lambda s: s.writer.rename("R/own", "R/empty", 0)),
    "rename a directory over an emptied one": (
        [empty_merged], lambda s: s.writer.rename("R/own", "R/both", 0),
    ),
    "rename a store over an emptied one": (
        [empty_store], lambda s: s.writer.rename("R/own.zarr", "R/t.zarr", 0),
    ),
    "rename a whole store away": ([], lambda s: s.writer.rename("R/shut.zarr", "R/moved.zarr", 0)),
    "exchange files": ([], lambda s: s.writer.rename("R/low.txt", "R/file", 2)),
    "exchange a file over a directory": ([], lambda s: s.writer.rename("R/over", "R/own", 2)),
    "complete a store": ([change_chunk], lambda s: s.writer.materialize("R/t.zarr")),
    "complete a store with holes": (
        [change_chunk, lambda s: s.writer.unlink("R/t.zarr/0/0/1"), lambda s: s.remove("R/t.zarr/0/1")],
        lambda s: s.writer.materialize(""),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_step_leaves_the_old_tree_or_the_new(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Only the steps of the change itself are counted.
    monkeypatch.setattr(Background, "schedule", lambda *_arguments: None)
    before, change = SCENARIOS[name]
    low = fill(tmp_path / "low", LOWER)
    untouched = hash_tree(low)
    prepared = fill(tmp_path / "prepared", UPPER)
    with Stack([prepared, low]) as stack:
        for step in before:
            step(stack)
        old = stack.tree()
    died, outcomes = 0, []
    while True:
        write = tmp_path / f"write{died}"
        shutil.copytree(prepared, write, symlinks=True)
        stack = Stack([write, low], kind=DyingLayer)
        stack.layers[0].left = died
        try:
            change(stack)
        except Killed:
            alive = False
        else:
            alive = True
            new = stack.tree()
        stack.layers[0].left = -1
        with Stack([write, low]) as after:
            found = after.tree()
            if not alive:
                after.writer.materialize("")
                assert after.tree() == found, f"completed after {died} steps"
        for layer in stack.layers:
            layer.close()
        if alive:
            assert found == new
            break
        outcomes.append(found)
        died += 1
    assert died
    assert new == old or "complete" not in name
    for steps, outcome in enumerate(outcomes):
        assert outcome in (old, new), f"after {steps} steps"
    assert hash_tree(low) == untouched

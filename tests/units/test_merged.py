"""The rule of merging, case by case; the Hypothesis machine covers what nobody thought of."""

from __future__ import annotations

import pytest

from copickfs import MemoryLayer
from copickfs.errors import IsADirectory, NotADirectory, NotFound, Unavailable, WouldBlock
from copickfs.model import ByteRange, Entry
from copickfs.view import View


def tree(view: View, path: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for entry in view.listing(path).entries:
        inner = f"{path}/{entry.name}" if path else entry.name
        found[inner] = entry.layer
        assert view.lookup(inner).entry.layer == entry.layer
        if entry.is_dir:
            found |= tree(view, inner)
    return found


def content(view: View, path: str) -> bytes:
    file, _layer = view.open(path)
    try:
        return bytes(file.read(ByteRange(0, file.entry.size_bytes)))
    finally:
        file.close()


def stack(*layers: dict[str, bytes]) -> View:
    return View([MemoryLayer(name, 9, files) for name, files in zip("abcd", layers, strict=False)])


def test_containers_merge_and_files_shadow() -> None:
    view = stack({"R/TS_1/Picks/x.json": b"A"}, {"R/TS_1/Picks/x.json": b"BB", "R/TS_1/Picks/y.json": b"B"})
    assert tree(view) == {
        "R": "a", "R/TS_1": "a", "R/TS_1/Picks": "a", "R/TS_1/Picks/x.json": "a", "R/TS_1/Picks/y.json": "b",
    }  # fmt: skip
    assert content(view, "R/TS_1/Picks/x.json") == b"A"
    assert [found.layer.name for found in view.sources("R/TS_1/Picks/x.json")] == ["a", "b"]


def test_a_store_is_wholly_of_one_layer() -> None:
    view = stack({"wbp.zarr/0/0": b"A"}, {"wbp.zarr/0/0": b"B", "wbp.zarr/0/1": b"B", "wbp.zarr/1/0": b"B"})
    assert tree(view) == {"wbp.zarr": "a", "wbp.zarr/0": "a", "wbp.zarr/0/0": "a"}
    with pytest.raises(NotFound):
        view.lookup("wbp.zarr/0/1")
    with pytest.raises(NotFound):
        view.open("wbp.zarr/1/0")


def test_an_empty_store_hides_a_full_one() -> None:
    view = View([MemoryLayer("a", 2, directories=("wbp.zarr",)), MemoryLayer("b", 1, {"wbp.zarr/0": b"B"})])
    assert tree(view) == {"wbp.zarr": "a"}


def test_a_store_inside_a_store_is_a_part_of_it() -> None:
    view = stack({"o.zarr/i.zarr/x": b"A"}, {"o.zarr/i.zarr/y": b"B"})
    assert tree(view) == {"o.zarr": "a", "o.zarr/i.zarr": "a", "o.zarr/i.zarr/x": "a"}


def test_a_file_called_zarr_is_a_file() -> None:
    view = stack({"wbp.zarr": b"A"}, {"wbp.zarr/0": b"B"})
    assert tree(view) == {"wbp.zarr": "a"}
    with pytest.raises(NotADirectory):
        view.lookup("wbp.zarr/0")


def test_a_file_over_a_directory_hides_it() -> None:
    view = stack({"n": b"A"}, {"n/x": b"B"})
    assert tree(view) == {"n": "a"}
    for ask in (view.lookup, view.listing, view.open):
        with pytest.raises(NotADirectory):
            ask("n/x" if ask is not view.listing else "n")


def test_a_directory_over_a_file_hides_it() -> None:
    view = stack({"n/x": b"A"}, {"n": b"B"})
    assert tree(view) == {"n": "a", "n/x": "a"}
    with pytest.raises(IsADirectory):
        view.open("n")


def test_a_file_between_directories_ends_the_merge() -> None:
    view = stack({"n/x": b"A"}, {"n": b"B"}, {"n/y": b"C", "n/z/deep": b"C"})
    assert tree(view) == {"n": "a", "n/x": "a"}
    for path in ("n/y", "n/z", "n/z/deep"):
        with pytest.raises(NotFound):
            view.lookup(path)
    with pytest.raises(NotFound):
        view.listing("n/z")


def test_a_file_deep_between_directories_ends_the_merge_only_there() -> None:
    view = stack({"n/x": b"A"}, {"n/m": b"B"}, {"n/m/y": b"C", "n/w": b"C"})
    assert tree(view) == {"n": "a", "n/x": "a", "n/m": "b", "n/w": "c"}


def test_empty_directories_and_layers_without_the_directory() -> None:
    view = View([MemoryLayer("a", 2, directories=("R/e",)), MemoryLayer("b", 1, {"R/e/f": b"", "S/g": b""})])
    assert tree(view) == {"R": "a", "R/e": "a", "R/e/f": "b", "S": "b", "S/g": "b"}


def test_names_that_belong_to_copickfs_are_not_shown() -> None:
    view = stack({".copickfs/x": b"", "R/.copickfs-part": b"", "R/.hidden": b""})
    assert tree(view) == {"R": "a", "R/.hidden": "a"}
    with pytest.raises(NotFound):
        view.lookup("R/.copickfs-part")
    with pytest.raises(NotFound):
        view.listing(".copickfs")


def test_what_a_layer_announces_is_seen_at_once() -> None:
    high, low = MemoryLayer("a", 2, {"R/x": b"A"}), MemoryLayer("b", 1, {"R/y": b"B", "S/z": b"B"})
    view = View([high, low])
    assert tree(view)["S"] == "b"
    high.put("S/z", b"A")
    assert content(view, "S/z") == b"A"
    high.remove("S")
    low.remove("R")
    assert tree(view) == {"R": "a", "R/x": "a", "S": "b", "S/z": "b"}


class Dead(MemoryLayer):
    """A layer that is out of reach."""

    def stat(self, path: str) -> Entry:
        raise Unavailable(f"{self.name} is down: {path}")

    stat_nowait = stat


def test_what_a_high_layer_decides_needs_no_answer_of_a_dead_one() -> None:
    view = View([MemoryLayer("a", 2, {"R/x": b"A", "t.zarr/0": b"A"}), Dead("b", 1)])
    assert view.lookup("R/x").entry.layer == "a"
    assert content(view, "t.zarr/0") == b"A"
    assert [entry.name for entry in view.listing("t.zarr").entries] == ["0"]


def test_an_outage_is_never_an_absence() -> None:
    view = View([MemoryLayer("a", 2, {"R/x": b"A"}), Dead("b", 1)])
    for ask, path in ((view.lookup, "R/missing"), (view.listing, "R"), (view.open, "R/missing")):
        with pytest.raises(Unavailable):
            ask(path)


class Slow(MemoryLayer):
    """A layer that would always block."""

    def stat_nowait(self, _path: str) -> Entry:
        raise WouldBlock(self.name)


def test_the_twin_says_whose_lane_to_wait_in() -> None:
    view = View([MemoryLayer("a", 2, {"R/x": b"A"}), Slow("slow", 1)])
    assert view.lookup_nowait("R/x").entry.layer == "a"
    with pytest.raises(WouldBlock) as block:
        view.lookup_nowait("R/missing")
    assert block.value.lane == "slow"
    with pytest.raises(NotFound):
        view.lookup("R/missing")


class Changing(MemoryLayer):
    """A layer that changes while it is listed."""

    def __init__(self, name: str, priority: int, other: MemoryLayer) -> None:
        super().__init__(name, priority, {"R/x": b"B", "R/S/y": b"B"})
        self._other = other

    def scan(self, path: str) -> list[Entry]:
        listing = super().scan(path)
        if path == "R":
            self._other.put("R/S/y", b"A")
        return listing


def test_what_changes_while_a_directory_is_listed_is_not_remembered_as_it_was() -> None:
    high = MemoryLayer("a", 2, {"R/x": b"A"})
    view = View([high, Changing("b", 1, high)])
    view.listing("R")
    assert content(view, "R/S/y") == b"A"


def test_a_listing_teaches_which_layers_contribute_below() -> None:
    asked: list[str] = []

    class Asked(MemoryLayer):
        def stat(self, path: str) -> Entry:
            asked.append(f"{self.name}:{path}")
            return super().stat(path)

    files = {"R/both/x": b"", "R/t.zarr/0": b"", "R/kind/x": b""}
    view = View([Asked("a", 3, files), Asked("b", 2, {**files, "R/low/y": b""}), MemoryLayer("c", 1, files)])
    view.listing("")
    view.listing("R")
    asked.clear()
    assert [entry.name for entry in view.listing("R/low").entries] == ["y"]
    assert [entry.layer for entry in view.listing("R/t.zarr").entries] == ["a"]
    assert {entry.layer for entry in view.listing("R/both").entries} == {"a"}
    assert asked == []

"""Views: which files there are, when they are made, and when they are made anew."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Any

import pytest

from copickfs import MemoryLayer
from copickfs.entities import EntityType
from copickfs.errors import (
    IsADirectory,
    NotADirectory,
    NotFound,
    ReadOnly,
    Stale,
    Unavailable,
    Unreadable,
    WouldBlock,
)
from copickfs.model import UNSIZED, ByteRange
from copickfs.view.writing import Writer
from copickfs.virtual.rendering import Renderer
from tests.viewfacts import Shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from copickfs.virtual.sources import Source

PICKS = "ExperimentRuns/TS_1/Picks/alice_1_ribosome.json"
FILE = "Views/TS_1/Picks/alice_1_ribosome.txt"
FILES = {
    PICKS: b"points",
    "ExperimentRuns/TS_1/VoxelSpacing10.000/wbp.zarr/0/.zarray": b"two levels",
    "ExperimentRuns/TS_1/VoxelSpacing10.000/wbp_bin2.zarr/0/.zarray": b"",
    "ExperimentRuns/TS_1/notes.txt": b"",
    "ExperimentRuns/TS_2/Picks/bob_1_ribosome.json": b"more points",
    "Objects/ribosome.zarr/0/.zarray": b"",
}


class Text(Renderer):
    """Says what the picks are, in capitals."""

    makes_of = (EntityType.PICKS, EntityType.RUN, None)
    suffix = ".txt"

    def __init__(self) -> None:
        self.rendered = 0
        self.forgotten: list[str] = []
        self.closed = False

    def files(self, source: Source) -> Sequence[str]:
        return ["all.txt"] if source.identity is None or source.stem == "TS_1" else super().files(source)

    def render(self, source: Source, name: str) -> bytes:
        self.rendered += 1
        if name == "all.txt":
            run = None if source.identity is None else source.identity.run
            return b"".join(each.read() for each in source.entities(EntityType.PICKS, run))
        data = source.read()
        if data == b"broken":
            raise Unreadable(f"{source.path}: says nothing")
        return data.upper()

    def forget(self, path: str) -> None:
        self.forgotten.append(path)

    def close(self) -> None:
        self.closed = True


class Volume(Renderer):
    """Says which level of a store it is."""

    makes_of = (EntityType.TOMOGRAM, EntityType.OBJECT)

    def files(self, source: Source) -> Sequence[str]:
        levels = [".mrc", "_bin2.mrc"] if source.read("0/.zarray") == b"two levels" else [".mrc"]
        return [source.stem + level for level in levels]

    def render(self, source: Source, name: str) -> bytes:
        return f"{source.stem} as {name}".encode()


class Flaky(MemoryLayer):
    """A layer that is out of reach at times, and answers nothing from memory."""

    down = False
    slow = False

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.opened: list[str] = []

    def open(self, path: str) -> Any:
        self.opened.append(path)
        if self.down:
            raise Unavailable("layer a: no answer")
        return super().open(path)

    def stat_nowait(self, path: str) -> Any:
        if self.slow:
            raise WouldBlock(self.name)
        return super().stat_nowait(path)


class Stack(Shown):
    """A tree with views over layers in memory."""

    def __init__(self, *layers: MemoryLayer) -> None:
        self.text = Text()
        super().__init__(layers, {"txt": self.text, "mrc": Volume()})


@pytest.fixture
def stack() -> Stack:
    return Stack(Flaky("a", 1, dict(FILES)))


def test_the_tree(stack: Stack) -> None:
    layer: Any = stack.view.layers[0]
    assert stack.names("") == ["ExperimentRuns", "Objects", "Views"]
    assert stack.names("Views") == ["Objects", "TS_1", "TS_2", "all.txt"]
    assert stack.names("Views/TS_1") == ["Picks", "VoxelSpacing10.000", "all.txt"]
    assert layer.opened == []  # no picks are read for a listing
    assert stack.names("Views/TS_1/VoxelSpacing10.000") == ["wbp.mrc", "wbp_bin2.mrc"]
    assert stack.names("Views/Objects") == ["ribosome.mrc"]
    assert stack.content(FILE) == b"POINTS"
    # The tomogram of this name, not the second level of the other.
    assert stack.content("Views/TS_1/VoxelSpacing10.000/wbp_bin2.mrc") == b"wbp_bin2 as wbp_bin2.mrc"
    assert stack.content("Views/TS_1/all.txt") == b"points"
    assert stack.content("Views/all.txt") == b"pointsmore points"
    for missing in (
        "Views/TS_3",
        "Views/TS_1/x",
        "Views/TS_1/Picks/x.txt",
        "Views/TS_1/notes.txt/x",
        "Views/x",
    ):
        with pytest.raises(NotFound):
            stack.view.lookup(missing)
    with pytest.raises(IsADirectory):
        stack.view.open("Views/TS_1")
    with pytest.raises(NotADirectory):
        stack.view.listing(FILE)
    assert [found.layer.name for found in stack.view.sources(FILE)] == ["views"]
    assert stack.layer.described(FILE) == {"view.source": PICKS, "view.layer": "a"}


def test_entries_are_as_open_as_their_sources(stack: Stack) -> None:
    listed = {entry.name: entry for entry in stack.view.listing("Views/TS_1/Picks").entries}
    entry = stack.view.lookup(FILE).entry
    source = stack.view.lookup(PICKS).entry
    assert listed[entry.name].size_bytes == UNSIZED
    assert listed[entry.name].identity == entry.identity
    assert entry.size_bytes == len("points")
    assert entry.mtime_ns == source.mtime_ns
    assert (entry.mode, entry.blocks) == (stat.S_IFREG | (source.mode & 0o666), 0)
    directory = stack.view.lookup("Views/TS_1/Picks").entry
    assert directory.is_dir
    assert directory.mode == stack.view.lookup("ExperimentRuns/TS_1/Picks").entry.mode
    # Once it is known it is listed with its length.
    assert stack.view.listing("Views/TS_1/Picks").entries == [entry]


def test_it_is_made_once_for_each_version(stack: Stack) -> None:
    first = stack.view.lookup(FILE).entry
    for _ in range(5):
        assert stack.view.lookup(FILE).entry == first
        assert stack.view.lookup_nowait(FILE).entry == first
    assert stack.text.rendered == 1
    stack.content(FILE)
    assert stack.text.rendered == 2
    layer: Any = stack.view.layers[0]
    layer.put(PICKS, b"other points")
    assert FILE in stack.heard
    assert "Views/TS_1/all.txt" not in stack.heard  # nobody has asked for it yet
    assert PICKS in stack.text.forgotten
    second = stack.view.lookup(FILE).entry
    assert second.version != first.version
    assert second.size_bytes == len("other points")
    assert second.identity == first.identity
    assert stack.content(FILE) == b"OTHER POINTS"


def test_a_change_of_what_there_is_makes_collected_files_anew(stack: Stack) -> None:
    assert stack.content("Views/all.txt") == b"pointsmore points"
    layer: Any = stack.view.layers[0]
    layer.put("ExperimentRuns/TS_2/Picks/carl_1_ribosome.json", b"!")
    assert "Views/all.txt" in stack.heard
    assert stack.content("Views/all.txt") == b"pointsmore points!"
    layer.remove(PICKS)
    assert stack.content("Views/all.txt") == b"more points!"
    with pytest.raises(NotFound):
        stack.view.lookup(FILE)


def test_a_chunk_that_changes_makes_another_version(stack: Stack) -> None:
    path = "Views/TS_1/VoxelSpacing10.000/wbp.mrc"
    first = stack.view.lookup(path).entry
    layer: Any = stack.view.layers[0]
    layer.put("ExperimentRuns/TS_1/VoxelSpacing10.000/wbp.zarr/0/0/0/0", b"chunk")
    second = stack.view.lookup(path).entry
    assert path in stack.heard
    assert second.version != first.version
    assert second.size_bytes == first.size_bytes


def test_an_open_file_is_of_one_version(stack: Stack) -> None:
    file, layer = stack.view.open(FILE)
    assert layer.name == "a"  # reads wait for the layer that it is made of
    source: Any = stack.view.layers[0]
    source.put(PICKS, b"longer than before")
    assert bytes(file.read(ByteRange(0, 100))) == b"POINTS"
    assert bytes(file.read_nowait(ByteRange(2, 4))) == b"IN"
    assert bytes(file.read(ByteRange(50, 60))) == b""
    file.close()


def test_a_length_that_was_wrong_is_found_out_anew(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"length": 3}

    def size_bytes(_self: Text, source: Source, name: str) -> int:
        return told["length"] if source.stem != "TS_1" else len(source.read()) + len(name)

    def render(_self: Text, source: Source, _name: str) -> bytes:
        data = source.read()
        if len(data) != told["length"]:
            told["length"] = len(data)
            raise Stale(source.path)
        return data

    monkeypatch.setattr(Text, "size_bytes", size_bytes)
    monkeypatch.setattr(Text, "render", render)
    assert stack.view.lookup(FILE).entry.size_bytes == 3
    assert stack.content(FILE) == b"points"


def test_an_outage_is_no_absence(stack: Stack) -> None:
    source: Any = stack.view.layers[0]
    source.down = True
    assert "alice_1_ribosome.txt" in stack.names("Views/TS_1/Picks")
    for ask in (stack.view.lookup, stack.view.open):
        with pytest.raises(Unavailable):
            ask(FILE)
    with pytest.raises(Unavailable):  # which levels there are is not known
        stack.view.listing("Views/TS_1/VoxelSpacing10.000")
    source.down = False
    assert stack.content(FILE) == b"POINTS"


def test_what_cannot_be_made_is_told_once(stack: Stack, caplog: pytest.LogCaptureFixture) -> None:
    source: Any = stack.view.layers[0]
    source.put(PICKS, b"broken")
    for ask in (stack.view.lookup, stack.view.lookup, stack.view.open):
        with pytest.raises(Unreadable):
            ask(FILE)
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == f"no alice_1_ribosome.txt can be made of {PICKS}: says nothing"


def test_nothing_waits_where_it_may_not(stack: Stack) -> None:
    with pytest.raises(WouldBlock) as block:
        stack.view.lookup_nowait(FILE)
    assert block.value.lane == "views"  # nobody knows the renderers yet
    stack.view.lookup(FILE)
    source: Any = stack.view.layers[0]
    source.slow = True
    source.put("ExperimentRuns/TS_2/Picks/x_1_y.json", b"")  # news: it has to be looked at again
    with pytest.raises(WouldBlock) as block:
        stack.view.lookup_nowait(FILE)
    assert block.value.lane == "a"
    with pytest.raises(WouldBlock) as block:
        stack.view.open_nowait(FILE)
    assert block.value.lane in ("a", "views.txt of a")


def test_a_file_that_a_layer_has_is_shown_in_its_place(stack: Stack) -> None:
    source: Any = stack.view.layers[0]
    source.put(FILE, b"by hand")
    source.put("Views/TS_1/Picks/more.txt", b"another")
    assert stack.names("Views/TS_1/Picks") == ["alice_1_ribosome.txt", "more.txt"]
    assert stack.content(FILE) == b"by hand"
    assert stack.content("Views/TS_1/Picks/more.txt") == b"another"


def test_a_run_called_objects() -> None:
    files = {"ExperimentRuns/Objects/Picks/a_1_b.json": b"x", "Objects/b.zarr/0/.zarray": b""}
    stack = Stack(MemoryLayer("a", 1, files))
    assert stack.names("Views") == ["Objects", "all.txt"]
    assert stack.names("Views/Objects") == ["Objects.txt", "Picks", "b.mrc"]
    assert stack.content("Views/Objects/Picks/a_1_b.txt") == b"X"


@pytest.mark.parametrize("action", ["create", "mkdir", "unlink", "rename", "onto", "rmdir", "chmod", "xattr"])
def test_nothing_is_written_there(action: str) -> None:
    layer = MemoryLayer("a", 1, dict(FILES), read_only=False)
    stack = Stack(layer)
    writer = Writer(stack.view, layer)
    owner: Any = (0, 0)
    calls = {
        "create": lambda: writer.create("Views/TS_1/x.txt", 0o644, owner),
        "mkdir": lambda: writer.mkdir("Views/x", 0o755, owner),
        "unlink": lambda: writer.unlink(FILE),
        "rename": lambda: writer.rename(FILE, "Views/TS_1/Picks/y.txt", 0),
        "onto": lambda: writer.rename(PICKS, "Views/TS_1/Picks/y.txt", 0),
        "rmdir": lambda: writer.rmdir("Views/TS_1/Picks", full=True),
        "chmod": lambda: writer.take(FILE),
        "xattr": lambda: writer.set_xattr(FILE, "user.x", b"y"),
    }
    with pytest.raises(ReadOnly):
        calls[action]()
    writer.close()


def test_closing_closes_the_renderers(stack: Stack) -> None:
    stack.layer.close()
    assert not stack.text.closed  # nobody needed it
    other = Stack(MemoryLayer("a", 1, dict(FILES)))
    other.names("Views/TS_1/Picks")
    other.layer.close()
    other.layer.close()
    assert other.text.closed
    assert other.names("Views/TS_1/Picks") == []

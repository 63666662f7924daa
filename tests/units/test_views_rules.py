"""Views: who may read them, whose name counts, what a group's own renderer may do."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from copickfs import MemoryLayer
from copickfs.entities import EntityType
from copickfs.errors import NotFound, Stale, Unavailable, Unreadable
from copickfs.layers.local import LocalLayer
from copickfs.model import ByteRange, Entry
from copickfs.virtual.access import Access, mode_within
from copickfs.virtual.project import Limits
from copickfs.virtual.renderers import load
from copickfs.virtual.rendering import Deferred, Renderer
from tests.viewfacts import Shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from copickfs.layers.base import Layer
    from copickfs.virtual.rendering import Contents
    from copickfs.virtual.sources import Source

RUN = "ExperimentRuns/TS_1"
PICKS = f"{RUN}/Picks/alice_1_ribosome.json"
STORE = f"{RUN}/VoxelSpacing10.000/wbp.zarr"
SHOWN = "Views/TS_1/VoxelSpacing10.000"


class Text(Renderer):
    """Of picks, and of all of a run or of the project, what is in them."""

    makes_of = (EntityType.PICKS, EntityType.RUN, None)
    suffix = ".txt"

    def files(self, source: Source) -> Sequence[str]:
        is_one = source.identity is not None and source.identity.type is EntityType.PICKS
        return super().files(source) if is_one else ["all.txt"]

    def size_bytes(self, source: Source, name: str) -> int:
        return super().size_bytes(source, name) if name == "all.txt" else source.stat().size_bytes

    def render(self, source: Source, name: str) -> bytes:
        if name != "all.txt":
            return source.read()
        run = None if source.identity is None else source.identity.run
        return b"".join(each.read() for each in source.entities(EntityType.PICKS, run))


class Levels(Renderer):
    """Of tomograms a file for each letter of what is in their document."""

    makes_of = (EntityType.TOMOGRAM,)
    suffix = ".mrc"

    def files(self, source: Source) -> Sequence[str]:
        letters = source.read("0/.zarray").decode()
        return [
            f"{source.stem}{'_' * bool(number)}{each * number}.mrc" for number, each in enumerate(letters)
        ]

    def open(self, source: Source, name: str) -> Contents:
        return Direct(source, f"{source.stem} for {name}".encode())

    def size_bytes(self, source: Source, name: str) -> int:
        source.stat("0/.zarray")
        return len(f"{source.stem} for {name}")


class Direct(Deferred):
    """Contents that know when they are closed."""

    closed: list[bytes] = []  # noqa: RUF012 -- of the tests

    def __init__(self, source: Source, data: bytes) -> None:
        source.read("0/.zarray")
        self.data = data

    def read(self, span: ByteRange) -> bytes:
        return self.data[span.start : span.stop]

    def close(self) -> None:
        self.closed.append(self.data)


class Stack(Shown):
    """A tree with views over layers."""

    def __init__(self, *layers: Layer, **renderers: Renderer) -> None:
        super().__init__(layers, renderers or {"mrc": Levels(), "txt": Text()})

    def entry(self, path: str) -> Entry:
        return self.view.lookup(path).entry


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[tuple[Stack, Path]]:
    for run in ("TS_1", "TS_2"):
        picks = tmp_path / "ExperimentRuns" / run / "Picks/alice_1_ribosome.json"
        picks.parent.mkdir(parents=True)
        picks.write_bytes(b"points")
    document = tmp_path / STORE / "0/.zarray"
    document.parent.mkdir(parents=True)
    document.write_bytes(b"ab")
    layer = LocalLayer("lab", tmp_path)
    layer.connect()
    yield Stack(layer), tmp_path
    layer.close()


def test_nobody_reads_through_a_view_what_he_could_not_read_itself(lab: tuple[Stack, Path]) -> None:
    stack, root = lab
    collected = ("Views/all.txt", "Views/TS_1/all.txt")
    everything = (*collected, "Views/TS_1/Picks/alice_1_ribosome.txt", f"{SHOWN}/wbp.mrc")
    sized = everything[2:]

    def open_to_others() -> list[str]:
        stack.layer.source_changed("")
        listed = {
            f"{directory}/{entry.name}": entry
            for directory in sorted({path.rpartition("/")[0] for path in everything})
            for entry in stack.view.listing(directory).entries
        }
        assert all(listed[path].mode == stack.entry(path).mode for path in everything if path in sized)
        return [path for path in everything if stack.entry(path).mode & 0o044 == 0o044]

    assert open_to_others() == list(everything)
    for path, hidden in (
        (PICKS, everything[:3]),
        (f"{STORE}/0/.zarray", everything[3:]),
        (f"{STORE}/0", everything[3:]),
        ("ExperimentRuns/TS_2", collected[:1]),
        ("ExperimentRuns", everything),
    ):
        before = (root / path).stat().st_mode
        (root / path).chmod(0o700)
        assert open_to_others() == [each for each in everything if each not in hidden], path
        assert all(stack.entry(each).mode & 0o400 for each in everything)
        (root / path).chmod(before)
        assert open_to_others() == list(everything), path


def test_the_permissions_of_what_several_own() -> None:
    def mode(*sources: tuple[int, int, int]) -> int:
        of = Entry("all", 0o100664, 0, 0, "lab", uid=1, gid=10)
        return mode_within(of, [Access(*each) for each in sources])

    assert mode() == 0o664
    assert mode((0o100640, 1, 10)) == 0o660
    assert mode((0o100640, 2, 10)) == 0o660  # the owner of the one is in the group of the other
    assert mode((0o100640, 2, 20)) == 0o220
    assert mode((0o100644, 2, 20), (0o040755, 3, 30)) == 0o664
    assert mode((0o100604, 1, 20)) == 0o660  # that group must not come in as others
    assert mode((0o040744, 1, 10)) == 0o620  # a directory that may be listed and not gone through


def test_a_store_that_claims_a_name_has_it_from_then_on() -> None:
    layer = MemoryLayer("lab", 1, {f"{STORE}/0/.zarray": b"ab"})
    stack = Stack(layer)
    path, other = f"{SHOWN}/wbp_b.mrc", STORE.replace("wbp", "wbp_b")
    assert stack.content(path) == b"wbp for wbp_b.mrc"
    layer.put(f"{other}/0/.zarray", b"a")
    assert stack.content(path) == b"wbp_b for wbp_b.mrc"
    assert stack.content(f"{SHOWN}/wbp.mrc") == b"wbp for wbp.mrc"
    layer.put(f"{other}/0/.zarray", b"")  # it has no files any more
    assert stack.content(path) == b"wbp for wbp_b.mrc"
    assert stack.content(path) == b"wbp for wbp_b.mrc"
    layer.put(f"{other}/0/.zarray", b"aa")
    assert stack.content(path) == b"wbp_b for wbp_b.mrc"
    layer.remove(f"{other}/0/.zarray")
    assert stack.content(path) == b"wbp for wbp_b.mrc"


def test_a_file_that_cannot_be_given_is_closed() -> None:
    class Lab(MemoryLayer):
        down = False

        def stat(self, path: str) -> Entry:
            if self.down:
                raise Unavailable("lab is down")
            return super().stat(path)

    class Late(Levels):
        def open(self, source: Source, name: str) -> Contents:
            contents = super().open(source, name)
            layer.down = True
            return contents

    layer = Lab("lab", 1, {f"{STORE}/0/.zarray": b"a"})
    stack = Stack(layer, mrc=Late())
    Direct.closed.clear()
    with pytest.raises(Unavailable):
        stack.view.open(f"{SHOWN}/wbp.mrc")
    assert Direct.closed == [b"wbp for wbp.mrc"]


class Foreign(Renderer):
    """What a group has written: it does whatever it is told to."""

    makes_of = (EntityType.PICKS,)
    suffix = ".bild"
    names: Any = None
    length: Any = 6
    fails: tuple[str, ...] = ()

    def files(self, source: Source) -> Sequence[str]:
        self._fail("files")
        return super().files(source) if self.names is None else self.names

    def size_bytes(self, source: Source, name: str) -> int:  # noqa: ARG002
        self._fail("size_bytes")
        return self.length

    def render(self, source: Source, name: str) -> bytes:  # noqa: ARG002
        self._fail("render")
        return b"sphere"

    def forget(self, path: str) -> None:  # noqa: ARG002
        self._fail("forget")

    def close(self) -> None:
        self._fail("close")

    def _fail(self, what: str) -> None:
        if what in self.fails:
            raise KeyError(what)


@pytest.fixture
def group() -> tuple[Stack, Foreign, MemoryLayer]:
    foreign = Foreign()
    layer = MemoryLayer("lab", 1, {PICKS: b"points"})
    return Stack(layer, bild=foreign, txt=Text()), foreign, layer


STEM = "alice_1_ribosome"
BILD = "Views/TS_1/Picks/alice_1_ribosome.bild"
TXT = "Views/TS_1/Picks/alice_1_ribosome.txt"


@pytest.mark.parametrize("what", ["files", "size_bytes", "render"])
def test_what_another_renderer_raises_is_told_and_stops_nothing_else(
    group: tuple[Stack, Foreign, MemoryLayer], what: str
) -> None:
    stack, foreign, _layer = group
    foreign.fails = (what,)
    with pytest.raises(NotFound if what == "files" else Unreadable):
        stack.content(BILD)
    assert TXT.rpartition("/")[2] in stack.names("Views/TS_1/Picks")
    assert stack.content(TXT) == b"points"
    foreign.fails = ()
    assert stack.content(BILD) == b"sphere"


def test_the_others_hear_of_changes_and_are_closed(group: tuple[Stack, Foreign, MemoryLayer]) -> None:
    stack, foreign, layer = group
    heard: list[str] = []

    class Last(Text):
        def forget(self, path: str) -> None:
            heard.append(path)

        def close(self) -> None:
            heard.append("closed")

    stack = Stack(layer, bild=foreign, zzz=Last())
    assert stack.names("Views/TS_1/Picks")
    foreign.fails = ("forget", "close")
    layer.put(PICKS, b"more points")
    assert stack.content(TXT) == b"more points"
    stack.layer.close()
    assert heard[-2:] == [PICKS, "closed"]


def test_names_that_no_file_can_have_are_left_out(
    group: tuple[Stack, Foreign, MemoryLayer], caplog: pytest.LogCaptureFixture
) -> None:
    stack, foreign, _layer = group
    inside = ("/b", "\0b", "a" * 256, "\ud800", "ä" * 120)
    wrong = ["", ".", "..", 7, "other.bild", *(STEM + end for end in inside)]
    foreign.names = [*wrong, f"{STEM}_good.bild", STEM + "ä" * 119]
    assert stack.names("Views/TS_1/Picks") == [f"{STEM}.txt", f"{STEM}_good.bild", STEM + "ä" * 119]
    assert stack.content(f"Views/TS_1/Picks/{STEM}_good.bild") == b"sphere"
    assert "no .bild file can be made of" in caplog.text
    foreign.names = 7
    assert stack.names("Views/TS_1/Picks") == [f"{STEM}.txt"]


@pytest.mark.parametrize("length", [-1, None, "6", 6.0, True, 2**63, 5, 7])
def test_a_length_that_is_wrong_is_an_error_and_never_a_shorter_file(
    group: tuple[Stack, Foreign, MemoryLayer], length: Any
) -> None:
    stack, foreign, _layer = group
    foreign.length = length
    with pytest.raises((Unreadable, Stale)):
        stack.content(BILD)
    assert stack.content(TXT) == b"points"


def test_a_renderer_that_ends_the_program_or_says_nothing_is_left_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Point:
        value = "group:Own"

        def __init__(self, made: Any) -> None:
            self._made = made

        def load(self) -> Any:
            return self._made

    def ends() -> Renderer:
        raise SystemExit(1)

    class Unclear(Renderer):
        makes_of: Any = 7

    points = {"a": Point(ends), "b": Point(Unclear), "c": Point(Text)}
    monkeypatch.setattr("copickfs.virtual.renderers.renderer_points", lambda: points)
    with caplog.at_level(logging.WARNING):
        assert list(load(None, Limits())) == ["c"]
    assert [record.args[0] for record in caplog.records if isinstance(record.args, tuple)] == ["a", "b"]

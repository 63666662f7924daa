"""Random layer stacks that change behind the mount, against the independent model.

The same machine runs once on `copickfs.view.View` and once on a real mount, which stays mounted
while its layers are emptied and filled again for every example.
"""

from __future__ import annotations

import os
import shutil
import stat
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from copickfs.errors import NotADirectory, NotFound
from copickfs.layers.local import LocalLayer
from copickfs.model import ByteRange
from copickfs.view import View
from tests import model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAMES = ("a", "b", "s.zarr", "t.zarr", ".hid den", "ü[1]", "copick_config.json", ".copickfs-mark")
SEEN_WITHIN_S = 5.0  # a second is promised; the rest is for a busy machine
MAX_LINKS = 4  # each may show a whole tree once more

names = st.sampled_from(NAMES)
paths = st.lists(names, min_size=1, max_size=4).map("/".join)
layers = st.integers(0, 3)
known = st.integers(0, 99) | paths  # one of the paths that are there, by number; or any
contents = st.binary(max_size=12) | st.integers(1, 40_000).map(lambda n: bytes([n % 251]) * n)


class Bench:
    """Two to four bare layer directories, and a way to look at the tree they merge to."""

    def __init__(self, directory: Path, count: int) -> None:
        self.roots = [directory / f"layer{i}" for i in range(count)]
        self.parked = directory / "parked"
        self.empty()

    def empty(self) -> None:
        """Bring every layer back to nothing, its root directory staying the same."""
        shutil.rmtree(self.parked, ignore_errors=True)
        self.parked.mkdir()
        for root in self.roots:
            root.mkdir(exist_ok=True)
            for entry in list(os.scandir(root)):
                remove(entry.path)

    def check(self) -> None:
        """Assert that the merged tree is what the model says."""
        raise NotImplementedError


class ViewBench(Bench):
    """The tree as the view has it, asked at once after every change; nobody watches, so it is told."""

    def __init__(self, directory: Path, count: int) -> None:
        super().__init__(directory, count)
        stack = [LocalLayer(f"layer{i}", root, 10 - i) for i, root in enumerate(self.roots)]
        for layer in stack:
            layer.connect()
        self.stack = stack
        self.view = View(stack)

    def check(self) -> None:
        for layer in self.stack:
            layer._announce("")
        found: dict[str, model.Shape] = {"": self._shape("")}
        pending = [""]
        while pending:
            directory = pending.pop()
            entries = self.view.listing(directory).entries
            present = {entry.name for entry in entries}
            assert len(present) == len(entries), "a name is listed twice"
            for entry in entries:
                path = f"{directory}/{entry.name}" if directory else entry.name
                looked_up = self.view.lookup(path).entry
                assert looked_up._replace(atime_ns=0) == entry._replace(atime_ns=0)
                found[path] = self._shape(path)
                if entry.is_dir:
                    pending.append(path)
            for absent in set(NAMES) - present:
                with pytest.raises((NotFound, NotADirectory)):
                    self.view.lookup(f"{directory}/{absent}" if directory else absent)
        assert not model.differences(model.expected(self.roots, mounted=False), found)

    def _shape(self, path: str) -> model.Shape:
        entry = self.view.lookup(path).entry
        kind = {stat.S_IFDIR: "directory", stat.S_IFREG: "file", stat.S_IFLNK: "symlink"}[
            stat.S_IFMT(entry.mode)
        ]
        content = ""
        if kind == "file":
            file, _ = self.view.open(path)
            content = model.digest_of(bytes(file.read(ByteRange(0, 1 << 20))))
            file.close()
        elif kind == "symlink":
            content = self.view.readlink(path)
        size = 0 if kind == "directory" else entry.size_bytes
        mode = stat.S_IMODE(entry.mode)
        return model.Shape(kind, mode, size, entry.mtime_ns, entry.uid, entry.gid, content)


class MountBench(Bench):
    """The tree as programs find it in a mount; changes must show within a second."""

    def __init__(self, directory: Path, count: int) -> None:
        super().__init__(directory, count)
        self.mountpoint = directory

    def check(self) -> None:
        wanted = model.expected(self.roots)
        deadline = time.monotonic() + SEEN_WITHIN_S
        last = False  # a look that was begun in time and took long may be of what was before
        while (wrong := self._wrong(wanted)) and not last:
            time.sleep(0.02)
            last = time.monotonic() > deadline
        assert not wrong, "\n".join(wrong)

    def _wrong(self, wanted: dict[str, model.Shape]) -> list[str]:
        try:
            found = model.snapshot(self.mountpoint)
        except OSError as error:  # a name that was known a moment ago
            return [f"the walk failed: {error!r}"]
        wrong = model.differences(wanted, found)
        for directory in (path for path, shape in found.items() if shape.kind == "directory"):
            for name in NAMES:
                path = os.path.join(directory, name)
                if path not in found and path != model.GENERATED and os.path.lexists(self.mountpoint / path):
                    wrong.append(f"not listed, but there: {path!r}")
        return wrong


class StackMachine(RuleBasedStateMachine):
    """Changes to bare layers; after each look the merged tree must be the model's."""

    def __init__(self, bench_of: Callable[[int], Bench]) -> None:
        super().__init__()
        self.bench_of = bench_of
        self.links = 0

    @initialize(count=st.integers(2, 4))
    def stack(self, count: int) -> None:
        self.bench = self.bench_of(count)
        self.bench.empty()

    @rule(layer=layers, path=paths, data=contents)
    def write_file(self, layer: int, path: str, data: bytes) -> None:
        """Write in place: an existing file keeps its inode."""
        full = self.place(layer, path)
        if full and not os.path.isdir(full):
            try_(lambda: write(full, data))

    @rule(layer=layers, path=paths, data=contents)
    def replace_file(self, layer: int, path: str, data: bytes) -> None:
        """Write beside and rename over, as careful programs do."""
        full = self.place(layer, path)
        if full and not os.path.isdir(full):
            aside = os.path.join(self.bench.parked, "new")
            write(aside, data)
            os.replace(aside, full)

    @rule(layer=layers, path=paths)
    def make_directory(self, layer: int, path: str) -> None:
        if full := self.place(layer, path):
            try_(lambda: os.mkdir(full))

    @rule(layer=layers, path=known)
    def remove(self, layer: int, path: int | str) -> None:
        remove(self.full(layer, path))

    @rule(layer=layers, path=known, to_layer=layers, to=paths)
    def rename(self, layer: int, path: int | str, to_layer: int, to: str) -> None:
        source, target = self.full(layer, path), self.place(to_layer, to)
        if target and os.path.lexists(source) and not os.path.lexists(target):
            try_(lambda: os.rename(source, target))

    @rule(layer=layers, path=paths, to_layer=layers, to=known, relative=st.booleans())
    def link(self, layer: int, path: str, to_layer: int, to: int | str, relative: bool) -> None:
        """A symbolic link to a path of this or another layer, which need not exist."""
        full = self.place(layer, path)
        if not full or os.path.lexists(full) or self.links >= MAX_LINKS:
            return
        self.links += 1
        target = self.full(to_layer, to)
        os.symlink(os.path.relpath(target, os.path.dirname(full)) if relative else target, full)

    @rule(layer=layers, path=paths, up=st.integers(1, 3))
    def link_back(self, layer: int, path: str, up: int) -> None:
        """A link to a directory above itself, within the layer."""
        full = self.place(layer, path)
        if full and not os.path.lexists(full) and self.links < MAX_LINKS:
            self.links += 1
            os.symlink("/".join([".."] * min(up, path.count("/"))) or ".", full)

    @rule(layer=layers, path=known, mode=st.sampled_from((0o400, 0o644, 0o755)))
    def chmod(self, layer: int, path: int | str, mode: int) -> None:
        full = self.full(layer, path)
        if os.path.isfile(full):
            os.chmod(full, mode)

    @rule()
    def look(self) -> None:
        self.bench.check()

    def teardown(self) -> None:
        if hasattr(self, "bench"):
            self.bench.check()

    def full(self, layer: int, path: int | str) -> str:
        """Where ``path`` is, or would be, in a layer; a number stands for a path that is there."""
        root = os.fspath(self.bench.roots[layer % len(self.bench.roots)])
        if isinstance(path, str):
            return os.path.join(root, path)
        there = sorted(model.snapshot_links(root).keys() - {""}) or [NAMES[0]]
        return os.path.join(root, there[path % len(there)])

    def place(self, layer: int, path: int | str) -> str | None:
        """`full`, with the directories above made; None where something else stands in the way."""
        full = self.full(layer, path)
        return full if try_(lambda: os.makedirs(os.path.dirname(full), exist_ok=True)) else None


def try_(action: Callable[[], Any]) -> bool:
    """Do it, or do nothing where the tree as it is does not allow it."""
    try:
        action()
    except OSError:
        return False
    return True


def write(path: str, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)


def remove(path: str) -> None:
    """Remove whatever is at ``path`` itself; a link is not followed."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        try_(lambda: os.unlink(path))


def run(bench_of: Callable[[int], Bench], *, examples: int, steps: int, soak: bool = False) -> None:
    run_state_machine_as_test(
        lambda: StackMachine(bench_of),  # type: ignore[arg-type]
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            derandomize=not soak,
            database=None,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate, Phase.shrink),
        ),
    )


class _Benches:
    """One bench for each number of layers, made when it is first needed."""

    def __init__(self, make: Callable[[int], Bench]) -> None:
        self._make = make
        self._benches: dict[int, Bench] = {}

    def __call__(self, count: int) -> Bench:
        if count not in self._benches:
            self._benches[count] = self._make(count)
        return self._benches[count]


def view_benches(tmp_path: Path) -> _Benches:
    def make(count: int) -> Bench:
        directory = tmp_path / str(count)
        directory.mkdir()
        return ViewBench(directory, count)

    return _Benches(make)


def mount_benches(tmp_path: Path, mount: Callable[..., Path]) -> _Benches:
    def make(count: int) -> Bench:
        directory = tmp_path / str(count)
        directory.mkdir()
        bench = MountBench(directory, count)
        bench.mountpoint = mount(model.configuration(bench.roots))
        return bench

    return _Benches(make)


def test_view_merges_as_the_model_says(tmp_path: Path) -> None:
    run(view_benches(tmp_path), examples=40, steps=40)


def test_mount_shows_what_the_model_says(tmp_path: Path, mount: Callable[..., Path]) -> None:
    run(mount_benches(tmp_path, mount), examples=20, steps=30)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_view_merges_as_the_model_says_for_long(tmp_path: Path) -> None:
    run(view_benches(tmp_path), examples=5_000, steps=60, soak=True)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_mount_shows_what_the_model_says_for_long(tmp_path: Path, mount: Callable[..., Path]) -> None:
    run(mount_benches(tmp_path, mount), examples=500, steps=40, soak=True)

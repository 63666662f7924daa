"""Random changes of a stack of three layers, beside a dictionary that does what a plain disk would do."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from copickfs.errors import errno_of
from copickfs.layers.local import LocalLayer
from copickfs.layers.localwrite import WritableLocalLayer
from copickfs.layers.memory import MemoryLayer
from copickfs.layers.remotewrite import WritableFsspecLayer
from copickfs.layers.writable import Change, Owner
from copickfs.model import ByteRange
from copickfs.view import View
from copickfs.view.writing import Writer
from tests.model import hash_tree, merge

if TYPE_CHECKING:
    from collections.abc import Callable

    from copickfs.layers.writable import WritableLayer

Pick = tuple[int, str]

NAMES = ("a", "b.zarr", "c", "0", ".zarray")
OWNER = Owner(os.getuid(), os.getgid())
LOW: tuple[dict[str, bytes], ...] = (
    {"a/c/0": b"m0", "a/b.zarr/.zarray": b"{1}", "a/b.zarr/0/0": b"m1", "b.zarr": b"file", "c/a": b"m2"},
    {
        "a/c/a": b"l0",
        "a/0": b"l1",
        "a/b.zarr/0/a": b"hidden",
        "b.zarr/0/0": b"l2",
        "c/b.zarr/0/0": b"l3",
        "c/b.zarr/0/a": b"l4",
        "c/b.zarr/.zarray": b"{2}",
        "c/b.zarr/c/b.zarr/0": b"l5",
        "0/a/c/0": b"l6",
    },
)


def error_of(call: Callable[..., object], *arguments: object) -> int:
    try:
        call(*arguments)
    except OSError as error:
        return errno_of(error)
    return 0


class Disk:
    """A tree of files and directories as POSIX has it: path to contents, None for a directory."""

    def __init__(self, nodes: dict[str, bytes | None], lower: set[str]) -> None:
        self.nodes = nodes
        self.lower = lower  # directories that were there at first: a rename may be refused

    def children(self, path: str) -> list[str]:
        inside = path + "/" if path else ""
        return [node for node in self.nodes if node and node.startswith(inside) and node != path]

    def above(self, path: str) -> int:
        """What is wrong with the directories above ``path``."""
        parts = path.split("/")
        for depth in range(1, len(parts)):
            directory = "/".join(parts[:depth])
            if directory not in self.nodes:
                return errno.ENOENT
            if self.nodes[directory] is not None:
                return errno.ENOTDIR
        return 0

    def new(self, path: str) -> int:
        return self.above(path) or (errno.EEXIST if path in self.nodes else 0)

    def there(self, path: str) -> int:
        return self.above(path) or (0 if path in self.nodes else errno.ENOENT)

    def unlink(self, path: str) -> int:
        return self.there(path) or (errno.EISDIR if self.nodes[path] is None else 0)

    def rmdir(self, path: str) -> int:
        if wrong := self.there(path):
            return wrong
        if self.nodes[path] is not None:
            return errno.ENOTDIR
        return errno.ENOTEMPTY if self.children(path) else 0

    def rename(self, path: str, new_path: str) -> int:
        if wrong := self.there(path) or self.above(new_path):
            return wrong
        if new_path.startswith(path + "/"):
            return errno.EINVAL
        if new_path not in self.nodes or path == new_path:
            return 0
        directory, other = self.nodes[path] is None, self.nodes[new_path] is None
        if path.startswith(new_path + "/"):
            return errno.ENOTEMPTY
        if directory != other:
            return errno.ENOTDIR if directory else errno.EISDIR
        return errno.ENOTEMPTY if self.children(new_path) else 0

    def exchange(self, path: str, other: str) -> int:
        if wrong := self.there(path) or self.there(other):
            return wrong
        return errno.EINVAL if other.startswith(path + "/") or path.startswith(other + "/") else 0

    def take(self, path: str) -> dict[str, bytes | None]:
        """Remove ``path`` and all below; what was there, by the rest of its path."""
        taken = {node[len(path) :]: self.nodes.pop(node) for node in [*self.children(path), path]}
        self.lower -= {path + rest for rest in taken}
        return taken

    def put(self, path: str, taken: dict[str, bytes | None]) -> None:
        for rest, data in taken.items():
            self.nodes[path + rest] = data


picks = st.tuples(st.integers(0, 10_000), st.sampled_from(("", "", *NAMES)))
"""A path: one of those that are there, or another in a directory that may be there."""


class Overlay(RuleBasedStateMachine):
    is_remote = False  # a source that keeps no modes, and where names cannot change places

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="overlay-"))
        self.roots = [self.directory / name for name in ("write", "middle", "low")]
        self.roots[0].mkdir()
        for root, files in zip(self.roots[1:], LOW, strict=True):
            for path, data in files.items():
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_bytes(data)
        self.before = [hash_tree(root) for root in self.roots[1:]]
        nodes = {
            path: None if node.kind == "directory" else Path(node.source).read_bytes()
            for path, node in merge(self.roots, mounted=False).items()
        }
        self.disk = Disk(nodes, {path for path, data in nodes.items() if data is None})
        self.count = 0
        self.open()

    def open(self) -> None:
        write = self.write_layer()
        layers = [
            write,
            LocalLayer("middle", self.roots[1], 2),
            LocalLayer("low", self.roots[2], 1),
        ]
        for layer in layers:
            layer.connect()
        self.view = View(layers)
        self.writer = Writer(self.view, write)

    def write_layer(self) -> WritableLayer:
        return WritableLocalLayer("write", self.roots[0], 3)

    def path(self, pick: Pick) -> str:
        number, name = pick
        known = sorted(self.disk.nodes)
        path = known[number % len(known)]
        return "/".join(part for part in (path, name) if part) or "a"

    def data(self) -> bytes:
        self.count += 1
        return b"v%d" % self.count * (self.count % 5)

    @rule(pick=picks)
    def create(self, pick: Pick) -> None:
        path = self.path(pick)
        data = self.data()
        wanted = self.disk.new(path)

        def create() -> None:
            file, _layer = self.writer.create(path, 0o640, OWNER)
            file.write(0, data)
            file.flush()
            file.close()

        assert error_of(create) == wanted
        if not wanted:
            self.disk.nodes[path] = data

    @rule(pick=picks, truncate=st.booleans())
    def write(self, pick: Pick, truncate: bool) -> None:
        path = self.path(pick)
        data = self.data()
        wanted = self.disk.unlink(path)  # the same errors

        def write() -> None:
            file, _layer = self.writer.open(path, truncate=truncate)
            file.write(0, data)
            file.flush()
            file.close()

        assert error_of(write) == wanted
        if not wanted:
            old = b"" if truncate else self.disk.nodes[path]
            self.disk.nodes[path] = data + old[len(data) :]

    @rule(pick=picks)
    def mkdir(self, pick: Pick) -> None:
        path = self.path(pick)
        wanted = self.disk.new(path)
        assert error_of(self.writer.mkdir, path, 0o755, OWNER) == wanted
        if not wanted:
            self.disk.nodes[path] = None

    @rule(pick=picks)
    def unlink(self, pick: Pick) -> None:
        path = self.path(pick)
        wanted = self.disk.unlink(path)
        assert error_of(self.writer.unlink, path) == wanted
        if not wanted:
            self.disk.take(path)

    @rule(pick=picks)
    def rmdir(self, pick: Pick) -> None:
        path = self.path(pick)
        wanted = self.disk.rmdir(path)
        assert error_of(self.writer.rmdir, path) == wanted
        if not wanted:
            self.disk.take(path)

    @rule(pick=picks)
    def remove_tree(self, pick: Pick) -> None:
        path = self.path(pick)
        if self.disk.there(path):
            return
        for node in [*sorted(self.disk.children(path), reverse=True), path]:
            (self.writer.rmdir if self.disk.nodes[node] is None else self.writer.unlink)(node)
        self.disk.take(path)

    @rule(pick=picks, new_pick=picks)
    def rename(self, pick: Pick, new_pick: Pick) -> None:
        path, new_path = self.path(pick), self.path(new_pick)
        wanted = self.disk.rename(path, new_path)
        found = error_of(self.writer.rename, path, new_path, 0)
        if found == errno.EXDEV:
            assert not wanted
            assert path in self.disk.lower
            return
        assert found == wanted
        if not wanted and path != new_path:
            taken = self.disk.take(path)
            if new_path in self.disk.nodes:
                self.disk.take(new_path)
            self.disk.put(new_path, taken)

    @rule(pick=picks, other_pick=picks)
    def exchange(self, pick: Pick, other_pick: Pick) -> None:
        path, other = self.path(pick), self.path(other_pick)
        wanted = self.disk.exchange(path, other)
        found = error_of(self.writer.rename, path, other, 2)
        if self.is_remote and not wanted and path != other:
            assert found in (errno.EINVAL, errno.EXDEV)
            return
        if found == errno.EXDEV:
            assert not wanted
            assert {path, other} & self.disk.lower
            return
        assert found == wanted
        if not wanted and path != other:
            taken, other_taken = self.disk.take(path), self.disk.take(other)
            self.disk.put(other, taken)
            self.disk.put(path, other_taken)

    @rule(pick=picks, mode=st.sampled_from((0o600, 0o755)))
    def change(self, pick: Pick, mode: int) -> None:
        path = self.path(pick)
        wanted = self.disk.there(path)
        assert error_of(self.writer.change, path, Change(mode=mode)) == wanted
        if not wanted and not self.is_remote:
            assert self.view.lookup(path).entry.mode & 0o7777 == mode

    @rule(pick=picks)
    def materialize(self, pick: Pick) -> None:
        path = self.path(pick)
        if not self.disk.there(path):
            self.writer.materialize(path)

    @rule()
    def remount(self) -> None:
        self.close()
        self.open()

    @invariant()
    def the_tree_is_what_a_disk_would_have(self) -> None:
        assert self.tree() == self.disk.nodes

    def tree(self) -> dict[str, bytes | None]:
        found: dict[str, bytes | None] = {"": None}
        pending = [""]
        while pending:
            directory = pending.pop()
            for entry in self.view.listing(directory).entries:
                path = f"{directory}/{entry.name}" if directory else entry.name
                assert self.view.lookup(path).entry.layer == entry.layer
                if entry.is_dir:
                    found[path] = None
                    pending.append(path)
                    continue
                file, _layer = self.view.open(path)
                found[path] = bytes(file.read(ByteRange(0, 1 << 20)))
                file.close()
        return found

    def close(self) -> None:
        self.writer.close()
        assert not len(self.writer._locks)
        for layer in self.view.layers:
            layer.close()

    def teardown(self) -> None:
        self.writer.materialize("")
        assert self.tree() == self.disk.nodes
        self.the_write_layer_has_whole_stores()
        self.close()
        assert [hash_tree(root) for root in self.roots[1:]] == self.before
        assert not [t for t in threading.enumerate() if t.name.startswith("copickfs")]
        shutil.rmtree(self.directory)

    def the_write_layer_has_whole_stores(self) -> None:
        write = self.roots[0]
        for directory, names, _files in os.walk(write):
            names[:] = [name for name in names if not name.startswith(".copickfs")]
            for name in [name for name in names if name.endswith(".zarr")]:
                store = os.path.relpath(os.path.join(directory, name), write)
                below = {
                    os.path.relpath(os.path.join(above, inner), write)
                    for above, directories, files in os.walk(os.path.join(directory, name))
                    for inner in directories + files
                }
                assert below == set(self.disk.children(store))
                names.remove(name)


class OverlayInMemory(Overlay):
    """The same over the reference model of a layer, which is the same object after a remount."""

    memory: MemoryLayer | None = None

    def write_layer(self) -> WritableLayer:
        if self.memory is None:
            self.memory = MemoryLayer("write", 3, read_only=False)
        return self.memory

    def the_write_layer_has_whole_stores(self) -> None:
        assert self.memory is not None
        for directory in [path for path, data in self.disk.nodes.items() if data is None]:
            if directory.endswith(".zarr") and ".zarr/" not in directory:
                names = {entry.name for entry in self.memory.scan(directory)} if self.has(directory) else None
                assert names is None or names == {
                    entry.name for entry in self.view.listing(directory).entries
                }

    def has(self, path: str) -> bool:
        assert self.memory is not None
        return not error_of(self.memory.stat, path)


class OverlayOnRemote(Overlay):
    """The same with a write layer that is reached by a URL, which keeps what it has listed."""

    is_remote = True

    def write_layer(self) -> WritableLayer:
        url, journals = f"file://{self.roots[0]}", self.directory / "journals"
        return WritableFsspecLayer("write", url, 3, journal_directory=journals, ttl_s=300)


_SETTINGS = settings(
    max_examples=12,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestOverlay = pytest.mark.timeout(300)(Overlay.TestCase)
TestOverlay.settings = _SETTINGS
TestOverlayInMemory = pytest.mark.timeout(300)(OverlayInMemory.TestCase)
TestOverlayInMemory.settings = _SETTINGS
TestOverlayOnRemote = pytest.mark.timeout(300)(OverlayOnRemote.TestCase)
TestOverlayOnRemote.settings = _SETTINGS


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("machine", [Overlay, OverlayInMemory, OverlayOnRemote])
def test_for_long(machine: type[Overlay]) -> None:
    run_state_machine_as_test(machine, settings=settings(_SETTINGS, max_examples=500))

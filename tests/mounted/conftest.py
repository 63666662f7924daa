"""What the tests on mounts share: the demo project, and small stacks of layers made by hand."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, NamedTuple

import pytest

from copickfs.demo import write_demo
from tests import model
from tests.mounted.cached import FarProject
from tests.writing import WritableStack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import Mounter, Sandbox


class Demo(NamedTuple):
    """A demo project: its configuration, and its layers' directories by name, highest first."""

    config: Path
    layers: dict[str, Path]

    @property
    def roots(self) -> list[Path]:
        """The layers' directories, highest first."""
        return list(self.layers.values())


class Stack:
    """Bare layer directories ``top``, ``middle`` and ``low``, and a mount of them.

    Reading must leave the layers as they are: they are compared at the end of the test with what
    they were when they were mounted, or after the last ``with stack.changing()``.
    """

    def __init__(self, directory: Path, mount: Callable[..., Path]) -> None:
        self.directory = directory
        self.top, self.middle, self.low = self.roots = [
            directory / "layers" / name for name in ("top", "middle", "low")
        ]
        for root in self.roots:
            root.mkdir(parents=True)
        self.mountpoint = directory
        self._mount = mount
        self._before: list[dict[str, tuple[object, ...]]] = []

    def mount(self, *options: str) -> Path:
        """Mount the layers as they are now."""
        self._record()
        return self.mount_unrecorded(*options)

    def mount_unrecorded(self, *options: str) -> Path:
        """Mount, without comparing the layers at the end: for paths too long to look at."""
        config = model.configuration(self.roots, [root.name for root in self.roots])
        self.mountpoint = self._mount(config, *options)
        return self.mountpoint

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """The test itself changes layers in this block."""
        try:
            yield
        finally:
            self._record()

    def wrong(self) -> list[str]:
        """What is not as the model says in the mount at this moment."""
        return model.differences(model.expected(self.roots), model.snapshot(self.mountpoint))

    def listing(self, path: str = "") -> set[str]:
        """The names in one directory of the mount."""
        return set(os.listdir(self.mountpoint / path))

    def assert_layers_unchanged(self) -> None:
        """Assert that nothing was written to a layer but by the test."""
        if self._before:
            assert [model.hash_tree(root) for root in self.roots] == self._before

    def _record(self) -> None:
        self._before = [model.hash_tree(root) for root in self.roots]


def put(path: Path, data: bytes = b"x") -> Path:
    """Write a file, with the directories above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@pytest.fixture
def install(sandbox: Sandbox) -> Callable[[str, str], None]:
    """Install a package that has one kind of layer, as pip would, where only this test's daemons see it."""
    site = sandbox.directory / "site-packages"

    def installed(kind: str, source: str) -> None:
        metadata = site / f"{kind}_layer-1.0.dist-info"
        metadata.mkdir(parents=True)
        (site / f"{kind}_layer.py").write_text(source)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {kind}-layer\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(
            f"[copickfs.layers]\n{kind} = {kind}_layer:{kind.capitalize()}\n"
        )
        sandbox.env["PYTHONPATH"] = str(site)

    return installed


@pytest.fixture(scope="session")
def _demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    directory = tmp_path_factory.mktemp("demo")
    config = write_demo(directory)
    return Demo(config, {"mine": directory / "mine", "lab": directory / "lab"})


@pytest.fixture
def demo(_demo: Demo) -> Iterator[Demo]:
    """A demo project, written once for all tests. Reading it through a mount must leave it as it was."""
    before = [model.hash_tree(root) for root in _demo.roots]
    yield _demo
    assert [model.hash_tree(root) for root in _demo.roots] == before


@pytest.fixture
def stack(tmp_path: Path, mount: Callable[..., Path]) -> Iterator[Stack]:
    """Three empty layers; see `Stack`."""
    made = Stack(tmp_path, mount)
    yield made
    made.assert_layers_unchanged()


@pytest.fixture
def writable(tmp_path: Path, mount: Mounter) -> Iterator[WritableStack]:
    """An empty write layer over an empty read-only one; see `WritableStack`."""
    made = WritableStack(mount, tmp_path / "layers" / "mine", [tmp_path / "layers" / "lab"])
    yield made
    made.assert_lower_unchanged()
    made.assert_nothing_left()


@pytest.fixture
def writable_demo(demo: Demo, tmp_path: Path, mount: Mounter) -> Iterator[WritableStack]:
    """An empty write layer over the two of the demo project."""
    made = WritableStack(mount, tmp_path / "written", demo.roots)
    yield made
    made.assert_lower_unchanged()
    made.assert_nothing_left()


@pytest.fixture
def far(_demo: Demo, tmp_path: Path) -> Iterator[FarProject]:
    """The demo project behind web servers, with a cache; see `FarProject`."""
    with FarProject(tmp_path, _demo.config.parent) as made:
        yield made

"""Stacks of layers that are written through a mount, and what must hold of them whatever is done."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests import model
from tests.sandbox import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.conftest import Mounter

CONTROL = ".copickfs"
STAGING = f"{CONTROL}/staging"
WHITEOUTS = ".copickfs-whiteouts"
PARTIAL = ".copickfs-partial"
ORIGIN = ".copickfs-origin"
MATERIALIZED_WITHIN_S = 30.0
SWEPT_WITHIN_S = 20.0


class WritableStack:
    """A write layer ``mine`` over read-only ones, and a mount of them.

    Attributes:
        mine: The write layer's directory.
        lower: The read-only layers' directories, highest first.
        point: Where they are mounted.
        far: What the configuration of the write layer has if it is not the directory ``mine`` itself, but a
            server for it.
    """

    def __init__(self, mount: Mounter, mine: Path, lower: Sequence[Path]) -> None:
        self.mounter = mount
        self.mine = mine
        self.lower = list(lower)
        for directory in (mine, *lower):
            directory.mkdir(parents=True, exist_ok=True)
        self.point = Path()
        self.far: dict[str, Any] = {}
        self._before: list[dict[str, tuple[object, ...]]] | None = None

    def mount(self, *options: str, point: Path | None = None, **fields: Any) -> Path:
        """Mount the layers; ``fields`` go to the configuration."""
        if self._before is None:
            self._before = [model.hash_tree(root) for root in self.lower]
        names = ["mine", *(f"lower{number}" for number in range(len(self.lower)))]
        config = model.configuration([self.mine, *self.lower], names, **fields)
        config["layer_configs"]["mine"] |= self.far
        self.point = self.mounter(config, *options, mountpoint=point)
        return self.point

    def umount(self) -> None:
        """Unmount now."""
        self.mounter.umount(self.point)

    def remount(self, *options: str, **fields: Any) -> Path:
        """Unmount, and mount again at the same place."""
        self.umount()
        return self.mount(*options, point=self.point, **fields)

    def assert_lower_unchanged(self) -> None:
        """Every read-only layer is as it was when it was mounted first."""
        if self._before is not None:
            assert [model.hash_tree(root) for root in self.lower] == self._before

    def assert_nothing_left(self) -> None:
        """No temporary file is in the write layer once all files are closed."""
        wait_until(lambda: not leftovers(self.mine), SWEPT_WITHIN_S, "the end of temporary files")

    def wait_for_stores(self) -> None:
        """Wait until small stores that were written in part are whole in the write layer, without marks.

        The marks in a store are removed after it is in its place, and the note of it after them.
        """
        notes = self.mine / CONTROL / "partial"
        wait_until(
            lambda: not partial_stores(self.mine) and not list(everything(notes)),
            MATERIALIZED_WITHIN_S,
            "the completion of stores",
        )


def leftovers(layer: Path) -> list[str]:
    """Files in a write layer that are neither data nor marks: staged versions and other temporary ones."""
    staged = [path for path in everything(layer / STAGING) if not path.is_dir()]
    found = [path for path in staged if path.suffix != ".lock"]  # one for each living mount
    for path in everything(layer):
        marks = {WHITEOUTS, PARTIAL, ORIGIN}
        if path.name.startswith(f"{CONTROL}-") and path.name not in marks:
            found.append(path)
    return [str(path.relative_to(layer)) for path in found]


def partial_stores(layer: Path) -> list[Path]:
    """The partial copies of stores in a write layer."""
    return [path for path in everything(layer) if path.parent.name == PARTIAL]


def everything(directory: Path) -> Iterator[Path]:
    """All paths below a bare directory that may change meanwhile."""
    for parent, directories, files in os.walk(directory):
        for name in directories + files:
            yield Path(parent, name)


def plain_tree(root: Path) -> dict[str, model.Shape]:
    """Names, kinds and contents of a tree, which a plain directory can be compared by."""
    return {path: shape.contents_only() for path, shape in model.snapshot(root).items()}


def assert_same_tree(mounted: Path, plain: Path) -> None:
    """Assert that the mount shows what a plain directory has."""
    wrong = model.differences(plain_tree(plain), plain_tree(mounted))
    assert not wrong, "\n".join(wrong[:20])

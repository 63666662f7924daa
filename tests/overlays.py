"""Stacks of layers on disk with a writer over them, and a write layer that dies at a chosen step."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any, Self

from copickfs.layers.local import LocalLayer
from copickfs.layers.localwrite import WritableLocalLayer
from copickfs.layers.writable import Owner
from copickfs.model import ByteRange
from copickfs.view import View
from copickfs.view.writing import Writer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from copickfs.layers.base import Layer

OWNER = Owner(os.getuid(), os.getgid())
Tree = dict[str, bytes | str | None]


def fill(root: Path, files: Mapping[str, bytes | None]) -> Path:
    """Write files (None makes a directory) below ``root``."""
    root.mkdir(parents=True, exist_ok=True)
    for path, data in files.items():
        full = root / path
        if data is None:
            full.mkdir(parents=True, exist_ok=True)
        else:
            full.parent.mkdir(parents=True, exist_ok=True)
            full.write_bytes(data)
    return root


class Stack:
    """Layers of local directories, highest first and called as these are, and a writer.

    Args:
        roots: Their directories.
        written: Which of them can be written; the first is the default.
        kind: The class of those.
        options: Of the writer.
    """

    def __init__(
        self,
        roots: Sequence[Path],
        written: Sequence[int] = (0,),
        kind: type[WritableLocalLayer] = WritableLocalLayer,
        **options: Any,
    ) -> None:
        self.layers: list[Layer] = []
        for i, root in enumerate(roots):
            made = kind if i in written else LocalLayer
            self.layers.append(made(root.name, root, 100 - i))
            self.layers[-1].connect()
        self.view = View(self.layers)
        default: Any = self.layers[written[0]] if written else None
        self.writer = Writer(self.view, default, **options)

    def close(self) -> None:
        self.writer.close()
        assert not len(self.writer._locks)
        for layer in self.layers:
            layer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def names(self, path: str = "") -> list[str]:
        return sorted(entry.name for entry in self.view.listing(path).entries)

    def read(self, path: str) -> bytes:
        file, _layer = self.view.open(path)
        try:
            return bytes(file.read(ByteRange(0, 1 << 20)))
        finally:
            file.close()

    def create(self, path: str, data: bytes = b"") -> None:
        file, _layer = self.writer.create(path, 0o644, OWNER)
        file.write(0, data)
        file.flush()
        file.close()

    def write(self, path: str, data: bytes, offset: int | None = None) -> None:
        """Replace the contents, or with ``offset`` a part of them."""
        file, _layer = self.writer.open(path, truncate=offset is None)
        file.write(offset or 0, data)
        file.flush()
        file.close()

    def mkdir(self, path: str) -> None:
        self.writer.mkdir(path, 0o755, OWNER)

    def remove(self, path: str) -> None:
        """Like ``rm -r``."""
        if self.view.lookup(path).entry.is_dir:
            for name in self.names(path):
                self.remove(f"{path}/{name}")
            self.writer.rmdir(path)
        else:
            self.writer.unlink(path)

    def tree(self, path: str = "") -> Tree:
        """All that is shown: contents of files, texts of links as ``str``, None for directories."""
        found: Tree = {}
        for entry in self.view.listing(path).entries:
            inner = f"{path}/{entry.name}" if path else entry.name
            looked_up = self.view.lookup(inner)
            assert (looked_up.entry.layer, looked_up.entry.mode) == (entry.layer, entry.mode), inner
            if entry.is_dir:
                found[inner] = None
                found |= self.tree(inner)
            elif stat.S_ISLNK(entry.mode):
                found[inner] = self.view.readlink(inner)
            elif stat.S_ISREG(entry.mode):
                found[inner] = self.read(inner)
            else:
                found[inner] = f"kind {stat.S_IFMT(entry.mode):o}"
        return found


class Killed(BaseException):
    """The process was killed: nothing more happens."""


class _Mortal:
    """A file of a dying layer."""

    def __init__(self, file: Any, layer: DyingLayer) -> None:
        self._file = file
        self._layer = layer

    def __getattr__(self, name: str) -> Any:
        if name in ("write", "truncate", "change", "flush", "sync"):
            self._layer.step()
        return getattr(self._file, name)


class DyingLayer(WritableLocalLayer):
    """A write layer that is killed before one of its steps; then no further step is made.

    Attributes:
        left: How many steps are still made; negative for all.
        steps: How many were made.
    """

    left = -1
    steps = 0

    def step(self) -> None:
        if self.left == 0:
            raise Killed
        self.left -= 1
        self.steps += 1


def _mortal(name: str) -> Any:
    def call(self: DyingLayer, *args: Any, **options: Any) -> Any:
        self.step()
        answer = getattr(WritableLocalLayer, name)(self, *args, **options)
        return _Mortal(answer, self) if name in ("create", "edit") else answer

    return call


for _name in (
    "create", "edit", "mkdir", "mknod", "symlink", "link", "unlink", "rmdir", "rename", "exchange", "change",
    "set_xattr", "remove_xattr", "sync_directory",
):  # fmt: skip
    setattr(DyingLayer, _name, _mortal(_name))

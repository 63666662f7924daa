"""The trees that there are: the merged one of a stack, and that of one of its layers alone."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from copickfs import paths
from copickfs.api.tree import ABSENT
from copickfs.errors import CopickfsError, NotADirectory, NotFound, NotWritable, ReadOnly
from copickfs.layers.writable import Owner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from copickfs.layers.writable import WritableFile, WritableLayer
    from copickfs.stack import Shared, Stack
    from copickfs.view import View
    from copickfs.view.writing import Writer


class MergedTree:
    """The merged tree of a stack.

    Args:
        shared: The stack.
    """

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MergedTree) and other._shared == self._shared

    def __hash__(self) -> int:
        return hash(self._shared)

    @property
    def stack(self) -> Stack:
        """See `Tree.stack`."""
        return self._shared.get()

    @property
    def view(self) -> View:
        """See `Tree.view`; what other programs of this machine have done by now is seen."""
        view = self._shared.get().view
        view.catch_up()
        return view

    def check_writable(self, path: str) -> None:
        """See `Tree.check_writable`."""
        writer, found = self._writer(path), None
        with contextlib.suppress(*ABSENT):
            found = self.view.lookup(path)
        with self._explained(path):
            writer.places.target(path, found)

    def write(self, path: str, data: bytes | memoryview) -> None:
        """See `Tree.write`."""
        writer = self._writer(path)
        self.make_directory(paths.split(path)[0])
        with self._explained(path):
            try:
                file, _layer = writer.open(path, truncate=True, whole=True)
            except NotFound:
                try:
                    file, _layer = writer.create(path, 0o666 & ~umask(), owner(), whole=True)
                except FileExistsError:  # somebody else was faster
                    file, _layer = writer.open(path, truncate=True, whole=True)
            _fill(file, data)

    def make_directory(self, path: str) -> None:
        """See `Tree.make_directory`."""
        try:
            if self.view.lookup(path).entry.is_dir:
                return
        except NotFound:
            self.make_directory(paths.split(path)[0])
            with self._explained(path), contextlib.suppress(FileExistsError):
                self._writer(path).mkdir(path, 0o777 & ~umask(), owner())
            return
        raise NotADirectory(path)

    def remove(self, path: str) -> None:
        """See `Tree.remove`; what lower layers have is hidden by a mark, not removed there."""
        self.view.lookup(path)
        with self._explained(path):
            self._writer(path).remove(path)

    def take(self, path: str) -> None:
        """Have what is at ``path`` in the layer in which it would be changed."""
        with self._explained(path):
            self._writer(path).take(path)

    @contextlib.contextmanager
    def _explained(self, path: str) -> Iterator[None]:
        """What the tree refuses, as copick's users know it."""
        try:
            yield
        except NotWritable:
            raise
        except ReadOnly:
            reason = "no layer that is written can have it"
            with contextlib.suppress(CopickfsError):
                reason = f"layer {self.view.lookup(path).layer.name} decides what is there and is not written"
            raise _refused(path, reason) from None

    def _writer(self, path: str) -> Writer:
        writer = self.stack.writer
        if writer is None:
            raise _refused(path, "no layer of this configuration is written")
        return writer


class LayerTree:
    """The tree of one data layer, as if there were no other.

    Args:
        shared: The stack.
        name: The layer.
    """

    def __init__(self, shared: Shared, name: str) -> None:
        self._shared = shared
        self._name = name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LayerTree) and (other._shared, other._name) == (self._shared, self._name)

    def __hash__(self) -> int:
        return hash((self._shared, self._name))

    @property
    def stack(self) -> Stack:
        """See `Tree.stack`."""
        return self._shared.get()

    @property
    def view(self) -> View:
        """See `Tree.view`; what other programs of this machine have done by now is seen."""
        view = self._shared.get().view_of(self._name)
        view.catch_up()
        return view

    def check_writable(self, path: str) -> None:
        """See `Tree.check_writable`."""
        self._layer(path)

    def write(self, path: str, data: bytes | memoryview) -> None:
        """See `Tree.write`."""
        layer = self._layer(path)
        self.make_directory(paths.split(path)[0])
        try:
            file = layer.edit(path, whole=True)
            file.truncate(0)
        except NotFound:
            file = layer.create(path, 0o666 & ~umask(), owner(), whole=True)
        _fill(file, data)
        self._changed(path, directory=False)

    def make_directory(self, path: str) -> None:
        """See `Tree.make_directory`."""
        layer = self._layer(path)
        try:
            if layer.stat(path).is_dir:
                return
        except NotFound:
            self.make_directory(paths.split(path)[0])
            with contextlib.suppress(FileExistsError):
                layer.mkdir(path, 0o777 & ~umask(), owner())
            self._changed(path, directory=True)
            return
        raise NotADirectory(path)

    def remove(self, path: str) -> None:
        """See `Tree.remove`."""
        layer = self._layer(path)
        if not layer.stat(path).is_dir:
            layer.unlink(path)
        else:
            for entry in layer.scan(path):
                self.remove(paths.join(path, entry.name))
            layer.rmdir(path)
        self._changed(path, directory=True)

    def _layer(self, path: str) -> WritableLayer:
        writer = self.stack.writer
        for layer in writer.places.written if writer is not None else ():
            if layer.name == self._name:
                return layer
        raise _refused(path, f"layer {self._name} is not written")

    def _changed(self, path: str, *, directory: bool) -> None:
        """The other trees of the stack hear of it."""
        self.view.membership.changed(path, directory=directory)
        self.stack.view.membership.changed(path, directory=directory)


def umask() -> int:
    """The mask of this process for the permissions of new files; asking for it must not change it."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as status:  # noqa: PTH123 -- often called
        for line in status:
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    return 0o022


def owner() -> Owner:
    """Who new files belong to."""
    return Owner(os.geteuid(), os.getegid())


def _fill(file: WritableFile, data: bytes | memoryview) -> None:
    """Write and publish all of a file that is empty."""
    try:
        file.write(0, data)
        file.flush()
    except BaseException:
        file.discard()
        raise
    finally:
        file.close()


def _refused(path: str, reason: str) -> NotWritable:
    return NotWritable(f"cannot write {path!r}: {reason}")

"""Putting marks into a layer that is written, and taking away directories that have some."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
import uuid
from typing import TYPE_CHECKING

from copickfs import paths
from copickfs.errors import NotADirectory, NotFound, Transient
from copickfs.layers.writable import Owner

if TYPE_CHECKING:
    from copickfs.layers.writable import WritableLayer
    from copickfs.view.background import Background
    from copickfs.view.marks import Marks

_log = logging.getLogger(__name__)

REMOVED = f"{paths.CONTROL_DIRECTORY}/removed"
"""In a layer: directories that are no longer shown and are removed behind, marks and all."""

KEPT = f"{paths.CONTROL_DIRECTORY}/kept"
"""In a layer: partial copies that belong to no store any more."""

_MODE = 0o755


def daemon_owner() -> Owner:
    """Who owns what only copickfs looks at."""
    return Owner(os.geteuid(), os.getegid())


class Whiteouts:
    """The marks of the layers that are written. Thread-safe: each step is one call of the layer.

    Args:
        marks: What is remembered of the marks.
        background: Where directories are removed.
    """

    def __init__(self, marks: Marks, background: Background) -> None:
        self._marks = marks
        self._background = background
        self._ready: set[tuple[str, str]] = set()

    def put(self, layer: WritableLayer, path: str) -> None:
        """Hide ``path`` of all layers below; the directory is there."""
        directory, name = paths.split(path)
        self.prepare(layer)
        folder = paths.join(directory, paths.WHITEOUT_DIRECTORY)
        mark = f"{folder}/{name}"
        with contextlib.suppress(FileExistsError):
            try:
                layer.mknod(mark, stat.S_IFREG | 0o644, 0, daemon_owner())
            except NotFound:
                self._make(layer, folder)
                layer.mknod(mark, stat.S_IFREG | 0o644, 0, daemon_owner())
        self._marks.add(layer.name, directory, name)

    def prepare(self, layer: WritableLayer, folder: str = paths.CONTROL_DIRECTORY) -> None:
        """Make a directory of copickfs at the root of the layer, which may have marks from now on."""
        if (layer.name, folder) in self._ready:
            return
        if folder != paths.CONTROL_DIRECTORY:
            self.prepare(layer)
        with contextlib.suppress(FileExistsError):
            layer.mkdir(folder, _MODE, daemon_owner())
        self._ready.add((layer.name, folder))
        self._marks.start(layer.name)

    def clear(self, layer: WritableLayer, directory: str) -> None:
        """Take away the marks in a directory in which they hide nothing any more."""
        folder = paths.join(directory, paths.WHITEOUT_DIRECTORY)
        with contextlib.suppress(NotFound):
            for entry in layer.scan(folder):
                layer.unlink(f"{folder}/{entry.name}")
            layer.rmdir(folder)
        self._marks.forget(layer.name, directory)

    def sync(self, layer: WritableLayer, directory: str) -> None:
        """The marks in a directory are on stable storage when this returns."""
        with contextlib.suppress(NotFound):
            layer.sync_directory(paths.join(directory, paths.WHITEOUT_DIRECTORY))

    def make_empty(self, layer: WritableLayer, directory: str) -> None:
        """Take away all that copickfs keeps in a directory that hides all layers below."""
        self.clear(layer, directory)
        self._keep_partials(layer, directory)

    def remove_directory(self, layer: WritableLayer, path: str) -> None:
        """Remove a directory of the layer that has nothing but marks, and shows nothing any more.

        Raises:
            OSError: ENOTEMPTY: there is something in it, made by another program.
        """
        try:
            layer.rmdir(path)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            self._keep_partials(layer, path)
            if not all(entry.name.startswith(paths.RESERVED_PREFIX) for entry in layer.scan(path)):
                raise
            self.discard(layer, path)
        self._marks.forget(layer.name, path)

    def discard(self, layer: WritableLayer, path: str) -> None:
        """Take a directory away in one step; its contents are removed behind."""
        self.prepare(layer, REMOVED)
        layer.rename(path, f"{REMOVED}/{uuid.uuid4().hex}")
        self._marks.forget(layer.name, path)
        self.empty_later(layer)

    def keep(self, layer: WritableLayer, path: str) -> None:
        """Put a partial copy aside that no store below belongs to: somebody has written it."""
        self.prepare(layer, KEPT)
        kept = f"{KEPT}/{uuid.uuid4().hex}"
        layer.rename(path, kept)
        _log.warning(
            "layer %s: the partial copy %r belongs to no store any more; it is kept in %s",
            layer.name, path, layer.location(kept),
        )  # fmt: skip

    def empty_later(self, layer: WritableLayer) -> None:
        """Remove behind what was discarded, also by a process that was killed."""
        self._background.schedule(f"empty {layer.name}", 0.0, lambda: self._empty(layer))

    def _make(self, layer: WritableLayer, folder: str) -> None:
        entry = layer.stat(paths.split(folder)[0])
        with contextlib.suppress(FileExistsError):
            layer.mkdir(folder, stat.S_IMODE(entry.mode), Owner(entry.uid, entry.gid))

    def _keep_partials(self, layer: WritableLayer, directory: str) -> None:
        folder = paths.join(directory, paths.PARTIAL_DIRECTORY)
        with contextlib.suppress(NotFound):
            for entry in layer.scan(folder):
                self.keep(layer, f"{folder}/{entry.name}")
            layer.rmdir(folder)

    def _empty(self, layer: WritableLayer) -> None:
        try:
            self._remove_below(layer, REMOVED)
        except (NotFound, NotADirectory):
            return
        except (OSError, Transient) as error:
            _log.info("layer %s: removed directories are left for later: %s", layer.name, error)

    def _remove_below(self, layer: WritableLayer, directory: str) -> None:
        for entry in layer.scan(directory):
            if self._background.ending.is_set():
                return
            inner = f"{directory}/{entry.name}"
            with contextlib.suppress(NotFound):
                if entry.is_dir:
                    self._remove_below(layer, inner)
                    layer.rmdir(inner)
                else:
                    layer.unlink(inner)

"""The files below some paths of the tree that come from layers that are cached."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, NamedTuple

from copickfs import paths
from copickfs.errors import NotADirectory, NotFound, Transient
from copickfs.fetching.levels import levels_of
from copickfs.model import UNSIZED

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from copickfs.fetching.looking import Looking
    from copickfs.model import Entry


class Target(NamedTuple):
    """A file that is to be in the cache.

    Attributes:
        path: In the tree.
        size_bytes: Its length.
        layer: The layer that it comes from.
    """

    path: str
    size_bytes: int
    layer: str


class Targets:
    """Collects files.

    Args:
        looking: Lists.
        layers: Names of the layers whose files are wanted.
        level: Of stores that have levels only this one, counted from the finest, 0, and the documents
            of the others; None for all.

    Attributes:
        files: What was found.
        size_bytes: Length of all of them.
        passed_over: Files of other layers.
        levelless: Stores that have levels, but not this one.
    """

    def __init__(self, looking: Looking, layers: Collection[str], level: int | None = None) -> None:
        self.files: list[Target] = []
        self.size_bytes = 0
        self.passed_over = 0
        self.levelless: list[str] = []
        self._looking = looking
        self._layers = frozenset(layers)
        self._level = level
        self._documents_only: set[str] = set()

    def collect(self, roots: Sequence[str]) -> None:
        """Add all files at and below some paths."""
        directories = []
        for root in roots:
            try:
                entry = self._looking.view.lookup(root).entry if root else None
            except (NotFound, NotADirectory):
                continue  # gone since it was selected
            except Transient as error:
                self._looking.skip(root, error)
                continue
            if entry is None or entry.is_dir:
                directories.append(root)
                self._choose_level(paths.store_of(root))
            else:
                self._add(root, entry)
        while directories:
            directories = self._below(directories)

    def _below(self, directories: Sequence[str]) -> list[str]:
        """Add the files in some directories; the directories in them that are to be gone through."""
        inner: list[str] = []
        unsized: list[str] = []
        for directory, entries in self._looking.each(directories):
            only_documents = directory in self._documents_only
            for entry in entries:
                path = paths.join(directory, entry.name)
                if entry.is_dir:
                    if not only_documents:
                        inner.append(path)
                elif only_documents and entry.name not in paths.ARRAY_METADATA:
                    continue
                elif entry.size_bytes == UNSIZED and entry.layer in self._layers:
                    unsized.append(path)
                else:
                    self._add(path, entry)
        for path, looked_up in self._looking.each_entry(unsized):
            self._add(path, looked_up)
        for path in inner:
            if paths.is_store(path) and paths.store_of(path) == path:
                self._choose_level(path)
        return inner

    def _add(self, path: str, entry: Entry) -> None:
        if not stat.S_ISREG(entry.mode) or path == paths.CONFIG_NAME:  # which the mount makes itself
            return
        if entry.layer in self._layers:
            self.files.append(Target(path, entry.size_bytes, entry.layer))
            self.size_bytes += entry.size_bytes
        else:
            self.passed_over += 1

    def _choose_level(self, store: str | None) -> None:
        """Note of which directories of a store the documents are enough."""
        if self._level is None or store is None:
            return
        try:
            levels = levels_of(self._looking.view, store)
        except Transient as error:
            self._looking.skip(store, error)
            return
        self._documents_only.update(levels)
        if self._level < len(levels):
            self._documents_only.discard(levels[self._level])
        elif levels:
            self.levelless.append(store)

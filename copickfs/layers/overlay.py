"""What a remote layer will look like when all that waits in its journal has been sent."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, NamedTuple

from copickfs.layers.journalrecord import MKDIR, PUT, RENAME
from copickfs.paths import join, split

if TYPE_CHECKING:
    from collections.abc import Iterable

    from copickfs.layers.journalrecord import Record


class Shown(enum.Enum):
    """What is at a path."""

    SOURCE = "source"
    """What the source has, perhaps under another name."""

    FILE = "file"
    """The data of a change that waits."""

    DIRECTORY = "directory"
    """A directory that the source does not have yet."""

    GONE = "gone"
    """Nothing: it was removed, or its directory was."""


class Place(NamedTuple):
    """What is at one path.

    Attributes:
        shown: What kind of answer this is.
        source_path: Where the source has it.
        record: The change that made it.
        is_below_file: There is nothing because something above is a file.
    """

    shown: Shown
    source_path: str = ""
    record: Record | None = None
    is_below_file: bool = False


class _Node:
    __slots__ = ("children", "record", "shown", "source_path")

    def __init__(self, shown: Shown, source_path: str = "", record: Record | None = None) -> None:
        self.shown = shown
        self.source_path = source_path
        self.record = record
        self.children: dict[str, _Node] = {}


class Overlay:
    """The changes that wait, as a tree over the source's. Not thread-safe: its user holds a lock."""

    def __init__(self) -> None:
        self._root = _Node(Shown.SOURCE)
        self._renames = 0

    @property
    def is_renamed(self) -> bool:
        """True while a rename waits: the journal's paths are not the source's."""
        return self._renames > 0

    def place(self, path: str) -> Place:
        """What is at ``path``."""
        node = self._root
        parts = path.split("/") if path else []
        for depth, name in enumerate(parts):
            child = node.children.get(name)
            if child is None:
                rest = "/".join(parts[depth:])
                if node.shown is Shown.SOURCE:
                    return Place(Shown.SOURCE, join(node.source_path, rest))
                return Place(Shown.GONE, is_below_file=node.shown is Shown.FILE)
            node = child
        return Place(node.shown, node.source_path, node.record)

    def children(self, path: str) -> dict[str, Place]:
        """The names in a directory about which the journal knows more than the source."""
        node = self._root
        for name in path.split("/") if path else []:
            child = node.children.get(name)
            if child is None:
                return {}
            node = child
        return {
            name: Place(child.shown, child.source_path, child.record) for name, child in node.children.items()
        }

    def add(self, record: Record) -> None:
        """A change is in the journal."""
        if record.operation == RENAME:
            self._rename(record)
        elif record.operation == PUT:
            self._set(record.path, _Node(Shown.FILE, record=record))
        elif record.operation == MKDIR:
            self._set(record.path, _Node(Shown.DIRECTORY, record=record))
        else:
            self._set(record.path, _Node(Shown.GONE, record=record))

    def replace(self, record: Record) -> None:
        """A change was stored in another state."""
        node = self._find(record.path)
        if node is not None and node.record is not None and node.record.number == record.number:
            node.record = record

    def drop(self, record: Record, rest: Iterable[Record]) -> None:
        """A change is at the source, or was given up; ``rest`` are those that still wait, in order."""
        if self._renames:
            self._root = _Node(Shown.SOURCE)
            self._renames = 0
            for other in rest:
                self.add(other)
            return
        node = self._find(record.path)
        if node is None or node.record is None or node.record.number != record.number:
            return
        node.shown, node.source_path, node.record = Shown.SOURCE, record.path, None
        self._prune(record.path)

    def _rename(self, record: Record) -> None:
        self._renames += 1
        place = self.place(record.path)
        node = self._find(record.path) or _Node(place.shown, place.source_path, place.record)
        self._set(record.path, _Node(Shown.GONE, record=record))
        self._set(record.new_path, node)

    def _find(self, path: str) -> _Node | None:
        node: _Node | None = self._root
        for name in path.split("/") if path else []:
            node = None if node is None else node.children.get(name)
        return node

    def _set(self, path: str, new: _Node) -> None:
        node = self._root
        directory, name = split(path)
        at = ""
        for part in directory.split("/") if directory else []:
            at = join(at, part)
            child = node.children.get(part)
            if child is None:
                source_path = join(node.source_path, part) if node.shown is Shown.SOURCE else at
                child = node.children[part] = _Node(Shown.SOURCE, source_path)
            node = child
        node.children[name] = new

    def _prune(self, path: str) -> None:
        """Forget a node that says no more than the one above it, and those above that do not either."""
        while path:
            node = self._find(path)
            directory, name = split(path)
            above = self._find(directory)
            if node is None or above is None or node.children or node.shown is not Shown.SOURCE:
                return
            if above.shown is not Shown.SOURCE or join(above.source_path, name) != node.source_path:
                return
            del above.children[name]
            path = directory

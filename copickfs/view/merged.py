"""The one merged tree: containers merge, stores and files shadow.

The layers that contribute to the directory (`copickfs.view.membership`) are asked in order of
priority, and the first that has the name decides what it is. What is known of names and attributes is
remembered by the layers and by the kernel, not here. Thread-safe.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

from copickfs import paths
from copickfs.errors import NotADirectory, NotFound
from copickfs.layers.base import LISTED_TTL_S
from copickfs.view.membership import Membership

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from copickfs.layers.base import Layer, LayerFile
    from copickfs.model import Entry, Space
    from copickfs.virtual.control import ControlLayer


class Found(NamedTuple):
    """What a path of the merged tree is.

    Attributes:
        entry: The entry of the layer that decides.
        layer: That layer.
        ttl_s: How long the answer may be believed.
    """

    entry: Entry
    layer: Layer
    ttl_s: float


class Listing(NamedTuple):
    """The names of one directory of the merged tree.

    Attributes:
        entries: One entry for each name, in no particular order.
        ttl_s: How long the answer may be believed.
    """

    entries: list[Entry]
    ttl_s: float


class View:
    """The merged tree over a stack of layers.

    Args:
        layers: The data layers, highest priority first.
        control: The files that copickfs adds at the root.
    """

    def __init__(self, layers: Sequence[Layer], control: ControlLayer | None = None) -> None:
        self.layers = tuple(layers)
        self.control = control
        self._membership = Membership(self.layers)

    def __repr__(self) -> str:
        return f"<View {' > '.join(layer.name for layer in self.layers)}>"

    def lookup(self, path: str) -> Found:
        """What ``path`` is.

        Raises:
            NotFound: No layer has it, and all are sure.
            NotADirectory: An ancestor is a file in the layer that decides.
            Transient: A layer that may have it is out of reach.
        """
        return self._lookup(path, _stat)

    def lookup_nowait(self, path: str) -> Found:
        """Like `lookup`, or `WouldBlock`."""
        return self._lookup(path, _stat_nowait)

    def listing(self, path: str) -> Listing:
        """The names in directory ``path``. Raises as `lookup` does."""
        return self._listing(path, _stat, _scan)

    def listing_nowait(self, path: str) -> Listing:
        """Like `listing`, or `WouldBlock`."""
        return self._listing(path, _stat_nowait, _scan_nowait)

    def open(self, path: str) -> tuple[LayerFile, Layer]:
        """Open a file for reading, and the layer it is of. Raises as `lookup`, or `IsADirectory`."""
        return self._open(path, _stat, _open)

    def open_nowait(self, path: str) -> tuple[LayerFile, Layer]:
        """Like `open`, or `WouldBlock`."""
        return self._open(path, _stat_nowait, _open_nowait)

    def readlink(self, path: str) -> str:
        """The text of a symbolic link that its layer shows as one."""
        return self.lookup(path).layer.readlink(path)

    def sources(self, path: str) -> list[Found]:
        """Every layer's answer for ``path``, the deciding one first.

        The others either merge with it (all are containers) or are shadowed by it. For a path inside
        a store there is one. May block. Raises as `lookup`.
        """
        first = self.lookup(path)
        found = [first]
        if first.layer is self.control:
            return found
        for layer in self._members(paths.split(path)[0], path, _stat):
            if layer is not first.layer:
                with contextlib.suppress(NotFound):
                    found.append(Found(layer.stat(path), layer, first.ttl_s))
        return found

    def negative_ttl_s(self, path: str) -> float:
        """How long it may be believed that ``path`` does not exist; never blocks."""
        directory = paths.split(path)[0]
        return min((layer.ttl_s(directory) for layer in self.layers), default=LISTED_TTL_S)

    def space(self) -> Space | None:
        """Room on the highest layer that is on a local disk; None if there is no such layer."""
        for layer in self.layers:
            space = layer.space()
            if space is not None:
                return space
        return None

    @property
    def news(self) -> int:
        """How many changes the layers have announced; never blocks."""
        return self._membership.news

    def subscribe(self, callback: Callable[[str], None]) -> None:
        """Call ``callback(path)`` after ``path`` may have changed; ``""`` stands for everything."""
        for layer in self.layers:
            layer.subscribe(callback)

    def _lookup(self, path: str, stat: Callable[[Layer, str], Entry]) -> Found:
        if self.control is not None and self.control.claims(path):
            return Found(stat(self.control, path), self.control, LISTED_TTL_S)
        ttl_s = LISTED_TTL_S
        directory = path.rpartition("/")[0]
        for layer in self._members(directory, path, stat):
            ttl_s = min(ttl_s, layer.ttl_s(directory))
            try:
                return Found(stat(layer, path), layer, ttl_s)
            except NotFound:
                continue
        raise NotFound(path)

    def _listing(
        self, path: str, stat: Callable[[Layer, str], Entry], scan: Callable[[Layer, str], Sequence[Entry]]
    ) -> Listing:
        if self.control is not None and self.control.claims(path):
            return Listing(list(scan(self.control, path)), LISTED_TTL_S)
        merged: dict[str, Entry] = {}
        if self.control is not None and not path:
            merged.update((entry.name, entry) for entry in scan(self.control, path))
        ttl_s = LISTED_TTL_S
        listings = []
        news = self._membership.news
        for layer in self._members(path, path, stat):
            try:
                entries = scan(layer, path)
            except (NotFound, NotADirectory):
                # It was a directory of this layer when that was found out.
                if not self._membership.forget(path):
                    raise
                return self._listing(path, stat, scan)
            ttl_s = min(ttl_s, layer.ttl_s(path))
            listings.append((layer, entries))
            if merged:
                for entry in entries:
                    merged.setdefault(entry[0], entry)
            else:
                merged = {entry[0]: entry for entry in entries}
        self._membership.learn(path, listings, ttl_s, news)
        for name in [name for name in merged if name.startswith(paths.RESERVED_PREFIX)]:
            del merged[name]
        return Listing(list(merged.values()), ttl_s)

    def _open(
        self, path: str, stat: Callable[[Layer, str], Entry], open_file: Callable[[Layer, str], LayerFile]
    ) -> tuple[LayerFile, Layer]:
        if self.control is not None and self.control.claims(path):
            return open_file(self.control, path), self.control
        for layer in self._members(path.rpartition("/")[0], path, stat):
            try:
                return open_file(layer, path), layer
            except NotFound:
                continue
        raise NotFound(path)

    def _members(self, directory: str, path: str, stat: Callable[[Layer, str], Entry]) -> Iterable[Layer]:
        """The layers that contribute to ``directory``, at least one.

        Raises:
            NotFound: There is no such directory, or ``path`` has a name that layers keep to themselves.
            NotADirectory: ``directory``, or what is above it, is a file.
        """
        if paths.RESERVED_PREFIX in path and any(
            part.startswith(paths.RESERVED_PREFIX) for part in path.split("/")
        ):
            raise NotFound(path)
        members = self._membership.of(directory, stat)
        return (
            members
            if members and isinstance(members, tuple)
            else self._at_least_one(directory, members, stat)
        )

    def _at_least_one(
        self, directory: str, members: Iterable[Layer], stat: Callable[[Layer, str], Entry]
    ) -> Iterator[Layer]:
        none = True
        for layer in members:
            none = False
            yield layer
        if none:
            raise self._membership.missing(directory, stat)


# One function for each speed, so that the rules of merging stand once.


def _stat(layer: Layer, path: str) -> Entry:
    return layer.stat(path)


def _stat_nowait(layer: Layer, path: str) -> Entry:
    return layer.stat_nowait(path)


def _scan(layer: Layer, path: str) -> Sequence[Entry]:
    return layer.scan(path)


def _scan_nowait(layer: Layer, path: str) -> Sequence[Entry]:
    return layer.scan_nowait(path)


def _open(layer: Layer, path: str) -> LayerFile:
    return layer.open(path)


def _open_nowait(layer: Layer, path: str) -> LayerFile:
    return layer.open_nowait(path)

"""The one merged tree: containers merge, stores and files shadow.

The layers that contribute to the directory (`copickfs.view.membership`) are asked in order of
priority, and the first that has the name decides what it is; one that hides it is the last to be
asked. What is known of names and attributes is
remembered by the layers and by the kernel, not here. Thread-safe.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

from copickfs import paths
from copickfs.errors import LayerError, NotADirectory, NotFound, WouldBlock
from copickfs.layers.base import LISTED_TTL_S, POLLED_TTL_S
from copickfs.view.membership import Membership
from copickfs.view.partial import Gone
from copickfs.view.speeds import NOWAIT, WAIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from collections.abc import Set as AbstractSet

    from copickfs.layers.base import Layer, LayerFile
    from copickfs.model import Entry, Space
    from copickfs.view.speeds import Speed


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


class Layered:
    """What the layers of a stack have, as one tree.

    Args:
        layers: The data layers, highest priority first.

    Attributes:
        layers: As given.
        membership: Which layers contribute to directories.
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.layers = tuple(layers)
        self.membership = Membership(self.layers)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {' > '.join(layer.name for layer in self.layers)}>"

    def lookup(self, path: str) -> Found:
        """What ``path`` is.

        Raises:
            NotFound: No layer has it, and all are sure.
            NotADirectory: An ancestor is a file in the layer that decides.
            Transient: A layer that may have it is out of reach.
        """
        return self._lookup(path, WAIT)

    def lookup_nowait(self, path: str) -> Found:
        """Like `lookup`, or `WouldBlock`."""
        return self._lookup(path, NOWAIT)

    def listing(self, path: str) -> Listing:
        """The names in directory ``path``. Raises as `lookup` does."""
        return self._listing(path, WAIT)

    def listing_nowait(self, path: str) -> Listing:
        """Like `listing`, or `WouldBlock`."""
        return self._listing(path, NOWAIT)

    def open(self, path: str) -> tuple[LayerFile, Layer]:
        """Open a file for reading, and the layer it is of. Raises as `lookup`, or `IsADirectory`."""
        return self._open(path, WAIT)

    def open_nowait(self, path: str) -> tuple[LayerFile, Layer]:
        """Like `open`, or `WouldBlock`."""
        return self._open(path, NOWAIT)

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
        for layer in self._members(paths.split(path)[0], path, WAIT):
            if layer is not first.layer:
                with contextlib.suppress(NotFound):
                    found.append(Found(layer.stat(path), layer, first.ttl_s))
            if self.membership.hides(layer, path, WAIT):
                break
        return found

    def members(self, path: str) -> Iterable[Layer]:
        """The layers that contribute to directory ``path``, in order, found out as they are asked for."""
        return self.membership.of(path, WAIT)

    def negative_ttl_s(self, path: str) -> float:
        """How long it may be believed that ``path`` does not exist; never blocks."""
        directory = paths.split(path)[0]
        ttl_s = min((layer.ttl_s(directory) for layer in self.layers), default=LISTED_TTL_S)
        # A layer without the directory may be given a whole one at once, and announces no name in it.
        return min(ttl_s, POLLED_TTL_S) if self._may_be_joined(directory) else ttl_s

    def _may_be_joined(self, directory: str) -> bool:
        """True if a layer that does not contribute to ``directory`` may come to do so."""
        if len(self.layers) == 1 or paths.store_of(directory) is not None:
            return False
        try:
            return len(tuple(self.membership.of(directory, NOWAIT))) < len(self.layers)
        except (LayerError, WouldBlock):
            return True

    def space(self) -> Space | None:
        """Room on the highest layer that is on a local disk; None if there is no such layer."""
        for layer in self.layers:
            space = layer.space()
            if space is not None:
                return space
        return None

    def catch_up(self) -> None:
        """See by now what other programs of this machine have done so far.

        Otherwise it is seen a moment later, when the layers announce it by themselves.
        """
        for layer in self.layers:
            layer.catch_up()

    @property
    def news(self) -> int:
        """How many changes the layers have announced; never blocks."""
        return self.membership.news

    def subscribe(self, callback: Callable[[str], None]) -> None:
        """Call ``callback(path)`` after ``path`` may have changed; ``""`` stands for everything."""

        def announce(path: str) -> None:
            shown = paths.shown_as(path)
            if shown is not None:
                callback(shown)

        for layer in self.layers:
            layer.subscribe(announce)

    def _lookup(self, path: str, ask: Speed) -> Found:
        ttl_s = LISTED_TTL_S
        directory = path.rpartition("/")[0]
        stat, marks, changes = ask.stat, self.membership.marks, self.membership.changes
        try:
            for layer in self._members(directory, path, ask):
                ttl_s = min(ttl_s, layer.ttl_s(directory))
                try:
                    found = Found(stat(layer, path), layer, ttl_s)
                except NotFound:
                    if marks.possible and marks.hides(layer, path, ask):
                        break
                    continue
                if marks.possible:
                    self._check_still(path, changes)
                    if path.endswith(paths.STORE_SUFFIX) and found.entry.is_dir:
                        return self._store(path, found, ask)
                return found
        except Gone as gone:
            self._start_again(gone)
            return self._lookup(path, ask)
        raise NotFound(path)

    def _store(self, path: str, found: Found, ask: Speed) -> Found:
        """A store; its attributes are those of its partial copy, if there is one."""
        first = next(iter(self.membership.of(path, ask)), found.layer)
        return found if first is found.layer else Found(ask.stat(first, path), first, found.ttl_s)

    def _listing(self, path: str, ask: Speed) -> Listing:
        merged: dict[str, Entry] = {}
        ttl_s = LISTED_TTL_S
        listings = []
        news, marks = self.membership.news, self.membership.marks
        hidden: AbstractSet[str] = frozenset()
        try:
            for layer in self._members(path, path, ask):
                entries = self._scan(layer, path, ask)
                ttl_s = min(ttl_s, layer.ttl_s(path))
                if hidden:
                    entries = [entry for entry in entries if entry[0] not in hidden]
                listings.append((layer, entries))
                merged = merge(merged, entries)
                # Read after the names: a mark is put before what it hides is taken away from above it.
                if marks.possible and (paths.WHITEOUT_DIRECTORY in merged or not path):
                    hidden = hidden | marks.hidden(layer, path, ask)
        except Gone as gone:
            self._start_again(gone)
            return self._listing(path, ask)
        self.membership.learn(path, listings, ttl_s, news)
        return Listing(self._shown(path, merged, ask), ttl_s)

    def _scan(self, layer: Layer, path: str, ask: Speed) -> Sequence[Entry]:
        try:
            return ask.scan(layer, path)
        except (NotFound, NotADirectory):
            # It was a directory of this layer when that was found out.
            if self.membership.forget(path):
                raise Gone(path) from None
            raise

    def _shown(self, path: str, merged: dict[str, Entry], ask: Speed) -> list[Entry]:
        """The entries of a merged directory that are shown, those of stores as `_lookup` has them."""
        partial = paths.PARTIAL_DIRECTORY in merged and paths.store_of(path) is None
        for name in [name for name in merged if name.startswith(paths.RESERVED_PREFIX)]:
            del merged[name]
        if partial:
            for name, entry in merged.items():
                if entry.is_dir and paths.is_store(name):
                    with contextlib.suppress(NotFound):
                        merged[name] = self._lookup(paths.join(path, name), ask).entry
        return list(merged.values())

    def _open(self, path: str, ask: Speed) -> tuple[LayerFile, Layer]:
        marks, changes = self.membership.marks, self.membership.changes
        try:
            for layer in self._members(path.rpartition("/")[0], path, ask):
                try:
                    file = ask.open(layer, path)
                except NotFound:
                    if marks.possible and marks.hides(layer, path, ask):
                        break
                    continue
                if marks.possible and changes != self.membership.changes:
                    file.close()
                    self._check_still(path, changes)
                return file, layer
        except Gone as gone:
            self._start_again(gone)
            return self._open(path, ask)
        raise NotFound(path)

    def _check_still(self, path: str, changes: int) -> None:
        """A layer may answer for a name that one above it has, or hides, only since it was asked.

        Raises:
            Gone: A directory was changed meanwhile.
        """
        if changes != self.membership.changes:
            raise Gone(path)

    def _start_again(self, gone: Gone) -> None:
        """What was a directory of a layer has gone, or has become another, while it was asked."""
        self.membership.forget(str(gone))

    def _members(self, directory: str, path: str, ask: Speed) -> Iterable[Layer]:
        """The layers that contribute to ``directory``, at least one.

        Raises:
            NotFound: There is no such directory, or ``path`` has a name that layers keep to themselves.
            NotADirectory: ``directory``, or what is above it, is a file.
        """
        if paths.is_reserved(path):
            raise NotFound(path)
        members = self.membership.of(directory, ask)
        return (
            members if members and isinstance(members, tuple) else self._at_least_one(directory, members, ask)
        )

    def _at_least_one(self, directory: str, members: Iterable[Layer], ask: Speed) -> Iterator[Layer]:
        none = True
        for layer in members:
            none = False
            yield layer
        if none:
            raise self.membership.missing(directory, ask)


def merge(merged: dict[str, Entry], entries: Sequence[Entry]) -> dict[str, Entry]:
    """Add the entries of a lower layer to those of the layers above it."""
    if not merged:
        return by_name(entries)
    for entry in entries:
        merged.setdefault(entry[0], entry)
    return merged


def by_name(entries: Iterable[Entry]) -> dict[str, Entry]:
    """Entries by their names."""
    return {entry[0]: entry for entry in entries}

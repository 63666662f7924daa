"""Which layers contribute to a directory of the merged tree.

The rule of merging stands here, and only here. Going down the layers that contribute to the
directory above: one that has a directory of the name contributes, one that does not have the name is
passed over, and the first that has something else ends the search, as in overlayfs. Of a store only
the first contributes, and so everything inside of it is that layer's.

Answers are found layer by layer, only as far as somebody asks, so that what a high layer decides
needs no answer of a low one that is out of reach. They are remembered until the layers announce a
change or the time for which they may be believed is over. Thread-safe: two threads that find out the
same thing write the same answer.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from copickfs import paths
from copickfs.errors import NotADirectory, NotFound
from copickfs.layers.base import LISTED_TTL_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from copickfs.layers.base import Layer
    from copickfs.model import Entry

_MEMBER, _ABSENT, _FILE, _ENDED = range(4)
_MAX_DIRECTORIES = 65_536


class _Directory:
    """What has been found out about one directory."""

    __slots__ = ("expires_s", "members", "path", "states", "store")

    def __init__(self, path: str, layers: int, expires_s: float) -> None:
        self.path = path
        self.store = paths.is_store(path)
        self.states: list[int | None] = [None if path else _MEMBER] * layers
        self.expires_s = expires_s
        self.members: tuple[Layer, ...] | None = None  # once all states are known


class Membership:
    """Finds the layers that contribute to directories.

    Args:
        layers: The data layers, highest priority first.
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        self._layers = tuple(layers)
        self._known: dict[str, _Directory] = {}
        for layer in layers:
            layer.subscribe(self.announce)

    def __repr__(self) -> str:
        return f"<Membership of {len(self._known)} directories>"

    def of(self, path: str, stat: Callable[[Layer, str], Entry]) -> Iterable[Layer]:
        """The layers that contribute to directory ``path``, in order, found out as they are asked for."""
        directory = self._directory(path)
        if directory.members is not None:
            return directory.members
        return self._find_members(directory, stat)

    def missing(self, path: str, stat: Callable[[Layer, str], Entry]) -> NotFound | NotADirectory:
        """The right error where no layer contributes to ``path``, once all have been asked."""
        while path:
            if _FILE in self._directory(path).states:
                return NotADirectory(path)
            path = paths.split(path)[0]
            if next(iter(self.of(path, stat)), None) is not None:
                break
        return NotFound(path)

    def announce(self, path: str) -> None:
        """``path`` came, went or changed in a layer; ``""``: anything may have."""
        # What is below a known directory is known only if the directory itself is.
        if not path or path in self._known:
            self._known = {}

    def _directory(self, path: str) -> _Directory:
        known = self._known
        directory = known.get(path)
        now_s = time.monotonic()
        if directory is None or directory.expires_s < now_s:
            if len(known) >= _MAX_DIRECTORIES:
                known = self._known = {}
            directory = known[path] = _Directory(path, len(self._layers), now_s + LISTED_TTL_S)
        return directory

    def _find_members(self, directory: _Directory, stat: Callable[[Layer, str], Entry]) -> Iterator[Layer]:
        members = []
        for index, layer in enumerate(self._layers):
            state = directory.states[index]
            if state is None:
                state = self._find_out(directory, index, stat)
            if state == _MEMBER:
                members.append(layer)
                yield layer
            elif state != _ABSENT:
                break
        directory.members = tuple(members)

    def _find_out(self, directory: _Directory, index: int, stat: Callable[[Layer, str], Entry]) -> int:
        """Decide whether layer ``index`` contributes; those above it have been decided already."""
        layer = self._layers[index]
        parent = paths.split(directory.path)[0]
        state = _ABSENT
        if directory.store and _MEMBER in directory.states[:index]:
            state = _ENDED
        elif self._contributes(parent, index, stat):
            try:
                state = _MEMBER if stat(layer, directory.path).is_dir else _FILE
            except NotFound:
                state = _ABSENT
            except NotADirectory:
                state = _ENDED
            directory.expires_s = min(directory.expires_s, time.monotonic() + layer.ttl_s(parent))
        elif not {_FILE, _ENDED}.isdisjoint(self._directory(parent).states[: index + 1]):
            state = _ENDED
        directory.states[index] = state
        return state

    def _contributes(self, path: str, index: int, stat: Callable[[Layer, str], Entry]) -> bool:
        directory = self._directory(path)
        for above in range(index + 1):
            state = directory.states[above]
            if state is None:
                state = self._find_out(directory, above, stat)
            if state in {_FILE, _ENDED}:
                return False
        return state == _MEMBER

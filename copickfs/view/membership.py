"""Which layers contribute to a directory of the merged tree.

The rule of merging stands here, and only here. Going down the layers that contribute to the
directory above: one that has a directory of the name contributes, one that does not have the name is
passed over, and the first that has something else ends the search, as in overlayfs. Of a store only
the first contributes, and so everything inside of it is that layer's.

Answers are found layer by layer, only as far as somebody asks, so that what a high layer decides
needs no answer of a low one that is out of reach. They are remembered until the layers announce a
change or the time for which they may be believed is over. Thread-safe: what is known of a directory
is replaced as a whole, and two threads that find out the same thing write the same answer.
"""

from __future__ import annotations

import math
import stat
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from copickfs import paths
from copickfs.errors import NotADirectory, NotFound
from copickfs.layers.base import LISTED_TTL_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from copickfs.layers.base import Layer
    from copickfs.model import Entry

_MAX_DIRECTORIES = 65_536


class _Progress(NamedTuple):
    """How much has been found out about one directory.

    Attributes:
        members: Those that contribute, as far as is known.
        asked: How many of the layers that contribute to the directory above have been asked.
        complete: No other layer contributes.
        file: A layer has something else of this name, and it ended the search.
    """

    members: tuple[Layer, ...] = ()
    asked: int = 0
    complete: bool = False
    file: bool = False


class _Directory:
    """One directory and what has been found out; `progress` is replaced as a whole."""

    __slots__ = ("expires_s", "progress")

    def __init__(self, progress: _Progress, expires_s: float) -> None:
        self.progress = progress
        self.expires_s = expires_s


class Membership:
    """Finds the layers that contribute to directories.

    Args:
        layers: The data layers, highest priority first.

    Attributes:
        news: How many changes have been announced.
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        self._root = _Directory(_Progress(tuple(layers), len(layers), complete=True), math.inf)
        self._known: dict[str, _Directory] = {"": self._root}
        self.news = 0
        self._lock = threading.Lock()
        for layer in layers:
            layer.subscribe(self.announce)

    def __repr__(self) -> str:
        return f"<Membership of {len(self._known)} directories>"

    def of(self, path: str, stat: Callable[[Layer, str], Entry]) -> Iterable[Layer]:
        """The layers that contribute to directory ``path``, in order, found out as they are asked for."""
        directory = self._directory(path)
        progress = directory.progress
        return progress.members if progress.complete else self._find_out(path, directory, stat)

    def missing(self, path: str, stat: Callable[[Layer, str], Entry]) -> NotFound | NotADirectory:
        """The right error where no layer contributes to ``path``, once all have been asked."""
        while path:
            if self._directory(path).progress.file:
                return NotADirectory(path)
            path = paths.split(path)[0]
            if next(iter(self.of(path, stat)), None) is not None:
                break
        return NotFound(path)

    def learn(
        self, path: str, listings: Sequence[tuple[Layer, Iterable[Entry]]], ttl_s: float, news: int
    ) -> None:
        """Take from the complete listings of ``path`` which layers contribute to the directories in it.

        Args:
            path: A directory.
            listings: Every layer that contributes to it, in order, with its listing.
            ttl_s: How long the listings may be believed.
            news: `news` as it was before the listings were taken: what was announced since then
                may be missing in them.
        """
        members: dict[str, list[Layer]] = {}
        ended: set[str] = set()
        for layer, entries in listings:
            for entry in entries:
                name = entry[0]
                if not stat.S_ISDIR(entry[1]):
                    ended.add(name)
                elif name not in ended:
                    members.setdefault(name, []).append(layer)
                    if name.endswith(paths.STORE_SUFFIX):
                        ended.add(name)
        expires_s = time.monotonic() + ttl_s
        learned = {
            f"{path}/{name}" if path else name: _Directory(
                _Progress(tuple(layers), len(listings), complete=True), expires_s
            )
            for name, layers in members.items()
        }
        with self._lock:
            if news != self.news:
                return
            if len(self._known) + len(learned) > _MAX_DIRECTORIES:
                self._known = {"": self._root}
            self._known.update(learned)

    def announce(self, path: str) -> None:
        """``path`` came, went or changed in a layer; ``""``: anything may have."""
        with self._lock:
            self.news += 1
            # What is below a known directory is known only if the directory itself is.
            if not path or path in self._known:
                self._known = {"": self._root}

    def forget(self, path: str) -> bool:
        """Forget what is known of ``path`` and below; True if there was anything to forget."""
        if path not in self._known or not path:
            return False
        self.announce(path)
        return True

    def _directory(self, path: str) -> _Directory:
        known = self._known
        directory = known.get(path)
        now_s = time.monotonic()
        if directory is None or directory.expires_s < now_s:
            if len(known) >= _MAX_DIRECTORIES:
                known = self._known = {"": self._root}
            directory = known[path] = _Directory(_Progress(), now_s + LISTED_TTL_S)
        return directory

    def _find_out(
        self, path: str, directory: _Directory, stat: Callable[[Layer, str], Entry]
    ) -> Iterator[Layer]:
        progress = directory.progress
        yield from progress.members
        parent, name = paths.split(path)
        for position, layer in enumerate(self.of(parent, stat)):
            if position < progress.asked:
                continue
            members, ended = progress.members, False
            try:
                if stat(layer, path).is_dir:
                    members, ended = (*members, layer), paths.is_store(name)
                    progress = _Progress(members, position + 1, ended)
                else:
                    ended = True
                    progress = _Progress(members, position + 1, complete=True, file=True)
            except NotFound:
                progress = _Progress(members, position + 1)
            except NotADirectory:
                ended = True
                progress = _Progress(members, position + 1, complete=True)
            directory.expires_s = min(directory.expires_s, time.monotonic() + layer.ttl_s(parent))
            directory.progress = progress
            if members and members[-1] is layer:
                yield layer
            if ended:
                return
        directory.progress = progress._replace(complete=True)

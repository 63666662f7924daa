"""Which layers contribute to a directory of the merged tree.

The rule of merging stands here, and only here. Going down the layers that contribute to the
directory above: one that has a directory of the name contributes, one that does not have the name is
passed over, and the first that has something else ends the search, as in overlayfs. So does one that
hides the name (`copickfs.view.marks`), after what it has itself. Of a store only the first contributes,
and above it its partial copies in layers further up; inside of it just these merge.

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
from copickfs.view.marks import Marks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from copickfs.layers.base import Layer
    from copickfs.model import Entry
    from copickfs.view.speeds import Speed

_MAX_DIRECTORIES = 65_536
_MAX_SEARCHED = 4_096
"""Where more directories are known, all are forgotten rather than searched for those below one."""


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
        changes: How many changes of directories this process has made itself.
        marks: Which names the layers hide.
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.marks = Marks(layers)
        self._root = _Directory(_Progress(tuple(layers), len(layers), complete=True), math.inf)
        self._known: dict[str, _Directory] = {"": self._root}
        self.news = 0
        self.changes = 0
        self._lock = threading.Lock()
        self._listeners: list[Callable[[str], None]] = []
        for layer in layers:
            layer.subscribe(self.announce)

    def __repr__(self) -> str:
        return f"<Membership of {len(self._known)} directories>"

    def of(self, path: str, ask: Speed) -> Iterable[Layer]:
        """The layers that contribute to directory ``path``, in order, found out as they are asked for."""
        directory = self._directory(path)
        progress = directory.progress
        return progress.members if progress.complete else self._find_out(path, directory, ask)

    def missing(self, path: str, ask: Speed) -> NotFound | NotADirectory:
        """The right error where no layer contributes to ``path``, once all have been asked."""
        while path:
            if self._directory(path).progress.file:
                return NotADirectory(path)
            path = paths.split(path)[0]
            if next(iter(self.of(path, ask)), None) is not None:
                break
        return NotFound(path)

    def learn(
        self, path: str, listings: Sequence[tuple[Layer, Iterable[Entry]]], ttl_s: float, news: int
    ) -> None:
        """Take from the complete listings of ``path`` which layers contribute to the directories in it.

        Args:
            path: A directory.
            listings: Every layer that contributes to it, in order, with its listing but for the names
                that a layer above hides.
            ttl_s: How long the listings may be believed.
            news: `news` as it was before the listings were taken: what was announced since then
                may be missing in them.
        """
        members: dict[str, list[Layer]] = {}
        ended: set[str] = set()
        skipped: set[str] = set()
        in_store = paths.store_of(path) is not None
        for layer, entries in listings:
            for entry in entries:
                name = entry[0]
                if not stat.S_ISDIR(entry[1]):
                    ended.add(name)
                elif name not in ended:
                    members.setdefault(name, []).append(layer)
                    if not in_store and name.endswith(paths.STORE_SUFFIX):
                        ended.add(name)
                        if self.marks.possible:
                            skipped.add(name)  # there may be a partial copy
        expires_s = time.monotonic() + ttl_s
        learned = {
            f"{path}/{name}" if path else name: _Directory(
                _Progress(tuple(layers), len(listings), complete=True), expires_s
            )
            for name, layers in members.items()
            if name not in skipped
        }
        with self._lock:
            if news != self.news:
                return
            if len(self._known) + len(learned) > _MAX_DIRECTORIES:
                self._known = {"": self._root}
            self._known.update(learned)

    def announce(self, path: str) -> None:
        """``path`` came, went or changed in a layer; ``""``: anything may have."""
        shown = paths.shown_as(path)
        if shown is None:
            return
        if shown != path:
            self.marks.reset()
        with self._lock:
            self.news += 1
            # What is below a known directory is known only if the directory itself is.
            if not path or shown != path or path in self._known:
                self._known = {"": self._root}
        if not path:
            self.marks.reset()

    def changed(self, path: str, *, directory: bool = True) -> None:
        """This process itself has changed what ``path`` is.

        Args:
            path: A path of the tree.
            directory: It was a directory, or is one now.
        """
        self._forget_changed(path, directory=directory)
        self.touched(path)

    def touched(self, path: str) -> None:
        """This process itself has changed something of ``path``, which is what it was all the same."""
        for callback in self._listeners:
            callback(path)

    def subscribe_own(self, callback: Callable[[str], None]) -> None:
        """Call ``callback(path)`` (from any thread) after this process itself has changed ``path``.

        What a layer announces are the changes that others make.
        """
        self._listeners.append(callback)

    def _forget_changed(self, path: str, *, directory: bool) -> None:
        if not directory and path not in self._known:
            return
        with self._lock:
            if len(self._known) > _MAX_SEARCHED:
                self._known = {"": self._root}
            else:
                inside = path + "/"
                for known in list(self._known):
                    if known == path or known.startswith(inside):
                        del self._known[known]
            # Counted last: whoever takes these numbers before has its answer checked once more.
            self.news += 1
            self.changes += 1

    def forget(self, path: str) -> bool:
        """Forget what is known of ``path`` and below; True if there was anything to forget."""
        if path not in self._known or not path:
            return False
        self.announce(path)
        return True

    def hides(self, layer: Layer, path: str, ask: Speed) -> bool:
        """True if ``layer``, a member of the directory, ends the search for ``path`` after itself."""
        return self.marks.possible and self.marks.hides(layer, path, ask)

    def _directory(self, path: str) -> _Directory:
        directory = self._known.get(path)
        now_s = time.monotonic()
        if now_s > self.marks.until_s:
            self.marks.expire()
        if directory is None or directory.expires_s < now_s:
            # Not while others forget: one that is added then would stay, and what it is found out from,
            # the directory above, may be what is just about to be forgotten.
            with self._lock:
                if len(self._known) >= _MAX_DIRECTORIES:
                    self._known = {"": self._root}
                directory = self._known[path] = _Directory(_Progress(), now_s + LISTED_TTL_S)
        return directory

    def _find_out(self, path: str, directory: _Directory, ask: Speed) -> Iterator[Layer]:
        progress = directory.progress
        yield from progress.members
        parent = paths.split(path)[0]
        above: list[Layer] = []
        for position, layer in enumerate(self.of(parent, ask)):
            if position >= progress.asked:
                known = len(progress.members)
                progress = self._ask_one(path, layer, above, progress, ask)
                directory.expires_s = min(directory.expires_s, time.monotonic() + layer.ttl_s(parent))
                directory.progress = progress
                yield from progress.members[known:]
                if progress.complete:
                    return
            above.append(layer)
        directory.progress = progress._replace(complete=True)

    def _ask_one(
        self, path: str, layer: Layer, above: Sequence[Layer], before: _Progress, ask: Speed
    ) -> _Progress:
        """What is known of ``path`` once ``layer`` is asked, after those ``above`` it."""
        members, asked = before.members, len(above) + 1
        try:
            is_directory = ask.stat(layer, path).is_dir
        except NotFound:
            return _Progress(members, asked, self.hides(layer, path, ask))
        except NotADirectory:
            return _Progress(members, asked, complete=True)
        if not is_directory:
            return _Progress(members, asked, complete=True, file=True)
        if path.endswith(paths.STORE_SUFFIX) and paths.store_of(paths.split(path)[0]) is None:
            partials = self.marks.partials(path, above, layer, ask) if self.marks.possible else ()
            return _Progress((*members, *partials, layer), asked, complete=True)
        return _Progress((*members, layer), asked, self.hides(layer, path, ask))

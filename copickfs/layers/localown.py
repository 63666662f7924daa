"""Telling a local layer's own changes from those of other programs.

The kernel reports both alike, and some milliseconds late. So what a path looks like after each of our
own operations is noted, and news of a path that still looks so is no news.
"""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from collections import Counter, OrderedDict
from typing import TYPE_CHECKING

from copickfs.layers.watch import at_or_inside, path_after

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from types import TracebackType

Look = tuple[int, ...]
"""Mode, inode number, size and times of what has a name; only the first two of a file that has several
names; empty if nothing has the name."""

_MAX_PATHS = 16_384
"""The oldest are forgotten: their news, if there is any still, is announced for nothing."""

_NOTHING = contextlib.nullcontext()

_PATIENCE_S = 5.0
"""How long news of a path waits for an operation on it that is under way."""


def look_of(status: os.stat_result) -> Look:
    """What is compared of a file or directory."""
    identity = (status.st_mode, status.st_ino)
    if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
        return identity  # what happens under its other names is not heard of anyway
    return (*identity, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


class OwnChanges:
    """What paths look like since we changed them. Thread-safe.

    Args:
        location: From a path of the layer to the path on the disk.

    Attributes:
        heard: There is somebody who asks; otherwise nothing is noted.
    """

    def __init__(self, location: Callable[[str], str]) -> None:
        self._location = location
        self.heard = False
        self._looks: OrderedDict[str, Look] = OrderedDict()
        self._under_way: Counter[str] = Counter()
        self._moving: list[Mapping[str, str]] = []
        self._changed = threading.Condition(threading.Lock())

    def __repr__(self) -> str:
        return f"<OwnChanges of {len(self._looks)} paths>"

    def changing(self, *paths: str) -> contextlib.AbstractContextManager[None]:
        """Surrounds an operation on names; what they look like after it is noted, unless it fails."""
        return _Change(self, paths, _directories(paths)) if self.heard else _NOTHING

    @contextlib.contextmanager
    def renaming(self, paths: Iterable[str], directories: Mapping[str, str]) -> Iterator[None]:
        """Surrounds a rename. What was noted of the paths in a directory holds for their new names."""
        with self._changed:
            self._moving.append(directories)
        try:
            with self.changing(*paths):
                yield
            with self._changed:
                self._move(directories)
        finally:
            with self._changed:
                self._moving.remove(directories)
                self._changed.notify_all()

    def publishing(self, path: str, descriptor: int) -> contextlib.AbstractContextManager[None]:
        """Surrounds the operation that gives an open file the name ``path``."""
        return _Change(self, (path,), _directories((path,)), descriptor) if self.heard else _NOTHING

    def writing(self, path: str | None, descriptor: int) -> contextlib.AbstractContextManager[None]:
        """Surrounds an operation on the contents of an open file; ``path`` is None if it was removed."""
        if path is None or not self.heard:
            return _NOTHING
        return _Change(self, (path,), (), descriptor)

    def drafting(self, path: str, descriptor: int) -> None:
        """A file without a name will be ``path``. The kernel reports its attributes under a made-up name."""
        if self.heard:
            directory, _, _ = path.rpartition("/")
            unnamed = f"#{os.fstat(descriptor).st_ino}"
            with self._changed:
                self._looks[f"{directory}/{unnamed}" if directory else unnamed] = ()

    def did(self, path: str) -> bool:
        """True if ``path`` still looks as we left it."""
        with self._changed:
            if self._is_under_way(path):
                self._changed.wait_for(lambda: not self._is_under_way(path), _PATIENCE_S)
            known = self._looks.get(path)
            if known is None:
                return False
            look = self._look(path)
            shared = min(len(known), len(look))
            if known[:shared] == look[:shared] and bool(known) == bool(look):
                return True
            del self._looks[path]
            return False

    def begin(self, paths: tuple[str, ...]) -> None:
        """An operation on ``paths`` begins."""
        with self._changed:
            self._under_way.update(paths)

    def end(self, paths: tuple[str, ...], looks: dict[str, Look | None], known: tuple[str, ...] = ()) -> None:
        """An operation has ended.

        Args:
            paths: As given to `begin`.
            looks: What is noted; None stands for what the path looks like now.
            known: Paths of which only what was noted before is brought up to date.
        """
        with self._changed:
            for path in known:
                if path in self._looks:
                    looks[path] = None
            for path, look in looks.items():
                self._looks[path] = self._look(path) if look is None else look
                self._looks.move_to_end(path)
            while len(self._looks) > _MAX_PATHS:
                self._looks.popitem(last=False)
            for path in paths:
                self._under_way[path] -= 1
                if not self._under_way[path]:
                    del self._under_way[path]
            self._changed.notify_all()

    def _is_under_way(self, path: str) -> bool:
        return path in self._under_way or any(path_after(path, moves) != path for moves in self._moving)

    def _move(self, moves: Mapping[str, str]) -> None:
        inside = {path: path_after(path, moves) for path in at_or_inside(self._looks, moves) - moves.keys()}
        looks = {path: self._looks[path] for path in inside}
        self._looks.update(dict.fromkeys(inside, ()))
        self._looks.update((inside[path], look) for path, look in looks.items())

    def _look(self, path: str) -> Look:
        try:
            return look_of(os.lstat(self._location(path)))
        except OSError:  # gone, below a link by now, or in a directory that was closed to us
            return ()


def _directories(paths: tuple[str, ...]) -> tuple[str, ...]:
    """The directories of ``paths``, whose times change with the names in them."""
    return tuple({path.rpartition("/")[0] for path in paths})


class _Change:
    """One operation, as a context manager: quicker than one made of a generator."""

    __slots__ = ("_descriptor", "_directories", "_own", "_paths")

    def __init__(
        self, own: OwnChanges, paths: tuple[str, ...], directories: tuple[str, ...], descriptor: int = -1
    ) -> None:
        self._own = own
        self._paths = paths
        self._directories = directories
        self._descriptor = descriptor

    def __enter__(self) -> None:
        self._own.begin(self._paths + self._directories)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        looks: dict[str, Look | None] = {}
        if kind is None:
            status = os.fstat(self._descriptor) if self._descriptor >= 0 else None
            looks = dict.fromkeys(self._paths, look_of(status) if status else None)
        self._own.end(self._paths + self._directories, looks, self._directories)

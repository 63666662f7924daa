"""Announcing changes that other programs make to a local directory tree.

One inotify watch per directory that somebody looked into, added before the look, so that no change
can fall between. Watching only what was visited costs nothing at the start, however large the tree;
where a watch cannot be had (the user's limit is reached, a network file system), the caller is told
so and believes its answers for a second only.

Thread-safe. One thread per watcher; it ends with `close`.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import select
import termios
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

_log = logging.getLogger(__name__)

MAX_WATCHES = 65_536
"""Watches one layer takes of the user's limit, which all programs of the user share."""

_ROOT_CHECK_MS = 500


def path_after(path: str, moves: Mapping[str, str]) -> str:
    """What ``path`` is called after directories were renamed: it may be one of them, or be inside of one."""
    above = path
    while above:
        if above in moves:
            return moves[above] + path[len(above) :]
        above = above.rpartition("/")[0]
    return path


def at_or_inside(paths: Collection[str], directories: Collection[str]) -> set[str]:
    """Those of many ``paths`` that are one of the directories, or inside of one."""
    prefixes = tuple(f"{directory}/" if directory else "" for directory in directories)
    found = {path for path in paths if path.startswith(prefixes)}
    return found.union(directory for directory in directories if directory in paths)


class Watcher:
    """Announces changes in watched directories.

    Args:
        name: Name of the layer, for the thread and the log.
        root: The layer's directory. Another one in its place is noticed within a second.
        callback: Called in the watcher's thread with the path of what changed; ``""`` if events
            were lost and anything may have changed.
        max_watches: Bound on the number of watched directories.

    Attributes:
        watched: The watched directories, with the numbers of their watches.

    Raises:
        OSError: The user has no inotify instance left.
    """

    def __init__(
        self, name: str, root: str, callback: Callable[[str], None], max_watches: int = MAX_WATCHES
    ) -> None:
        import inotify_simple

        flags = inotify_simple.flags
        self._mask = (
            flags.CREATE | flags.DELETE | flags.MOVED_FROM | flags.MOVED_TO | flags.MODIFY
            | flags.CLOSE_WRITE | flags.ATTRIB | flags.MOVE_SELF | flags.ONLYDIR | flags.EXCL_UNLINK
        )  # fmt: skip
        self._flags = flags
        self._callback = callback
        self._root = root
        self._identity = self._identify()
        self._max_watches = max_watches
        self._lock = threading.Lock()
        self.watched: dict[str, int] = {}
        self._paths_of: dict[int, list[str]] = {}
        self._own_moves: Counter[tuple[int, str]] = Counter()
        self._saturated = False
        self._closed = False
        self._inotify = inotify_simple.INotify()
        self._queue = self._inotify.fileno()
        self._announcing = threading.RLock()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._thread = threading.Thread(target=self._run, name=f"watch-{name}", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return f"<Watcher of {len(self.watched)} directories{', saturated' if self._saturated else ''}>"

    def add(self, path: str, full_path: str) -> None:
        """Watch the directory ``path``, which is ``full_path`` on disk, if that is possible."""
        if path in self.watched:
            return
        with self._lock:
            if self._closed or path in self.watched or self._saturated:
                return
            if len(self.watched) >= self._max_watches:
                self._saturate("copickfs's own bound on watches is reached")
                return
            try:
                watch = self._inotify.add_watch(os.fsencode(full_path), self._mask)
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.ENOMEM):
                    self._saturate("fs.inotify.max_user_watches is used up")
                return
            self.watched[path] = watch
            self._paths_of.setdefault(watch, []).append(path)

    def covers(self, path: str) -> bool:
        """True if changes of the names in directory ``path``, existing or not, are announced."""
        watched = self.watched
        if path in watched:
            return True
        if self._saturated:
            return False
        # A directory that is not there yet is announced by the nearest one above it that is.
        while path:
            path = path.rpartition("/")[0]
            if path in watched:
                return True
        return False

    @property
    def is_saturated(self) -> bool:
        """True once no more directories can be watched."""
        return self._saturated

    def catch_up(self) -> None:
        """Announce now, in the caller's thread, what has happened so far and is not announced yet.

        The kernel has put the news of a change into the queue before the call that made the change returns.
        """
        if not (self._has_news() or self._is_announcing()):
            return
        with self._announcing:
            if not self._closed:
                self._announce()

    def _has_news(self) -> bool:
        waiting_bytes = bytearray(4)
        with contextlib.suppress(OSError):  # it was closed meanwhile
            fcntl.ioctl(self._queue, termios.FIONREAD, waiting_bytes)
        return any(waiting_bytes) and not self._closed

    def _is_announcing(self) -> bool:
        """True if another thread has taken news from the queue, and not told them yet."""
        free = self._announcing.acquire(blocking=False)
        if free:
            self._announcing.release()
        return not free

    def forget(self, path: str) -> None:
        """The layer itself has removed the directory ``path``."""
        with self._lock:
            self._drop(path)

    def renew(self, path: str, full_path: str) -> None:
        """The layer itself has made the directory ``path``; one of that name before it is gone."""
        self.forget(path)
        self.add(path, full_path)

    @contextlib.contextmanager
    def moving(self, moves: Mapping[str, str]) -> Iterator[None]:
        """Surrounds a rename of directories by the layer itself: their watches go with them."""
        with self._lock:
            yield
            self._forget_moved([path for path in moves.values() if path not in moves])
            for path in moves:
                # The news of it will come, and must not be taken for that of a directory that went away.
                directory, _, name = path.rpartition("/")
                for watched, event_name in ((directory, name), (path, "")):
                    if watched in self.watched:
                        self._own_moves[self.watched[watched], event_name] += 1
            self._move(moves)

    def _move(self, moves: Mapping[str, str]) -> None:
        watched = self.watched.copy()
        watches = {path: watched.pop(path) for path in at_or_inside(watched, moves)}
        watched.update((path_after(path, moves), watch) for path, watch in watches.items())
        self.watched = watched  # in one step: others look at it without the lock
        for watch in set(watches.values()):
            self._paths_of[watch] = [path_after(path, moves) for path in self._paths_of[watch]]

    def close(self) -> None:
        """End the thread and give all watches back. Idempotent."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            os.eventfd_write(self._wake, 1)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _saturate(self, reason: str) -> None:
        self._saturated = True
        _log.info(
            "%s: watching %d directories, %s; changes elsewhere are still seen within a second, "
            "but listings are asked for more often",
            self._thread.name, len(self.watched), reason,
        )  # fmt: skip

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._inotify.fileno(), select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        try:
            while not any(descriptor == self._wake for descriptor, _events in poll.poll(_ROOT_CHECK_MS)):
                if self._identify() != self._identity:
                    self._start_anew()
                with self._announcing:
                    self._announce()
        finally:
            with self._announcing, self._lock:
                self._closed = True  # also if the thread fails: its numbers are other files' from now on
                self._inotify.close()
                os.close(self._wake)

    def _announce(self) -> None:
        for path in self._changed(self._inotify.read(timeout=0)):
            self._tell(path)

    def _tell(self, path: str) -> None:
        try:
            self._callback(path)
        except Exception:  # noqa: BLE001 -- one bad listener must not silence the others
            _log.exception("announcing a change of %r failed", path)

    def _identify(self) -> tuple[int, int] | None:
        try:
            status = os.stat(self._root)
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def _start_anew(self) -> None:
        """Another directory has taken the place of the root: the watches are of the one before."""
        with self._lock:
            self._identity = self._identify()
            for watch in self._paths_of:
                with contextlib.suppress(OSError):
                    self._inotify.rm_watch(watch)
            self._paths_of.clear()
            self._own_moves.clear()
            self.watched.clear()
        self._tell("")

    def _changed(self, events: Iterable[Any]) -> dict[str, None]:
        """The distinct paths that ``events`` are about, in order."""
        changed: dict[str, None] = {}
        flags = self._flags
        with self._lock:
            for event in events:
                if event.mask & flags.Q_OVERFLOW:
                    self._own_moves.clear()
                    return {"": None}
                concerned = [
                    f"{directory}/{event.name}" if directory and event.name else event.name or directory
                    for directory in self._paths_of.get(event.wd, ())
                ]
                changed.update(dict.fromkeys(concerned))
                if event.mask & flags.IGNORED:
                    self._forget(event.wd)
                elif self._moves_away(event.mask) and not self._is_own_move(event.wd, event.name):
                    self._forget_moved(concerned)
        return changed

    def _moves_away(self, mask: int) -> bool:
        """True if an event says that a directory has left its path."""
        flags = self._flags
        return bool(mask & flags.MOVE_SELF or (mask & flags.MOVED_FROM and mask & flags.ISDIR))

    def _is_own_move(self, watch: int, name: str) -> bool:
        left = self._own_moves.pop((watch, name), 0)
        if left > 1:
            self._own_moves[watch, name] = left - 1
        return left > 0

    def _forget(self, watch: int) -> None:
        for path in self._paths_of.pop(watch, ()):
            self.watched.pop(path, None)

    def _forget_moved(self, moved: list[str]) -> None:
        """Drop the watches of directories that are no longer where their paths say."""
        for path in at_or_inside(self.watched, moved):
            self._drop(path)

    def _drop(self, path: str) -> None:
        watch = self.watched.pop(path, None)
        if watch is None:
            return
        paths = self._paths_of.get(watch, [])
        if path in paths:
            paths.remove(path)
        if not paths and watch in self._paths_of:
            del self._paths_of[watch]
            if self._closed:
                return
            try:
                self._inotify.rm_watch(watch)
            except OSError:
                _log.debug("watch %d was gone already", watch)

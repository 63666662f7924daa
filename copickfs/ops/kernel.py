"""What is asked of the kernel's side of the connection: tuning, and forgetting what changed."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pyfuse3

from copickfs import paths
from copickfs.errors import CopickfsError, Stale

if TYPE_CHECKING:
    from copickfs.model import Entry
    from copickfs.ops.inodes import InodeTable
    from copickfs.view import View

_log = logging.getLogger(__name__)

READ_AHEAD_KIB = 1_024
"""Requests of 1 MiB instead of 128 KiB; only root may set it."""

MAX_BACKGROUND = 10_000
"""Page-cached reads under way at once. The kernel's 12 are used up by 12 readers of one dead layer.

With more than the `congestion_threshold` under way, the kernel asks for one page after the other instead, and
a reader that waits for such a page cannot be killed.
"""

_CONNECTIONS = Path("/sys/fs/fuse/connections")
_THREADS = 4
_CLOSE_TIMEOUT_S = 2.0


def tune(device: int) -> None:
    """Raise the limits of a new connection as far as this user may.

    Args:
        device: ``st_dev`` of the mount.
    """
    _mount_control_files()
    read_ahead = Path(f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb")
    connection = _CONNECTIONS / str(os.minor(device))
    for file, value in (
        (read_ahead, READ_AHEAD_KIB),
        (connection / "max_background", MAX_BACKGROUND),
        (connection / "congestion_threshold", MAX_BACKGROUND),
    ):
        try:
            file.write_text(str(value))
        except OSError as error:
            _log.info("%s stays as it is: %s", file.name, error.strerror)


def _mount_control_files() -> None:
    """Where the system has not done so, and this is root, mount what the limits are changed through."""
    if os.geteuid() != 0 or not _CONNECTIONS.is_dir() or any(_CONNECTIONS.iterdir()):
        return
    mount = ["mount", "-t", "fusectl", "fusectl", str(_CONNECTIONS)]
    done = subprocess.run(mount, check=False, capture_output=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        _log.info("fusectl cannot be mounted: %s", done.stderr.decode(errors="replace").strip())


class Invalidator:
    """Makes the kernel forget what changed at a source.

    A call may block while a request of the same directory is under way, so calls are made by threads
    of their own, several, so that a lookup that waits for a dead layer does not hold up the news from
    the others. Thread-safe.

    Args:
        inodes: The inodes that the kernel knows.
        view: The merged tree.
    """

    def __init__(self, inodes: InodeTable, view: View) -> None:
        self._inodes = inodes
        self._view = view
        self._changed: dict[str, None] = {}
        self._kept: set[int] = set()
        self._news = threading.Condition()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._run, name=f"invalidate-{index}", daemon=True)
            for index in range(_THREADS)
        ]
        for thread in self._threads:
            thread.start()

    def announce(self, path: str) -> None:
        """``path`` came, went or changed; ``""``: anything may have. Never blocks."""
        with self._news:
            self._changed[path] = None
            self._news.notify()

    def close(self) -> None:
        """End the threads. Idempotent."""
        with self._news:
            self._closed = True
            self._changed.clear()
            self._news.notify_all()
        for thread in self._threads:
            thread.join(_CLOSE_TIMEOUT_S)

    def _run(self) -> None:
        while True:
            path, kept = "", set[int]()
            with self._news:
                while not self._changed and not self._kept and not self._closed:
                    self._news.wait()
                if self._closed:
                    return
                if self._changed:
                    path = next(iter(self._changed))
                    del self._changed[path]
                else:
                    kept, self._kept = self._kept, kept
            try:
                if kept:
                    self._forget_inside(kept)
                elif not path:
                    self._forget_all()
                elif (directory := self._forget(path)) is not None:
                    with self._news:
                        self._kept.add(directory)
                        self._news.notify()
            except Exception:  # noqa: BLE001 -- the thread must live on
                _log.exception("could not make the kernel forget %r", path)

    def _forget(self, path: str) -> int | None:
        """Let the kernel forget a name, but of a directory that is still there: then its number."""
        directory, name = paths.split(path)
        parent = self._inodes.find(directory)
        if parent is None:
            return None
        encoded = name.encode(errors="surrogateescape")
        # The kernel answers ENOENT for what it does not have; that is as good.
        entry = self._entry(path)
        identity, linked = (b"", False) if entry is None else (entry.identity, _is_linked(entry))
        number = self._inodes.number_of(parent, encoded, identity, linked=linked)
        if known := self._inodes.knows(number):
            with contextlib.suppress(OSError):
                pyfuse3.invalidate_inode(number)
        kept = known and entry is not None and entry.is_dir
        if not kept:
            # The name of a directory that is still there stays: it may be somebody's working directory,
            # which for the kernel would have no name from then on.
            with contextlib.suppress(OSError):
                pyfuse3.invalidate_entry(parent, encoded)
        with contextlib.suppress(OSError):
            pyfuse3.invalidate_inode(parent, attr_only=True)
        return number if kept else None

    def _forget_inside(self, directories: set[int]) -> None:
        """Directories are still there, but perhaps of fewer layers, or of others: so is what is in them.

        Of all that have changed at once at one time: every inode is looked at.
        """
        for number in self._inodes.inside(directories):
            if self._closed:
                return
            with contextlib.suppress(KeyError, Stale):
                self._forget(self._inodes.path(number))

    def _entry(self, path: str) -> Entry | None:
        """What the path stands for. Of what is gone only the name is forgotten."""
        try:
            return self._view.lookup_nowait(path).entry
        except (CopickfsError, OSError):
            return None

    def _forget_all(self) -> None:
        for number in self._inodes.numbers():
            if self._closed:
                return
            with contextlib.suppress(KeyError, OSError):
                path = self._inodes.path(number)
                if path:
                    self._forget(path)
                pyfuse3.invalidate_inode(number)


def _is_linked(entry: Entry) -> bool:
    return entry.nlink > 1 and not entry.is_dir

"""A layer that is a directory of this machine, read by the operating system's own calls."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
import threading
from typing import TYPE_CHECKING

from copickfs.errors import IsADirectory, NotADirectory, NotFound, WouldBlock
from copickfs.layers import links, localattributes, localcalls, mounts
from copickfs.layers.base import LISTED_TTL_S, POLLED_TTL_S, BaseLayer
from copickfs.layers.links import LinkRules
from copickfs.layers.localfile import LocalFile
from copickfs.layers.localroot import LocalRoot
from copickfs.layers.localscan import statuses
from copickfs.layers.watch import Watcher
from copickfs.model import Entry, Health, Space, Statistics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_log = logging.getLogger(__name__)
_new = tuple.__new__  # a tenth of a microsecond an entry less than the named tuple's own constructor

_OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_INLINE_ENTRIES = 10_000
"""A longer listing is left to a worker thread: the event loop would stand still for it."""


class LocalLayer(BaseLayer):
    """A local directory tree. Symbolic links are followed by the layer; see `_through_link`.

    Args:
        name: Name of the layer.
        root: The directory.
        priority: Higher is asked first.
        read_only: True if no face may ever write here.
        watch: Announce changes that other programs make (a thread and inotify watches).
        confined: Refuse symbolic links that lead out of the root: the daemon serves other users,
            and must not lend them its own rights.
        mountpoint: The mount that this layer is a part of; symbolic links into it are not followed.
        on_unavailable: ``"wait"`` or ``"error"``.

    Attributes:
        root: The directory, absolute and without symbolic links.
        requests: Calls answered.
        bytes_read: Bytes given to readers.
        parts_links: Show a file with several hard links as a file of its own under each of its names:
            what is written to one of them is copied up under that name alone. Set before it is used.
        inline_reads: Whether a read may be made on the event loop: True on a file system in memory,
            None where the kernel can tell that a read would wait, False where it cannot.
    """

    def __init__(
        self,
        name: str,
        root: str | os.PathLike[str],
        priority: int = 0,
        *,
        read_only: bool = True,
        watch: bool = False,
        confined: bool = False,
        mountpoint: str = "",
        on_unavailable: str = "wait",
    ) -> None:
        super().__init__(name, priority, read_only=read_only, on_unavailable=on_unavailable)
        self.parts_links = False
        self.root = os.path.realpath(root)
        self._prefix = self.root.rstrip("/") + "/"
        self._watch = watch
        self._links = LinkRules(name, self.root, confined=confined, mountpoint=mountpoint)
        self._watcher: Watcher | None = None
        self._callbacks: list[Callable[[str], None]] = []
        self._patient = False
        self.inline_reads: bool | None = None
        self._foreign: tuple[str, ...] = ()
        self._linked: set[str] = set()
        self._lock = threading.Lock()
        self.requests = 0
        self.bytes_read = 0
        self._root = LocalRoot(name, self.root)

    @property
    def on_local_disk(self) -> bool:
        """True if its calls never wait for a network."""
        return not self._patient

    @property
    def watches_more(self) -> bool:
        """True if what happens in a directory is announced once somebody has looked into it."""
        return self._watcher is not None and not self._watcher.is_saturated

    def connect(self) -> None:
        """Check the root; see `Layer.connect`. A root on a network file system is never asked inline."""
        fs_type = mounts.type_of_device(self._root.connect())
        self._patient = mounts.is_network(fs_type)
        self.inline_reads = True if mounts.is_memory(fs_type) else None
        if self._watch and not self._patient:
            try:
                self._watcher = Watcher(self.name, self.root, self._heard)
            except OSError as error:
                _log.info("layer %s: no inotify (%s); changes are polled for", self.name, error.strerror)

    def close(self) -> None:
        """See `Layer.close`."""
        if self._watcher is not None:
            self._watcher.close()
            self._watcher = None

    def stat(self, path: str) -> Entry:
        """See `Layer.stat`."""
        return self._stat(path, inline=False)

    def _stat(self, path: str, *, inline: bool) -> Entry:
        self.requests += 1
        full = self._prefix + path if path else self.root
        directory, _, name = path.rpartition("/")
        if self._watcher is not None and directory not in self._watcher.watched:
            self._watcher.add(directory, self._prefix + directory)
        try:
            status = self._links.lstat(path, full)
        except FileNotFoundError:
            self._root.check()
            raise NotFound(path) from None
        except NotADirectoryError:
            raise NotADirectory(path) from None
        if stat.S_ISLNK(status.st_mode):
            return self._through_link(path, full, status, inline=inline)
        return self.entry_of(name, status)

    def scan(self, path: str, limit: int | None = None) -> list[Entry]:
        """See `Layer.scan`. With ``limit``, `WouldBlock` at more entries than that, and at links."""
        self.requests += 1
        full = self._prefix + path if path else self.root
        if self._watcher is not None:
            self._watcher.add(path, full)
        descriptor = self._open_directory(path, full, inline=limit is not None)
        try:
            self._links.check_descriptor(path, descriptor)
            self._root.check()
            return self._entries(path, descriptor, limit)
        finally:
            os.close(descriptor)

    def open(self, path: str) -> LocalFile:
        """See `Layer.open`. Never waits for a FIFO's other end."""
        return self._open_file(path, inline=False)

    def _open_file(self, path: str, *, inline: bool) -> LocalFile:
        self.requests += 1
        full = self._prefix + path if path else self.root
        try:
            # Nobody knows where a link leads, so the event loop does not follow one.
            descriptor = os.open(full, _OPEN_FLAGS | (os.O_NOFOLLOW if inline else 0))
        except FileNotFoundError:
            if os.path.lexists(full):
                raise  # a dangling link: it hides lower layers, so this must not be a NotFound
            self._root.check()
            raise NotFound(path) from None
        except NotADirectoryError:
            raise NotADirectory(path) from None
        except OSError as error:
            if inline and error.errno == errno.ELOOP:
                raise WouldBlock(self.name) from None
            raise
        try:
            self._links.check_descriptor(path, descriptor)
            status = os.fstat(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        if stat.S_ISDIR(status.st_mode):
            os.close(descriptor)
            raise IsADirectory(path)
        return LocalFile(self, self.entry_of(path.rpartition("/")[2], status), descriptor)

    def readlink(self, path: str) -> str:
        """See `Layer.readlink`. Raises `AccessDenied` for others' links that lead out of a confined root."""
        full = self._prefix + path
        stored = self._links.text(path, full)
        text = links.unmarked(stored)
        if text is not None:
            return text
        self._links.check_inside(path, full)
        return stored

    def get_xattr(self, path: str, name: str) -> bytes:
        """See `Layer.get_xattr`."""
        with self._target(path) as target:
            return localattributes.get_xattr(target, name)

    def list_xattrs(self, path: str) -> list[str]:
        """See `Layer.list_xattrs`."""
        with self._target(path) as target:
            return localattributes.list_xattrs(target)

    @contextlib.contextmanager
    def _target(self, path: str) -> Iterator[str]:
        """A path of what is shown at ``path``: of what a link that is followed leads to."""
        shown = self._stat(path, inline=False)
        full = self._prefix + path if path else self.root
        nofollow = os.O_NOFOLLOW if stat.S_ISLNK(shown.mode) else 0
        descriptor = os.open(full, os.O_PATH | os.O_CLOEXEC | nofollow)
        try:
            self._links.check_descriptor(path, descriptor)
            yield localcalls.descriptor_path(descriptor)
        finally:
            os.close(descriptor)

    def stat_nowait(self, path: str) -> Entry:
        """See `Layer.stat_nowait`."""
        if self._may_wait(path):
            raise WouldBlock(self.name)
        return self._stat(path, inline=True)

    def scan_nowait(self, path: str) -> list[Entry]:
        """See `Layer.scan_nowait`."""
        if self._may_wait(path):
            raise WouldBlock(self.name)
        return self.scan(path, _INLINE_ENTRIES)

    def open_nowait(self, path: str) -> LocalFile:
        """See `Layer.open_nowait`."""
        if self._may_wait(path):
            raise WouldBlock(self.name)
        return self._open_file(path, inline=True)

    def ttl_s(self, directory: str) -> float:
        """Long where changes are announced, else a second."""
        if self._watcher is None or not self._watcher.covers(directory) or self._is_linked(directory):
            return POLLED_TTL_S
        return LISTED_TTL_S

    def subscribe(self, callback: Callable[[str], None]) -> None:
        """See `Layer.subscribe`."""
        self._callbacks.append(callback)

    def catch_up(self) -> None:
        """See `Layer.catch_up`."""
        watcher = self._watcher
        if watcher is not None:
            watcher.catch_up()

    def refresh(self) -> None:
        """See `Layer.refresh`."""
        self._announce("")

    def location(self, path: str) -> str:
        """The path on this machine."""
        return self._prefix + path if path else self.root

    def space(self) -> Space | None:
        """Room on the disk; None on a network file system, which may be out of reach."""
        if self._patient:
            return None
        s = os.statvfs(self.root)
        return Space(
            s.f_frsize, s.f_blocks, s.f_bfree, s.f_bavail, s.f_files, s.f_ffree, s.f_favail, s.f_namemax
        )

    def health(self) -> Health:
        """See `Layer.health`."""
        return self._root.health

    def statistics(self) -> Statistics:
        """See `Layer.statistics`."""
        return Statistics(self.requests, self.bytes_read)

    def _may_wait(self, path: str) -> bool:
        return self._patient or (bool(self._foreign) and path.startswith(self._foreign))

    def _open_directory(self, path: str, full: str, *, inline: bool) -> int:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        try:
            return os.open(full, flags | os.O_NOFOLLOW)
        except FileNotFoundError:
            self._root.check()
            raise NotFound(path) from None
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
        # A file, or a symbolic link: only one that `stat` follows is a directory of this layer.
        if not self._stat(path, inline=inline).is_dir:
            raise NotADirectory(path)
        return os.open(full, flags)

    def _entries(self, path: str, descriptor: int, limit: int | None) -> list[Entry]:
        entries = []
        layer, parts_links = self.name, self.parts_links
        for found in statuses(descriptor, limit):
            if found is None:
                raise WouldBlock(layer)
            name, s = found
            mode = s.st_mode
            if stat.S_ISLNK(mode):
                inner = f"{path}/{name}" if path else name
                entries.append(self._through_link(inner, self._prefix + inner, s, inline=limit is not None))
                continue
            entries.append(
                _new(
                    Entry,
                    (
                        name, mode, s.st_size, s.st_mtime_ns, layer, "", s.st_ctime_ns,
                        s.st_atime_ns, 1 if parts_links else s.st_nlink, s.st_uid, s.st_gid, s.st_blocks,
                        s.st_nlink > 1 and not stat.S_ISDIR(mode), s.st_ino,
                    ),
                )
            )  # fmt: skip
        return entries

    def entry_of(self, name: str, s: os.stat_result, *, volatile: bool = False) -> Entry:
        """The entry of what ``s`` tells of."""
        # A file with several names may be written under one that nobody watches.
        hard_linked = s.st_nlink > 1 and not stat.S_ISDIR(s.st_mode)
        return _new(
            Entry,
            (
                name, s.st_mode, s.st_size, s.st_mtime_ns, self.name, "", s.st_ctime_ns, s.st_atime_ns,
                1 if self.parts_links else s.st_nlink, s.st_uid, s.st_gid, s.st_blocks,
                volatile or hard_linked, s.st_ino,
            ),
        )  # fmt: skip

    def _through_link(self, path: str, full: str, link: os.stat_result, *, inline: bool) -> Entry:
        """What a symbolic link stands for.

        It is followed, so that a run directory kept elsewhere merges like any other. Shown as a link
        are: one that was made through a mount, one that leads nowhere, one that leads back into a
        directory on its own path (a walk would never end), and, in a confined layer, one that leads
        out of the root (refused).
        """
        name = path.rpartition("/")[2]
        text = None
        with contextlib.suppress(OSError):  # something else by now, then it leads nowhere
            text = links.unmarked(self._links.text(path, full))
        if text is not None:
            return self.entry_of(name, link)._replace(size_bytes=len(os.fsencode(text)))
        if inline:
            raise WouldBlock(self.name)  # nobody knows where it leads
        as_link = self.entry_of(name, link, volatile=True)
        status = self._links.target(path, full)
        if status is None:
            return as_link
        if status.st_dev != self._root.device and mounts.is_network(mounts.type_of_device(status.st_dev)):
            with self._lock:
                self._foreign = tuple({*self._foreign, path})
        if stat.S_ISDIR(status.st_mode):
            self._linked.add(path)
        return self.entry_of(name, status, volatile=True)

    def _is_linked(self, directory: str) -> bool:
        """True at and below a directory reached through a link, whose way there nobody watches."""
        linked = self._linked
        while linked and directory:
            if directory in linked:
                return True
            directory = directory.rpartition("/")[0]
        return False

    def _heard(self, path: str) -> None:
        """The watcher says that ``path`` has changed."""
        self._announce(path)

    def _announce(self, path: str) -> None:
        for callback in self._callbacks:
            callback(path)

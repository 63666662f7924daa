"""Versions of files that have no name yet, and the directory where they get one for a moment.

A version is written in an unnamed file (``O_TMPFILE``), of which a crash leaves nothing. A file gets a
name that is free in one step. To replace what has the name it must be renamed, so it needs another name
first: one in ``.copickfs/staging`` at the root of the layer. Where a file system has no unnamed files a
version lies there from the beginning.

The names there begin with that of the session, a daemon's use of the layer, which holds a lock on a file
for as long as it lives. Whoever uses the layer next removes what sessions that ended have left.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import logging
import os
import secrets
import stat
import threading
from typing import TYPE_CHECKING

from copickfs import paths
from copickfs.layers import localcalls

if TYPE_CHECKING:
    from copickfs.layers.localown import OwnChanges

_log = logging.getLogger(__name__)

STAGING = f"{paths.CONTROL_DIRECTORY}/staging"
_LOCK_SUFFIX = ".lock"
_DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NO_UNNAMED = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOSYS})
"""What the kernel says where it cannot make a file without a name."""


class Draft:
    """A version that has no name yet, or only one in the staging directory.

    Attributes:
        descriptor: Of the file, open for reading and writing. Whoever has published it keeps it.
    """

    def __init__(self, staging: Staging, descriptor: int, place: int = -1, name: str = "") -> None:
        self.descriptor = descriptor
        self._staging = staging
        self._place = place
        self._name = name

    def publish(self, directory: int, name: str) -> None:
        """Let it be ``name`` in ``directory``, whatever has that name now."""
        if self._name:
            os.rename(self._name, name, src_dir_fd=self._place, dst_dir_fd=directory)
            self._forget_name()
            return
        try:
            localcalls.link_descriptor(self.descriptor, directory, name)
        except FileExistsError:
            self._replace(directory, name)

    def publish_new(self, directory: int, name: str) -> None:
        """Let it be ``name`` in ``directory``. Raises `FileExistsError` if something has that name."""
        if self._name:
            localcalls.rename(self._place, self._name, directory, name, localcalls.RENAME_NOREPLACE)
            self._forget_name()
        else:
            localcalls.link_descriptor(self.descriptor, directory, name)

    def _replace(self, directory: int, name: str) -> None:
        place, staged = self._staging.name_for(directory)
        try:
            localcalls.link_descriptor(self.descriptor, place, staged)
            try:
                os.rename(staged, name, src_dir_fd=place, dst_dir_fd=directory)
            except OSError:
                os.unlink(staged, dir_fd=place)
                raise
            # Of two names of one file the rename keeps both.
            with contextlib.suppress(FileNotFoundError):
                os.unlink(staged, dir_fd=place)
        finally:
            os.close(place)

    def abandon(self) -> None:
        """Give it up, unless it is published; its descriptor stays open."""
        if self._name:
            with contextlib.suppress(OSError):
                os.unlink(self._name, dir_fd=self._place)
            self._forget_name()

    def close(self) -> None:
        """Give it up, and close its descriptor."""
        self.abandon()
        os.close(self.descriptor)

    def _forget_name(self) -> None:
        self._name = ""
        os.close(self._place)


class Staging:
    """Makes drafts. Thread-safe.

    Args:
        root: The root of the layer.
        own: Told of the directory that is made.
    """

    def __init__(self, root: str, own: OwnChanges) -> None:
        self._root = root
        self._own = own
        self._path = f"{root.rstrip('/')}/{STAGING}"
        self._lock = threading.Lock()
        self._directory = -1
        self._device = -1
        self._session = ""
        self._session_lock = -1
        self._numbers = itertools.count()
        self._without_unnamed: set[int] = set()

    def __repr__(self) -> str:
        return f"<Staging {self._path} {self._session or 'not used yet'}>"

    def draft(self, directory: int, device: int, mode: int) -> Draft:
        """Begin a version of a file in ``directory``, which is open and on ``device``."""
        if device not in self._without_unnamed:
            flags = os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC
            try:
                return Draft(self, os.open(".", flags, mode, dir_fd=directory))
            except OSError as error:
                if error.errno not in _NO_UNNAMED:
                    raise
            self._without_unnamed.add(device)
        place, name = self.name_for(directory)
        try:
            flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC
            return Draft(self, os.open(name, flags, mode, dir_fd=place), place, name)
        except BaseException:
            os.close(place)
            raise

    def name_for(self, directory: int) -> tuple[int, str]:
        """A place from which a rename to ``directory`` is possible, and a name that is free there.

        The place is a descriptor that the caller closes. It is the staging directory, but for a
        directory on another file system, reached through a symbolic link, it is that directory.
        """
        with self._lock:
            self._open()
            name = f"{self._session}.{next(self._numbers)}"
            if os.fstat(directory).st_dev == self._device:
                return os.dup(self._directory), name
        return os.dup(directory), f"{paths.RESERVED_PREFIX}-{name}"

    def sweep(self) -> None:
        """Remove what sessions that have ended have left."""
        try:
            names = os.listdir(self._path)
        except OSError:
            return
        ended, held = self._ended([name for name in names if name.endswith(_LOCK_SUFFIX)])
        left = []
        for name in names:
            session = name.partition(".")[0]
            # A lock that is not in the list was made since, and with it the file.
            if session in ended or not os.path.lexists(f"{self._path}/{session}{_LOCK_SUFFIX}"):
                left.append(name)
        # The locks last: what has none could be anybody's.
        for name in sorted(left, key=lambda name: name.endswith(_LOCK_SUFFIX)):
            with contextlib.suppress(OSError):
                os.unlink(f"{self._path}/{name}")
        for descriptor in held:
            os.close(descriptor)
        if left:
            _log.info("%s: removed %d files that an earlier mount has left", self._path, len(left))

    def close(self) -> None:
        """End the session. Idempotent."""
        with self._lock:
            self._end()

    def _ended(self, locks: list[str]) -> tuple[set[str], list[int]]:
        """The sessions among those with ``locks`` that have ended, and the descriptors that lock them now."""
        ended, held = set(), []
        for name in locks:
            try:
                descriptor = os.open(f"{self._path}/{name}", os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            except OSError:
                continue
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(descriptor)
                continue
            ended.add(name.removesuffix(_LOCK_SUFFIX))
            held.append(descriptor)
        return ended, held

    def _open(self) -> None:
        if self._session_lock >= 0 and os.fstat(self._directory).st_nlink:
            return
        self._end()  # somebody has removed it
        directory = os.open(self._root, _DIRECTORY_FLAGS)
        mode = stat.S_IMODE(os.fstat(directory).st_mode) | stat.S_IRWXU
        with self._own.changing(paths.CONTROL_DIRECTORY):
            for name in STAGING.split("/"):
                above = directory
                try:
                    directory = _subdirectory(above, name, mode)
                finally:
                    os.close(above)
        self._directory = directory
        self._device = os.fstat(directory).st_dev
        while self._session_lock < 0:
            self._session = secrets.token_hex(8)
            self._session_lock = self._begin()

    def _begin(self) -> int:
        """Lock the session's file; -1 if somebody who sweeps has taken it for that of an ended session."""
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC
        descriptor = os.open(self._session + _LOCK_SUFFIX, flags, 0o600, dir_fd=self._directory)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return -1
        except OSError as error:
            _log.debug("%s: no locks here (%s): nobody will sweep", self._path, error.strerror)
        if not os.fstat(descriptor).st_nlink:
            os.close(descriptor)
            return -1
        return descriptor

    def _end(self) -> None:
        if self._directory < 0:
            return
        with contextlib.suppress(OSError):
            os.unlink(self._session + _LOCK_SUFFIX, dir_fd=self._directory)
        if self._session_lock >= 0:
            os.close(self._session_lock)
        os.close(self._directory)
        self._directory = self._session_lock = -1


def _subdirectory(above: int, name: str, mode: int) -> int:
    """Open a directory in another, made if it is not there; never through a symbolic link."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, mode, dir_fd=above)
    return os.open(name, _DIRECTORY_FLAGS | os.O_NOFOLLOW, dir_fd=above)

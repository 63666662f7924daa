"""A cache directory: whose it is, who uses it, and what a killed process has left there."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import secrets
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from copickfs.cache.files import CONTENT
from copickfs.cache.tables import TABLES
from copickfs.errors import CacheUnavailable, ConfigError, IndexUnavailable
from copickfs.index.tables import FOREIGN, SOUND, prepare
from copickfs.turns import turn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_log = logging.getLogger(__name__)

MARK = ".copickfs"
"""The directory below the root by which a cache is known; what copickfs needs itself is in it."""

_DATABASE = "cache.db"
_RUNNING = "running"
_LOCK = "lock"
_HARMLESS = frozenset({"lost+found"})
_TURN_S = 2.0


def check_root(root: Path) -> None:
    """See that ``root`` is a cache, empty or absent.

    Raises:
        ConfigError: It holds something else, which a cache would remove one day.
    """
    try:
        names = set(os.listdir(root)) - _HARMLESS  # noqa: PTH208 -- names only
        _check_owner(root)
    except FileNotFoundError:
        return
    except NotADirectoryError:
        raise ConfigError(f"not a directory: {root}; name a directory of its own for the cache") from None
    except OSError:
        return  # whoever opens it will say so
    if names and MARK not in names:
        raise ConfigError(f"{root} holds other files; name an empty or new directory for the cache")


def _check_owner(root: Path) -> None:
    """See that nobody else, but a group that was let in, can change what is read. Raises `ConfigError`."""
    status = root.stat()
    if status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
        raise ConfigError(
            f"{root} can be written by everybody, who could change what is read from it; "
            "take that away (chmod o-w), or name another directory for the cache"
        )
    for name in (MARK, CONTENT):
        with contextlib.suppress(FileNotFoundError):
            owner = (root / name).stat().st_uid
            if owner not in (0, os.getuid()) and not status.st_mode & stat.S_IWGRP:
                raise ConfigError(f"{root} is another user's cache; name a directory of your own")


class Place:
    """A cache directory, and this process's part in it.

    Args:
        root: The directory.

    Attributes:
        root: As given.
        database_file: The database.
        temporary: Where this process makes its files.
        owner: What this process is called in the database.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.database_file = root / MARK / _DATABASE
        self.owner = secrets.token_hex(8)
        self.temporary = root / MARK / _RUNNING / self.owner
        self._held: int | None = None

    @contextlib.contextmanager
    def entering(self) -> Iterator[None]:
        """Join in: inside, the database is sound, and nobody else comes or goes. Undone if that fails.

        Raises:
            CacheUnavailable: The directory cannot be used just now.
        """
        try:
            check_root(self.root)  # it may have become another one since it was configured
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._make_private(MARK)
            (self.root / MARK / _RUNNING).mkdir(exist_ok=True)
            with turn(self.root / MARK / _LOCK, _TURN_S, 0o666):
                self._prepare()
                self._make_private(CONTENT)
                self.temporary.mkdir()
                self._held = os.open(self.temporary, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield
                self._bury()
        except BaseException as error:
            self.leave()
            if isinstance(error, IndexUnavailable | ConfigError):
                raise CacheUnavailable(str(error)) from error
            if isinstance(error, OSError):
                raise CacheUnavailable(f"{error.filename or self.root}: {error.strerror}") from error
            raise

    def _make_private(self, name: str) -> None:
        """What this user may read is nobody else's business, but that of a group that writes here."""
        if not (self.root / name).is_dir():
            is_shared = self.root.stat().st_mode & stat.S_IWGRP
            (self.root / name).mkdir(exist_ok=True)
            (self.root / name).chmod(0o770 if is_shared else 0o700)

    def is_alive(self, owner: str) -> bool:
        """True if a process holds its directory: the system lets go of it when a process ends."""
        if owner == self.owner:
            return True
        if not owner.isalnum():  # the database may be damaged
            return False
        try:
            descriptor = os.open(self.temporary.with_name(owner), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(descriptor)
        return False

    def leave(self) -> None:
        """This process does not use the directory any more. Idempotent, never raises."""
        held, self._held = self._held, None
        if held is not None:
            shutil.rmtree(self.temporary, ignore_errors=True)
            os.close(held)

    def empty(self, is_still_so: Callable[[], bool]) -> None:
        """Remove the database and all that it tells of, unless another process has done so meanwhile.

        Raises:
            OSError: Another process comes or goes just now.
        """
        with turn(self.root / MARK / _LOCK, _TURN_S, 0o666):
            if is_still_so():
                self._empty()

    def make_anew(self, state: str) -> None:
        """Within `entering`: what the database tells of is of no use."""
        _log.warning("the cache %s is %s: it is emptied and made anew", self.root, state)
        self._empty()
        prepare(self.database_file, TABLES)

    def _empty(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self.database_file}{suffix}").unlink(missing_ok=True)
        shutil.rmtree(self.root / CONTENT, ignore_errors=True)

    def _prepare(self) -> None:
        """Have a sound database; what another one told of is of no use."""
        if (self.root / CONTENT).exists() and not self._has_database():
            self.make_anew("without its database")
        state = prepare(self.database_file, TABLES)
        if state == FOREIGN:
            raise CacheUnavailable(
                f"{self.database_file} was made by a newer version of copickfs; name another 'root'"
            )
        if state != SOUND:
            self.make_anew(state)

    def _has_database(self) -> bool:
        try:
            return self.database_file.stat().st_size > 0
        except FileNotFoundError:
            return False

    def _bury(self) -> None:
        """Remove what processes have left that did not end in order."""
        for directory in self.temporary.parent.iterdir():
            if not self.is_alive(directory.name):
                shutil.rmtree(directory, ignore_errors=True)

"""The disk tier: pieces in a directory that processes share, within a limit, and out of use if need be."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import threading
import time
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import xxhash

from copickfs.cache.files import Files
from copickfs.cache.ledger import Ledger
from copickfs.cache.place import Place
from copickfs.errors import CacheUnavailable, IndexUnavailable
from copickfs.index.database import Database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from copickfs.cache.ledger import Held
    from copickfs.cache.piece import Piece

T = TypeVar("T")

_log = logging.getLogger(__name__)

REST_S = 60.0
"""How long a directory is left alone after it could not be used."""

BUSY_S = 2.0
"""How long a change waits for other processes."""

_PRAGMAS = ("PRAGMA wal_autocheckpoint = 250",)  # the journal counts against the limit
_NAME_FAULTS = (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL)
"""This file system cannot have the name, which says nothing about others."""

_LOOK_S = 5.0
_TOUCH_S = 5.0
_MOST_TOUCHES = 1_000


class Opened:
    """A directory in use: let go of by the last of its users once it is `left`."""

    def __init__(self, place: Place, database: Database) -> None:
        self.place = place
        self.database = database
        self.files = Files(place.root, place.temporary)
        self.ledger = Ledger(database, self.files)
        self.users = 0
        self.left = False

    def let_go(self) -> None:
        """Close the database, which nobody may be reading."""
        self.database.close()
        self.place.leave()


class DiskCounts(NamedTuple):
    """What the disk tier has met since it was made."""

    hits: int = 0
    hit_bytes: int = 0
    stored: int = 0
    stored_bytes: int = 0
    unstored: int = 0
    damaged: int = 0
    faults: int = 0


class Disk:
    """Pieces on the disk. Thread-safe; nothing that a reader calls raises because of the disk.

    Args:
        root: The cache directory.
        limit_bytes: Most that it may hold, its database included.
        floor_bytes: So much room on the file system is left to others.

    Attributes:
        root: As given.
        limit_bytes: As given.
        fault: Why the directory is out of use just now; ``""`` if it is not.
    """

    def __init__(self, root: Path, limit_bytes: int, floor_bytes: int = 0) -> None:
        self.root = root
        self.limit_bytes = limit_bytes
        self._floor_bytes = floor_bytes
        self._lock = threading.Lock()
        self._opened: Opened | None = None
        self._rest_until_s = 0.0
        self._looked_s = 0.0
        self._touches: dict[tuple[int, int], int] = {}
        self._touched_s = time.monotonic()
        self._has_warned = False
        self._is_closed = False
        self._counts = DiskCounts()
        self.fault = ""

    def __repr__(self) -> str:
        return f"<Disk {self.root}{f' ({self.fault})' if self.fault else ''}>"

    @property
    def counts(self) -> DiskCounts:
        """What it has met."""
        return self._counts

    def get(self, piece: Piece) -> bytes | None:
        """The bytes of a piece, compared with what was written; None if they are not here."""
        return self._try(lambda opened: self._read(opened, piece), None)

    def starts(self, piece: Piece) -> set[int]:
        """Where the pieces start that are here of the object of ``piece``, in its version.

        They count as read now, and their files were looked for.
        """
        return self._try(lambda opened: self._starts(opened, piece), set())

    def holds(self, piece: Piece) -> bool:
        """True if a piece is here, as far as the database knows."""
        return self._try(lambda opened: opened.ledger.find(piece) is not None, default=False)

    def put(self, piece: Piece, data: bytes) -> bool:
        """Keep a piece, if there is room for it; True if it is here now."""
        return self._try(lambda opened: self._write(opened, piece, data), default=False)

    def flush_touches(self, *, now: bool = False) -> None:
        """Write down what was read lately, if that is due."""
        due = len(self._touches) >= _MOST_TOUCHES or time.monotonic() - self._touched_s > _TOUCH_S
        if not self._touches or not (due or now):
            return
        with self._lock:
            touches, self._touches = self._touches, {}
            self._touched_s = time.monotonic()
        uses = [(used_ns, number, start) for (number, start), used_ns in touches.items()]
        self._try(lambda opened: opened.ledger.touch(uses), None)

    def used_bytes(self) -> int:
        """What the files take."""
        return self._try(lambda opened: opened.ledger.used_bytes(), 0)

    def most_bytes(self) -> int:
        """What the files may take at most, as things are just now."""
        return self._try(lambda opened: self._limit(opened, opened.ledger.used_bytes()), 0)

    @contextlib.contextmanager
    def using(self) -> Iterator[Opened]:
        """The directory, for whoever wants to know why it cannot be used.

        Raises:
            CacheUnavailable: It cannot.
        """
        with self._lock:
            opened = self._current()
            opened.users += 1
        try:
            yield opened
        except IndexUnavailable as error:
            raise CacheUnavailable(str(error)) from error
        finally:
            with self._lock:
                opened.users -= 1
                if opened.left and not opened.users:
                    opened.let_go()

    def close(self) -> None:
        """Let go of the directory. Idempotent."""
        self.flush_touches(now=True)
        with self._lock:
            self._is_closed = True
            self._let_go()

    def verify(self, progress: Callable[[int], object] = lambda _: None) -> tuple[int, int, int]:
        """Compare every file with what was written, and remove what is not that.

        Args:
            progress: Called with the bytes that were read since the last call.

        Returns:
            How many pieces are sound, how many were not, and how many files nobody knew of.

        Raises:
            CacheUnavailable: The directory cannot be used.
        """
        sound = damaged = 0
        after = (-1, -1)
        with self.using() as opened:
            while batch := opened.ledger.held(after, 256):
                for held, file in batch:
                    if self._contents(opened, file, held) is not None:
                        sound += 1
                    elif opened.ledger.drop_held(held):
                        damaged += 1
                    progress(held.size_bytes)
                after = (batch[-1][0].object, batch[-1][0].start)
            return sound, damaged, opened.ledger.remove_strays()

    def _read(self, opened: Opened, piece: Piece) -> bytes | None:
        held = opened.ledger.find(piece)
        if held is None:
            return None
        file = opened.files.path_of(piece.source, piece.path, piece.start, is_whole=piece.is_whole)
        data = self._contents(opened, file, held)
        if data is None:
            if opened.ledger.drop_held(held):
                self._count(damaged=1)
            return None
        with self._lock:
            self._touches[held.object, held.start] = time.time_ns()
        self._count(hits=1, hit_bytes=len(data))
        return data

    def _starts(self, opened: Opened, piece: Piece) -> set[int]:
        here = set()
        for held in opened.ledger.held_of(piece):
            file = opened.files.path_of(piece.source, piece.path, held.start, is_whole=piece.is_whole)
            if opened.files.is_there(file, held.size_bytes):
                here.add(held.start)
                with self._lock:
                    self._touches[held.object, held.start] = time.time_ns()
            elif opened.ledger.drop_held(held):
                self._count(damaged=1)
        return here

    def _contents(self, opened: Opened, file: str, held: Held) -> bytes | None:
        """What is in a file if it is what was written."""
        try:
            data = opened.files.read(file, held.size_bytes)
        except OSError:  # removed meanwhile, or not readable: fetched anew in any case
            return None
        return data if len(data) == held.size_bytes and _digest(data) == held.digest else None

    def _write(self, opened: Opened, piece: Piece, data: bytes) -> bool:
        owner = opened.place.owner
        number = opened.ledger.reserve(piece, _digest(data), owner, lambda used: self._limit(opened, used))
        if number is None:
            is_here = opened.ledger.find(piece) is not None
            self._count(unstored=int(not is_here))
            return is_here
        try:
            temporary = opened.files.write(data)
        except OSError:
            opened.ledger.abandon(number, piece.start, owner)
            raise
        settled = False
        try:
            settled = opened.ledger.settle(number, piece, owner, temporary)
        except (OSError, IndexUnavailable) as error:
            opened.ledger.abandon(number, piece.start, owner)
            if getattr(error, "errno", None) not in _NAME_FAULTS:
                raise
        finally:
            if not settled:
                opened.files.discard(temporary)
        self._count(stored=int(settled), stored_bytes=len(data) * settled)
        return settled

    def _limit(self, opened: Opened, used: int) -> int:
        """What files may take: less than the limit by the database, and by what the disk lacks."""
        own = sum(_size_of(f"{opened.place.database_file}{suffix}") for suffix in ("", "-wal", "-shm"))
        status = os.statvfs(self.root)
        free = status.f_bavail * status.f_frsize
        return min(self.limit_bytes - own, used + free - self._floor_bytes)

    def _try(self, action: Callable[[Opened], T], default: T) -> T:
        """``action`` if the directory can be used, else ``default``."""
        if time.monotonic() < self._rest_until_s or self._is_closed:
            return default
        try:
            with self.using() as opened:
                return action(opened)
        except (CacheUnavailable, OSError) as error:
            self._fail(error)
            return default

    def _fail(self, error: Exception) -> None:
        """Leave the directory alone for a while; the first fault is reported."""
        with self._lock:
            if self._is_closed:
                return
            is_first, self._has_warned = not self._has_warned, True
            self._rest_until_s = time.monotonic() + REST_S
            self.fault = _told(error)
            opened, self._counts = self._opened, self._counts._replace(faults=self._counts.faults + 1)
            self._let_go()
            if opened is not None and opened.database.is_damaged:
                _log.warning("the database of the cache %s is damaged: the cache is emptied", self.root)
                opened.place.empty()
                self._rest_until_s = 0.0
                return
        _log.log(
            logging.WARNING if is_first else logging.DEBUG,
            "the cache %s cannot be used (%s): reads go on without it; see that it can be written and that "
            "there is room; the next try is in %.0f s",
            self.root, self.fault, REST_S,
        )  # fmt: skip

    def _current(self) -> Opened:
        """The directory; what is used was looked at a moment ago."""
        if self._is_closed:
            raise CacheUnavailable(f"{self.root}: closed")
        if self._opened is not None and time.monotonic() - self._looked_s > _LOOK_S:
            self._looked_s = time.monotonic()
            if self._opened.database.is_replaced:
                self._let_go()
        if self._opened is None:
            self._opened = self._open()
            self._looked_s = time.monotonic()
            self.fault = ""
        return self._opened

    def _open(self) -> Opened:
        place = Place(self.root)
        with place.entering():
            opened = Opened(place, Database(place.database_file, busy_s=BUSY_S, pragmas=_PRAGMAS))
            try:
                for owner in opened.ledger.owners():
                    if not place.is_alive(owner):
                        opened.ledger.abandon_all(owner)
            except BaseException:
                opened.database.close()
                raise
        return opened

    def _let_go(self) -> None:
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.left = True
            if not opened.users:
                opened.let_go()

    def _count(self, **more: int) -> None:
        with self._lock:
            counts = self._counts
            self._counts = counts._replace(**{key: getattr(counts, key) + n for key, n in more.items()})


def _digest(data: bytes) -> int:
    """As SQLite's integers are: signed."""
    number = xxhash.xxh3_64_intdigest(data)
    return number - (1 << 64) if number >> 63 else number


def _size_of(file: str) -> int:
    try:
        return os.stat(file).st_size  # noqa: PTH116 - for every piece
    except OSError:
        return 0


def _told(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)

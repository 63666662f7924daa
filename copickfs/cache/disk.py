"""The disk tier: pieces in a directory that processes share, within a limit, and out of use if need be."""

from __future__ import annotations

import contextlib
import errno
import logging
import threading
import time
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from copickfs.cache.files import NAME_FAULTS
from copickfs.cache.opened import Opened, open_directory
from copickfs.cache.verifying import contents, digest, verified
from copickfs.errors import CacheUnavailable, IndexBusy, IndexFull, IndexUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from copickfs.cache.piece import Piece

T = TypeVar("T")

_log = logging.getLogger(__name__)

REST_S = 60.0
"""How long a directory is left alone after it could not be used."""

HUSH_S = 3600.0
"""A fault that comes so soon after another one is no news."""

_FULL = (errno.ENOSPC, errno.EDQUOT)
_LOOK_S = 5.0
_TOUCH_S = 5.0
_SHORTEN_S = 0.2
_MOST_TOUCHES = 1_000
_LARGEST = 1 << 62  # whatever a server says: SQLite's integers end there


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
        self._full_until_s = 0.0
        self._looked_s = 0.0
        self._touches: dict[tuple[int, int], int] = {}
        self._touched_s = time.monotonic()
        self._shortened_s = 0.0
        self._warned_s = -HUSH_S
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
        if piece.object_bytes > _LARGEST:
            return None
        return self._try(lambda opened: self._read(opened, piece), None)

    def starts(self, piece: Piece) -> set[int]:
        """Where the pieces start that are here of the object of ``piece``, in its version.

        They count as read now, and their files were looked for.
        """
        return self._try(lambda opened: self._starts(opened, piece), set())

    def holds(self, piece: Piece) -> bool:
        """True if a piece is here, as far as the database knows. Waits for nobody."""
        if self._opened is None:  # to open it may take a while
            return False
        return self._try(lambda opened: opened.ledger.find(piece) is not None, default=False)

    def put(self, piece: Piece, data: bytes) -> bool:
        """Keep a piece, if there is room for it; True if it is here now."""
        if piece.object_bytes > _LARGEST or time.monotonic() < self._full_until_s:
            return False
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
        return self._try(lambda opened: opened.ledger.most_bytes(opened.room.most), 0)

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
            CacheUnavailable: The directory cannot be used; it is emptied if that is because of damage.
        """
        opened = None
        try:
            with self.using() as opened:
                return verified(opened, progress)
        except CacheUnavailable as error:
            if opened is not None and opened.database.is_damaged:
                self._judge(error, opened)
            raise

    def _read(self, opened: Opened, piece: Piece) -> bytes | None:
        held = opened.ledger.find(piece)
        if held is None:
            return None
        file = opened.files.path_of(piece.source, piece.path, piece.start, is_whole=piece.is_whole)
        data = contents(opened, file, held)
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

    def _write(self, opened: Opened, piece: Piece, data: bytes) -> bool:
        # First, for what this file system cannot name is none of its faults.
        opened.files.path_of(piece.source, piece.path, piece.start, is_whole=piece.is_whole)
        self._shorten(opened)
        number = opened.ledger.reserve(piece, digest(data), opened.room.most)
        if number is None:
            is_here = opened.ledger.find(piece) is not None
            self._count(unstored=int(not is_here))
            return is_here
        temporary = None
        settled = False
        try:
            temporary = opened.files.write(data)
            settled = opened.ledger.settle(number, piece, temporary)
        except BaseException:
            self._abandon(opened, number, piece.start)
            raise
        finally:
            if temporary is not None and not settled:
                opened.files.discard(temporary)
        self._count(stored=int(settled), stored_bytes=len(data) * settled)
        return settled

    def _shorten(self, opened: Opened) -> None:
        """Readers that follow each other closely keep the journal growing, which they do not notice."""
        if opened.room.is_journal_long and time.monotonic() > self._shortened_s + _SHORTEN_S:
            self._shortened_s = time.monotonic()
            with contextlib.suppress(IndexBusy):
                opened.database.shorten()

    def _abandon(self, opened: Opened, number: int, start: int) -> None:
        """Give the room of a piece back, or leave that to whoever opens the directory next."""
        try:
            opened.ledger.abandon(number, start)
        except (OSError, IndexUnavailable):
            self._leave(opened)

    def _try(self, action: Callable[[Opened], T], default: T) -> T:
        """``action`` if the directory can be used, else ``default``."""
        if time.monotonic() < self._rest_until_s or self._is_closed:
            return default
        opened = None
        try:
            with self.using() as opened:
                return action(opened)
        except (CacheUnavailable, OSError) as error:
            self._judge(error, opened)
        except Exception as error:  # noqa: BLE001 - a reader must not suffer for it
            # Rows of a kind that nobody has written.
            _log.debug("the cache %s", self.root, exc_info=True)
            if opened is not None:
                opened.database.is_damaged = True
            self._judge(error, opened)
        return default

    def _judge(self, error: Exception, opened: Opened | None) -> None:
        """What a fault means for what is asked next."""
        if opened is None:
            self._rest(error)
        elif isinstance(error.__cause__, IndexBusy) or getattr(error, "errno", 0) in NAME_FAULTS:
            self._count(unstored=1)
            _log.debug("the cache %s: %s", self.root, error)
        elif isinstance(error.__cause__, IndexFull) or getattr(error, "errno", 0) in _FULL:
            self._full_until_s = time.monotonic() + REST_S
            self._report(error, "nothing more is kept in it; make room")
        elif opened.database.is_damaged:
            self._leave(opened)
            self._count(faults=1)
            _log.warning("the cache %s is damaged (%s): it is emptied", self.root, _told(error))
            with contextlib.suppress(CacheUnavailable, OSError):
                opened.place.empty(lambda: not opened.database.is_replaced)
        elif opened.database.is_replaced:
            self._leave(opened)
            self._count(faults=1)  # whoever opens it next will say so
        else:
            self._rest(error)

    def _rest(self, error: Exception) -> None:
        """Leave the directory alone for a while."""
        with self._lock:
            self._rest_until_s = time.monotonic() + REST_S
            if not self._is_closed:
                self.fault = _told(error)
            self._let_go()
        self._report(error, "reads go on without it; see that it can be written")

    def _report(self, error: Exception, meaning: str) -> None:
        if self._is_closed:
            return
        self._count(faults=1)
        is_news = time.monotonic() - self._warned_s > HUSH_S
        self._warned_s = time.monotonic()
        level = logging.WARNING if is_news else logging.DEBUG
        _log.log(
            level,
            "the cache %s cannot be used (%s): %s (tried again in %.0f s)",
            self.root, _told(error), meaning, REST_S,
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
            self._opened = open_directory(self.root, self.limit_bytes, self._floor_bytes)
            self._looked_s = time.monotonic()
            self.fault = ""
        return self._opened

    def _leave(self, opened: Opened) -> None:
        """Not this one any more; whoever asks next opens it anew."""
        with self._lock:
            if self._opened is opened:
                self._let_go()

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


def _told(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)

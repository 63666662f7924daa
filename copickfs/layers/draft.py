"""A file of a remote layer that is open for writing."""

from __future__ import annotations

import secrets
import stat
import threading
from typing import TYPE_CHECKING, Protocol

from copickfs.layers.spool import blocks_of
from copickfs.model import Entry

if TYPE_CHECKING:
    from copickfs.layers.sources.writing import Version
    from copickfs.layers.spool import StagedFile
    from copickfs.layers.writable import Change
    from copickfs.model import ByteRange

_NUMBER_BITS = 63


class Publisher(Protocol):
    """What the handles of a draft ask for."""

    def publish(self, draft: Draft) -> None:
        """Make what is staged what everybody sees."""
        ...

    def give_up(self, draft: Draft) -> None:
        """Forget what is staged and not published."""
        ...

    def let_go(self, draft: Draft) -> None:
        """Nobody has the draft open any more."""
        ...


class Draft:
    """The new version of one file. Several handles share it where the file is written in place. Thread-safe.

    Args:
        path: Where it is published.
        staged: Its contents.
        entry: What the layer shows it as, but for size and times.
        accepted: The versions that it may replace.
        publisher: Publishes it.
        in_place: Everybody who writes to the file shares it.

    Attributes:
        path: Where it is published; None once the name is gone.
        staged: Its contents.
        accepted: The versions that it may replace.
        publisher: Publishes it.
        in_place: Everybody who writes to the file shares it.
        token: Names its upload.
        handles: How many have it open.
        published: How many of the changes are published.
        has_moved: Its name was changed while it was open.
        has_failed: The last attempt to publish has failed.
        attempted: Sizes and digests of what failed attempts may have put at the source.
        turn: Held while it is published.
    """

    def __init__(
        self,
        path: str,
        staged: StagedFile,
        entry: Entry,
        accepted: tuple[Version, ...],
        publisher: Publisher,
        *,
        in_place: bool,
    ) -> None:
        self.path: str | None = path
        self.staged = staged
        self.accepted = accepted
        self.publisher = publisher
        self.in_place = in_place
        self.token = secrets.token_hex(16)
        self.handles = 0
        self.published = 0
        self.has_moved = False
        self.has_failed = False
        self.attempted: list[tuple[int, str]] = []
        self.turn = threading.RLock()
        self._number = secrets.randbits(_NUMBER_BITS) | 1
        self._shown = entry._replace(inode=self._number)

    @property
    def is_dirty(self) -> bool:
        """True if something is to be published."""
        return self.staged.changes != self.published

    def entry(self) -> Entry:
        """The file as it is now."""
        if not self.is_dirty:
            return self._shown
        size_bytes, mtime_ns = self.staged.size_bytes, self.staged.mtime_ns
        return self._shown._replace(
            size_bytes=size_bytes,
            mtime_ns=mtime_ns,
            ctime_ns=mtime_ns,
            etag=f"{self._number:x}-{self.staged.changes}",
            blocks=blocks_of(size_bytes),
        )

    def show(self, entry: Entry) -> None:
        """What is published is shown as ``entry``; a file written in place keeps its number meanwhile."""
        self._shown = entry._replace(inode=self._number) if self.in_place else entry


class RemoteWritableFile:
    """See `copickfs.layers.writable.WritableFile`. What is written is seen by others after `flush`.

    Args:
        draft: What it writes to.
        whole: It is published whole: nobody else writes to the draft.
    """

    replaces = True

    def __init__(self, draft: Draft, *, whole: bool) -> None:
        self.whole = whole
        self._draft = draft
        self._lock = threading.Lock()
        self._is_closed = False
        self.entry = draft.entry()

    def read(self, span: ByteRange) -> bytes:
        """See `LayerFile.read`."""
        return self._draft.staged.read(span)

    def read_nowait(self, span: ByteRange) -> bytes | memoryview:
        """See `LayerFile.read_nowait`."""
        return self._draft.staged.read_nowait(span)

    def status(self) -> Entry:
        """See `WritableFile.status`."""
        return self._draft.entry()

    def write(self, offset: int, data: bytes | memoryview) -> int:
        """See `WritableFile.write`."""
        return self._draft.staged.write(offset, data)

    def truncate(self, size_bytes: int) -> None:
        """See `WritableFile.truncate`."""
        self._draft.staged.truncate(size_bytes)

    def change(self, change: Change) -> None:
        """See `WritableFile.change`: accepted and forgotten."""

    def flush(self) -> None:
        """See `WritableFile.flush`: returns when the data is at the source, or stands in the journal."""
        self._draft.publisher.publish(self._draft)

    sync = flush

    def discard(self) -> None:
        """See `WritableFile.discard`."""
        if self.whole and self._draft.is_dirty:
            self._draft.publisher.give_up(self._draft)

    def move(self, path: str | None) -> None:
        """See `WritableFile.move`."""
        with self._draft.turn:
            self._draft.path = path
            self._draft.has_moved = True

    def close(self) -> None:
        """See `WritableFile.close`."""
        with self._lock:
            is_closed, self._is_closed = self._is_closed, True
        if not is_closed:
            self._draft.publisher.let_go(self._draft)


class DraftReader:
    """A file that is being written in place, open for reading: shows what has been written so far.

    Args:
        draft: What is read.
    """

    def __init__(self, draft: Draft) -> None:
        self._file = RemoteWritableFile(draft, whole=False)
        self.entry = self._file.entry
        self.read = self._file.read
        self.read_nowait = self._file.read_nowait
        self.close = self._file.close


def new_entry(name: str, layer: str, owner: tuple[int, int]) -> Entry:
    """What a file is shown as that has not been published yet."""
    return Entry(name, stat.S_IFREG | 0o644, 0, 0, layer, uid=owner[0], gid=owner[1])

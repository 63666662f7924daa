"""What a remote layer asks of the outside: one module per way of asking.

`Source` is what all of them offer. They block, know nothing of memory, time limits or retries, and
raise whatever their library raises; `copickfs.layers.sources.faults` says what that means.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from copickfs.model import Statistics
from copickfs.paths import NAME_MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from copickfs.layers.guard import Attempt
    from copickfs.layers.sources.writing import Writing
    from copickfs.model import ByteRange

FILE = "f"
DIRECTORY = "d"
LINK = "l"
"""A symbolic link that leads nowhere or back up its own path; others stand for what they lead to."""

SEALED = "x"
"""A file that is there but cannot be read: the server refuses it, or does not say how long it is."""

UNSEEN = "~"
"""End of a `Found.etag` that does not tell the version yet: ask for the file itself before it is read."""


class Found(NamedTuple):
    """What a source says of one name.

    Attributes:
        name: Last component; undecodable bytes are surrogate-escaped.
        kind: `FILE`, `DIRECTORY`, `LINK` or `SEALED`.
        size_bytes: Length of a file; in a listing `UNSIZED` where it has to be asked for.
        mtime_ns: Modification time, ns since the epoch; 0 if the source does not tell.
        etag: The source's own version mark, ``""`` where there is none; in a listing it may be `UNSEEN`.
    """

    name: str
    kind: str
    size_bytes: int = 0
    mtime_ns: int = 0
    etag: str = ""


def is_sound(name: str) -> bool:
    """True for names that a path of the tree can have."""
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        return False
    return len(name.encode("utf-8", "surrogateescape")) <= NAME_MAX_BYTES


def leads_back(directory: str, target: str) -> bool:
    """True if a link in ``directory`` to ``target`` (both without links) would make a walk without end."""
    return f"{directory.rstrip('/')}/".startswith(f"{target.rstrip('/')}/")


def ancestors(relative: str) -> Iterator[tuple[str, str]]:
    """Each directory on the way down to ``relative``, with the name that leads on; from the deepest on."""
    while relative:
        above, _, name = relative.rpartition("/")
        yield above, name
        relative = above


class RangesIgnored(Exception):
    """The server sends whole files only."""


class Counters:
    """What a layer has asked of its source. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests = 0
        self._bytes_read = 0
        self._errors = 0

    def request(self) -> None:
        """One more request is sent."""
        with self._lock:
            self._requests += 1

    def received(self, size_bytes: int) -> None:
        """Contents have arrived."""
        with self._lock:
            self._bytes_read += size_bytes

    def failed(self) -> None:
        """A call met an outage."""
        with self._lock:
            self._errors += 1

    def statistics(self) -> Statistics:
        """All three."""
        with self._lock:
            return Statistics(self._requests, self._bytes_read, self._errors)


class Source(Protocol):
    """One connection to a source. Thread-safe; paths as in `copickfs.layers.base`."""

    def probe(self, attempt: Attempt) -> None:
        """Ask for the root. Raises `NotADirectory` and what else keeps it from being one."""
        ...

    def scan(self, path: str, attempt: Attempt) -> list[Found]:
        """The complete listing of one directory. Raises `AccessDenied` where there are none."""
        ...

    def tree(
        self, path: str, directories: list[str], attempt: Attempt, keep: Callable[[str, list[Found]], None]
    ) -> None:
        """List all below a directory: ``keep(relative_directory, listing)`` for each, in any order.

        Args:
            path: The directory, whose own listing is known.
            directories: Names of the directories in it.
            attempt: Told of progress.
            keep: Called from any thread, one call at a time.
        """
        ...

    def info(self, path: str, attempt: Attempt) -> Found:
        """What ``path`` is, without a listing."""
        ...

    def read(self, path: str, span: ByteRange, found: Found, attempt: Attempt) -> bytes:
        """Exactly the bytes of ``span``, which lies within the file as it was ``found``.

        Raises:
            Stale: The file is not the one that was found.
            RangesIgnored: A part was asked for and the server would send everything.
        """
        ...

    def readlink(self, path: str, attempt: Attempt) -> str:
        """The text of a symbolic link."""
        ...

    def writing(self) -> Writing:
        """The half that writes. Raises EROFS where there is none."""
        ...

    def is_lost(self, error: BaseException) -> bool:
        """True if this connection is of no more use after ``error``."""
        ...

    def close(self) -> None:
        """Hang up; wakes calls that wait. Never raises, never waits."""
        ...


@runtime_checkable
class ByName(Protocol):
    """A source that may list nothing, and can be asked for many names at once."""

    def files(self, directory: str, names: list[str], attempt: Attempt) -> list[Found]:
        """Those of ``names``, relative to ``directory``, that are files there; `SEALED` if not to be read.

        The entries have the relative paths for names.
        """
        ...

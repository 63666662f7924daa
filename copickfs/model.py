"""Value types that every level shares: entries, byte ranges, counters. No I/O, no dependencies.

They are named tuples rather than dataclasses: one is made for every name of every listing, and a
tuple is built in a quarter of the time and is not tracked by the garbage collector for long.
"""

from __future__ import annotations

import enum
import stat
from typing import NamedTuple

_TYPE_BITS = 0xF
BLOCK_BYTES = 512  # the unit of st_blocks, by definition of stat(2)

UNSIZED = -1
"""Length of a file in a listing of a layer that finds it out only when it is asked for the file itself."""


class EntryKind(enum.Enum):
    """What a path is, for merging and for display."""

    DIRECTORY = "directory"
    FILE = "file"
    SYMLINK = "symlink"


class Entry(NamedTuple):
    """What a layer knows of one path. Immutable.

    Attributes:
        name: Last component of the path, ``""`` for the root. Undecodable bytes are surrogate-escaped.
        mode: File type and permission bits, as in ``st_mode``.
        size_bytes: Length of a file; in a listing it may be `UNSIZED`.
        mtime_ns: Modification time, ns since the epoch.
        layer: Name of the layer that answered.
        etag: The source's own version mark, ``""`` where size and mtime have to do.
        ctime_ns: Change time, ns since the epoch.
        atime_ns: Access time, ns since the epoch.
        nlink: Number of links; 1 for a directory means "not counted".
        uid: Owner.
        gid: Group.
        blocks: Space on disk in units of 512 bytes.
        volatile: True where changes are not announced even in a watched directory
            (reached through a symbolic link, or a file with several hard links).
        inode: Number of the file at its source, 0 where there is none; tells a replaced file
            from one that was rewritten within the same tick of the clock.
    """

    name: str
    mode: int
    size_bytes: int
    mtime_ns: int
    layer: str
    etag: str = ""
    ctime_ns: int = 0
    atime_ns: int = 0
    nlink: int = 1
    uid: int = 0
    gid: int = 0
    blocks: int = 0
    volatile: bool = False
    inode: int = 0

    @property
    def kind(self) -> EntryKind:
        """The kind, from the type bits of ``mode``."""
        if stat.S_ISDIR(self.mode):
            return EntryKind.DIRECTORY
        return EntryKind.SYMLINK if stat.S_ISLNK(self.mode) else EntryKind.FILE

    @property
    def is_dir(self) -> bool:
        """True for a directory."""
        return stat.S_ISDIR(self.mode)

    @property
    def identity(self) -> bytes:
        """What tells this file from another that takes its place; ``b""`` for a directory.

        At a source with inode numbers a file keeps it when it is rewritten; elsewhere every version
        is a file of its own.
        """
        if stat.S_ISDIR(self.mode):
            return b""
        # A number is given to the next file, or link, as soon as it is free.
        kind = stat.S_IFMT(self.mode) << 64
        if not self.inode:
            return self.version.encode()
        return (self.inode | kind).to_bytes(11, "little") + self.layer.encode()

    @property
    def look(self) -> int:
        """A number of 32 bits: the type of the file in the lowest four, else a hash of size and times."""
        return (
            hash((self.size_bytes, self.mtime_ns, self.ctime_ns)) & ~_TYPE_BITS & 0xFFFF_FFFF
            | self.mode >> 12 & _TYPE_BITS
        )

    @property
    def version(self) -> str:
        """A string that differs whenever the contents may differ."""
        return self.etag or f"{self.mtime_ns:x}-{self.ctime_ns:x}-{self.size_bytes:x}-{self.inode:x}"


def is_same_type(look: int, other: int) -> bool:
    """True if two values of `Entry.look` are of files of one type."""
    return (look ^ other) & _TYPE_BITS == 0


class ByteRange(NamedTuple):
    """A half-open range of bytes, ``start <= i < stop``."""

    start: int
    stop: int

    @property
    def size_bytes(self) -> int:
        """Number of bytes in the range."""
        return max(0, self.stop - self.start)


class Space(NamedTuple):
    """Room on the storage of a layer, as statfs(2) reports it."""

    block_bytes: int
    blocks: int
    blocks_free: int
    blocks_available: int
    files: int
    files_free: int
    files_available: int
    name_max_bytes: int = 255


class Health(NamedTuple):
    """State of a layer.

    Attributes:
        state: ``"ok"``, ``"down"`` (calls fail at once until a probe succeeds), ``"offline"`` (never
            asked) or ``"unknown"`` (not tried yet).
        message: The last fault in one line, without secrets; ``""`` when there was none.
    """

    state: str
    message: str = ""


class Statistics(NamedTuple):
    """Counters of one layer since it was connected.

    Attributes:
        requests: Requests to its source.
        bytes_read: Contents that have come from there.
        errors: Failed requests.
        cache_hits: Pieces that readers found in the cache.
        cache_misses: Pieces that had to be fetched for readers.
        cached_bytes: Length of the former.
        prefetch_queued: Pieces that are to be fetched before anybody asks.
    """

    requests: int = 0
    bytes_read: int = 0
    errors: int = 0
    cache_hits: int = 0
    cache_misses: int = 0
    cached_bytes: int = 0
    prefetch_queued: int = 0


class Pending(NamedTuple):
    """What was accepted for a layer and has not reached its source yet; it stands in a journal on disk.

    Attributes:
        entries: Changes that are still to be sent.
        size_bytes: Contents that are still to be sent.
        oldest_s: Age of the oldest change; 0 if there is none.
        last_error: Why the last attempt failed, in one line, without secrets; ``""`` if it did not.
    """

    entries: int = 0
    size_bytes: int = 0
    oldest_s: float = 0.0
    last_error: str = ""

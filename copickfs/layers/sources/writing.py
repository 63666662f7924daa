"""What a remote layer asks of a source that it writes to.

As with `Source`, the calls block, know nothing of memory, time limits or retries, and raise whatever
their library raises. Each of them may be made again when it is not known how it ended.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple, Protocol

from copickfs.layers.sources import DIRECTORY
from copickfs.paths import RESERVED_PREFIX, join, split

if TYPE_CHECKING:
    from collections.abc import Collection

    from copickfs.layers.guard import Attempt
    from copickfs.layers.sources import Found, Source

UPLOAD_PREFIX = f"{RESERVED_PREFIX}-upload-"
"""Beginning of the temporary names under which files arrive where half of one would be seen otherwise."""

DIRECTORY_MARK = f"{RESERVED_PREFIX}-directory"
"""An empty object that stands for its directory, which an object store does not have without one."""

PIECE_BYTES = 1 << 20


class Version(NamedTuple):
    """What tells one version of an object from another, as far as the source can."""

    size_bytes: int
    mtime_ns: int
    etag: str

    @classmethod
    def of(cls, found: Found) -> Version:
        """The version of what was found."""
        return cls(found.size_bytes, found.mtime_ns, found.etag)

    def is_same(self, other: Version) -> bool:
        """True if nothing speaks for a change between the two."""
        if self.size_bytes != other.size_bytes:
            return False
        if self.etag and other.etag:
            return self.etag == other.etag
        return self.mtime_ns == other.mtime_ns


class Upload(NamedTuple):
    """A file to be sent.

    Attributes:
        file: The local file, which does not change meanwhile.
        size_bytes: Its length.
        token: Makes its temporary name; every attempt uses the same.
        accepted: The versions that it may replace.
        attempted: Sizes and digests of what earlier attempts may have put there.
    """

    file: str
    size_bytes: int
    token: str
    accepted: Collection[Version]
    attempted: Collection[tuple[int, str]] = ()

    def temporary(self, path: str) -> str:
        """The temporary name for an upload to ``path``, in the same directory."""
        return join(split(path)[0], UPLOAD_PREFIX + self.token)

    def may_replace(self, found: Found) -> bool:
        """True if ``found`` is a file in one of the versions that may be replaced."""
        return any(version.is_same(Version.of(found)) for version in self.accepted)


class Changed(Exception):
    """Somebody else has put another version there."""

    def __init__(self, found: Found) -> None:
        super().__init__(found.name)
        self.found = found


class Copying(Protocol):
    """What a move needs where there is none but by copies."""

    def copy(self, path: str, new_path: str, attempt: Attempt) -> None:
        """Put what is at ``path`` at ``new_path`` as well, in the place of what is there."""
        ...

    def mkdir(self, path: str, attempt: Attempt) -> None:
        """See `Writing.mkdir`."""
        ...

    def rmdir(self, path: str, attempt: Attempt) -> None:
        """See `Writing.rmdir`."""
        ...

    def unlink(self, path: str, attempt: Attempt) -> None:
        """See `Writing.unlink`."""
        ...


def move_by_copies(writing: Copying, source: Source, path: str, new_path: str, attempt: Attempt) -> None:
    """Copy and remove; a directory in the order that leaves something to be found by the next attempt."""
    if source.info(path, attempt).kind != DIRECTORY:
        writing.copy(path, new_path, attempt)
        writing.unlink(path, attempt)
        return
    with contextlib.suppress(FileExistsError):
        writing.mkdir(new_path, attempt)
    for found in source.scan(path, attempt):
        attempt.progress()
        if found.name != DIRECTORY_MARK:
            move_by_copies(writing, source, join(path, found.name), join(new_path, found.name), attempt)
    with contextlib.suppress(FileNotFoundError):  # it was there by what was in it
        writing.rmdir(path, attempt)


class Writing(Protocol):
    """The writing half of a source. Thread-safe; paths as in `copickfs.layers.base`."""

    forgets_directories: bool
    """True where a directory may go with the last thing in it, as in an object store."""

    is_atomic: bool
    """True if an object appears whole by itself, without a temporary name."""

    def put(self, path: str, upload: Upload, attempt: Attempt) -> Found:
        """Make ``upload`` the contents of ``path`` in one step, and say what is there then.

        Raises:
            Changed: There is another version than those that it may replace, or a directory.
        """
        ...

    def mkdir(self, path: str, attempt: Attempt) -> None:
        """Make a directory. Raises `FileExistsError` if there is one."""
        ...

    def keep(self, path: str, attempt: Attempt) -> None:
        """Have the directory ``path`` stay when there is nothing in it."""
        ...

    def rmdir(self, path: str, attempt: Attempt) -> None:
        """Remove an empty directory. Raises ENOTEMPTY."""
        ...

    def unlink(self, path: str, attempt: Attempt) -> None:
        """Remove a file."""
        ...

    def rename(self, path: str, new_path: str, attempt: Attempt) -> None:
        """Give a file or directory another name. A file is replaced; so is an empty directory.

        Where the source has no such call, what is in a directory is copied and removed, one by one; an
        interrupted move is completed by the next.
        """
        ...

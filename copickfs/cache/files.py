"""The files of the cache.

``content/<source>/<path>`` is a whole object, under the path that it has at its source: the directory of
an array that is here entirely can be opened, copied or mounted as it is. A block of a bigger object is
``content/<source>/<path>.blocks/<first byte>``, so that nobody takes an object with gaps for a whole one.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONTENT = "content"
BLOCKS_SUFFIX = ".blocks"
_START_DIGITS = 20
_NAME_MAX_BYTES = 255
_PATH_MAX_BYTES = 4096
_DIGEST_LENGTH = 64
UNIT_BYTES = 4096
"""Files take whole units of this size."""

_STEP_BYTES = 64 << 10
"""Written at a time. For more the kernel takes larger runs of pages, which a virtual machine must first get
from its host: that took longer than anything else that is done for a chunk."""


def charge_of(size_bytes: int) -> int:
    """What a file of this size takes on the disk."""
    return -(-size_bytes // UNIT_BYTES) * UNIT_BYTES


NAME_FAULTS = (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL)
"""This file system cannot have the name, which says nothing about others."""

_NOTHING_THERE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, *NAME_FAULTS)


class Files:
    """The files below one cache directory. Paths are plain strings: this is called for every chunk.

    Nothing outside of it is written or removed, whatever names are given, and wherever somebody has put a
    symbolic link.

    Args:
        root: The cache directory.
        temporary: Where this process makes its files, on the same file system.
    """

    def __init__(self, root: Path, temporary: Path) -> None:
        self._content = f"{os.path.realpath(root)}/{CONTENT}"
        self._temporary = str(temporary)
        self._made = 0

    def path_of(self, source: str, path: str, start: int, *, is_whole: bool) -> str:
        """Where a piece is. Raises `OSError` for what cannot be a path."""
        parts = path.split("/")
        if "/" in source or "\0" in path or any(part in {"", ".", ".."} for part in (source, *parts)):
            raise OSError(errno.EINVAL, "not the path of an object", f"{source}/{path}")
        final = f"{self._content}/{source}/{path}"
        if not is_whole:
            if len(os.fsencode(parts[-1])) + len(BLOCKS_SUFFIX) > _NAME_MAX_BYTES:
                name = hashlib.sha256(os.fsencode(parts[-1])).hexdigest()
                final = f"{final.removesuffix(parts[-1])}{name}"
            final += f"{BLOCKS_SUFFIX}/{start:0{_START_DIGITS}d}"
        if len(os.fsencode(final)) >= _PATH_MAX_BYTES:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), final)
        return final

    def write(self, data: bytes) -> str:
        """A new file with ``data``, not yet in its place. Raises `OSError`, and leaves nothing then."""
        self._made += 1
        name = f"{self._temporary}/{self._made:x}-{os.urandom(4).hex()}"
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(descriptor, rest[:_STEP_BYTES]) :]
        except BaseException:
            os.unlink(name)
            raise
        finally:
            os.close(descriptor)
        return name

    def discard(self, temporary: str) -> None:
        """Remove a file that did not get to its place."""
        with contextlib.suppress(OSError):
            os.unlink(temporary)

    def place(self, temporary: str, final: str) -> None:
        """Put a file in its place, whatever is there."""
        directory = os.path.dirname(final)
        if not self._is_own(directory):
            self._clear_way(directory)
        try:
            os.rename(temporary, final)
        except FileNotFoundError:
            os.makedirs(directory, exist_ok=True)
            os.rename(temporary, final)
        except IsADirectoryError:
            shutil.rmtree(final)
            os.rename(temporary, final)

    def read(self, final: str, size_bytes: int) -> bytes:
        """What is in a file, one byte more than expected if it is longer. Raises `OSError`."""
        # Whatever somebody has put there, opening it does not wait.
        descriptor = os.open(final, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            data = os.read(descriptor, size_bytes + 1)
            if len(data) == size_bytes or not data:
                return data
            pieces = [data]
            while data and sum(map(len, pieces)) <= size_bytes:
                data = os.read(descriptor, size_bytes + 1)
                pieces.append(data)
            return b"".join(pieces)
        finally:
            os.close(descriptor)

    def remove(self, final: str) -> None:
        """Remove a file and the directories that are empty without it. Nothing there is as good."""
        directory = os.path.dirname(final)
        if not self._is_own(directory):
            return
        try:
            os.unlink(final)
        except OSError as error:
            if error.errno not in _NOTHING_THERE:
                raise
        self.remove_empty(directory)

    def _is_own(self, directory: str) -> bool:
        """True if a directory is where its path says, or absent: not by a symbolic link, not in a file."""
        try:
            while len(directory) >= len(self._content):
                if not stat.S_ISDIR(os.lstat(directory).st_mode):
                    return False
                directory = os.path.dirname(directory)
        except FileNotFoundError:
            return self._is_own(os.path.dirname(directory))
        except NotADirectoryError:
            return False
        except OSError as error:
            if error.errno in NAME_FAULTS:
                return False
            raise
        return True

    def _clear_way(self, directory: str) -> None:
        """What was a file, or a link, has become a directory."""
        while len(directory) > len(self._content):
            if os.path.lexists(directory) and (os.path.islink(directory) or not os.path.isdir(directory)):
                os.unlink(directory)
            directory = os.path.dirname(directory)

    def walk(self) -> Iterator[str]:
        """Every file, and every symbolic link."""
        for directory, inner, names in os.walk(self._content):
            yield from (f"{directory}/{name}" for name in names)
            yield from (link for name in inner if os.path.islink(link := f"{directory}/{name}"))

    def empty_directories(self) -> Iterator[str]:
        """Every directory in which nothing is, the inner ones first."""
        for directory, inner, names in os.walk(self._content, topdown=False):
            if directory != self._content and not inner and not names:
                yield directory

    def remove_empty(self, directory: str) -> None:
        """Remove a directory, and those above it that are empty without it."""
        with contextlib.suppress(OSError):
            while len(directory) > len(self._content):
                os.rmdir(directory)
                directory = os.path.dirname(directory)

    def is_there(self, final: str, size_bytes: int) -> bool:
        """True if a file has the length that it should have."""
        try:
            return os.lstat(final).st_size == size_bytes
        except OSError:
            return False

    def pieces_at(self, file: str) -> list[tuple[str, str, int]]:
        """What a file may be: source, path and first byte of a whole object, and of a block."""
        source, _, path = file[len(self._content) + 1 :].partition("/")
        found = [(source, path, 0)]
        directory, _, name = path.rpartition("/")
        if directory.endswith(BLOCKS_SUFFIX) and name.isdecimal():
            found.append((source, directory.removesuffix(BLOCKS_SUFFIX), int(name)))
        return found

    def is_abridged(self, file: str) -> bool:
        """True for a block of an object whose name was too long, which cannot be told from the file."""
        name = os.path.basename(os.path.dirname(file)).removesuffix(BLOCKS_SUFFIX)
        return len(name) == _DIGEST_LENGTH and not name.strip("0123456789abcdef")

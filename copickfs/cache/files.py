"""The files of the cache.

``content/<source>/<path>`` is a whole object, under the path that it has at its source: the directory of
an array that is here entirely can be opened, copied or mounted as it is. A block of a bigger object is
``content/<source>/<path>.blocks/<first byte>``, so that nobody takes an object with gaps for a whole one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from typing import TYPE_CHECKING

from copickfs.cache.bypass import Bypass

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONTENT = "content"
BLOCKS_SUFFIX = ".blocks"
_START_DIGITS = 20
_NAME_MAX_BYTES = 255
_DIGEST_LENGTH = 64
UNIT_BYTES = 4096
"""Files take whole units of this size."""


def charge_of(size_bytes: int) -> int:
    """What a file of this size takes on the disk."""
    return -(-size_bytes // UNIT_BYTES) * UNIT_BYTES


class Files:
    """The files below one cache directory. Paths are plain strings: this is called for every chunk.

    Args:
        root: The cache directory.
        temporary: Where this process makes its files, on the same file system.
    """

    def __init__(self, root: Path, temporary: Path) -> None:
        self._content = str(root / CONTENT)
        self._temporary = str(temporary)
        self._made = 0
        self._bypass = Bypass()

    def path_of(self, source: str, path: str, start: int, *, is_whole: bool) -> str:
        """Where a piece is."""
        if is_whole:
            return f"{self._content}/{source}/{path}"
        above, slash, name = path.rpartition("/")
        if len(os.fsencode(name)) + len(BLOCKS_SUFFIX) > _NAME_MAX_BYTES:
            name = hashlib.sha256(os.fsencode(name)).hexdigest()
        return f"{self._content}/{source}/{above}{slash}{name}{BLOCKS_SUFFIX}/{start:0{_START_DIGITS}d}"

    def write(self, data: bytes) -> str:
        """A new file with ``data``, not yet in its place. Raises `OSError`, and leaves nothing then."""
        self._made += 1
        name = f"{self._temporary}/{self._made:x}-{os.urandom(4).hex()}"
        if self._bypass.write(name, data):
            return name
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
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
        try:
            os.rename(temporary, final)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(final), exist_ok=True)
            os.rename(temporary, final)

    def read(self, final: str, size_bytes: int) -> bytes:
        """What is in a file, one byte more than expected if it is longer. Raises `OSError`."""
        descriptor = os.open(final, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
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
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            os.unlink(final)
        directory = os.path.dirname(final)
        with contextlib.suppress(OSError):
            while len(directory) > len(self._content):
                os.rmdir(directory)
                directory = os.path.dirname(directory)

    def clear_way(self, final: str) -> None:
        """What was a file or directory has become the other: make way for ``final``."""
        if os.path.isdir(final) and not os.path.islink(final):
            shutil.rmtree(final, ignore_errors=True)
        directory = os.path.dirname(final)
        while len(directory) > len(self._content):
            if os.path.lexists(directory) and not os.path.isdir(directory):
                os.unlink(directory)
                return
            directory = os.path.dirname(directory)

    def walk(self) -> Iterator[tuple[str, int]]:
        """Every file, and what it takes on the disk."""
        for directory, _, names in os.walk(self._content):
            for name in names:
                path = f"{directory}/{name}"
                with contextlib.suppress(OSError):
                    yield path, charge_of(os.lstat(path).st_size)

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

    def is_there(self, final: str, size_bytes: int) -> bool:
        """True if a file has the length that it should have."""
        try:
            return os.lstat(final).st_size == size_bytes
        except OSError:
            return False

    def clear(self) -> None:
        """Remove everything."""
        shutil.rmtree(self._content, ignore_errors=True)

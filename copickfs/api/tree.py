"""Whole files and directories of a copick tree: the merged one, or that of one layer alone.

A tree says what is there, or raises. What is out of reach raises `copickfs.errors.Transient`, a
``ConnectionError`` or ``TimeoutError``: it is never taken for something that is not there.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Protocol

from copickfs.entities import naming
from copickfs.errors import NotADirectory, NotFound, Stale
from copickfs.model import ByteRange

if TYPE_CHECKING:
    from collections.abc import Iterator

    from copickfs.entities import Identity
    from copickfs.model import Entry
    from copickfs.stack import Stack
    from copickfs.view import View

_ATTEMPTS = 3
"""A file that is replaced while it is read is read anew so many times."""

ABSENT = (NotFound, NotADirectory)


class Tree(Protocol):
    """A tree of files. Thread-safe; after a fork, and unpickled elsewhere, it opens its sources anew."""

    @property
    def view(self) -> View:
        """What is there."""
        ...

    @property
    def stack(self) -> Stack:
        """The stack that it is of."""
        ...

    def check_writable(self, path: str) -> None:
        """Raise `NotWritable` if nothing can be changed at ``path``, with the reason."""
        ...

    def write(self, path: str, data: bytes | memoryview) -> None:
        """Write a whole file, which readers see as it was or as it is now; directories are made."""
        ...

    def make_directory(self, path: str) -> None:
        """Make a directory, and those above it, unless they are there."""
        ...

    def remove(self, path: str) -> None:
        """Remove what is at ``path``, a directory with all that is in it. Raises `NotFound`."""
        ...


def entries(tree: Tree, directory: str) -> list[Entry]:
    """What is in a directory, in the order of the names; nothing if there is no such directory."""
    try:
        found = tree.view.listing(directory).entries
    except ABSENT:
        return []
    return sorted(found)


def identities(tree: Tree, directory: str) -> Iterator[Identity]:
    """The entities of a copick project that are directly in a directory."""
    parse = naming(directory)
    if parse is None:
        return
    for entry in entries(tree, directory):
        identity = parse(entry.name, entry.is_dir)
        if identity is not None:
            yield identity


def exists(tree: Tree, path: str) -> bool:
    """True if something is at ``path``."""
    try:
        tree.view.lookup(path)
    except ABSENT:
        return False
    return True


def is_directory(tree: Tree, path: str) -> bool:
    """True if a directory is at ``path``."""
    try:
        return tree.view.lookup(path).entry.is_dir
    except ABSENT:
        return False


def read(tree: Tree, path: str) -> bytes:
    """The contents of a file.

    Raises:
        NotFound: There is no such file.
    """
    for _ in range(_ATTEMPTS - 1):
        with contextlib.suppress(Stale):
            return _read(tree.view, path)
    return _read(tree.view, path)


def _read(view: View, path: str) -> bytes:
    file, _layer = view.open(path)
    try:
        return file.read(ByteRange(0, file.entry.size_bytes))
    finally:
        file.close()

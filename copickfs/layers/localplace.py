"""A name in an open directory: what is done there reaches no other directory that takes its path."""

from __future__ import annotations

import os
from typing import Self


class Place:
    """A directory, held open, and a name in it.

    Args:
        directory: The directory, opened with ``O_PATH``; closed with the place.
        name: The name.

    Attributes:
        directory: As given.
        name: As given.
        parent: What the directory is.
    """

    __slots__ = ("directory", "name", "parent")

    def __init__(self, directory: int, name: str) -> None:
        self.directory = directory
        self.name = name
        self.parent = os.fstat(directory)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def status(self) -> os.stat_result:
        """What has the name; of a symbolic link, the link."""
        return os.stat(self.name, dir_fd=self.directory, follow_symlinks=False)

    def sync(self) -> None:
        """The names in the directory are on stable storage when this returns."""
        descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.directory)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Let go of the directory. Idempotent."""
        directory, self.directory = self.directory, -1
        if directory >= 0:
            os.close(directory)

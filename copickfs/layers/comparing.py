"""Whether two things are the same, when nobody knows any more who has put them there."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import xxhash

from copickfs.errors import NotFound, Stale
from copickfs.layers.sources import DIRECTORY, FILE
from copickfs.model import ByteRange
from copickfs.paths import join

if TYPE_CHECKING:
    from copickfs.layers.connection import Connection
    from copickfs.layers.sources import Found
    from copickfs.layers.sources.writing import Upload

_COMPARED_BYTES = 4 << 20


class Comparing:
    """Compares contents at a source with each other, and with what is on local disk. Thread-safe.

    Args:
        connection: The way to the source.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def is_half_moved(self, path: str, new_path: str) -> bool:
        """True if an interrupted move can be completed: nothing in ``new_path`` is in the way of it."""
        there = {found.name: found for found in self._connection.scan(new_path)}
        if not self._connection.writing_kind().forgets_directories:
            return not there
        for source in self._connection.scan(path):
            target = there.get(source.name)
            if target is None:
                continue
            inner, new_inner = join(path, source.name), join(new_path, source.name)
            if source.kind == target.kind == DIRECTORY:
                if not self.is_half_moved(inner, new_inner):
                    return False
            elif not self.is_copy(inner, source, new_inner, target):
                return False
        return True

    def is_copy(self, path: str, source: Found, new_path: str, target: Found) -> bool:
        """True if two files at the source are the same."""
        if source.size_bytes != target.size_bytes or source.kind != FILE or target.kind != FILE:
            return False
        if source.etag and source.etag == target.etag:
            return True
        pieces = _pieces(source.size_bytes)
        return all(
            self._connection.read(path, span, source) == self._connection.read(new_path, span, target)
            for span in pieces
        )

    def has_contents(self, path: str, found: Found, upload: Upload) -> bool:
        """True if an earlier attempt has come through, or somebody else has written the very same."""
        if found.kind != FILE or found.size_bytes != upload.size_bytes:
            return False
        descriptor = os.open(upload.file, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return all(
                self._connection.read(path, span, found) == os.pread(descriptor, span.size_bytes, span.start)
                for span in _pieces(found.size_bytes)
            )
        except (Stale, NotFound):
            return False
        finally:
            os.close(descriptor)

    def was_attempted(self, path: str, found: Found, upload: Upload) -> bool:
        """True if an earlier version of ours is there, of which nobody knew whether it had come through."""
        digests = {digest for size_bytes, digest in upload.attempted if size_bytes == found.size_bytes}
        if not digests or found.kind != FILE:
            return False
        digest = xxhash.xxh3_128()
        try:
            for span in _pieces(found.size_bytes):
                digest.update(self._connection.read(path, span, found))
        except (Stale, NotFound):
            return False
        return digest.hexdigest() in digests


def _pieces(size_bytes: int) -> list[ByteRange]:
    starts = range(0, size_bytes, _COMPARED_BYTES)
    return [ByteRange(start, min(start + _COMPARED_BYTES, size_bytes)) for start in starts]

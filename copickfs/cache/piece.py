"""The unit of the cache."""

from __future__ import annotations

from typing import NamedTuple

WHOLE_BYTES = 8 << 20
"""An object up to this size is one piece."""

BLOCK_BYTES = 1 << 20
"""Size of the pieces of larger ones."""


class Piece(NamedTuple):
    """A range of one version of one object.

    Attributes:
        source: Name of the place that the object is at; a single path component.
        path: Path of the object there.
        version: Tells one version of the object from another.
        start: First byte.
        stop: One after the last byte.
        object_bytes: Length of the whole object.
        is_lasting: False where the name of the version means something to this process only: such a
            piece is never written down.
    """

    source: str
    path: str
    version: str
    start: int
    stop: int
    object_bytes: int
    is_lasting: bool = True

    @property
    def size_bytes(self) -> int:
        """Length of the piece."""
        return self.stop - self.start

    @property
    def is_whole(self) -> bool:
        """True if the piece is all of its object."""
        return self.size_bytes == self.object_bytes


def piece_bytes(object_bytes: int) -> int:
    """How long the pieces of an object of this size are, but for the last one; at least 1."""
    return max(1, object_bytes) if object_bytes <= WHOLE_BYTES else BLOCK_BYTES

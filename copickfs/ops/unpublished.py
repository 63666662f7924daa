"""Files that are published whole while somebody writes them.

All who read a file through one inode share the kernel's pages and its idea of the size. So whoever
writes a version that nobody else is to see yet gets an inode of its own. The kernel looks a name up
before it opens it, so the first OPEN is answered with ESTALE; the kernel then looks the name up once
more, which is answered with the writer's own inode, and opens that. While a name is being written
nothing that is said of it may be kept by the kernel: every lookup asks again, and who asks decides
the answer. When the version is published the name stands for the inode that its writer has had.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from copickfs.layers.base import Layer
    from copickfs.layers.writable import WritableFile
    from copickfs.model import Entry
    from copickfs.ops.handles import Handle, Place

_EXPECTED_S = 10.0
"""The kernel comes back within microseconds, unless the writer is killed in between."""


class Expected(NamedTuple):
    """A version that its writer is about to open.

    Attributes:
        number: The inode made for it.
        file: The version.
        layer: The layer that it will be in.
        since_s: When the kernel was sent to look the name up again.
    """

    number: int
    file: WritableFile
    layer: Layer
    since_s: float


class Unpublished:
    """What is being written, by directory and name. Used on the event loop only."""

    def __init__(self) -> None:
        self._expected: dict[tuple[Place, int], Expected] = {}
        self._open: dict[Place, list[Handle]] = {}
        self._directories: Counter[int] = Counter()

    def __repr__(self) -> str:
        return f"<Unpublished {len(self._open)} written, {len(self._expected)} expected>"

    def expect(self, place: Place, thread: int, expected: Expected) -> None:
        """``thread`` is about to look ``place`` up again, and to open what it finds."""
        now_s = time.monotonic()
        for key, other in list(self._expected.items()):
            if now_s - other.since_s > _EXPECTED_S or key == (place, thread):
                self._drop(key).file.close()
        self._expected[place, thread] = expected
        self._directories[place[0]] += 1

    def take(self, number: int) -> Expected | None:
        """The version that is expected to be opened as inode ``number``."""
        for key, expected in self._expected.items():
            if expected.number == number:
                return self._drop(key)
        return None

    def take_at(self, place: Place, thread: int) -> Expected | None:
        """The version that ``thread`` was sent to look up, and opens without having done so."""
        return self._drop((place, thread)) if (place, thread) in self._expected else None

    def add(self, handle: Handle) -> None:
        """A version is open."""
        self._open.setdefault(handle.place, []).append(handle)
        self._directories[handle.place[0]] += 1

    def remove(self, handle: Handle) -> None:
        """A version is closed."""
        handles = self._open.get(handle.place, [])
        if handle in handles:
            handles.remove(handle)
            self._leave(handle.place[0])
            if not handles:
                del self._open[handle.place]

    def at(self, place: Place) -> list[Handle]:
        """The versions of a name that are open."""
        return list(self._open.get(place, ()))

    def move(self, place: Place, new_place: Place) -> None:
        """What is written at ``place`` is at ``new_place`` by now."""
        for handle in self.at(place):
            self.remove(handle)
            handle.place = new_place
            self.add(handle)

    def all(self) -> list[Handle]:
        """All versions that are open."""
        return [handle for handles in self._open.values() for handle in handles]

    def seen_by(self, place: Place, thread: int) -> tuple[int, Entry] | None:
        """The inode and the entry that only ``thread`` sees at ``place``."""
        expected = self._expected.get((place, thread))
        if expected is not None:
            return expected.number, expected.file.status()
        for handle in reversed(self._open.get(place, ())):
            if thread and handle.thread == thread:
                return handle.number, handle.written.status()
        return None

    def entry_of(self, number: int) -> Entry | None:
        """The entry of an inode that is expected to be opened."""
        for expected in self._expected.values():
            if expected.number == number:
                return expected.file.status()
        return None

    def concerns(self, place: Place) -> bool:
        """True if nothing that is said of ``place`` may be kept."""
        if place[0] not in self._directories:
            return False
        return place in self._open or any(key[0] == place for key in self._expected)

    def concerns_directory(self, number: int) -> bool:
        """True if that holds for any name in a directory."""
        return number in self._directories

    def close(self) -> None:
        """Let go of what was expected and never opened."""
        for key in list(self._expected):
            self._drop(key).file.close()

    def _drop(self, key: tuple[Place, int]) -> Expected:
        expected = self._expected.pop(key)
        self._leave(key[0][0])
        return expected

    def _leave(self, directory: int) -> None:
        self._directories[directory] -= 1
        if not self._directories[directory]:
            del self._directories[directory]

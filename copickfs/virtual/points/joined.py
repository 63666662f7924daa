"""The contents of a file that is put together of parts: each is made when it is read, and kept a while."""

from __future__ import annotations

import bisect
import itertools
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from copickfs.errors import Stale
from copickfs.virtual.rendering import Deferred

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from copickfs.model import ByteRange
    from copickfs.virtual.sources import Source

KEPT_BYTES = 32 << 20
"""What parts that were read may take; one of them always stays."""


class Part(NamedTuple):
    """A part.

    Attributes:
        size_bytes: Its length.
        make: Makes it.
        sources: What it is made of.
    """

    size_bytes: int
    make: Callable[[], bytes]
    sources: tuple[Source, ...] = ()


class Joined(Deferred):
    """Parts, one after the other. Thread-safe: one part is made at a time.

    All parts are of what there was when it was opened: the versions of their sources are looked up then, and
    a part whose source has another one when the part is read is `Stale`.

    Args:
        parts: The parts.

    Attributes:
        size_bytes: Their length.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = parts
        self._starts = [0, *itertools.accumulate(part.size_bytes for part in parts)]
        self.size_bytes = self._starts[-1]
        self._versions = [[_version(source) for source in part.sources] for part in parts]
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._kept_bytes = 0
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<Joined of {len(self._parts)} parts, {self.size_bytes:,} bytes>"

    def read(self, span: ByteRange) -> bytes:
        """See `Contents.read`."""
        stop = min(span.stop, self.size_bytes)
        found = []
        number = bisect.bisect_right(self._starts, span.start) - 1
        while number < len(self._parts) and self._starts[number] < stop:
            start = self._starts[number]
            if self._parts[number].size_bytes:
                with self._lock:
                    found.append(self._made(number)[max(0, span.start - start) : stop - start])
            number += 1
        return b"".join(found)

    def close(self) -> None:
        """See `Contents.close`."""
        with self._lock:
            self._kept.clear()
            self._kept_bytes = 0

    def _made(self, number: int) -> bytes:
        kept = self._kept.get(number)
        if kept is not None:
            self._kept.move_to_end(number)
            return kept
        part = self._parts[number]
        data = part.make()
        for source, version in zip(part.sources, self._versions[number], strict=True):
            if source.seen[source.path] != version:
                raise Stale(f"{source.path}: was changed while what is made of it was read")
        if len(data) != part.size_bytes:
            raise AssertionError(f"part {number} has {len(data)} bytes, not {part.size_bytes}")
        while self._kept and self._kept_bytes + len(data) > KEPT_BYTES:
            self._kept_bytes -= len(self._kept.popitem(last=False)[1])
        self._kept[number] = data
        self._kept_bytes += len(data)
        return data


def _version(source: Source) -> str:
    source.stat()
    return source.seen[source.path]

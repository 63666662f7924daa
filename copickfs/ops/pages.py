"""What the kernel keeps of file contents: when it may keep it, and when it is given more than it asked.

Measured (`benchmarks/RESULTS.md`; `docs/design/0005-page-cache.md` tells how this was chosen):

* A small file, and a chunk of a remote layer, which has come whole by then, is handed over with the answer
  to OPEN, so that reading it costs no request at all.
* A chunk is read for the first time around the page cache, in requests as large as the reader's
  buffer. When there is nothing else to do the kernel is given its contents, and from then on it is
  opened through the page cache.
* Everything else goes through the page cache from the start: it is mapped, or read in parts.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, cast

import pyfuse3

from copickfs import paths
from copickfs.errors import CopickfsError, WouldBlock
from copickfs.model import ByteRange
from copickfs.ops import loop

if TYPE_CHECKING:
    from collections.abc import Callable

    from copickfs.layers.base import Layer, LayerFile
    from copickfs.model import Entry

SMALL_BYTES = 1 << 17
"""One READ of the kernel: up to here a file is handed over whole when it is opened."""

PIECE_BYTES = 8 << 20
"""What comes from a remote layer with one request is handed over, too: it is in memory then."""

LARGE_BYTES = 1 << 28
"""Larger chunks are not handed over behind: they would push out too much else."""

_STEP_BYTES = 1 << 20
_MAX_PENDING = 1_024
_MAX_PENDING_BYTES = 1 << 30
_MAX_VERSIONS = 65_536


class PageCache:
    """Decides for each open how its pages are treated. Used on the event loop only.

    Args:
        control: The layer whose files are made anew for each open.
    """

    def __init__(self, control: Layer | None) -> None:
        self._control = control
        self._versions: dict[int, str] = {}
        self._unfilled: dict[int, str] = {}
        self._fillings: dict[int, _Filling] = {}
        self._pending_bytes = 0
        self._readers: Counter[int] = Counter()
        self._blank: set[int] = set()

    def on_open(
        self, number: int, path: str, file: LayerFile, layer: Layer, *, told: bool = True
    ) -> tuple[bool, bool]:
        """How a file just opened is to be read: ``(direct_io, keep_cache)``.

        Args:
            number: Its inode.
            path: Its path.
            file: The file.
            layer: The layer that it is of.
            told: The kernel has the size and the times that the file has now.
        """
        if layer is self._control:
            # Made when it was opened, and longer or shorter than when it was looked at.
            return True, False
        direct_io, keep_cache = self._choose(number, path, file, told=told)
        if not direct_io:
            self._readers[number] += 1
        return direct_io, keep_cache

    def on_open_written(self, number: int) -> tuple[bool, bool]:
        """How a file is to be read that is being written through the kernel: through its pages."""
        self._readers[number] += 1
        self._blank.discard(number)
        return False, True

    def is_blank(self, number: int) -> bool:
        """True if the kernel has no page of an inode: all that its readers get of it they ask for here."""
        return number in self._blank

    def given(self, number: int) -> None:
        """The kernel gets contents of an inode, for its pages."""
        self._blank.discard(number)

    def renewed(self, number: int, version: str) -> None:
        """From now on the kernel is given ``version`` for an inode that `is_blank`."""
        self._remember(number, version)

    def written(self, number: int, version: str) -> None:
        """What the kernel has of an inode is ``version`` by now: it was written through its pages."""
        self._unfilled.pop(number, None)
        self._remember(number, version)

    def on_release(self, number: int, file: LayerFile, *, direct_io: bool) -> bool:
        """Take over a chunk whose contents the kernel is still to be given; True if so."""
        if not direct_io:
            self._readers[number] -= 1
            if self._readers[number] <= 0:
                del self._readers[number]
            return False
        if self._unfilled.get(number) != file.entry.version or number in self._fillings:
            return False
        if len(self._fillings) >= _MAX_PENDING or file.entry.size_bytes > LARGE_BYTES:
            return False
        if self._pending_bytes + file.entry.size_bytes > _MAX_PENDING_BYTES:
            return False
        self._pending_bytes += file.entry.size_bytes
        filling = self._fillings[number] = _Filling(self, number, file)
        loop.idle.steps.append(filling.step)
        return True

    def is_read(self, number: int) -> bool:
        """True if a READ of the kernel may be under way.

        It holds the locks of its pages until it is answered by the event loop, so the event loop must
        not hand over contents of the same file: both would wait for ever.
        """
        return number in self._readers

    def has(self, number: int, version: str) -> bool:
        """True if the kernel has been given this version already."""
        return self._versions.get(number) == version

    def filled(self, number: int, version: str, *, complete: bool) -> None:
        """A chunk taken over by `on_release` has been handed to the kernel, or given up."""
        self._pending_bytes -= self._fillings.pop(number).size_bytes
        if complete:
            self._unfilled.pop(number, None)
            self._remember(number, version)

    def forget(self, number: int) -> None:
        """The kernel has dropped an inode with its pages."""
        self._versions.pop(number, None)
        self._unfilled.pop(number, None)
        self._blank.discard(number)

    def close(self) -> None:
        """Let go of the files taken over."""
        loop.idle.steps.clear()
        for filling in list(self._fillings.values()):
            filling.end(complete=False)

    def _choose(self, number: int, path: str, file: LayerFile, *, told: bool) -> tuple[bool, bool]:
        entry = file.entry
        version = entry.version
        filling = self._fillings.get(number)
        if filling is not None and filling.version != version:
            # Contents of an older version must not be put over those of this one.
            filling.end(complete=False)
        if self._versions.get(number) == version:
            return False, True
        if self.is_read(number):
            # Another version is open, and what its reader asks for lands in the same pages.
            return True, False
        if told and number not in self._versions and self._hand_over(number, file, entry):
            self._remember(number, version)
            return False, True
        if entry.size_bytes > SMALL_BYTES and entry.inode and paths.store_of(path):
            self._versions.pop(number, None)
            if len(self._unfilled) >= _MAX_VERSIONS:
                self._unfilled.clear()
            self._unfilled[number] = version
            return True, False
        self._remember(number, version)
        if len(self._blank) >= _MAX_VERSIONS:
            self._blank.clear()
        self._blank.add(number)
        return False, False

    def _hand_over(self, number: int, file: LayerFile, entry: Entry) -> bool:
        # What is of no local disk is in memory by now if it has come at all, in one piece.
        if not 0 < entry.size_bytes <= (SMALL_BYTES if entry.inode else PIECE_BYTES):
            return False
        try:
            data = file.read_nowait(ByteRange(0, entry.size_bytes))
            if len(data) != entry.size_bytes:
                return False
            whole = memoryview(data)
            for start in range(0, entry.size_bytes, _STEP_BYTES):
                _store(number, start, whole[start : start + _STEP_BYTES])
        except (WouldBlock, CopickfsError, OSError):
            return False
        self._blank.discard(number)
        return True

    def _remember(self, number: int, version: str) -> None:
        if len(self._versions) >= _MAX_VERSIONS:
            self._versions.clear()
        self._versions[number] = version


class _Filling:
    """Hands one file to the kernel, a piece at each step."""

    def __init__(self, pages: PageCache, number: int, file: LayerFile) -> None:
        self.version = file.entry.version
        self.size_bytes = file.entry.size_bytes
        self._pages = pages
        self._number = number
        self._file = file
        self._offset = 0
        self._ended = False

    def step(self) -> bool:
        """Hand over the next piece; True when there is nothing left to do."""
        if self._ended:
            return True
        if self._pages.is_read(self._number) or self._pages.has(self._number, self.version):
            self.end(complete=False)
            return True
        span = ByteRange(self._offset, min(self._offset + _STEP_BYTES, self.size_bytes))
        try:
            data = self._file.read_nowait(span)
            if len(data) != span.size_bytes:
                raise WouldBlock
            _store(self._number, span.start, data)
        except (CopickfsError, OSError):
            self.end(complete=False)
            return True
        self._offset = span.stop
        if span.stop == self.size_bytes:
            self.end(complete=True)
        return self._ended

    def end(self, *, complete: bool) -> None:
        """Close the file and say how it went."""
        self._ended = True
        self._file.close()
        self._pages.filled(self._number, self.version, complete=complete)


# pyfuse3 takes any buffer; its stub says bytes.
_store = cast("Callable[[int, int, bytes | memoryview], None]", pyfuse3.notify_store)

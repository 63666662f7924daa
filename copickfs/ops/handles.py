"""The open files of the mount: what each handle of the kernel stands for."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Iterator

    from copickfs.layers.base import Layer, LayerFile
    from copickfs.layers.writable import WritableFile

Place = tuple[int, bytes]
"""Number of a directory, and a name in it."""


class Handle:
    """One open file.

    Attributes:
        number: Its inode.
        file: What is read, and written if `writes`.
        layer: The layer that it is of.
        writes: It was opened for writing.
        direct_io: The kernel reads it around its page cache.
        place: Where a file that is written was opened.
        process: Who opened a file for writing: number of the process, 0 where it is not known.
        thread: The same, number of the thread.
        failed: The last flush was answered with an error, and there is nothing more to say.
        given: Bytes of its file were given to its reader, as far as that is known here: what the kernel
            answers from its pages is not (see `PageCache.is_blank`).
    """

    __slots__ = (
        "direct_io", "failed", "file", "given", "layer", "number", "place", "process", "thread",
        "writes",
    )  # fmt: skip

    def __init__(self, number: int, file: LayerFile, layer: Layer, *, direct_io: bool = False) -> None:
        self.number = number
        self.file = file
        self.layer = layer
        self.direct_io = direct_io
        self.writes = False
        self.place: Place = (0, b"")
        self.process = 0
        self.thread = 0
        self.failed = False
        self.given = False

    @property
    def written(self) -> WritableFile:
        """The file of a handle that `writes`."""
        return cast("WritableFile", self.file)


class Handles:
    """All open files. Used on the event loop only."""

    def __init__(self) -> None:
        self._handles: dict[int, Handle] = {}
        self._next = itertools.count(1)
        self._writers: dict[int, list[Handle]] = {}
        self._shared: Counter[int] = Counter()

    def __len__(self) -> int:
        return len(self._handles)

    def __getitem__(self, number: int) -> Handle:
        return self._handles[number]

    def __iter__(self) -> Iterator[Handle]:
        return iter(self._handles.values())

    def add(self, handle: Handle) -> int:
        """Number a handle, for the kernel."""
        number = next(self._next)
        self._handles[number] = handle
        if handle.writes:
            self._writers.setdefault(handle.number, []).append(handle)
        if handle.writes or handle.number in self._writers:
            self._shared[id(handle.file)] += 1
        return number

    def pop(self, number: int) -> Handle | None:
        """Forget a handle. Its file may be closed if it is not `shared`."""
        handle = self._handles.pop(number, None)
        if handle is None:
            return None
        writers = self._writers.get(handle.number)
        if handle.writes and writers is not None:
            writers.remove(handle)
            if not writers:
                del self._writers[handle.number]
        if id(handle.file) in self._shared:
            self._shared[id(handle.file)] -= 1
            if not self._shared[id(handle.file)]:
                del self._shared[id(handle.file)]
        return handle

    def shared(self, handle: Handle) -> bool:
        """True if another handle has the same file."""
        return self._shared[id(handle.file)] > 0

    def writer_of(self, inode: int) -> Handle | None:
        """The last handle that an inode is written through; None if it is not open for writing."""
        writers = self._writers.get(inode)
        return writers[-1] if writers else None

    def of(self, inode: int) -> list[Handle]:
        """All handles of an inode."""
        return [handle for handle in self._handles.values() if handle.number == inode]

    def close(self) -> None:
        """Let go of every open file."""
        for handle in self._handles.values():
            handle.file.close()
        self._handles.clear()
        self._writers.clear()
        self._shared.clear()

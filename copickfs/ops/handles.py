"""The open files of the mount: what each handle of the kernel stands for."""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from typing import TYPE_CHECKING, cast

import trio

from copickfs.ops import loop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

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
        gone: It was let go of, and its file is closed unless another handle has it.
    """

    __slots__ = (
        "_turn", "direct_io", "failed", "file", "given", "gone", "layer", "number", "place", "process",
        "thread", "writes",
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
        self.gone = False
        self._turn: trio.Lock | None = None

    @contextlib.asynccontextmanager
    async def held(self) -> AsyncIterator[bool]:
        """Surrounds what waits while it uses the file, and what lets go of it: one follows the other.

        The kernel sends a RELEASE when ``close`` has returned, and whoever comes by the number of the inode
        does not keep it from doing so. False is yielded if the handle is `gone`.
        """
        turn = self._turn = self._turn or trio.Lock()
        try:
            turn.acquire_nowait()
        except trio.WouldBlock:
            loop.turn.hand_over()
            await turn.acquire()
        try:
            yield not self.gone
        finally:
            turn.release()

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
        self._users: Counter[int] = Counter()  # of each file, by its id: it lives as long as it is counted

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
        self._users[id(handle.file)] += 1
        return number

    def pop(self, number: int) -> Handle | None:
        """Forget a handle. Its file may be closed if it is not `shared`."""
        handle = self._handles.pop(number, None)
        if handle is None:
            return None
        handle.gone = True
        writers = self._writers.get(handle.number)
        if handle.writes and writers is not None:
            writers.remove(handle)
            if not writers:
                del self._writers[handle.number]
        self._leave(handle.file)
        return handle

    def replace(self, handle: Handle, file: LayerFile, layer: Layer) -> None:
        """Let a handle go on with another file, and close the one before if no other handle has it."""
        self._users[id(file)] += 1
        before, handle.file, handle.layer = handle.file, file, layer
        if not self._leave(before):
            before.close()

    def shared(self, handle: Handle) -> bool:
        """True if another handle has the file of one that is `gone`."""
        return id(handle.file) in self._users

    def is_written_by_others(self, handle: Handle) -> bool:
        """True if the file of a handle is written through another one, too."""
        others = self._writers.get(handle.number, ())
        return any(other.file is handle.file for other in others if other is not handle)

    def writer_of(self, inode: int) -> Handle | None:
        """The last handle that an inode is written through; None if it is not open for writing."""
        writers = self._writers.get(inode)
        return writers[-1] if writers else None

    @contextlib.asynccontextmanager
    async def holding_writer(self, inode: int) -> AsyncIterator[Handle | None]:
        """`writer_of`, which is let go of only afterwards; one that is being let go of is waited for."""
        while (writer := self.writer_of(inode)) is not None:
            async with writer.held() as stays:
                if stays:
                    yield writer
                    return
        yield None

    def of(self, inode: int) -> list[Handle]:
        """All handles of an inode."""
        return [handle for handle in self._handles.values() if handle.number == inode]

    def close(self) -> None:
        """Let go of every open file."""
        for handle in self._handles.values():
            handle.gone = True
            handle.file.close()
        self._handles.clear()
        self._writers.clear()
        self._users.clear()

    def _leave(self, file: LayerFile) -> bool:
        """A handle has a file no longer; True if another one has it."""
        self._users[id(file)] -= 1
        if self._users[id(file)]:
            return True
        del self._users[id(file)]
        return False

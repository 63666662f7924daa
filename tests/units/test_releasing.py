"""RELEASE comes when the kernel likes, after ``close`` has returned: what it meets, without a mount."""

from __future__ import annotations

import errno
import os
import threading
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pyfuse3
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from copickfs import MemoryLayer
from copickfs.layers.localinplace import InPlaceFile
from copickfs.layers.localwrite import WritableLocalLayer
from copickfs.layers.writable import Owner
from copickfs.ops import Filesystem
from copickfs.ops.handles import Handle, Handles
from copickfs.ops.inodes import ROOT
from copickfs.view import View
from copickfs.view.writing import Writer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

NAME = "a_1_b.json"
CALLER = SimpleNamespace(pid=os.getpid(), uid=os.getuid(), gid=os.getgid(), umask=0o022)
PICKS = "Picks"
OTHER = SimpleNamespace(pid=os.getppid(), uid=os.getuid(), gid=os.getgid(), umask=0o022)
CUT = os.O_WRONLY | os.O_TRUNC


class Far(MemoryLayer):
    """Is asked in worker threads."""

    prompt = False


class Mounted:
    """The operations of a mount whose calls go to worker threads, for one layer is no local disk.

    Attributes:
        operations: What the kernel asks.
        directory: The write layer's ``Picks``.
    """

    def __init__(self, root: Path) -> None:
        self.directory = root / PICKS
        self.directory.mkdir()
        layer = WritableLocalLayer("mine", root)
        layer.connect()
        self.writer = Writer(View([layer, Far("far")]), layer)
        assert not self.writer.prompt
        self.operations = Filesystem(self.writer.view, self.writer)
        self._layer = layer

    def close(self) -> None:
        self.operations.close()
        self.writer.close()
        self._layer.close()

    def stored(self) -> bytes:
        return (self.directory / NAME).read_bytes()

    async def create(self, data: bytes) -> tuple[int, int]:
        """A file written and closed, but not released; its inode and its handle."""
        self.parent = (await self.operations.lookup(ROOT, PICKS.encode(), CALLER)).st_ino
        flags = os.O_CREAT | os.O_WRONLY
        info, made = await self.operations.create(self.parent, NAME.encode(), 0o644, flags, CALLER)
        number = made.st_ino
        await self.operations.write(info.fh, 0, data)
        await self.operations.flush(info.fh)
        assert self.stored() == data
        return number, info.fh

    async def cut(self, number: int, caller: Any = CALLER) -> tuple[int, int]:
        """``open(path, "w")`` of what is there, as the kernel does it; its inode and its handle."""
        try:
            info = await self.operations.open(number, CUT, caller)
        except pyfuse3.FUSEError as error:
            if error.errno != errno.ESTALE:
                raise
            number = (await self.operations.lookup(self.parent, NAME.encode(), caller)).st_ino
            info = await self.operations.open(number, CUT, caller)
        return number, info.fh

    async def resize(self, number: int, size_bytes: int) -> None:
        """``truncate(path)``."""
        wanted = pyfuse3.EntryAttributes()
        wanted.st_size = size_bytes
        others = ("update_mode", "update_uid", "update_gid", "update_atime", "update_mtime")
        fields = SimpleNamespace(update_size=True, **dict.fromkeys(others, False))
        await self.operations.setattr(number, wanted, fields, None, CALLER)

    async def finish(self, handle: int, data: bytes) -> None:
        await self.operations.write(handle, 0, data)
        await self.operations.flush(handle)
        await self.operations.release(handle)

    async def while_released(self, handle: int, call: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
        """``call`` is asked for while ``handle`` is being released, and its call of a thread comes last."""
        answers: list[Any] = []
        lanes, begin, finish = self.operations.lanes, threading.Event(), threading.Event()
        lanes._limiters["writing"] = trio.CapacityLimiter(1)

        async def release() -> None:
            await self.operations.release(handle)
            finish.set()

        async def ask() -> None:
            answers.append(await call(*arguments))

        async def wait(event: threading.Event) -> None:
            await lanes.work("writing", event.wait)

        async with trio.open_nursery() as nursery:
            for task in (partial(wait, begin), release, partial(wait, finish), ask):
                nursery.start_soon(task)
                await wait_all_tasks_blocked()
            begin.set()
        return answers[0]


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Mounted]:
    made = Mounted(tmp_path)
    yield made
    made.close()


def test_what_is_opened_while_it_is_released_stays_open(mounted: Mounted) -> None:
    async def main() -> None:
        number, first = await mounted.create(b"first")
        number, second = await mounted.while_released(first, mounted.cut, number)
        assert (await mounted.operations.getattr(number, CALLER)).st_size == 0
        await mounted.finish(second, b"next")
        assert mounted.stored() == b"next"

    trio.run(main)


def test_what_is_cut_while_it_is_released_is_cut(mounted: Mounted) -> None:
    async def main() -> None:
        number, first = await mounted.create(b"first")
        await mounted.while_released(first, mounted.resize, number, 3)
        assert mounted.stored() == b"fir"

    trio.run(main)


def test_a_release_that_is_under_way_publishes_nothing_of_the_next_writer(mounted: Mounted) -> None:
    async def main() -> None:
        number, first = await mounted.create(b"first")
        handles: list[int] = []

        async def cut() -> None:
            handles.append((await mounted.cut(number))[1])

        async with trio.open_nursery() as nursery:
            with mounted.writer._locks.hold((f"{PICKS}/{NAME}",)):
                nursery.start_soon(mounted.operations.release, first)
                await wait_all_tasks_blocked()
                nursery.start_soon(cut)
                await wait_all_tasks_blocked(0.05)
        assert mounted.stored() == b"first"
        await mounted.operations.write(handles[0], 0, b"ne")
        assert mounted.stored() == b"first"
        await mounted.finish(handles[0], b"next")
        assert mounted.stored() == b"next"

    trio.run(main)


def test_a_release_that_comes_late_publishes_nothing_of_the_next_writer(mounted: Mounted) -> None:
    async def main() -> None:
        number, first = await mounted.create(b"first")
        number, second = await mounted.cut(number)
        await mounted.operations.write(second, 0, b"ne")
        await mounted.operations.release(first)
        assert mounted.stored() == b"first"
        await mounted.finish(second, b"next")
        assert mounted.stored() == b"next"

    trio.run(main)


def test_another_process_writes_a_version_of_its_own_while_one_is_open(mounted: Mounted) -> None:
    async def main() -> None:
        number, first = await mounted.create(b"first")
        its_own, second = await mounted.cut(number, OTHER)
        assert its_own != number
        await mounted.operations.write(second, 0, b"ne")
        await mounted.operations.write(first, 0, b"FIRST")
        await mounted.operations.flush(first)
        await mounted.operations.release(first)
        assert mounted.stored() == b"FIRST"
        await mounted.finish(second, b"next")
        assert mounted.stored() == b"next"

    trio.run(main)


class Opened:
    """A file that counts how often it was closed."""

    def __init__(self) -> None:
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


def test_a_file_that_several_handles_have_is_closed_with_the_last() -> None:
    layer: Any = MemoryLayer("far")
    first, second, third = files = [Opened() for _ in range(3)]
    handles = Handles()
    made = [Handle(2, file, layer) for file in (first, first, second)]  # type: ignore[arg-type]
    numbers = [handles.add(handle) for handle in made]
    handles.replace(made[0], third, layer)  # type: ignore[arg-type]
    assert [file.closed for file in files] == [0, 0, 0]
    handles.replace(made[1], third, layer)  # type: ignore[arg-type]
    assert [file.closed for file in files] == [1, 0, 0]
    assert handles.pop(numbers[0]) is made[0]
    assert made[0].gone
    assert handles.shared(made[0])
    for handle, number in zip(made[1:], numbers[1:], strict=True):
        assert handles.pop(number) is handle
        assert not handles.shared(handle)


def test_a_file_is_closed_when_what_is_being_written_is(tmp_path: Path) -> None:
    layer = WritableLocalLayer("mine", tmp_path)
    layer.connect()
    file = layer.create("notes.txt", 0o644, Owner(os.getuid(), os.getgid()), whole=False)
    assert isinstance(file, InPlaceFile)
    closing = threading.Thread(target=file.close)
    with file._lock:  # as `write` holds it
        number = file.fileno()
        closing.start()
        closing.join(0.05)
        assert os.path.samestat(os.fstat(number), (tmp_path / "notes.txt").stat())
    closing.join()
    assert file.fileno() == -1
    layer.close()

"""What sources on an asyncio loop share: waiting from a thread, and walking a tree side by side."""

from __future__ import annotations

import asyncio
import errno
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, TypeVar

from copickfs.errors import DeadlineExceeded, NotADirectory, NotFound, Unavailable
from copickfs.layers.sources import DIRECTORY, is_sound
from copickfs.paths import join

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from typing import Any

    from copickfs.layers.guard import Attempt
    from copickfs.layers.sources import Found

T = TypeVar("T")

_DEEPEST = 64


def wait_for(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T], attempt: Attempt) -> T:
    """The result of ``coroutine``, run on ``loop``; it is cancelled when the attempt is called off.

    Raises:
        DeadlineExceeded: It was called off.
    """
    future = asyncio.run_coroutine_threadsafe(coroutine, loop)
    attempt.on_call_off(future.cancel)
    try:
        return future.result()
    except (CancelledError, asyncio.CancelledError):
        raise DeadlineExceeded("called off") from None


async def walk(
    path: str,
    directories: list[str],
    scan: Callable[[str], Awaitable[list[Found]]],
    keep: Callable[[str, list[Found]], None],
    *,
    at_a_time: int,
) -> None:
    """`Source.tree` by ``scan``, several directories at a time.

    Raises:
        Unavailable: A directory went away meanwhile: what was listed does not fit together.
    """
    limit = asyncio.Semaphore(at_a_time)

    async def visit(relative: str, depth: int, group: asyncio.TaskGroup) -> None:
        if depth > _DEEPEST:
            raise OSError(errno.ELOOP, f"directories without end below {path!r}")
        async with limit:
            try:
                listing = await scan(join(path, relative))
            except (NotFound, NotADirectory):
                raise Unavailable(f"{path!r} changed while it was listed") from None
        keep(relative, listing)
        for found in listing:
            if found.kind == DIRECTORY and is_sound(found.name):
                group.create_task(visit(f"{relative}/{found.name}", depth + 1, group))

    try:
        async with asyncio.TaskGroup() as group:
            for name in directories:
                group.create_task(visit(name, 1, group))
    except BaseExceptionGroup as errors:
        raise first_of(errors) from None


async def all_of(coroutines: list[Any]) -> list[Any]:
    """Results in order; the first error stops the rest."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


def first_of(error: BaseException) -> BaseException:
    """The first real error of a group of them."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error

"""How requests are fetched: fewer switches between tasks, and a short look before going to sleep.

pyfuse3's tasks take turns at reading the FUSE descriptor, and every turn costs several passes of
trio's scheduler, and a sleep from which the processor must be woken. Most requests are answered
within microseconds without waiting for anything, and another follows at once. So here a task keeps
its turn for as long as it does not wait: the turn is handed to another only when a handler is about
to block (`Turn.hand_over`, called by `copickfs.ops.lanes`), and the descriptor is polled for a moment
before the task waits for it in the ordinary way. Measured in `benchmarks/RESULTS.md`.

The seam is the one that `pyfuse3.asyncio` uses: the module's global ``trio``.
"""

from __future__ import annotations

import select
import time
from collections import deque
from typing import TYPE_CHECKING, Any, NoReturn

import pyfuse3
import trio

if TYPE_CHECKING:
    from collections.abc import Callable

SPIN_NS = 60_000
"""How long the descriptor is polled before the task goes to sleep."""

TURN_NS = 2_000_000
"""How long one task may go on before every other one gets to run."""

QUIET_S = 0.002
"""How long no request must have come before work that was put off is done."""

_KEEPER_S = 0.25


class Turn:
    """Whose turn it is to read the descriptor. Used on the event loop only.

    Has the interface of `trio.Lock` that pyfuse3 uses, but leaving does not wake anybody.
    """

    def __init__(self) -> None:
        self._taken = False
        self._waiting: deque[trio.lowlevel.Task] = deque()

    def __repr__(self) -> str:
        return f"<Turn {'taken' if self._taken else 'free'}, {len(self._waiting)} waiting>"

    async def __aenter__(self) -> None:
        if not self._taken:
            self._taken = True
            return
        task = trio.lowlevel.current_task()
        self._waiting.append(task)

        def give_up(_raise_cancel: Any) -> trio.lowlevel.Abort:
            self._waiting.remove(task)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(give_up)

    async def __aexit__(self, *_exc: object) -> None:
        self._taken = False

    def hand_over(self) -> bool:
        """Let another task read, because the caller is about to wait; True if one was woken."""
        if self._taken or not self._waiting:
            return False
        self._taken = True
        trio.lowlevel.reschedule(self._waiting.popleft())
        return True


class Idle:
    """Work for when no request is waiting, in small steps. Used on the event loop only."""

    def __init__(self) -> None:
        self.steps: deque[Callable[[], bool]] = deque()

    def work(self) -> bool:
        """Do one step of the first piece of work; False if there was none.

        A step returns True when its piece is done.
        """
        if not self.steps:
            return False
        if self.steps[0]():
            self.steps.popleft()
        return True


turn = Turn()
idle = Idle()


class _Waiter:
    """Waits for the descriptor to become readable, looking often at first."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._descriptor = -1
        self._turn_began_ns = 0

    @property
    def is_over(self) -> bool:
        """True once the kernel has let go of the descriptor: the mount is gone."""
        return any(events & select.POLLERR for _, events in self._poll.poll(0))

    async def wait_readable(self, descriptor: int) -> None:
        if descriptor != self._descriptor:
            self._poll = select.poll()
            self._poll.register(descriptor, select.POLLIN)
            self._descriptor = descriptor
        poll, clock = self._poll.poll, time.perf_counter_ns
        now = clock()
        if now - self._turn_began_ns > TURN_NS:
            await trio.lowlevel.checkpoint()
            now = self._turn_began_ns = clock()
        until = now + SPIN_NS
        while not poll(0):
            if clock() < until:
                continue
            if not idle.steps:
                await trio.lowlevel.wait_readable(descriptor)
                break
            with trio.move_on_after(QUIET_S) as quiet:
                await trio.lowlevel.wait_readable(descriptor)
            if not quiet.cancelled_caught:
                break
            idle.work()
        else:
            return
        self._turn_began_ns = clock()


_waiter = _Waiter()


class _Lowlevel:
    """What pyfuse3 uses of `trio.lowlevel`."""

    current_task = staticmethod(trio.lowlevel.current_task)
    current_trio_token = staticmethod(trio.lowlevel.current_trio_token)
    notify_closing = staticmethod(trio.lowlevel.notify_closing)
    wait_readable = staticmethod(_waiter.wait_readable)


class _Trio:
    """What pyfuse3 uses of `trio`."""

    ClosedResourceError = trio.ClosedResourceError
    open_nursery = staticmethod(trio.open_nursery)
    lowlevel = _Lowlevel

    @staticmethod
    def Lock() -> Turn:  # noqa: N802 -- trio's name
        return turn


async def keep_turns(on_end: Callable[[], None]) -> NoReturn:
    """See to it that somebody reads, should a handler ever wait without handing over.

    At the end of the session it is also what wakes the tasks that still wait for their turn.

    Args:
        on_end: Called when the mount is gone: nobody waits for what is still under way.
    """
    is_over = False
    while True:
        await trio.sleep(_KEEPER_S)
        if not is_over and _waiter.is_over:
            is_over = True
            on_end()
        while turn.hand_over():
            await trio.lowlevel.checkpoint()


def install() -> None:
    """Make pyfuse3 fetch requests this way; once in a process, before `pyfuse3.main`."""
    global turn, idle
    turn, idle = Turn(), Idle()
    setattr(pyfuse3, "trio", _Trio)  # noqa: B010 -- the stub does not know the global

"""Worker threads for what would block, a lane for each layer, so that one dead layer stops no other."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeVar

import trio

from copickfs.errors import DeadlineExceeded, Transient
from copickfs.ops import loop

if TYPE_CHECKING:
    from collections.abc import Callable

    from copickfs.layers.base import Layer

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

THREADS_PER_LANE = 16
"""Calls of one layer that may be under way at once."""

METADATA_DEADLINE_S = 30.0
"""LOOKUP, GETATTR, OPEN, READDIR: their callers cannot even be killed while they wait."""

_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 5.0
_LOOK_S = 0.25


class Lanes:
    """Runs blocking calls in worker threads. Used on the event loop only."""

    def __init__(self) -> None:
        self._limiters: dict[str, trio.CapacityLimiter] = {}
        self.waiting_reads = 0

    def __repr__(self) -> str:
        lanes = ", ".join(
            f"{name}: {limiter.borrowed_tokens} running, {limiter.statistics().tasks_waiting} queued"
            for name, limiter in self._limiters.items()
        )
        return f"<Lanes {lanes}>"

    async def call(self, lane: str, function: Callable[..., _T], *args: object) -> _T:
        """``function(*args)`` in a thread of ``lane``, within the deadline of metadata calls.

        A call that runs into the deadline is abandoned: its thread ends when the call returns, and
        occupies a place in its own lane until then.

        Raises:
            DeadlineExceeded: No answer in time.
        """
        with trio.move_on_after(METADATA_DEADLINE_S):
            return await self._run(lane, function, *args)
        raise DeadlineExceeded(f"layer {lane}: no answer within {METADATA_DEADLINE_S:.0f} s")

    async def work(self, lane: str, function: Callable[..., _T], *args: object) -> _T:
        """``function(*args)`` in a thread of ``lane``, however long it takes: data is on its way.

        The layers' own limits of time hold for it.
        """
        return await self._run(lane, function, *args)

    async def read(
        self, layer: Layer, function: Callable[..., _T], *args: object, lane: str | None = None
    ) -> _T:
        """A read, tried again for as long as its layer is out of reach if the layer is set to wait.

        In the lane of the layer, if no other is given. No thread is held between attempts. An outage must
        not become an errno: zarr takes every OSError of a chunk for "all zeros".
        """
        pause_s = _FIRST_PAUSE_S
        reported = False
        self.waiting_reads += 1
        try:
            while True:
                try:
                    return await self._run(lane or layer.name, function, *args)
                except Transient as error:
                    if layer.on_unavailable == "error":
                        raise
                    if not reported:
                        _log.info("layer %s: a read waits for it to come back (%s)", layer.name, error)
                        reported = True
                loop.turn.hand_over()
                await _pause(layer, pause_s)
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
        finally:
            self.waiting_reads -= 1

    async def _run(self, lane: str, function: Callable[..., _T], *args: object) -> _T:
        limiter = self._limiters.get(lane)
        if limiter is None:
            limiter = self._limiters[lane] = trio.CapacityLimiter(THREADS_PER_LANE)
        loop.turn.hand_over()
        return await trio.to_thread.run_sync(function, *args, abandon_on_cancel=True, limiter=limiter)


async def _pause(layer: Layer, pause_s: float) -> None:
    """Wait before a read is tried again; of a layer that is down, until somebody has found it to be back."""
    until_s = trio.current_time() + max(pause_s, getattr(layer, "wait_available_hint_s", float)())
    was_down = layer.health().state == "down"
    while (left_s := until_s - trio.current_time()) > 0:
        await trio.sleep(min(left_s, _LOOK_S))
        if was_down and layer.health().state != "down":
            return

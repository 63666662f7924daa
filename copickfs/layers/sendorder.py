"""In which order the changes of a journal are sent: one path after the other, all paths side by side."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from copickfs.layers.journalrecord import Record


@dataclasses.dataclass(slots=True)
class Waiting:
    """A change that is to be sent.

    Attributes:
        record: The change.
        since_s: When it was made, in seconds since the epoch.
        is_untried: Nobody has begun to send it.
        is_running: It is being sent.
        failures: How often that has failed.
        retry_s: Monotonic time before which it is not tried again.
        error: Why it failed last.
    """

    record: Record
    since_s: float
    is_untried: bool = False
    is_running: bool = False
    failures: int = 0
    retry_s: float = 0.0
    error: str = ""


def first_free(waiting: Iterable[Waiting], now_s: float) -> tuple[Waiting | None, float]:
    """The first change that waits for no earlier one and for no time; or the time to look again."""
    wake_s = float("inf")
    at: set[str] = set()
    above: set[str] = set()
    for each in waiting:
        paths = each.record.paths
        is_free = not any(
            path in above or path in at or any(step in at for step in _above(path)) for path in paths
        )
        if is_free and not each.is_running:
            if each.retry_s <= now_s:
                return each, now_s
            wake_s = min(wake_s, each.retry_s)
        at.update(paths)
        for path in paths:
            above.update(_above(path))
    return None, wake_s


def related(waiting: Iterable[Waiting], paths: tuple[str, ...]) -> list[Waiting]:
    """The changes of some paths, of what is below them, and of directories above them."""
    wanted = {step for path in paths for step in (path, *_above(path))}
    return [
        each
        for each in waiting
        if any(path in wanted or any(step in paths for step in _above(path)) for path in each.record.paths)
    ]


def _above(path: str) -> Iterator[str]:
    """The directories above ``path``, but for the root."""
    while path := path.rpartition("/")[0]:
        yield path

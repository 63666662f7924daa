"""Progress on standard error, where that is a terminal."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.status import Status

_AT_ONCE_S = 0.5
"""What takes no longer is not worth a line."""


@contextlib.contextmanager
def waiting(text: str, *, quiet: bool) -> Iterator[None]:
    """A spinner beside a word."""
    if quiet or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(text):
        yield


@contextlib.contextmanager
def telling(*, quiet: bool = False) -> Iterator[Callable[[str], None]]:
    """What is being done, in a line that the next one takes the place of; called from any thread.

    Nothing is imported and no thread begins before there is something to tell: a fork may come first.
    """
    if quiet or not sys.stderr.isatty():
        yield lambda _text: None
        return
    begun_s = time.monotonic()
    shown: list[Status] = []

    def tell(text: str) -> None:
        if time.monotonic() - begun_s < _AT_ONCE_S:
            return
        if not shown:
            from rich.console import Console

            shown.append(Console(stderr=True).status(text))
            shown[0].start()
        shown[0].update(text)

    try:
        yield tell
    finally:
        for status in shown:
            status.stop()


@contextlib.contextmanager
def transfer(files: int, size_bytes: int, *, quiet: bool) -> Iterator[Any]:
    """A bar for a transfer; called with more files, bytes that were fetched, and bytes that were there."""
    if quiet or not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    from copickfs.cli.table import size

    bar = Progress(
        DownloadColumn(binary_units=True), BarColumn(), TextColumn("{task.fields[told]}"),
        TimeRemainingColumn(), console=Console(stderr=True),
    )  # fmt: skip
    begun_s = time.monotonic()
    lock = threading.Lock()
    done = fetched = 0
    with bar:
        task = bar.add_task("", total=size_bytes, told="")

        def progress(more_files: int, more_fetched_bytes: int, more_kept_bytes: int) -> None:
            nonlocal done, fetched
            with lock:
                done += more_files
                fetched += more_fetched_bytes
                rate = fetched / max(time.monotonic() - begun_s, 1e-9)
                told = f"{done:,} of {files:,} files, {size(rate)}/s"
                bar.update(task, advance=more_fetched_bytes + more_kept_bytes, told=told)

        yield progress

"""Tables and figures for people. Only commands that print them import this: rich is not small."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

_PIPE_WIDTH = 10**9  # where no terminal limits the lines, none is ever folded: a row is a line
_UNIT = 1024


def console() -> Console:
    """A console on standard output."""
    return Console() if sys.stdout.isatty() else Console(width=_PIPE_WIDTH)


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A plain table whose long cells are folded, never cut off."""
    made = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in headings:
        made.add_column(heading, overflow="fold")
    for row in rows:
        made.add_row(*(Text(cell) for cell in row))
    return made


def size(size_bytes: float) -> str:
    """A number of bytes, as people read it."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size_bytes < _UNIT or unit == "TiB":
            break
        size_bytes /= _UNIT
    return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"


def duration(duration_s: float) -> str:
    """A time span, as people read it."""
    minutes, seconds = divmod(int(duration_s), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s")]
    shown = [f"{count} {unit}" for count, unit in parts if count]
    return " ".join(shown[:2]) or "0 s"

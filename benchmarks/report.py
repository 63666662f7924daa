"""From samples to tables: medians, spread, ratios, and how far the aims were met."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

from benchmarks import memory, start
from benchmarks.peers import COPICKFS, PEERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from benchmarks.work import Figure, Sample

FUSE_PEERS = tuple(peer.name for peer in PEERS if peer.kind == "fuse" and peer.name != COPICKFS)

NOTES_HEADING = "## Notes"

HOW_TO_READ = """\
- Figures are medians; the spread is from the smallest to the largest sample. Differences \
within the spread mean nothing.
- `first` is on a new mount, with the layers' own files in the page cache; `again` is the same work once \
more on that mount; `from disk` is on a new mount after every cache of the machine was dropped.
- Within a work the peers take turns, sample by sample, and who begins changes.
- Ratios above 1 are better, for times and memory too: twice as fast, or half as much memory, is 2.00.
- "best FUSE peer" is the best of all FUSE file systems here but copickfs, whichever that is in a line.
- Daemon CPU is what the daemon itself used for an operation (an entry, a file); it is less noisy than the \
speed. Clock ticks are 10 ms, so small figures are coarse.
- The works that write: each sample has a new mount, and an upper layer of its own that takes what is \
written, over one lower layer; an own store is one that the upper layer has. `bare` is a plain directory. \
Nobody calls fsync. Afterwards what was written was read back from the mount, and where it must be there by \
then from the upper layer, and the lower layer was found unchanged.
- Every walk was checked to show exactly the entries of the merged layers (`bare`: of the lower layer)."""


@dataclass(slots=True)
class Results:
    """All samples of a run, by figure and peer, in the order in which they came."""

    samples: dict[Figure, dict[str, list[Sample]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, figure: Figure, peer: str, sample: Sample) -> None:
        """Add one sample."""
        self.samples.setdefault(figure, {}).setdefault(peer, []).append(sample)

    def note(self, text: str) -> None:
        """Add a remark on the run, once."""
        if text not in self.notes:
            self.notes.append(text)

    def median(self, figure: Figure, peer: str) -> float | None:
        """The median of a figure, None if it was not measured."""
        samples = self.samples.get(figure, {}).get(peer)
        return median(sample.value for sample in samples) if samples else None

    def best_fuse_peer(self, figure: Figure) -> float | None:
        """The best median of all FUSE peers but copickfs."""
        values = [value for peer in FUSE_PEERS if (value := self.median(figure, peer)) is not None]
        if not values:
            return None
        return max(values) if figure.higher_is_better else min(values)

    def peers(self) -> list[str]:
        """Names of the peers that have samples, in the order of ``PEERS``."""
        measured = {peer for by_peer in self.samples.values() for peer in by_peer}
        return [peer.name for peer in PEERS if peer.name in measured]


def summary(results: Results) -> str:
    """One line a figure, one column a peer, and copickfs's ratios."""
    peers = results.peers()
    header = ["figure", "unit", *peers, f"{COPICKFS} : best FUSE peer", f"{COPICKFS} : bare"]
    rows = []
    for figure in results.samples:
        ours = results.median(figure, COPICKFS)
        rows.append(
            [
                figure.title,
                figure.unit,
                *(number(results.median(figure, peer)) for peer in peers),
                number(ratio(figure, ours, results.best_fuse_peer(figure))),
                number(ratio(figure, ours, results.median(figure, "bare"))),
            ]
        )
    return table(header, rows)


def details(results: Results) -> str:
    """A table for each figure: every peer with its spread and ratios."""
    parts = []
    for figure, by_peer in results.samples.items():
        rows = []
        for peer in (name for name in results.peers() if name in by_peer):
            values = [sample.value for sample in by_peer[peer]]
            cpu = [sample.cpu_us for sample in by_peer[peer] if sample.cpu_us is not None]
            middle = median(values)
            rows.append(
                [
                    peer,
                    number(middle),
                    f"{number(min(values))} - {number(max(values))}",
                    str(len(values)),
                    number(ratio(figure, middle, results.best_fuse_peer(figure))),
                    number(ratio(figure, middle, results.median(figure, "bare"))),
                    number(median(cpu)) if cpu else "",
                ]
            )
        header = ["peer", figure.unit, "spread", "samples", ": best FUSE peer", ": bare", "daemon CPU, us"]
        parts.append(f"### {figure.title}\n\n{table(header, rows)}")
    return "\n\n".join(parts)


def aims(results: Results) -> str:
    """What was aimed at, what was reached, and by how much it falls short."""
    rows = []
    for figure in results.samples:
        ours = results.median(figure, COPICKFS)
        target = _aim(results, figure)
        if ours is None or target is None:
            continue
        text, bound = target
        met = ours >= bound if figure.higher_is_better else ours <= bound
        share = ratio(figure, ours, bound) or 0.0
        verdict = "met" if met else f"falls short: {share:.0%} of the aim"
        rows.append([figure.title, text, f"{number(ours)} {figure.unit}", verdict])
    return table(["figure", "aim", "reached", "verdict"], rows)


def ratio(figure: Figure, value: float | None, other: float | None) -> float | None:
    """How much better ``value`` is than ``other``; above 1 is better whatever the unit."""
    if not value or not other:
        return None
    quotient = value / other
    return quotient if figure.higher_is_better else 1 / quotient


def _aim(results: Results, figure: Figure) -> tuple[str, float] | None:
    """The aim for a figure in words and as a value; None if there is none."""
    fixed = {
        memory.PER_INODE.key: ("under 300 bytes", 300.0),
        start.IMPORT.key: ("under 150 ms", 150.0),
        start.DAEMON.key: ("under 1 s", 1000.0),
        start.MOUNT.key: ("under 1 s", 1000.0),
    }
    if figure.key in fixed:
        return fixed[figure.key]
    if figure.key.startswith("read-") and figure.key.endswith(".first"):
        best = results.best_fuse_peer(figure)
        return ("2 x the best FUSE peer", 2 * best) if best else None
    if figure.key.startswith(("walk", "scan", "open", memory.SPEED.key)):
        level = results.median(figure, "mergerfs")
        return ("level with mergerfs", level) if level else None
    return None


def number(value: float | None) -> str:
    """Three significant digits, without an exponent; empty for None."""
    if value is None:
        return ""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def save(results: Path, text: str) -> None:
    """Write the text of new results, and keep what a person has written under the heading of notes."""
    last = results.read_text() if results.exists() else ""
    _, heading, notes = last.partition(f"\n{NOTES_HEADING}\n")
    results.write_text(f"{text}\n{NOTES_HEADING}\n{notes}" if heading else text)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table whose columns are aligned in plain text too."""
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    rule = ["-" * widths[0], *(("-" * (width - 1)) + ":" for width in widths[1:])]
    lines.insert(1, rule)
    return "\n".join(
        "| "
        + " | ".join(
            _aligned(cell, width, column)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        + " |"
        for line in lines
    )


def _aligned(cell: str, width: int, column: int) -> str:
    return cell.ljust(width) if column == 0 else cell.rjust(width)

"""The tables of the benchmark of remote layers."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from benchmarks.peers import COPICKFS
from benchmarks.remotepeers import LOCAL, OBSTORE, RCLONE, REMOTE_PEERS
from benchmarks.remoteworks import COLD, FOUR, NARROW, RELIST, RELIST_REQUESTS, WARM
from benchmarks.report import number, ratio, table

if TYPE_CHECKING:
    from benchmarks.report import Results

HOW_TO_READ = """\
- Figures are medians; the spread is from the smallest to the largest sample. Differences within the \
spread mean nothing. Within a work the peers take turns, sample by sample.
- Each sample has a new mount and an empty cache. The tomogram is read one layer of chunks after the other, \
and all bytes that were read were compared with the source by checksums, which the times include.
- Ratios above 1 are better for copickfs, for times, memory and requests too.
- Readers, the daemon, the line and the server share the processors: a peer that takes little of them \
leaves more to the server than it would elsewhere. The bandwidth is what they leave to the line, \
but where it is said to be less.
- Requests are what the server has counted; those that a daemon makes before its mount is there are apart."""


def summary(results: Results) -> str:
    """One line a figure, one column a peer, and copickfs's ratios."""
    names = _names(results)
    others = [name for name in (RCLONE, OBSTORE, LOCAL) if name in names]
    header = ["figure", "unit", *names, *(f"{COPICKFS} : {name}" for name in others)]
    rows = []
    for figure in results.samples:
        ours = results.median(figure, COPICKFS)
        ratios = [ratio(figure, ours, results.median(figure, other)) for other in others]
        values = [_value(results.median(figure, name)) for name in names]
        rows.append([figure.title, figure.unit, *values, *map(number, ratios)])
    return table(header, rows)


def details(results: Results) -> str:
    """A table for each figure: every peer with its spread."""
    parts = []
    for figure, by_peer in results.samples.items():
        rows = []
        for name in (name for name in _names(results) if name in by_peer):
            values = [sample.value for sample in by_peer[name]]
            spread = f"{_value(min(values))} - {_value(max(values))}"
            rows.append([name, _value(median(values)), spread, str(len(values))])
        parts.append(f"### {figure.title}\n\n{table(['peer', figure.unit, 'spread', 'samples'], rows)}")
    return "\n\n".join(parts)


def aims(results: Results) -> str:
    """What was aimed at, and whether it was met."""
    rows = []
    aimed = (
        (COLD, RCLONE, 3.0),
        (FOUR, RCLONE, 3.0),
        (COLD, OBSTORE, 0.9),
        (NARROW, OBSTORE, 0.9),
        (WARM, LOCAL, 0.9),
    )
    for figure, other, least in aimed:
        share = ratio(figure, results.median(figure, COPICKFS), results.median(figure, other))
        if share is not None:
            aim = f"at least {least:g} x {other}"
            rows.append([figure.title, aim, f"{share:.2f} x", _verdict(met=share >= least)])
    requests = results.median(RELIST_REQUESTS, COPICKFS)
    if requests is not None:
        rows.append([f"{RELIST.title}: requests", "none", _value(requests), _verdict(met=requests == 0)])
    return table(["figure", "aim", "reached", "verdict"], rows)


def _verdict(*, met: bool) -> str:
    return "met" if met else "not met"


def _value(value: float | None) -> str:
    return "0" if value == 0 else number(value)


def _names(results: Results) -> list[str]:
    measured = {name for by_peer in results.samples.values() for name in by_peer}
    return [peer.name for peer in REMOTE_PEERS if peer.name in measured]

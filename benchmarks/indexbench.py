"""The parts of the benchmark of the index that are about the index: making it, mounting, queries."""

from __future__ import annotations

import os
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING

from benchmarks.archive import LAYERS, change_picks
from benchmarks.archiveplan import run_name
from benchmarks.foreground import serving
from benchmarks.indextools import (
    Missing,
    Rows,
    can_drop_caches,
    drop_caches,
    mebibytes,
    run,
    seconds,
    worker,
)
from benchmarks.peers import copickfs_command

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.archive import Archive

CHANGED = 100
_MAGIC = b"SQLite format 3\0"


@dataclass(slots=True)
class Bench:
    """One run of the benchmark.

    Attributes:
        archive: What there is.
        directory: Where it is.
        scratch: Where everything else goes.
        queries: So many of each shape.
        rows: The results.
    """

    archive: Archive
    directory: Path
    scratch: Path
    queries: int
    rows: Rows

    @property
    def config(self) -> Path:
        """Its configuration."""
        return self.directory / "config.json"

    @property
    def point(self) -> Path:
        """Where it is mounted."""
        return self.scratch / "mnt"

    def cold_and_warm(self, what: str, command: Sequence[str], where: str) -> list[bytes]:
        """Time a command from cold caches and again; return what it printed each time."""
        outputs = []

        def once(state: str) -> None:
            ran = run(command)
            outputs.append(ran.output)
            lines = ran.output.count(b"\n")
            self.rows.add(f"`{what}`, {where}, {state}", seconds(ran.seconds), f"{lines:,} lines")

        cold_then_warm(once)
        return outputs

    def layers(self) -> list[str]:
        """The roots of the layers, the highest first."""
        return [str(self.directory / layer) for layer in LAYERS]


def tree(bench: Bench) -> None:
    """What there is."""
    listed = run(["find", *bench.layers(), "-printf", "%y"]).output
    files, directories = listed.count(b"f"), listed.count(b"d")
    expected = bench.archive.expected()
    kinds = ", ".join(f"{count:,} {kind.plural}" for kind, count in sorted(expected.merged.items()))
    layers = ", ".join(f"{layer} {sum(expected.by_layer[layer].values()):,}" for layer in LAYERS)
    bench.rows.add("entities of the merged tree", f"{bench.archive.entities:,}", kinds)
    bench.rows.add("entities of each layer", layers, f"{expected.shadowed:,} of them shadowed")
    bench.rows.add("files and directories", f"{files:,} + {directories:,}", "of the three layers")


def index(bench: Bench) -> None:
    """The first run, one that finds nothing new, and one after some changes."""
    command = [*copickfs_command(), "index", str(bench.config)]
    changed = f"{CHANGED} picks files changed"
    for what in ("first, cold", "first, warm", "nothing changed", changed):
        if what.startswith("first"):
            _forget_index()
        if what == "first, cold":
            if not can_drop_caches():
                continue
            drop_caches()
        if what == changed:
            change_picks(bench.directory, bench.archive, CHANGED)
        ran = run(command)
        rate = f"{bench.archive.entities / ran.seconds:,.0f} entities/s, "
        bench.rows.add(
            f"`copickfs index`, {what}", seconds(ran.seconds), f"{rate}peak {mebibytes(ran.peak_bytes)}"
        )
    size = sum(path.stat().st_size for path in _index_files())
    each = f"{size / bench.archive.entities:,.0f} bytes an entity"
    bench.rows.add("database", mebibytes(size), each)


def first_mount(bench: Bench) -> None:
    """A mount of layers that were never indexed."""
    _forget_index()
    _mount(bench, "no index yet")


def second_mount(bench: Bench) -> None:
    """A mount that finds the index."""
    if not _index_files():
        raise Missing("no index was made")
    _mount(bench, "an index is there")


def query(bench: Bench) -> None:
    """Latency through Python, checked first."""
    arguments = (bench.config, bench.archive.runs, bench.archive.entities, bench.archive.seed)
    for wrong in worker("indexqueries", *arguments, 0)["wrong"]:
        bench.rows.fault(wrong)
    answer = worker("indexqueries", *arguments, bench.queries)
    bench.rows.add("first query of a process", seconds(answer["first"]))
    for shape, measured in answer["shapes"].items():
        times = measured["times"]
        last = quantiles(times, n=100)[98]
        bench.rows.add(
            shape,
            f"{seconds(median(times))}; 99%: {seconds(last)}",
            f"{measured['hits']:,.1f} hits; slowest {seconds(max(times))}",
        )
    memory = {key: mebibytes(value) for key, value in answer["memory"].items()}
    bench.rows.add(
        "memory of the querying process",
        f"{memory['peak']} at most",
        f"{memory['before']} before, {memory['first']} after the first query",
    )


def command_line(bench: Bench) -> None:
    """The whole command, the start of Python in it."""
    config, name = str(bench.config), run_name(bench.archive.runs // 2)
    for words in (
        ["find", config, "--run", name, "--json"],
        ["find", config, "--object", "ribosome", "--user", "alice", "--json"],
        ["search", config, "ribosome", "--limit", "20", "--json"],
    ):
        ran = run([*copickfs_command(), *words])
        shown = shlex.join([words[0], *words[2:]])
        bench.rows.add(f"`copickfs {shown}`", seconds(ran.seconds), f"peak {mebibytes(ran.peak_bytes)}")


def _mount(bench: Bench, state: str) -> None:
    def once(cache: str) -> None:
        with serving(bench.config, bench.point) as ready_s:
            bench.rows.add(f"`copickfs mount`, {state}, {cache}: answers", seconds(ready_s))

    cold_then_warm(once)


def cold_then_warm(once: Callable[[str], None]) -> None:
    """Measure from cold caches, where that is permitted, and once more."""
    if can_drop_caches():
        drop_caches()
        once("cold")
    else:
        once("first")
    once("warm")


def _cache_directory() -> Path:
    """Where copickfs keeps what it can make again; the benchmark has one of its own."""
    return Path(os.environ["XDG_CACHE_HOME"]) / "copickfs"


def _forget_index() -> None:
    shutil.rmtree(_cache_directory(), ignore_errors=True)


def _index_files() -> list[Path]:
    """The databases, and what is not yet written back to them."""
    files = [path for path in _cache_directory().rglob("*") if path.is_file()]
    databases = [path for path in files if path.open("rb").read(len(_MAGIC)) == _MAGIC]
    logs = [path.with_name(f"{path.name}-wal") for path in databases]
    return [*databases, *(path for path in logs if path.exists())]

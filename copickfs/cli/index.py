"""``copickfs index``: bring the index of a configuration up to date."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from copickfs.cli.command import INTERRUPTED, stopping
from copickfs.cli.datasets import ConfiguredCommand

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from copickfs.indexing import Catalog, Summary

    Progress = Callable[[int, int, int], None]


@click.command(cls=ConfiguredCommand)
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--layer", metavar="L", help="Only what this layer has.")
@click.option("--full", is_flag=True, help="Read everything again, also what has not changed.")
@click.option("--statistics", is_flag=True, help="Also read all voxels, for exact headers under Views.")
@click.option("--offline", is_flag=True, help="Never ask a network: index what is known and cached.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing unless something is wrong.")
def index(
    config: Path, layer: str | None, *, full: bool, statistics: bool, offline: bool, quiet: bool
) -> None:
    """Bring the index of CONFIG up to date: what `copickfs find` and `copickfs search` answer from.

    A run that is interrupted is gone on with by the next one. A mount keeps its index up to date by
    itself. The exit status is 3 if something could not be read.
    """
    from copickfs.cli.catalogs import connected, open_configuration

    _follow_daemon()
    stop = threading.Event()
    with open_configuration(config, must_index=True, offline=offline) as opened:
        connected(opened.manager)
        if layer is not None:
            opened.manager.get_layer(layer)  # or a message that says which there are
        if full:
            opened.manager.refresh_all()
        begun_s = time.monotonic()
        with stopping(stop), _shown(quiet=quiet) as progress:
            summary = opened.catalog.index(full=full, layer=layer, progress=progress, stop=stop)
        if not quiet:
            _report(opened.catalog, summary, time.monotonic() - begun_s)
        failed = _compute(opened.catalog, stop, quiet=quiet) if statistics and not stop.is_set() else []
        _end([*summary.skipped, *failed], stop)


def _compute(catalog: Catalog, stop: threading.Event, *, quiet: bool) -> list[tuple[str, str]]:
    """Compute the statistics of all volumes; those of which they are not known, and why."""
    from copickfs.indexing.volumes import compute

    with stopping(stop), _shown("stores", quiet=quiet) as progress:
        computed = compute(catalog, stop, progress and (lambda total, done: progress(0, total, done)))
    if not quiet:
        click.echo(f"{computed.files} volumes have exact statistics")
    return computed.failed


def _end(skipped: list[tuple[str, str]], stop: threading.Event) -> None:
    from copickfs.cli.catalogs import end_incomplete, tell_skipped

    if stop.is_set():
        tell_skipped(skipped)
        click.echo("copickfs: stopped; the next run goes on from here", err=True)
        sys.exit(INTERRUPTED)
    end_incomplete(skipped)


def _report(catalog: Catalog, summary: Summary, took_s: float) -> None:
    from copickfs.cli.table import duration, size

    state = catalog.state()
    database = None if catalog.database is None else catalog.database.path
    rate = summary.entities / took_s if took_s else 0.0
    click.echo(f"{summary.entities} entities seen in {duration(took_s)} ({rate:,.0f} a second)")
    if state is not None and database is not None:
        stored = size(database.stat().st_size)
        click.echo(f"{state.entities} entities in {database} ({stored})")


@contextlib.contextmanager
def _shown(what: str = "runs", *, quiet: bool) -> Iterator[Progress | None]:
    """A progress bar on standard error, where that is a terminal."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    bar = Progress(
        TextColumn(what), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[entities]}"),
        TimeElapsedColumn(), console=Console(stderr=True),
    )  # fmt: skip
    begun_s = time.monotonic()
    with bar:
        task = bar.add_task("", total=None, entities="")

        def progress(entities: int, runs: int, runs_done: int) -> None:
            rate = entities / max(time.monotonic() - begun_s, 1e-9)
            told = f"{entities:,} entities, {rate:,.0f} a second" if entities else ""
            bar.update(task, total=runs, completed=runs_done, entities=told)

        yield progress


def _follow_daemon() -> None:
    """End with the daemon that has started this, also when it is killed."""
    parent = os.environ.pop("COPICKFS_INDEX_PARENT", None)
    if parent is None:
        return
    from copickfs.daemon.kernel import end_with_parent

    end_with_parent(signal.SIGTERM)
    if os.getppid() != int(parent):
        sys.exit(INTERRUPTED)

"""``copickfs prefetch``: have a part of the tree in the cache."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from copickfs.cli.command import INTERRUPTED, stopping
from copickfs.cli.datasets import ConfiguredCommand
from copickfs.cli.progress import transfer, waiting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from copickfs.cli.catalogs import Opened
    from copickfs.fetching import Looking, Outcome, Targets
    from copickfs.layers.cachelayer import CacheLayer
    from copickfs.layers.remote import FsspecLayer


class _Wish(NamedTuple):
    """What was asked for.

    Attributes:
        paths: Paths of the tree.
        criteria: What `copickfs.indexing.criteria_of` takes.
        level: The only level of pyramids.
        pin: It is to stay.
        quiet: Say nothing unless something is wrong.
        jobs: Files at a time.
    """

    paths: list[str]
    criteria: dict[str, Any]
    level: int | None
    pin: bool
    quiet: bool
    jobs: int


@click.command(cls=ConfiguredCommand)
@click.argument("target", metavar="CONFIG|MOUNTPOINT")  # not click.Path: it would look at the mount
@click.argument("paths", metavar="[PATH]...", nargs=-1)
@click.option("--run", metavar="R", help="Name of the run.")
@click.option(
    "--run-name", "run_names", multiple=True, metavar="R",
    help="Name of the run at the data portal, or else its own; may be repeated.",
)  # fmt: skip
@click.option("--tomogram", metavar="T", help="Type of tomograms: only these.")
@click.option("--voxel-size", metavar="V", help="Size of a voxel, in Angstrom.")
@click.option("--object", "object_name", metavar="O", help="The object that is shown.")
@click.option("--user", metavar="U", help="Who made it.")
@click.option("--session", metavar="S", help="In which session.")
@click.option("--name", metavar="N", help="Type of a tomogram or feature, name of a segmentation.")
@click.option("--type", "types", multiple=True, metavar="T", help="Kind, such as picks; may be repeated.")
@click.option("--layer", metavar="L", help="Only what comes from this layer.")
@click.option(
    "--level", type=click.IntRange(min=0), metavar="N", help="Only this level of pyramids, 0 the finest."
)
@click.option("--pin", is_flag=True, help="Have it stay, also what comes later.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing unless something is wrong.")
@click.option("--jobs", type=click.IntRange(1, 64), default=8, show_default=True, help="Files at a time.")
def prefetch(  # noqa: PLR0913 - the options
    target: str,
    paths: tuple[str, ...],
    *,
    tomogram: str | None,
    object_name: str | None,
    run_names: tuple[str, ...],
    types: tuple[str, ...],
    layer: str | None,
    level: int | None,
    pin: bool,
    quiet: bool,
    jobs: int,
    **criteria: str | None,
) -> None:
    """Fetch what is below each PATH, or the entities that the criteria find, into the cache.

    A PATH is one of the merged tree ("." is all of it), or lies below MOUNTPOINT, also relative to a
    directory in it. Criteria may be
    patterns, as for `copickfs find`. What is in the cache already is not fetched again, so that a run
    that was interrupted is gone on with by the next one. Afterwards `copickfs mount --offline` can read
    all of it. The exit status is 3 if something could not be read or kept.
    """
    from copickfs.cli.caches import cache_of, cached_of, tree_paths
    from copickfs.cli.catalogs import configuration_of, connected, is_offline, open_configuration
    from copickfs.errors import UserError
    from copickfs.layers.remote import remote_layers

    given: dict[str, Any] = {name: value for name, value in criteria.items() if value is not None}
    if object_name is not None:
        given["object"] = object_name
    if types:
        given["type"] = types
    if run_names:
        given["run_name"] = run_names
    _add_tomogram(given, tomogram)
    _check_usage(paths, given)
    config_file, mountpoint = configuration_of(target)
    if is_offline(mountpoint):
        raise UserError(
            f"{mountpoint}: is mounted with --offline and asks no network; to fetch in spite of it, name "
            f"the configuration file: {config_file}"
        )
    wish = _Wish(tree_paths(paths, mountpoint), given, level, pin, quiet, jobs)
    stop = threading.Event()
    with open_configuration(config_file, must_index=True) as opened:
        cache = cache_of(opened.manager)
        with cache.disk.using():  # why it cannot be used is told before anything is asked
            pass
        layers = cached_of(opened.manager, layer)
        for each in remote_layers(opened.manager.get_data_layers()):
            each.keep_listings()
        connected(opened.manager)
        with stopping(stop):
            _Run(opened, cache, layers, wish, stop).do()


def _add_tomogram(criteria: dict[str, Any], tomogram: str | None) -> None:
    if tomogram is None:
        return
    if "type" in criteria or "name" in criteria:
        raise click.UsageError("--tomogram excludes --type and --name")
    criteria.update(type=("tomogram",), name=tomogram)


def _check_usage(paths: Sequence[str], criteria: dict[str, Any]) -> None:
    from copickfs.indexing import criteria_of

    if bool(paths) == bool(criteria):
        raise click.UsageError("name either a PATH (. for everything), or criteria such as --run")
    criteria_of(**criteria)  # a mistake is told before anything is looked for


class _Run:
    """One run of the command.

    Args:
        opened: The merged tree, connected.
        cache: Its cache.
        layers: The layers whose files are wanted.
        wish: What was asked for.
        stop: Set where the run is to end.
    """

    def __init__(
        self,
        opened: Opened,
        cache: CacheLayer,
        layers: Sequence[FsspecLayer],
        wish: _Wish,
        stop: threading.Event,
    ) -> None:
        self._view = opened.catalog.view
        self._manager = opened.manager
        self._cache = cache
        self._layers = layers
        self._wish = wish
        self._stop = stop

    def do(self) -> None:
        """Fetch, say what was done, and end the process with a status that tells."""
        from concurrent.futures import ThreadPoolExecutor

        from copickfs.fetching import Looking, Targets

        pool = ThreadPoolExecutor(self._wish.jobs, "copickfs-prefetch")
        try:
            looking = Looking(self._view, pool, self._stop)
            targets = Targets(looking, [layer.name for layer in self._layers], self._wish.level)
            roots = self._listed(looking, targets)
            outcome = None
            if not self._stop.is_set():
                self._check_room(roots, targets)
                outcome = self._fetched(pool, roots, targets)
            self._end(looking, targets, outcome)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _listed(self, looking: Looking, targets: Targets) -> list[str]:
        """Go through what was selected; the paths of that."""
        from copickfs.fetching import found, named, surroundings
        from copickfs.indexing import criteria_of

        with waiting("listing", quiet=self._wish.quiet):
            wish = self._wish
            roots = named(looking, wish.paths) if wish.paths else found(looking, criteria_of(**wish.criteria))
            surroundings(looking, roots)
            targets.collect(roots)
        return roots

    def _fetched(self, pool: Any, roots: Sequence[str], targets: Targets) -> Outcome:
        from copickfs.fetching import Fetcher

        if self._wish.pin:
            with self._cache.disk.using() as opened:
                for layer in self._layers:
                    for root in roots:
                        opened.ledger.pin(layer.cached_as, root, is_pinned=True)
        with transfer(len(targets.files), targets.size_bytes, quiet=self._wish.quiet) as progress:
            fetcher = Fetcher(self._view, self._cache.cache, pool, self._wish.jobs, self._stop, progress)
            return fetcher.fetch(targets.files)

    def _check_room(self, roots: Sequence[str], targets: Targets) -> None:
        """Say that not all can stay.

        Raises:
            UserError: It was to be pinned, or none of it can.
        """
        from copickfs.cache.files import charge_of
        from copickfs.cli.table import size
        from copickfs.errors import UserError

        needed_bytes = sum(charge_of(target.size_bytes) for target in targets.files)
        room_bytes = self._cache.disk.most_bytes() - self._pinned_elsewhere_bytes(roots)
        if needed_bytes <= room_bytes:
            return
        message = (
            f"what is selected takes {size(needed_bytes)}, and the cache {self._cache.disk.root} has room "
            f"for {size(max(0, room_bytes))}"
        )
        if self._wish.pin or room_bytes <= 0:
            raise UserError(
                f"{message}: raise 'max_size_bytes', unpin something, have more room on its disk than "
                "'min_free_bytes', or select less"
            )
        click.echo(f"copickfs: {message}: what is fetched first makes room for what comes later", err=True)

    def _pinned_elsewhere_bytes(self, roots: Sequence[str]) -> int:
        """What is pinned in the cache and was not selected."""
        with self._cache.disk.using() as opened:
            summaries = opened.ledger.summaries()
            if not any(summary.pinned_bytes for summary in summaries):
                return 0
            pinned = sum(summary.pinned_bytes for summary in summaries)
            objects = [
                each
                for layer in self._layers
                for root in roots
                for each in opened.ledger.objects(layer.cached_as, root)
            ]
        return pinned - sum(each.charge_bytes for each in objects if each.is_pinned)

    def _end(self, looking: Looking, targets: Targets, outcome: Outcome | None) -> None:
        from copickfs.cli.catalogs import tell_skipped
        from copickfs.cli.command import Failure
        from copickfs.indexing.runner import INCOMPLETE
        from copickfs.layers.remote import remote_layers

        faults = looking.skipped + (outcome.failed if outcome is not None else [])
        is_incomplete = tell_skipped(faults)
        if self._stop.is_set() or outcome is None:
            click.echo("copickfs: stopped; the next run goes on from here", err=True)
            sys.exit(INTERRUPTED)
        if not targets.files and not targets.passed_over and not faults and self._wish.criteria:
            raise Failure("nothing meets these criteria")
        is_incomplete |= _tell_unkept(outcome.unkept)
        unsaved = sum(layer.unsaved_listings for layer in remote_layers(self._view.layers))
        if unsaved:
            click.echo(f"copickfs: {unsaved} listings are not in the index: run this again", err=True)
        if not self._wish.quiet:
            _report(targets, outcome)
        if is_incomplete or unsaved:
            sys.exit(INCOMPLETE)


def _tell_unkept(unkept: Sequence[tuple[str, str]]) -> bool:
    """Say what is not in the cache; True if there is anything."""
    reasons: dict[str, list[str]] = {}
    for path, reason in unkept:
        reasons.setdefault(reason, []).append(path)
    for reason, lost in reasons.items():
        more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
        click.echo(f"copickfs: {lost[0]}{more}: not in the cache: {reason}", err=True)
    return bool(unkept)


def _report(targets: Targets, outcome: Outcome) -> None:
    from copickfs.cli.table import size

    click.echo(
        f"{outcome.files} of {len(targets.files)} files are in the cache: "
        f"{size(outcome.fetched_bytes)} fetched, {size(outcome.kept_bytes)} were there"
    )
    if targets.passed_over:
        click.echo(f"{targets.passed_over} files are of layers that are not fetched from")
    if targets.levelless:
        click.echo(
            f"{len(targets.levelless)} stores have no such level: of these only the metadata was fetched"
        )

"""``copickfs cache``: what is in the cache of a configuration, what stays in it, and what goes."""

from __future__ import annotations

import contextlib
import json
import sys
from typing import TYPE_CHECKING, NamedTuple

import click

from copickfs.cli.command import Group
from copickfs.cli.text import printable
from copickfs.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from copickfs.cache import Disk
    from copickfs.cache.ledger import Ledger
    from copickfs.cache.opened import Opened as OpenDirectory
    from copickfs.layers.cachelayer import CacheLayer
    from copickfs.layers.manager import LayerManager
    from copickfs.view import View

_by_layer = click.option("--layer", metavar="L", help="Only of this layer.")
_as_json = click.option("--json", "as_json", is_flag=True, help="Print a JSON document, see docs/cache.md.")


class _Open(NamedTuple):
    """A cache that can be used.

    Attributes:
        manager: The layers of the configuration, not connected.
        layer: The cache.
        mountpoint: As it was named, or ``""``.
        disk: What is on its disk; of a directory that is not there yet an empty one.
        directory: The directory of that.
    """

    manager: LayerManager
    layer: CacheLayer
    mountpoint: str
    disk: Disk
    directory: OpenDirectory

    @property
    def ledger(self) -> Ledger:
        """What is in it."""
        return self.directory.ledger

    def sources(self, layer: str | None) -> list[str]:
        """What the layers of the configuration, or one of them, are called in the cache."""
        from copickfs.cli.caches import cached_of

        return list(dict.fromkeys(each.cached_as for each in cached_of(self.manager, layer)))

    def paths(self, given: tuple[str, ...]) -> list[str]:
        """Paths of the tree from those of the command line."""
        from copickfs.cli.caches import tree_paths

        return tree_paths(given, self.mountpoint)

    def layers_of(self, source: str) -> list[str]:
        """The layers that are called ``source`` in the cache; none for one of another configuration."""
        from copickfs.cli.caches import sources_of

        return sources_of(self.manager).get(source, [])


@click.group(cls=Group)
@click.argument("target", metavar="CONFIG|MOUNTPOINT")  # not click.Path: it would look at the mount
@click.pass_context
def cache(context: click.Context, target: str) -> None:
    """Look after the cache of a configuration: what was read of its remote layers.

    A PATH is one of the merged tree, or lies below MOUNTPOINT, also relative to a directory in it. Mounts
    may go on using the cache meanwhile.
    """
    context.obj = target


@cache.command()
@_as_json
@click.pass_obj
def stat(target: str, *, as_json: bool) -> None:
    """Show how full the cache is, and what it has of each layer."""
    from copickfs.cli.cacheshown import show_statistics, statistics

    with _opened(target) as opened:
        document = statistics(opened.layer, opened.directory, opened.layers_of)
    if as_json:
        click.echo(json.dumps(document, indent=2))
    else:
        show_statistics(document)


@cache.command("list")
@click.argument("path", required=False)
@_by_layer
@_as_json
@click.pass_obj
def list_(target: str, path: str | None, layer: str | None, *, as_json: bool) -> None:
    """List what the cache has at PATH and below; without PATH all, also of other configurations."""
    from copickfs.cli.cacheshown import documents, show_objects

    with _opened(target) as opened:
        if path is None and layer is None:
            objects = opened.ledger.objects(None, "")
        else:
            inner = opened.paths(() if path is None else (path,)) or [""]
            objects = [
                each for source in opened.sources(layer) for each in opened.ledger.objects(source, inner[0])
            ]
        listed = documents(objects, opened.layers_of)
    if as_json:
        click.echo(json.dumps({"objects": listed}, indent=2))
    elif listed:
        show_objects(listed)
    else:
        click.echo("nothing is in the cache", err=True)


@cache.command()
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@_by_layer
@click.pass_obj
def pin(target: str, paths: tuple[str, ...], layer: str | None) -> None:
    """Have everything at and below each PATH stay, also what comes into the cache later."""
    from copickfs.cli.table import size

    with _opened_to_pin(target, paths) as opened:
        for path, inner in zip(paths, opened.paths(paths), strict=True):
            cached_bytes = 0
            for source in opened.sources(layer):
                opened.ledger.pin(source, inner, is_pinned=True)
                cached_bytes += sum(each.cached_bytes for each in opened.ledger.objects(source, inner))
            amount = size(cached_bytes) if cached_bytes else "nothing"
            click.echo(f"{printable(path)}: pinned; {amount} of it is in the cache")


@cache.command()
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@_by_layer
@click.pass_obj
def unpin(target: str, paths: tuple[str, ...], layer: str | None) -> None:
    """Let go again of what was pinned at and below each PATH; it stays in the cache while there is room."""
    with _opened(target) as opened:
        sources = opened.sources(layer)
        for path, inner in zip(paths, opened.paths(paths), strict=True):
            pins = [(source, pinned) for source, pinned in opened.ledger.pins() if source in sources]
            above = [pinned for _source, pinned in pins if pinned != inner and _is_below(inner, pinned)]
            below = [(source, pinned) for source, pinned in pins if _is_below(pinned, inner)]
            if above:
                higher = printable(min(above)) or "."
                raise UserError(f"{printable(path)}: stays with {higher}, which is pinned: unpin that")
            if not below:
                raise UserError(f"{printable(path)}: nothing is pinned there")
            for source, pinned in below:
                opened.ledger.pin(source, pinned, is_pinned=False)
            click.echo(f"{printable(path)}: not pinned any more")


@cache.command()
@click.argument("paths", metavar="[PATH]...", nargs=-1)
@_by_layer
@click.option("--pinned", is_flag=True, help="Also what is pinned; pins go on for what comes later.")
@click.pass_obj
def clear(target: str, paths: tuple[str, ...], layer: str | None, *, pinned: bool) -> None:
    """Remove what the cache has at and below each PATH, or all that is in its directory.

    What is pinned stays.
    """
    from copickfs.cli.table import size

    with _opened(target) as opened:
        sources = opened.sources(layer) if paths or layer is not None else [None]
        removed = [
            opened.ledger.forget(source, inner, keep_pinned=not pinned)
            for source in sources
            for inner in opened.paths(paths) or [""]
        ]
        stay_bytes = sum(summary.pinned_bytes for summary in opened.ledger.summaries())
    files, freed_bytes = (sum(part) for part in zip(*removed, strict=True))
    stays = f"; {size(stay_bytes)} that is pinned stays" if stay_bytes else ""
    click.echo(f"{files} files removed, {size(freed_bytes)} freed{stays}")


@cache.command()
@click.option("-q", "--quiet", is_flag=True, help="Say nothing unless something is wrong.")
@click.pass_obj
def verify(target: str, *, quiet: bool) -> None:
    """Compare everything in the cache with what was written, and remove what is not that.

    What was removed is fetched again when it is read. The exit status is 3 if there was anything.
    """
    from copickfs.cli.progress import transfer
    from copickfs.indexing.runner import INCOMPLETE

    with _opened(target) as opened:
        summaries = opened.ledger.summaries()
        total_bytes = sum(summary.size_bytes for summary in summaries)
        files = sum(summary.pieces for summary in summaries)
        with transfer(files, total_bytes, quiet=quiet) as progress:
            found = opened.disk.verify(lambda size_bytes: progress(1, size_bytes, 0))
    sound, damaged, strays = found
    if not quiet:
        click.echo(f"{sound} files are as they were written")
    if damaged or strays:
        click.echo(f"copickfs: {damaged} damaged files and {strays} unknown ones were removed", err=True)
        sys.exit(INCOMPLETE)


@contextlib.contextmanager
def _opened(target: str) -> Iterator[_Open]:
    from copickfs.cli.caches import cache_of, opened_manager, reading

    with opened_manager(target) as (manager, mountpoint):
        layer = cache_of(manager)
        with reading(layer) as (disk, directory):
            yield _Open(manager, layer, mountpoint, disk, directory)


@contextlib.contextmanager
def _opened_to_pin(target: str, paths: tuple[str, ...]) -> Iterator[_Open]:
    """The same with its directory, which is made, after a look at whether the paths are in the tree."""
    from copickfs.cli.caches import cache_of, tree_paths
    from copickfs.cli.catalogs import configuration_of, connected, is_offline, open_configuration

    config_file, mountpoint = configuration_of(target)
    with open_configuration(config_file, offline=is_offline(mountpoint)) as catalog:
        manager = catalog.manager
        layer = cache_of(manager)
        inner = tree_paths(paths, mountpoint)
        with layer.disk.using() as directory:
            connected(manager)
            for path, at in zip(paths, inner, strict=True):
                _require(catalog.catalog.view, path, at)
            yield _Open(manager, layer, mountpoint, layer.disk, directory)


def _require(view: View, path: str, inner: str) -> None:
    """See that a path is in the tree, as far as anybody can tell just now. Raises `UserError`."""
    from copickfs.errors import LayerError, NotADirectory, NotFound, Transient

    try:
        if inner:
            view.lookup(inner)
    except (NotFound, NotADirectory):
        raise UserError(f"{printable(path)}: there is no such file or directory in the merged tree") from None
    except (Transient, LayerError, OSError) as error:
        click.echo(f"copickfs: {printable(path)}: nobody can tell now whether it is there: {error}", err=True)


def _is_below(path: str, above: str) -> bool:
    return not above or f"{path}/".startswith(f"{above}/")

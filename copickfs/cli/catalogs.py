"""From what is named on a command line, a configuration or a mount point, to its catalog."""

from __future__ import annotations

import contextlib
import logging
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from copickfs.cli.command import mistakes
from copickfs.errors import IndexUnavailable, MountError, UserError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from copickfs.index import Database
    from copickfs.indexing import Catalog
    from copickfs.layers.manager import LayerManager


_SHOWN = 10


class Opened(NamedTuple):
    """A catalog that can be asked.

    Attributes:
        catalog: The catalog.
        manager: The layers, which are not connected yet.
        mountpoint: Where its tree is mounted; ``""`` if it was not named by a mount point.
    """

    catalog: Catalog
    manager: LayerManager
    mountpoint: str = ""


@contextlib.contextmanager
def open_target(target: str, *, layer: str | None = None, offline: bool = False) -> Iterator[Opened]:
    """The catalog of a configuration file, or of a mount point, as far as it is known now.

    Where there is no index yet, all layers are gone through; if the answers then lack something, the
    command ends with `INCOMPLETE` after it has shown them.

    Args:
        target: What is named.
        layer: A layer that it must have, or a pattern for some.
        offline: Reach for nothing on a network; for a mount that does not, neither does this.

    Raises:
        UserError: It is neither.
        Mistake: It has no such layer.
    """
    from copickfs.indexing import require_one_of

    mountpoint, config_file, database_file = "", Path(target), None
    mount = mount_at(target)
    if mount is not None:
        from copickfs.daemon.questions import ask_index

        mountpoint = mount
        answer = ask_index(mount)
        config_file, database_file = Path(answer["configuration"]), answer["database"]
        offline = offline or answer.get("offline", False)
        if not answer["settled"]:
            click.echo("copickfs: the index of the mount has not caught up with the latest changes", err=True)
    with open_configuration(config_file, database_file=database_file, offline=offline) as opened:
        with mistakes():
            require_one_of((each.name for each in opened.manager.get_data_layers()), layer, "layer")
        _tell_unindexed(opened.catalog, target, config_file)
        opened.catalog.before_walk = lambda: connected(opened.manager)
        yield opened._replace(mountpoint=mountpoint)
        end_incomplete(opened.catalog.skipped)


def _tell_unindexed(catalog: Catalog, target: str, config_file: Path) -> None:
    """Say what helps where the answers are not those of the index."""
    if catalog.table is None:
        return  # and why was told when it was to be opened
    try:
        if catalog.table.scanned_ns():
            return
    except IndexUnavailable as error:
        _tell_unusable(error)
        return
    click.echo(
        f"copickfs: {target}: not indexed yet, so all layers are gone through; this is done once by: "
        f"copickfs index {shlex.quote(str(config_file))}",
        err=True,
    )


@contextlib.contextmanager
def open_configuration(
    config_file: Path,
    *,
    database_file: str | None = None,
    must_index: bool = False,
    offline: bool = False,
) -> Iterator[Opened]:
    """The catalog of a configuration file; its layers are not connected.

    Args:
        config_file: The file.
        database_file: The database, if somebody knows it already.
        must_index: Without an index nothing can be done.
        offline: Reach for nothing on a network.

    Raises:
        ConfigError: The configuration cannot be used.
        UserError: There is no index and there must be one.
    """
    from copickfs.config import load
    from copickfs.indexing import open_catalog

    tell_warnings()
    config: Any = load(config_file)
    database = _database(config, database_file, must_index=must_index)
    with open_catalog(config, database, offline=offline) as (catalog, manager):
        yield Opened(catalog, manager)


def tell_warnings() -> None:
    """Have what copickfs logs as a warning told to the user."""
    logging.getLogger("copickfs").addHandler(_ToStandardError())


def end_incomplete(skipped: Sequence[tuple[str, str]]) -> None:
    """Say what was not read, and why, and end with `INCOMPLETE` if there was anything."""
    from copickfs.indexing.runner import INCOMPLETE

    if tell_skipped(skipped):
        sys.exit(INCOMPLETE)


def tell_skipped(skipped: Sequence[tuple[str, str]]) -> bool:
    """Say what was not read, and why; True if there was anything."""
    for path, reason in skipped[:_SHOWN]:
        click.echo(f"copickfs: {path or '/'}: not read: {reason}", err=True)
    if len(skipped) > _SHOWN:
        click.echo(f"copickfs: {len(skipped)} paths were not read", err=True)
    return bool(skipped)


def connected(manager: LayerManager) -> None:
    """Connect the layers; of those that are out of reach what is known is told as skipped."""
    from copickfs.cli.progress import telling

    with telling() as tell:
        manager.connect_layers(tolerate_outages=True, progress=tell)


def _database(config: Any, database_file: str | None, *, must_index: bool) -> Database | None:
    from copickfs.index import open_database
    from copickfs.indexing import open_index

    try:
        return open_index(config) if database_file is None else open_database(Path(database_file))
    except IndexUnavailable as error:
        if must_index:
            raise UserError(f"the index cannot be used: {error}") from None
        _tell_unusable(error)
        return None


def _tell_unusable(error: IndexUnavailable) -> None:
    click.echo(f"copickfs: the index cannot be used: {error}; so all layers are gone through", err=True)


def configuration_of(target: str) -> tuple[Path, str]:
    """The configuration file that is named, or that a mount point is of, and the mount point or ``""``.

    Raises:
        UserError: It is neither, or the daemon is dead or another user's.
    """
    mount = mount_at(target)
    if mount is None:
        return Path(target), ""
    from copickfs.daemon import registry

    record = registry.find(mount)
    if record is None:
        raise UserError(
            f"{mount}: its daemon cannot be asked: it is dead, or another user's; name the configuration file"
        )
    return Path(record.configuration), mount


def is_offline(mountpoint: str) -> bool:
    """True for a mount that asks no network; False for no mount, and for one that does not answer."""
    from copickfs.daemon.questions import ask_index

    if not mountpoint:
        return False
    with contextlib.suppress(MountError):
        return bool(ask_index(mountpoint).get("offline", False))
    return False


def mount_at(target: str) -> str | None:
    """The mount point that is named; None for anything else. Never waits for the mount.

    Raises:
        UserError: It is nothing, or a directory, but no mount of copickfs.
    """
    from copickfs.config.datasets import datasets_named
    from copickfs.daemon.finding import find_mount
    from copickfs.daemon.mounts import mounts_at, resolve

    if not target:
        raise UserError("the empty name is neither a configuration file nor a mount point")
    if datasets_named(target) is not None:
        return None
    resolved = resolve(target)
    stack = mounts_at(resolved)
    if not (stack and stack[-1].is_copickfs):
        if Path(target).is_file():
            return None
        if not Path(target).exists():
            raise UserError(f"{target}: there is no such configuration file or mount point")
    try:
        return find_mount(resolved).mountpoint
    except MountError as error:
        raise UserError(f"{error}; name a mount point of copickfs, or a configuration file") from None


class _ToStandardError(logging.Handler):
    """Warnings as the lines that a user is told."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        click.echo(f"copickfs: {record.getMessage()}", err=True)

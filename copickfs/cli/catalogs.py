"""From what is named on a command line, a configuration or a mount point, to its catalog."""

from __future__ import annotations

import contextlib
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from copickfs.errors import IndexUnavailable, UserError

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
def open_target(target: str) -> Iterator[Opened]:
    """The catalog of a configuration file, or of a mount point, as far as it is known now.

    Where there is no index yet, all layers are gone through; if the answers then lack something, the
    command ends with `INCOMPLETE` after it has shown them.

    Raises:
        UserError: It is neither.
    """
    mountpoint, config_file, database_file = "", Path(target), None
    mount = mount_at(target)
    if mount is not None:
        from copickfs.daemon.questions import ask_index

        mountpoint = mount
        answer = ask_index(mount)
        config_file, database_file = Path(answer["configuration"]), answer["database"]
        if not answer["settled"]:
            click.echo("copickfs: the index of the mount has not caught up with the latest changes", err=True)
    with open_configuration(config_file, database_file=database_file) as opened:
        if not opened.catalog.is_indexed:
            click.echo(
                f"copickfs: {target}: not indexed yet, so all layers are gone through; this is done once by: "
                f"copickfs index {config_file}",
                err=True,
            )
        opened.catalog.before_walk = lambda: connected(opened.manager)
        yield opened._replace(mountpoint=mountpoint)
        end_incomplete(opened.catalog.skipped)


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
    manager.connect_layers(tolerate_outages=True)


def _database(config: Any, database_file: str | None, *, must_index: bool) -> Database | None:
    from copickfs.index import open_database
    from copickfs.indexing import open_index

    try:
        return open_index(config) if database_file is None else open_database(Path(database_file))
    except IndexUnavailable as error:
        if must_index:
            raise UserError(f"the index cannot be used: {error}") from None
        click.echo(f"copickfs: the index cannot be used: {error}", err=True)
        return None


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


def mount_at(target: str) -> str | None:
    """The mount point that is named; None for anything else. Never waits for the mount.

    Raises:
        UserError: It is a directory, but no mount of copickfs.
    """
    from copickfs.daemon.finding import find_mount
    from copickfs.daemon.mounts import mounts_at, resolve

    resolved = resolve(target)
    stack = mounts_at(resolved)
    if not (stack and stack[-1].is_copickfs):
        if Path(target).is_file():
            return None
        if not Path(target).exists():
            raise UserError(f"{target}: there is no such configuration file or mount point")
    return find_mount(resolved).mountpoint


class _ToStandardError(logging.Handler):
    """Warnings as the lines that a user is told."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        click.echo(f"copickfs: {record.getMessage()}", err=True)

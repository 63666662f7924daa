"""``copickfs run``: a mount for the time of one command, as a cluster job needs it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from copickfs.cli.command import restart_alone
from copickfs.cli.datasets import ConfiguredCommand, make_write_directory


@click.command(cls=ConfiguredCommand)
@click.argument("config", type=click.Path(path_type=Path))
@click.argument("mountpoint")  # not click.Path: it would look at the mount, which may hang
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--read-only", is_flag=True, help="Refuse all writes, whatever the layers permit.")
@click.option("-o", "options", multiple=True, metavar="OPT[,OPT]", help="See copickfs mount --help.")
@click.option("--log-file", type=click.Path(path_type=Path), help="Where to log.")
@click.option("--log-level", help="debug, info, warning or error.")
@click.pass_context
def run(
    context: click.Context, /, config: Path, mountpoint: str, command: tuple[str, ...], **flags: Any
) -> None:
    """Mount CONFIG on MOUNTPOINT, run COMMAND, unmount, and exit with the command's status.

    Where the system permits it, only the command and what it starts see the mount. MOUNTPOINT is made if
    it is not there, and removed again. A -- separates COMMAND from what copickfs itself is to read.
    """
    from copickfs.cli.configuration import mount_options
    from copickfs.config import absolute_name, load
    from copickfs.daemon.job import run_job

    restart_alone(context)
    chosen = mount_options(**flags)
    loaded: Any = load(config)
    make_write_directory(config)
    sys.exit(run_job(loaded, absolute_name(config), mountpoint, chosen, command))

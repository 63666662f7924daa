"""``copickfs mount``: mount a configuration on a directory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from copickfs.cli.command import restart_alone
from copickfs.cli.datasets import ConfiguredCommand, make_write_directory

if TYPE_CHECKING:
    from copickfs.daemon.options import MountOptions


@click.command(cls=ConfiguredCommand)
@click.argument("config", type=click.Path(path_type=Path))
@click.argument("mountpoint")  # not click.Path: it would look at the mount, which may hang
@click.option("-f", "--foreground", is_flag=True, help="Stay in the foreground and log to standard error.")
@click.option("--read-only", is_flag=True, help="Refuse all writes, whatever the layers permit.")
@click.option("--allow-other", is_flag=True, help="Serve other users, too.")
@click.option("--offline", is_flag=True, help="Never ask a network: show what is known and cached.")
@click.option("-o", "options", multiple=True, metavar="OPT[,OPT]", help="Options as in fstab.")
@click.option("--log-file", type=click.Path(path_type=Path), help="Where to log.")
@click.option("--log-level", help="debug, info, warning or error.")
@click.pass_context
def mount(context: click.Context, /, config: Path, mountpoint: str, **flags: Any) -> None:
    """Mount the layers of CONFIG as one tree on the directory MOUNTPOINT.

    Returns when the mount answers; the daemon goes on in the background. Options of -o: ro, rw,
    allow_other, noexec, offline, degraded (mount although a layer is out of reach), foreground, debug
    (log every request to standard error, with -f), log_file=FILE, log_level=LEVEL; those that mount(8)
    and systemd use for themselves are ignored.
    """
    from copickfs.cli.configuration import mount_options

    restart_alone(context)
    mount_configuration(config, mountpoint, mount_options(**flags))


def mount_configuration(config_file: Path, mountpoint: str, options: MountOptions) -> None:
    """Load, check and mount; returns when the mount answers, or in the foreground when it has ended."""
    from copickfs.config import absolute_name, load
    from copickfs.daemon.request import check_request

    config: Any = load(config_file)
    make_write_directory(config_file)
    request = check_request(config, absolute_name(config_file), mountpoint, options)
    if options.foreground:
        from copickfs.daemon.foreground import serve

        serve(request)
    from copickfs.cli.progress import telling
    from copickfs.daemon.launch import launch

    with telling() as tell:
        launch(request, tell=tell)

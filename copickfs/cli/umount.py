"""``copickfs umount``: unmount, and wait until the daemon has ended."""

from __future__ import annotations

import click

from copickfs.cli.command import Command


@click.command(cls=Command)
@click.argument("mountpoint")  # not click.Path: it would look at the mount, which may hang
@click.option(
    "--force", is_flag=True, help="Detach a mount that is in use, dead or stuck, and end its daemon."
)
@click.option(
    "--timeout", "limit_s", type=click.FloatRange(min=0), default=30.0, show_default=True, metavar="S",
    help="How many seconds to wait for the daemon.",
)  # fmt: skip
def umount(mountpoint: str, *, force: bool, limit_s: float) -> None:
    """Unmount MOUNTPOINT and wait until its daemon has ended."""
    from copickfs.daemon.unmount import unmount

    unmount(mountpoint, force=force, limit_s=limit_s)

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
    """Unmount MOUNTPOINT and wait until its daemon has ended.

    What is still to be sent to a remote layer is kept, and sent at the next mount; to have it sent
    before, use copickfs flush.
    """
    from copickfs.daemon.pending import kept_in_words
    from copickfs.daemon.unmount import unmount

    for line in kept_in_words(unmount(mountpoint, force=force, limit_s=limit_s)):
        click.echo(f"copickfs: {mountpoint}: {line}", err=True)

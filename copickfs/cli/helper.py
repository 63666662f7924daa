"""``mount.fuse.copickfs``: how mount(8) and fstab mount a configuration."""

from __future__ import annotations

from pathlib import Path

import click

from copickfs.cli.command import Command


@click.command(cls=Command)
@click.argument("config", type=click.Path(path_type=Path))
@click.argument("mountpoint")  # not click.Path: it would look at the mount, which may hang
@click.option("-o", "options", multiple=True, metavar="OPT[,OPT]", help="Options, see copickfs mount --help.")
@click.option("-s", "sloppy", is_flag=True, help="Pass over unknown options.")
@click.option("-f", "fake", is_flag=True, help="Check everything, but do not mount.")
@click.option("-n", is_flag=True, expose_value=False, help="No entry in mtab (there never is one).")
@click.option("-v", "verbose", is_flag=True, help="Say what is mounted.")
@click.option("-t", "kind", expose_value=False, help="The type of file system.")
def helper(config: Path, mountpoint: str, options: tuple[str, ...], **flags: bool) -> None:
    """Mount CONFIG on MOUNTPOINT, called by mount(8): mount -t fuse.copickfs CONFIG MOUNTPOINT."""
    from copickfs.cli.configuration import mount_options
    from copickfs.cli.mount import mount_configuration

    chosen = mount_options(options=options, sloppy=flags["sloppy"])
    if flags["fake"]:
        from copickfs.config import load

        load(config)
        return
    mount_configuration(config, mountpoint, chosen)
    if flags["verbose"]:
        click.echo(f"{config} mounted on {mountpoint}")

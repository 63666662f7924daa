"""``copickfs materialize``: make partial copies of stores whole."""

from __future__ import annotations

import click

from copickfs.cli.command import Command


@click.command(cls=Command)
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)  # not click.Path: it would look
def materialize(paths: tuple[str, ...]) -> None:
    """Make the stores at and below each PATH in a mount whole in the write layer.

    A large store of a lower layer that was changed is there in part only: what was written. Afterwards
    copick finds all of it in the write layer alone. Small stores are made whole without this.
    """
    from copickfs.daemon.questions import materialize as ask

    for path in paths:
        files = ask(path)["files"]
        copied = {0: "nothing had to be copied", 1: "1 file copied"}.get(files, f"{files} files copied")
        click.echo(f"{path}: {copied}")

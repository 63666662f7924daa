"""``copickfs flush``: wait until what was written is where it belongs."""

from __future__ import annotations

import click

from copickfs.cli.command import Command
from copickfs.cli.text import printable


@click.command(cls=Command)
@click.argument("mountpoint")  # not click.Path: it would look at the mount, which may hang
@click.option(
    "--timeout", "timeout_s", type=click.FloatRange(min=0), metavar="S",
    help="Give up after so many seconds; without it, wait as long as it takes.",
)  # fmt: skip
def flush(mountpoint: str, timeout_s: float | None) -> None:
    """Wait until everything that was written through MOUNTPOINT has reached its layer.

    The exit status is 1 if something is still pending after --timeout; nothing of it is lost. Changes that
    wait in other journals of this user, and which no mount sends, are told of.
    """
    from copickfs.daemon.pending import in_words
    from copickfs.daemon.questions import flush as ask
    from copickfs.errors import MountError
    from copickfs.layers.journalplace import waiting_journals

    flushed = ask(mountpoint, timeout_s)
    for journal in waiting_journals():
        click.echo(f"copickfs: not sent: {printable(journal.in_words())}", err=True)
    if not flushed.complete:
        left = "; ".join(in_words(layer, document) for layer, document in flushed.pending.items())
        raise MountError(f"{mountpoint}: still to be sent: {left}")

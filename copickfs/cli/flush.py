"""``copickfs flush``: wait until what was written is where it belongs."""

from __future__ import annotations

import click

from copickfs.cli.command import Command


@click.command(cls=Command)
@click.argument("mountpoint")  # not click.Path: it would look at the mount, which may hang
@click.option(
    "--timeout", "timeout_s", type=click.FloatRange(min=0), metavar="S",
    help="Give up after so many seconds; without it, wait as long as it takes.",
)  # fmt: skip
def flush(mountpoint: str, timeout_s: float | None) -> None:
    """Wait until everything that was written through MOUNTPOINT has reached its layer.

    The exit status is 1 if something is still pending after --timeout; nothing of it is lost.
    """
    from copickfs.daemon.pending import in_words
    from copickfs.daemon.questions import flush as ask
    from copickfs.errors import MountError

    flushed = ask(mountpoint, timeout_s)
    if not flushed.complete:
        left = "; ".join(in_words(layer, document) for layer, document in flushed.pending.items())
        raise MountError(f"{mountpoint}: still to be sent: {left}")

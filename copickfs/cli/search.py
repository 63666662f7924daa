"""``copickfs search``: entities by words."""

from __future__ import annotations

import click

from copickfs.cli.answers import form_of, forms, offline_option, show
from copickfs.cli.command import mistakes
from copickfs.cli.datasets import ConfiguredCommand


@click.command(cls=ConfiguredCommand)
@click.argument("target", metavar="CONFIG|MOUNTPOINT")  # not click.Path: it would look at the mount
@click.argument("text")
@click.option("--type", "types", multiple=True, metavar="T", help="Kind, such as picks; may be repeated.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=20, show_default=True, metavar="N",
    help="Most entities of each kind.",
)  # fmt: skip
@offline_option
@forms
def search(
    target: str,
    text: str,
    types: tuple[str, ...],
    limit: int,
    *,
    offline: bool,
    as_json: bool,
    paths: bool,
    null: bool,
) -> None:
    """Search the names of runs, tomograms, objects, users and sessions for the words in TEXT.

    All words must be there; "several words" in quotation marks stand together, begin* begins a word.
    Where nothing has the words as they are, they may begin a word, then stand anywhere in a name.
    """
    from copickfs.cli.catalogs import open_target
    from copickfs.indexing import types_of

    form = form_of(as_json=as_json, paths=paths, null=null)
    with mistakes():
        kinds = [kind.plural for kind in types_of(types)] or None
    with open_target(target, offline=offline) as opened:
        show(opened.catalog.search(text, kinds, limit), opened.mountpoint, form)

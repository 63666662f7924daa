"""``copickfs find``: entities by what they are."""

from __future__ import annotations

from typing import Any

import click

from copickfs.cli.answers import form_of, forms, offline_option, show
from copickfs.cli.command import mistakes
from copickfs.cli.datasets import ConfiguredCommand


@click.command(cls=ConfiguredCommand)
@click.argument("target", metavar="CONFIG|MOUNTPOINT")  # not click.Path: it would look at the mount
@click.option("--run", metavar="R", help="Name of the run.")
@click.option(
    "--run-name", "run_names", multiple=True, metavar="R",
    help="Name of the run at the data portal, or else its own; may be repeated.",
)  # fmt: skip
@click.option("--object", "object_name", metavar="O", help="The object that is shown.")
@click.option("--user", metavar="U", help="Who made it.")
@click.option("--session", metavar="S", help="In which session.")
@click.option("--name", metavar="N", help="Type of a tomogram or feature, name of a segmentation.")
@click.option("--voxel-size", metavar="V", help="Size of a voxel, in Angstrom.")
@click.option("--type", "types", multiple=True, metavar="T", help="Kind, such as picks; may be repeated.")
@click.option("--segmentation-type", metavar="T", help="binary, multilabel, instance or panoptic.")
@click.option("--layer", metavar="L", help="A layer that has it.")
@offline_option
@forms
def find(
    target: str,
    object_name: str | None,
    types: tuple[str, ...],
    run_names: tuple[str, ...],
    *,
    offline: bool,
    as_json: bool,
    paths: bool,
    null: bool,
    **criteria: Any,
) -> None:
    """Find runs, tomograms, picks, ... across all layers.

    Every criterion may be a pattern with *, ? and [...], as in a shell: quote it. Kinds are objects,
    runs, voxel_spacings, tomograms, features, segmentations, meshes, filaments and picks.
    """
    from copickfs.cli.catalogs import open_target
    from copickfs.indexing import criteria_of

    form = form_of(as_json=as_json, paths=paths, null=null)
    given = {name: value for name, value in criteria.items() if value is not None}
    if object_name is not None:
        given["object"] = object_name
    if types:
        given["type"] = types
    if run_names:
        given["run_name"] = run_names
    with mistakes():
        criteria_of(**given)  # a mistake is told before anything is looked for
    with open_target(target, layer=given.get("layer"), offline=offline) as opened:
        show(opened.catalog.find_objects(**given), opened.mountpoint, form)

"""``copickfs check``: what a configuration means, and whether it would mount."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from copickfs.cli.command import FAILURE
from copickfs.cli.datasets import ConfiguredCommand

if TYPE_CHECKING:
    from copickfs.layers.base import Layer
    from copickfs.layers.manager import LayerManager


@click.command(cls=ConfiguredCommand)
@click.argument("config", type=click.Path(path_type=Path))
@click.argument("mountpoint", required=False)  # not click.Path: it would look at the mount
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document.")
def check(config: Path, mountpoint: str | None, *, as_json: bool) -> None:
    """Check CONFIG: what each of its layers is, and whether it can be reached.

    With MOUNTPOINT, also that no layer contains it, or lies in it. The exit status is 0 only if
    everything is well.
    """
    from copickfs.config import load
    from copickfs.layers.manager import LayerManager

    loaded: Any = load(config)
    if mountpoint is not None:
        from copickfs.daemon.mountpoint import require_apart
        from copickfs.daemon.mounts import resolve

        require_apart(resolve(mountpoint), loaded)
    # What the layers log of their faults is in the answer.
    logging.getLogger("copickfs.layers").addHandler(logging.NullHandler())
    manager = LayerManager(loaded)
    try:
        layers = [_examine(manager, layer) for layer in manager.get_layers_by_priority()]
    finally:
        manager.close()
    if as_json:
        click.echo(json.dumps({"configuration": str(config), "layers": layers}, indent=2))
    else:
        _show(layers)
    faults = [f"layer {layer['name']}: {layer['fault']}" for layer in layers if layer["fault"]]
    for fault in faults:
        click.echo(f"copickfs: {config}: {fault}", err=True)
    if faults:
        sys.exit(FAILURE)


def _examine(manager: LayerManager, layer: Layer) -> dict[str, Any]:
    from copickfs.errors import Transient, UserError

    fault = ""
    try:
        layer.connect()
    except (UserError, Transient, OSError) as error:
        fault = " ".join(str(error).split()).removeprefix(f"layer {layer.name}: ")
    return {
        "name": layer.name,
        "kind": manager.configs[layer.name].config_type,
        "priority": layer.priority,
        "read_only": layer.read_only,
        "write_layer": layer.name == manager.default_write_layer,
        "location": layer.location(""),
        "reachable": not fault,
        "fault": fault,
    }


def _show(layers: list[dict[str, Any]]) -> None:
    """Lines, not a table: locations and faults can be long, and what reads them need not be a terminal."""
    width = max(len(layer["name"]) for layer in layers)
    for layer in layers:
        access = (
            "write layer" if layer["write_layer"] else "read-only" if layer["read_only"] else "not written"
        )
        click.echo(f"{layer['name']:{width}}  {layer['kind']}, priority {layer['priority']}, {access}")
        click.echo(f"{'':{width}}  {layer['location']}")
        click.echo(f"{'':{width}}  {layer['fault'] or 'reachable'}")

"""Writing the demo: a directory with two layers and the configuration that stacks them.

The directory is claimed by a marker before anything is written, and ``config.json`` comes last, in
one step: a demo that was interrupted has no configuration, cannot be taken for a whole one, and
is written again at the next call.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
from typing import TYPE_CHECKING, Any

from copickfs.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

CONFIG_NAME = "config.json"
LAB_LAYER = "lab"
OWN_LAYER = "mine"

_MARKER_NAME = ".copickfs-demo"
_GLOB_CHARACTERS = "*?["
_USER_ID = "demo"
_SESSION_ID = "1"


def write_demo(directory: Path, *, force: bool = False) -> Path:
    """Write the demo project and return the path of its configuration.

    Args:
        directory: Where to write; made if it is missing. Empty, or an unfinished demo.
        force: Write a finished demo anew, too. What was added to its layers is lost.

    Raises:
        UserError: The directory holds something else, or a finished demo without ``force``, or cannot be
            written.
    """
    config_path = directory / CONFIG_NAME
    try:
        _claim(directory, force=force)
        _write_layers(directory)
        _write_whole(config_path, json.dumps(_configuration(), indent=2) + "\n")
    except OSError as error:
        raise UserError(f"{error.filename or directory}: cannot write the demo: {error.strerror}") from error
    return config_path


def _claim(directory: Path, *, force: bool) -> None:
    """Make sure that ``directory`` is there, ours, and holds nothing of an earlier demo."""
    if any(character in str(directory.absolute()) for character in _GLOB_CHARACTERS):
        raise UserError(
            f"{directory}: copick cannot work below a path with *, ? or [; name another directory"
        )
    if directory.exists() and not directory.is_dir():
        raise UserError(f"{directory}: is not a directory; name a new or empty one")
    directory.mkdir(parents=True, exist_ok=True)
    marker = directory / _MARKER_NAME
    config_path = directory / CONFIG_NAME
    if not marker.exists() and any(directory.iterdir()):
        raise UserError(f"{directory}: is not empty and not a demo; name a new or empty directory")
    if marker.exists() and config_path.exists() and not force:
        raise UserError(f"{directory}: already holds a demo; use it, or write it anew with --force")
    marker.write_text("This directory was made by `copickfs demo`.\n")
    # The configuration goes first: from here on the demo counts as unfinished.
    for name in (CONFIG_NAME, LAB_LAYER, OWN_LAYER):
        _remove(directory / name)


def _remove(path: Path) -> None:
    """Remove a file, a link or a whole tree, if it is there."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(mode):
        shutil.rmtree(path)
    else:
        path.unlink()


def _write_layers(directory: Path) -> None:
    from copickfs.demo.layers import write_lab_layer, write_own_layer

    objects = _pickable_objects()
    write_lab_layer(directory / LAB_LAYER, objects)
    write_own_layer(directory / OWN_LAYER, objects)


def _write_whole(path: Path, text: str) -> None:
    """Write a file so that its name appears together with its whole contents."""
    temporary = path.with_name(f".{path.name}.partial")
    temporary.write_text(text)
    os.replace(temporary, path)  # noqa: PTH105 -- says that an existing name is replaced


def _configuration() -> dict[str, Any]:
    """The multilayer configuration, with roots relative to its own place."""
    return {
        "config_type": "multilayer",
        "name": "copickfs demo",
        "description": "A colleague's curated layer below one's own.",
        "version": "1.0.0",
        "user_id": _USER_ID,
        "session_id": _SESSION_ID,
        "pickable_objects": _pickable_objects(),
        "layers": [OWN_LAYER, LAB_LAYER],
        "layer_configs": {
            OWN_LAYER: _layer_configuration(OWN_LAYER, priority=50, read_only=False),
            LAB_LAYER: _layer_configuration(LAB_LAYER, priority=10, read_only=True),
        },
        "default_write_layer": OWN_LAYER,
    }


def _layer_configuration(name: str, *, priority: int, read_only: bool) -> dict[str, Any]:
    return {
        "config_type": "filesystem",
        "layer_name": name,
        "priority": priority,
        "read_only": read_only,
        "root": name,
    }


def _pickable_objects() -> list[dict[str, Any]]:
    """The objects of the project, as copick's configuration has them."""
    from copickfs.demo.phantom import LABELS, MICROTUBULE_RADIUS_ANGSTROM, PARTICLE_RADII_ANGSTROM

    return [
        {
            "name": "ribosome",
            "is_particle": True,
            "label": LABELS["ribosome"],
            "color": [0, 117, 220, 255],
            "identifier": "GO:0022626",
            "emdb_id": "EMD-3883",
            "map_threshold": 0.5,
            "radius": PARTICLE_RADII_ANGSTROM["ribosome"],
        },
        {
            "name": "ferritin",
            "is_particle": True,
            "label": LABELS["ferritin"],
            "color": [255, 164, 5, 255],
            "identifier": "GO:0070288",
            "map_threshold": 0.4,
            "radius": PARTICLE_RADII_ANGSTROM["ferritin"],
        },
        {
            "name": "membrane",
            "is_particle": False,
            "label": LABELS["membrane"],
            "color": [130, 130, 130, 255],
            "identifier": "GO:0016020",
        },
        {
            "name": "microtubule",
            "is_particle": True,
            "label": LABELS["microtubule"],
            "color": [43, 206, 72, 255],
            "identifier": "GO:0005874",
            "radius": MICROTUBULE_RADIUS_ANGSTROM,
            "metadata": {"copick": {"filament": {"polar": True}}},
        },
    ]

"""From what is named on a command line to a cache, and to what is meant in it."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from copickfs.errors import ConfigError, InvalidName, UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from copickfs.cache import Disk
    from copickfs.cache.opened import Opened
    from copickfs.layers.cachelayer import CacheLayer
    from copickfs.layers.manager import LayerManager
    from copickfs.layers.remote import FsspecLayer


def cache_of(manager: LayerManager) -> CacheLayer:
    """The cache of a configuration.

    Raises:
        ConfigError: There is none, or its directory holds something else.
    """
    from copickfs.cache.place import check_root

    layer = manager.cache_layer
    if layer is None:
        file = manager.config.where("").file
        message = "there is no cache in this configuration; add this key, or a layer of config_type 'cache'"
        raise ConfigError(message, file=file, key="cache_config")
    try:
        check_root(layer.disk.root)
    except ConfigError as error:
        file, key = manager.config.where(layer.name, "root")
        raise ConfigError(str(error), file=file, key=key) from None
    return layer


@contextlib.contextmanager
def reading(layer: CacheLayer) -> Iterator[tuple[Disk, Opened]]:
    """The disk of a cache and its directory, to be looked at; one that is not there yet is not made for that.

    Raises:
        CacheUnavailable: The directory cannot be used just now.
    """
    if layer.disk.root.exists():
        with layer.disk.using() as opened:
            yield layer.disk, opened
        return
    from copickfs.cache import Disk

    with tempfile.TemporaryDirectory(prefix="copickfs-") as empty:
        disk = Disk(Path(empty), layer.disk.limit_bytes)
        try:
            with disk.using() as opened:
                yield disk, opened
        finally:
            disk.close()


def cached_of(manager: LayerManager, only: str | None) -> list[FsspecLayer]:
    """The layers that are cached, or the one of them that was named.

    Raises:
        ConfigError: There is no layer of this name.
        UserError: It is not cached, or none is.
    """
    from copickfs.layers.remote import cached_layers

    layers = cached_layers(manager.get_data_layers())
    if only is not None:
        manager.get_layer(only)
        layers = [layer for layer in layers if layer.name == only]
    if not layers:
        which = "no layer of this configuration is" if only is None else f"layer {only} is not"
        raise UserError(f"{which} cached: remote layers are, or the one of them that 'parent_layer' names")
    return layers


def sources_of(manager: LayerManager) -> dict[str, list[str]]:
    """What the layers are called in the cache, with the names of the layers that are called so."""
    from copickfs.layers.remote import cached_layers

    names: dict[str, list[str]] = {}
    for layer in cached_layers(manager.get_data_layers()):
        names.setdefault(layer.cached_as, []).append(layer.name)
    return names


def tree_paths(given: Iterable[str], mountpoint: str) -> list[str]:
    """Paths of the tree from those of a command line.

    Absolute ones lie below the mount point. Others are of the tree; or, if the working directory is
    in the mount, relative to that, as for every other program.

    Raises:
        UserError: One cannot be a path of the tree.
    """
    from copickfs.paths import normalise

    found = []
    is_inside = bool(mountpoint) and _is_inside(mountpoint)
    for path in given:
        if not path:
            raise UserError("a PATH is empty; write . for everything")
        inner = _inside(path, mountpoint) if is_inside or path.startswith("/") else path
        parts = [part for part in inner.split("/") if part != "."]
        try:
            found.append(normalise("/".join(parts)))
        except InvalidName as error:
            raise UserError(str(error)) from None
    return found


@contextlib.contextmanager
def opened_manager(target: str) -> Iterator[tuple[LayerManager, str]]:
    """The layers of a configuration file or of a mount point, not connected, and the mount point."""
    from copickfs.cli.catalogs import configuration_of, tell_warnings
    from copickfs.config import load
    from copickfs.layers.manager import LayerManager

    tell_warnings()
    config_file, mountpoint = configuration_of(target)
    config: Any = load(config_file)
    manager = LayerManager(config)
    try:
        yield manager, mountpoint
    finally:
        manager.close()


def _is_inside(mountpoint: str) -> bool:
    """True if the working directory is in the mount, which is not asked for that."""
    from copickfs.daemon.mounts import is_within

    try:
        return is_within(str(Path.cwd()), mountpoint)
    except OSError:  # it was removed
        return False


def _inside(path: str, mountpoint: str) -> str:
    from copickfs.daemon.mounts import is_within, resolve

    resolved = resolve(path)
    if not mountpoint:
        raise UserError(f"{path}: name it as it is in the merged tree, or name its mount point before it")
    if not is_within(resolved, mountpoint):
        raise UserError(f"{path}: is not below {mountpoint}")
    return resolved[len(mountpoint) :]

"""Where the index of a configuration is, and opening it."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from copickfs.basedirs import cache_home
from copickfs.errors import IndexUnavailable
from copickfs.index import BUSY_S, open_database, stack_key
from copickfs.layers import mounts
from copickfs.layers.identity import listing_key

if TYPE_CHECKING:
    from copickfs.index import Database
    from copickfs.layers.manager import LayerManager

_log = logging.getLogger(__name__)


def open_index(config: Any, *, busy_s: float = BUSY_S) -> Database:
    """Open the database that a configuration names, or the user's own.

    On a network file system SQLite cannot keep several machines apart: there, a database in the
    machine's directory for temporary files is used.

    Args:
        config: See `copickfs.config.load`.
        busy_s: How long writers wait for other processes.

    Raises:
        IndexUnavailable: It cannot be used; says why.
    """
    named = None if config.db_config is None else Path(config.db_config.db_path)
    path = named or _cache_directory() / "index.db"
    if _is_on_network(path):
        local = _local_directory() / "index.db"
        report = _log.info if named is None else _log.warning
        report("%s is on a network file system, where several machines cannot share an index; "
               "this machine's is %s", path, local)  # fmt: skip
        path = local
    return open_database(path, busy_s=busy_s)


def key_of(manager: LayerManager) -> str:
    """The key of a manager's data layers in the index: their names and where they are, in order."""
    return stack_key(
        (
            layer.name,
            layer.location("") + listing_key("", getattr(manager.configs[layer.name], "fs_args", {})),
        )
        for layer in manager.get_data_layers()
    )


def _cache_directory() -> Path:
    try:
        return cache_home() / "copickfs"
    except RuntimeError:  # no home
        return _local_directory()


def _local_directory() -> Path:
    """This user's directory below the one for temporary files.

    Raises:
        IndexUnavailable: Somebody else has made it.
    """
    directory = Path(tempfile.gettempdir()) / f"copickfs-index-{os.getuid()}"
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        status = directory.lstat()
    except OSError as error:
        raise IndexUnavailable(f"{directory}: {error.strerror}") from error
    if status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise IndexUnavailable(f"{directory}: is not a directory that only this user can write to")
    return directory


def _is_on_network(path: Path) -> bool:
    for above in (path, *path.parents):
        try:
            return mounts.is_network(mounts.type_of_device(above.stat().st_dev))
        except OSError:
            continue
    return False

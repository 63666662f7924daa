"""From a configuration to its catalog, without a mount."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from copickfs.indexing.catalog import Catalog
from copickfs.indexing.place import key_of
from copickfs.layers.kinds import BuildContext
from copickfs.layers.manager import LayerManager
from copickfs.view import View

if TYPE_CHECKING:
    from collections.abc import Iterator

    from copickfs.index import Database


@contextlib.contextmanager
def open_catalog(
    config: Any, database: Database | None, *, offline: bool = False
) -> Iterator[tuple[Catalog, LayerManager]]:
    """The catalog of a loaded configuration, and its layers, which are not connected yet.

    Args:
        config: See `copickfs.config.load`.
        database: Its index, which is closed at the end; None if there is none.
        offline: Reach for nothing on a network.
    """
    with contextlib.ExitStack() as opened:
        if database is not None:
            opened.callback(database.close)
        manager = LayerManager(config, BuildContext(database=database, offline=offline))
        opened.callback(manager.close)
        catalog = Catalog(View(manager.get_data_layers()), database, key_of(manager))
        catalog.mark_used()
        yield catalog, manager

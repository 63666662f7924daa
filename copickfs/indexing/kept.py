"""The index of one stack, as far as the stack's life is concerned. Never a reason not to serve the tree."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from copickfs.errors import IndexUnavailable
from copickfs.index import BUSY_S, OPEN_BUSY_S
from copickfs.indexing.catalog import Catalog
from copickfs.indexing.keeper import Keeper
from copickfs.indexing.place import key_of, open_index
from copickfs.indexing.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Callable

    from copickfs.index import Database
    from copickfs.layers.manager import LayerManager
    from copickfs.view import View

_log = logging.getLogger(__name__)

INTERVAL_S = 3600.0
"""Time between two runs where no index is configured."""

FIRST_S = 10.0
"""How long after the start a run is made that is due: many a mount does not live so long."""


class KeptIndex:
    """Opens the index, keeps it, and lets go of it, in this order.

    Args:
        config: The configuration.
        config_file: Its path; None where there is no file, and so no whole runs in another process.
        offline: Whole runs reach for nothing on a network either.

    Attributes:
        database: Where it is; None if it cannot be used.
        catalog: What is asked; None before `attach`.
        keeper: Keeps it; None before `attach`, and if it cannot be used.
    """

    def __init__(self, config: Any, config_file: str | None, *, offline: bool = False) -> None:
        self._config = config
        self._offline = offline
        self._config_file = config_file
        self._fault = ""
        self.catalog: Catalog | None = None
        self.keeper: Keeper | None = None
        self.database: Database | None = None
        try:
            self.database = open_index(config, busy_s=OPEN_BUSY_S)
        except IndexUnavailable as error:
            self._fault = str(error)
            _log.warning("the index cannot be used: %s; copickfs goes on without it", error)

    def attach(self, view: View, manager: LayerManager, served: Callable[[], int]) -> None:
        """The tree whose index it is, and what tells how many requests for it have been answered."""
        catalog = self.catalog = Catalog(view, self.database, key_of(manager))
        if manager.db_layer is not None:
            manager.db_layer.attach(catalog)
        if self.database is None:
            return
        interval_s = self._interval_s()
        first_s = FIRST_S if interval_s is None else min(FIRST_S, interval_s)
        runner = Runner(self._config_file or "", offline=self._offline)
        self.keeper = Keeper(catalog, runner, interval_s, first_s, served)

    def start(self) -> None:
        """Begin to keep it: the tree is served, and nobody waits for the index any more."""
        if self.database is not None:
            self.database.busy_s = BUSY_S
        if self.keeper is not None:
            self.keeper.start()

    def end(self) -> None:
        """Change nothing in it any more. Idempotent."""
        if self.keeper is not None:
            self.keeper.close()

    def close(self) -> None:
        """Let go of the database. Idempotent."""
        if self.database is not None:
            self.database.close()

    def document(self) -> dict[str, Any]:
        """The keys about the index in ``docs/status.md``. From memory."""
        if self.keeper is not None:
            return self.keeper.document()
        return {
            "database": None, "entities": 0, "indexed_ns": 0, "indexing": False, "pending": 0,
            "message": self._fault,
        }  # fmt: skip

    def _interval_s(self) -> float | None:
        config = self._config.db_config
        if self._config_file is None:
            return None
        if config is None:
            return INTERVAL_S
        return float(config.index_interval) if config.auto_index else None

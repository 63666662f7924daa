"""What the user of a daemon may ask it to do; see `copickfs.daemon.channel`."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from copickfs.daemon.pending import pending_of
from copickfs.errors import MountError, NotFound
from copickfs.paths import normalise

if TYPE_CHECKING:
    from copickfs.daemon.channel import Caller, Handler
    from copickfs.indexing.keeper import Keeper
    from copickfs.layers.manager import LayerManager
    from copickfs.view.writing import Writer

_SETTLE_S = 30.0
_SLICE_S = 2.0
"""How often a flush looks whether the one who asked still waits."""


class Orders:
    """Does what is asked. Thread-safe.

    Args:
        manager: The layers.
        writer: What changes the tree; None on a read-only mount.
        keeper: Keeps the index; None if there is none.
        configuration: Path of the configuration file.
        offline: Nothing on a network is asked for this mount.
    """

    def __init__(
        self,
        manager: LayerManager,
        writer: Writer | None,
        keeper: Keeper | None,
        configuration: str,
        *,
        offline: bool = False,
    ) -> None:
        self._manager = manager
        self._writer = writer
        self._keeper = keeper
        self._configuration = configuration
        self._offline = offline
        self._ending = threading.Event()

    def close(self) -> None:
        """The daemon ends: nobody waits any longer. Idempotent."""
        self._ending.set()

    def handlers(self) -> dict[str, Handler]:
        """What can be asked, by name."""
        return {"materialize": self.materialize, "flush": self.flush, "index": self.index}

    def index(self, _question: dict[str, Any], _caller: Caller) -> dict[str, Any]:
        """Where the index is, with all changes in it that were made so far."""
        database, is_settled = None, True
        if self._keeper is not None:
            is_settled = self._keeper.settle(_SETTLE_S)
            database = self._keeper.document()["database"]
        return {
            "configuration": self._configuration,
            "database": database,
            "settled": is_settled,
            "offline": self._offline,
        }

    def materialize(self, question: dict[str, Any], _caller: Caller) -> dict[str, Any]:
        """``path``: a store whose partial copy is completed, or a directory with such stores below it.

        Raises:
            MountError: The mount is read-only, or there is no such path.
        """
        if self._writer is None:
            raise MountError("the mount is read-only: there is nothing to complete")
        try:
            return {"files": self._writer.materialize(normalise(str(question["path"])))}
        except NotFound:
            raise MountError("there is no such file or directory") from None

    def flush(self, question: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Wait until nothing is pending, ``timeout_s`` are over (null: never), or nobody waits any more."""
        timeout_s = question.get("timeout_s")
        deadline_s = float("inf") if timeout_s is None else time.monotonic() + float(timeout_s)
        layers = list(self._manager.layers.values())
        for layer in layers:
            while not layer.flush_pending(max(0.0, min(_SLICE_S, deadline_s - time.monotonic()))):
                late = time.monotonic() >= deadline_s
                if late or self._ending.is_set() or not caller.is_waiting():
                    break
        pending = pending_of(layers)
        return {"complete": not pending, "pending": pending}

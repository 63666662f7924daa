"""The threads that send what waits in the journal of a remote layer."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from copickfs.errors import ConfigError, CopickfsError, Transient
from copickfs.layers.journalrecord import PUT, Record, digest_of_file
from copickfs.layers.sources import DIRECTORY
from copickfs.layers.sources.writing import Version

if TYPE_CHECKING:
    from collections.abc import Callable

    from copickfs.layers.backlog import Backlog
    from copickfs.layers.changes import Changes, Landed
    from copickfs.layers.journal import Journal

_log = logging.getLogger(__name__)

WORKERS = 4
_IDLE_S = 10.0
_SWEEP_S = 0.5
_JOIN_S = 5.0


class Propagation:
    """Sends the changes of a backlog, in order where that matters, and sweeps up behind broken uploads.

    Args:
        name: Name of the layer.
        backlog: What waits.
        journal: Where its data is.
        changes: Makes them at the source.
        is_used: Tells tokens of uploads that are still going on.
        sent: Called with each change that is at the source, before it is forgotten here.
    """

    def __init__(
        self,
        name: str,
        backlog: Backlog,
        journal: Journal,
        changes: Changes,
        *,
        is_used: Callable[[str], bool],
        sent: Callable[[Record, Landed], None],
    ) -> None:
        self._name = name
        self._backlog = backlog
        self._journal = journal
        self._changes = changes
        self._is_used = is_used
        self._sent = sent
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(number,), name=f"copickfs-send-{name}", daemon=True)
            for number in range(WORKERS)
        ]

    def start(self) -> None:
        """Begin to send."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End, after the calls to the source were given up."""
        self._ended.set()
        self._backlog.close()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(_JOIN_S)

    def carry_out(self, record: Record) -> None:
        """Make a change that the caller holds (`Backlog.append`) at once.

        Raises:
            Transient: It may have been made in part; it stays in the backlog and is made behind.
            OSError, CopickfsError: The source refuses it; it is given up.
        """
        try:
            self._make(record)
        except Transient as error:
            self._backlog.failed(record, str(error), is_outage=True)
            raise
        except Exception:
            self._backlog.finished(record, {})
            raise

    def _run(self, number: int) -> None:
        while not self._ended.is_set():
            has_left = number == 0 and self._journal.has_uploads
            record = self._backlog.take(_SWEEP_S if has_left else _IDLE_S)
            if record is not None:
                self._send(record)
            elif has_left and not self._ended.is_set():
                self._sweep()

    def _send(self, record: Record) -> None:
        try:
            if self._is_damaged(record):
                return
            self._make(record)
        except Exception as error:  # noqa: BLE001 - no change is ever given up
            if self._ended.is_set():
                return
            if not isinstance(error, OSError | CopickfsError):
                _log.exception("layer %s: a change could not be sent", self._name)
            is_outage = isinstance(error, Transient | ConfigError)
            self._backlog.failed(record, str(error) or type(error).__name__, is_outage=is_outage)

    def _make(self, record: Record) -> None:
        landed = self._changes.apply(record)
        if landed is not None:
            self._sent(record, landed)
        self._finish(record, landed)

    def _finish(self, record: Record, landed: Landed | None) -> None:
        versions = {} if landed is None else {landed.path: Version.of(landed.found)}
        moved = "" if landed is None or landed.found.kind != DIRECTORY else landed.path
        while unknown := self._backlog.finished(record, versions, moved):
            versions |= {path: self._changes.version(path) for path in unknown}

    def _is_damaged(self, record: Record) -> bool:
        """True if the data is not what was written; it is set aside then."""
        if record.operation != PUT:
            return False
        try:
            if digest_of_file(self._journal.data_file(record.number)) == record.digest:
                return False
        except FileNotFoundError:
            if not self._backlog.has(record):
                return True  # a later version has taken its place
        self._journal.set_aside(record, "its data is not what was written")
        self._backlog.finished(record, {})
        return True

    def _sweep(self) -> None:
        try:
            self._changes.sweep(self._is_used)
        except (OSError, CopickfsError) as error:
            _log.debug("layer %s: what broken uploads have left is not removed yet: %s", self._name, error)

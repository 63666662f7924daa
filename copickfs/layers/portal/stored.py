"""A portal's answers in the index: what all processes of this machine know, and whose turn it is to ask.

Without an index nothing is kept, and every process asks for itself. Thread-safe.
"""

from __future__ import annotations

import contextlib
import logging
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import xxhash

from copickfs.errors import IndexUnavailable, Unavailable
from copickfs.index.portal import digest_of
from copickfs.layers.portal.records import unpacked
from copickfs.turns import Taken, turn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from copickfs.index.portal import PortalTable, RunRow, Selection
    from copickfs.layers.portal.fetching import Answer, Question

_log = logging.getLogger(__name__)


class Told(NamedTuple):
    """One answer of the portal.

    Attributes:
        fetched_ns: When the portal was asked.
        digest: Differs when anything in it does.
        about: What it tells of the datasets.
        runs: What it tells of each run, by number.
    """

    fetched_ns: int
    digest: str
    about: dict[str, Any]
    runs: dict[int, RunRow]


class StoredAnswers:
    """The answers of one portal in the index. Never raises because of the index.

    Args:
        name: Name of the layer.
        table: Where they are; None for nowhere.
    """

    def __init__(self, name: str, table: PortalTable | None) -> None:
        self._name = name
        self._table = table

    def state(self, question: Question) -> Selection | None:
        """What is known of a stored answer without reading it; None if there is none."""
        if self._table is None:
            return None
        with contextlib.suppress(IndexUnavailable):
            return self._table.selection(str(question))
        return None

    def load(self, question: Question) -> Told | None:
        """The stored answer; None if there is none that can be read."""
        if self._table is None:
            return None
        try:
            selection = self._table.selection(str(question))
            if selection is None or not selection.fetched_ns:
                return None
            runs = {row.run: row for row in self._table.rows(selection.number)}
            return Told(selection.fetched_ns, selection.digest, unpacked(selection.about), runs)
        except (IndexUnavailable, ValueError) as error:
            _log.info("layer %s: what is stored of the portal cannot be read: %s", self._name, error)
            return None

    def keep(self, question: Question, asked_ns: int, answer: Answer) -> Told:
        """Keep an answer for the next process."""
        if self._table is not None:
            try:
                self._table.replace(str(question), asked_ns, answer.about, answer.runs)
            except IndexUnavailable as error:
                message = "layer %s: what the portal tells cannot be kept (%s); the next mount asks again"
                _log.warning(message, self._name, error)
        digest = digest_of(answer.about, answer.runs)
        return Told(asked_ns, digest, unpacked(answer.about), {row.run: row for row in answer.runs})

    def failed(self, question: Question, error: Exception) -> None:
        """The portal did not answer: tell the processes that wait for it."""
        if self._table is not None:
            with contextlib.suppress(IndexUnavailable):
                self._table.failed(str(question), time.time_ns(), str(error))

    def is_answered(self, question: Question, since_ns: int, needed_ns: int) -> bool:
        """True if another process was answered after ``needed_ns``.

        Raises:
            Unavailable: Another process was not answered, after ``since_ns``.
        """
        selection = self.state(question)
        if selection is not None and selection.failed_ns > since_ns:
            raise Unavailable(f"layer {self._name}: {selection.failure}")
        return selection is not None and selection.fetched_ns > needed_ns

    @contextlib.contextmanager
    def turn(self, question: Question) -> Iterator[bool]:
        """Only one process asks a question at a time: False for one whose turn it is not."""
        path = None if self._table is None else self._table.database.path
        if self._table is None or path is None:
            yield True
            return
        name = xxhash.xxh3_64_hexdigest(f"{self._table.portal} {question}".encode())
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(turn(path.with_name(f"{path.name}.portal-{name}.lock"), 0.0, 0o600))
            except Taken:
                yield False
                return
            except OSError:  # the answer cannot be kept either
                pass
            yield True

"""Fetching all that a portal tells of a dataset: one question for each class of records, in batches of runs.

A portal gives up on questions that are too large for it: the batch is halved then, and so are those that
follow. What fails for another reason is asked again, after a while, a few times.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from copickfs.errors import Unavailable
from copickfs.index.portal import RunRow
from copickfs.layers.portal.asking import Odd, Overwhelmed
from copickfs.layers.portal.insisting import Asker
from copickfs.layers.portal.objects import put_together, told_of_objects
from copickfs.layers.portal.records import packed, run_records
from copickfs.layers.portal.runs import runs_and_datasets
from copickfs.layers.portal.tree import Selection, run_tree

if TYPE_CHECKING:
    from collections.abc import Callable

    from copickfs.layers.portal.asking import PortalClient

_log = logging.getLogger(__name__)

BATCH_RUNS = 100
"""Runs in one question, at first."""

WORKERS = 3
_FEW_ODD = 3
_OF_RUNS = 0.01
"""So many runs may be left out because the portal cannot tell of them; with more, it is the portal."""

_RUN = "run.id"


class Question(NamedTuple):
    """What is asked of a portal at one time.

    Attributes:
        datasets: All runs of these datasets.
        runs: Only these runs; empty for all.
    """

    datasets: tuple[int, ...]
    runs: tuple[int, ...] = ()

    def __str__(self) -> str:
        """The name of the selection that answers it."""
        if self.runs:
            return f"runs {','.join(map(str, sorted(self.runs)))}"
        return f"datasets {','.join(map(str, sorted(self.datasets)))}"


class Answer(NamedTuple):
    """What the portal tells.

    Attributes:
        about: Of the datasets, packed.
        runs: Of each run.
    """

    about: bytes
    runs: list[RunRow]


class Fetch:
    """One question on its way to an answer.

    Args:
        client: Asks the portal.
        question: What for.
        progress: Called with the number of runs that are done and of all, from any thread.
        stop: Set to give up.
    """

    def __init__(
        self,
        client: PortalClient,
        question: Question,
        progress: Callable[[int, int], None],
        stop: threading.Event,
    ) -> None:
        self._asker = Asker(client, stop)
        self._question = question
        self._progress = progress
        self._lock = threading.Lock()
        self._pending: deque[int] = deque()
        self._batch_runs = BATCH_RUNS
        self._total = 0
        self._runs: dict[int, dict[str, Any]] = {}
        self._answers: list[RunRow] = []
        self._odd_runs = 0
        self._left_out: dict[str, tuple[int, str]] = {}
        self._objects: list[dict[str, Any]] = []
        self._error: Exception | None = None

    def answer(self) -> Answer:
        """The whole answer.

        Raises:
            ConfigError: There is no such portal, dataset or run.
            Transient: The portal is out of reach, or does not answer.
        """
        runs, about = runs_and_datasets(self._question.datasets, self._question.runs, self._asker)
        self._runs = {run["id"]: run for run in runs}
        self._pending.extend(sorted(self._runs))
        self._total = len(self._runs)
        self._progress(0, self._total)
        self._work_together()
        about["objects"] = self._objects
        about["left_out"] = dict(sorted(self._left_out.items()))
        return Answer(packed(about), sorted(self._answers))

    def _work_together(self) -> None:
        workers = [
            threading.Thread(target=self._work, name=f"portal-{number}", daemon=True)
            for number in range(min(WORKERS, -(-self._total // BATCH_RUNS)))
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        while batch := self._next_batch():
            try:
                self._fetch(batch)
            except Exception as error:  # noqa: BLE001 - it is raised where the answer is waited for
                with self._lock:
                    self._error = self._error or error
                return

    def _next_batch(self) -> list[int]:
        with self._lock:
            if self._error is not None:
                return []
            return [self._pending.popleft() for _ in range(min(self._batch_runs, len(self._pending)))]

    def _fetch(self, batch: list[int]) -> None:
        """Ask for some runs, by halves if they are too many or one of them is odd."""
        if self._error is not None:
            return
        try:
            found = self._records(batch)
        except (Overwhelmed, Odd) as error:
            if len(batch) > 1:
                half = len(batch) // 2
                if isinstance(error, Overwhelmed):
                    with self._lock:
                        self._batch_runs = max(1, min(self._batch_runs, half))
                _log.debug("%d runs at once are too many: %s", len(batch), error)
                self._fetch(batch[:half])
                self._fetch(batch[half:])
                return
            if isinstance(error, Overwhelmed):
                raise
            self._leave_out(batch[0], error)
            found = []
        with self._lock:
            self._answers += found
            done = len(self._answers) + self._odd_runs
        self._progress(done, self._total)

    def _records(self, batch: list[int]) -> list[RunRow]:
        def find(model: str, where: tuple[str, list[int]]) -> list[dict[str, Any]]:
            at_once = (Overwhelmed, Odd) if len(batch) > 1 else ()
            return self._asker.insist(lambda client: client.find(model, where), at_once=at_once)

        annotations = find("Annotation", (_RUN, batch))
        shapes = find("AnnotationShape", (f"annotation.{_RUN}", batch))
        records = run_records(
            [self._runs[run] for run in batch],
            spacings=find("TomogramVoxelSpacing", (_RUN, batch)),
            tomograms=find("Tomogram", (_RUN, batch)),
            tomogram_authors=find("TomogramAuthor", (f"tomogram.{_RUN}", batch)),
            annotations=annotations,
            annotation_authors=find("AnnotationAuthor", (f"annotation.{_RUN}", batch)),
            shapes=shapes,
            files=find("AnnotationFile", (f"annotation_shape.annotation.{_RUN}", batch)),
        )
        for record in records:
            run_tree(record, Selection(), self._note)
        told = told_of_objects(annotations, shapes)
        with self._lock:
            self._objects = put_together([*self._objects, *told])
        return [
            RunRow(record["id"], record["dataset_id"], _sound(record.get("name")), packed(record))
            for record in records
        ]

    def _leave_out(self, run: int, error: Odd) -> None:
        self._note(f"a run that the portal cannot tell of: {error}", f"run {run}")
        with self._lock:
            self._odd_runs += 1
            if self._odd_runs > max(_FEW_ODD, _OF_RUNS * self._total):
                raise Unavailable(str(error))

    def _note(self, reason: str, subject: str) -> None:
        """One more record that cannot be shown; the one with the least name is the example."""
        with self._lock:
            count, example = self._left_out.get(reason, (0, subject))
            self._left_out[reason] = (count + 1, min(example, subject))


def _sound(name: str | None) -> str:
    """A name without halves of characters, which JSON can have and no file."""
    return (name or "").encode(errors="replace").decode()


def age_s(fetched_ns: int) -> float:
    """How old an answer is; infinitely if there is none, or the clock has gone back since."""
    seconds = (time.time_ns() - fetched_ns) / 1e9
    return seconds if fetched_ns and seconds >= 0 else float("inf")

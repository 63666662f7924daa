"""One way through the directories of the merged tree that hold entities."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from copickfs.entities import ENTITY_DIRECTORIES, RUNS_DIRECTORY
from copickfs.errors import LayerError, NotADirectory, NotFound, Transient
from copickfs.indexing.metadata import CONTAINERS
from copickfs.indexing.records import Batch
from copickfs.paths import split

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable, Iterator

    from copickfs.indexing.looking import Look, Looker
    from copickfs.indexing.records import Records
    from copickfs.view import View

_RUN_DEPTH = 1


@dataclasses.dataclass(slots=True)
class Summary:
    """What a run of the crawler has done.

    Attributes:
        runs: Runs of the project that are done.
        directories: Directories that were looked at.
        changed: Those of them whose records are others now.
        entities: Entities in all of them.
        reads: Entities whose metadata was read.
        skipped: Directories that could not be read, with the reason; their records are as they were.
        is_whole: The whole tree was looked at; if not, the next run goes on with this one.
        elapsed_s: How long it took.
    """

    runs: int = 0
    directories: int = 0
    changed: int = 0
    entities: int = 0
    reads: int = 0
    skipped: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    is_whole: bool = False
    elapsed_s: float = 0.0


class Walk:
    """Looks at directories, and puts what it sees into a batch.

    Args:
        view: The merged tree.
        records: What is known.
        looker: Looks at one directory.
        scan: Number of the run, or `OUTSIDE`.
        stop: Set where the walk is to end.
        full: Read all metadata again.
        layer: Look only where the layer of this name contributes, or has done so.

    Attributes:
        batch: What is to be handed over.
        summary: What was done so far.
        is_incomplete: A layer that had to be asked was out of reach.
    """

    def __init__(
        self,
        view: View,
        records: Records,
        looker: Looker,
        scan: int,
        stop: threading.Event,
        *,
        full: bool = False,
        layer: str | None = None,
    ) -> None:
        self._view = view
        self._records = records
        self._looker = looker
        self._stop = stop
        self._full = full
        self._layer = layer
        self._had = set() if layer is None else set(_with_those_above(records.directories_with(layer)))
        self._done: set[str] = set()
        self.batch = Batch(records, scan)
        self.summary = Summary()
        self.is_incomplete = False

    def go_on(self, done: set[str]) -> None:
        """Leave out what is done: directories that the run has seen before it was interrupted."""
        self._done = done

    def tree(self, directory: str) -> None:
        """Look at a directory and all below it."""
        if directory == RUNS_DIRECTORY:
            for run in self.above(directory):
                self.run(run)
        elif directory.count("/") == _RUN_DEPTH:
            self.run(directory)
        else:
            self.above(directory)

    def one(self, directory: str) -> None:
        """Look at a directory, and at those in it that are new with all below them."""
        look = self._look(directory)
        if look is None:
            return
        for new in look.new:
            self.tree(new)
        self.batch.add(directory, look, is_above=True)

    def above(self, directory: str) -> list[str]:
        """Look at a directory; the directories in it that hold entities."""
        look = self._look(directory)
        if look is None:
            return []
        self.batch.add(directory, look)
        return look.below

    def run(self, directory: str) -> None:
        """Look at a run and all below it, unless that is done."""
        self.summary.runs += 1
        if directory in self._done:
            return
        look = self._look(directory)
        if look is None:
            return
        was_incomplete, self.is_incomplete = self.is_incomplete, False
        found: list[tuple[str, Look]] = []
        for inner in look.below:
            if self._stop.is_set():
                return
            # In a run that is new all is looked at: it must not be known in part.
            seen = None if inner in self._done else self._look(inner, anyway=inner in look.new)
            if seen is not None:
                found.append((inner, seen))
        for inner, seen in found:
            # What is new is known together with the run, or nobody would miss it when it is gone.
            if not self.is_incomplete or inner not in look.new:
                self.batch.add(inner, seen)
        if not self.is_incomplete:
            self.batch.add(directory, look, is_above=True)
        self.is_incomplete |= was_incomplete

    def _look(self, directory: str, *, anyway: bool = False) -> Look | None:
        """Look at a directory; None if it is gone, cannot be read or is none of those to look at."""
        try:
            if self._layer is not None and not (anyway or self._is_concerned(directory)):
                return None
            stamp, known = self._records.known(directory)
            look = self._looker.look(directory, stamp, known, full=self._full)
        except Transient as error:
            self.is_incomplete = True
            self.summary.skipped.append((directory, str(error)))
            return None
        except (NotFound, NotADirectory):
            self._records.remove_below(directory)
            return None
        except (OSError, LayerError) as error:
            self.summary.skipped.append((directory, str(error)))
            self.batch.keep(self._known_below(directory))
            return None
        for gone in look.gone:
            self._records.remove_below(gone)
        self.summary.directories += 1
        self.summary.changed += look.records is not None
        self.summary.entities += look.entities
        self.summary.reads += look.reads
        return look

    def _is_concerned(self, directory: str) -> bool:
        """True if the layer contributes to a directory, or something in it or below it was the layer's."""
        return directory in self._had or any(
            member.name == self._layer for member in self._view.members(directory)
        )

    def _known_below(self, directory: str) -> Iterator[str]:
        """A directory, and those below it that are known."""
        yield directory
        if directory.count("/") > _RUN_DEPTH:
            return
        for record in self._records.known(directory)[1].values():
            if record.identity.type in CONTAINERS:
                yield from self._known_below(record.identity.path)
        if directory.count("/") == _RUN_DEPTH:
            yield from (f"{directory}/{name}" for name in ENTITY_DIRECTORIES)


def _with_those_above(directories: Iterable[str]) -> Iterator[str]:
    for directory in directories:
        yield directory
        while directory := split(directory)[0]:
            yield directory

"""What the crawler asks of the place where it keeps what it finds, and the batches that it hands over."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from copickfs.entities import EntityRecord
    from copickfs.indexing.looking import Look

OUTSIDE = 0
"""Number of a run for what is looked at outside of one."""

_BATCH_ENTITIES = 500
_BATCH_S = 0.2


class Records(Protocol):
    """Where records are kept. Thread-safe.

    A directory that is put with `OUTSIDE` keeps the number of the run that has seen it last; a new one
    gets that of the run under way, or of the last.
    """

    def begin(self, *, full: bool) -> tuple[int, bool]:
        """Begin a run, or go on with the interrupted one; its number, and whether it reads all again."""
        ...

    def done(self, scan: int) -> set[str]:
        """The directories that run ``scan`` has seen already."""
        ...

    def known(self, directory: str) -> tuple[str, Mapping[str, EntityRecord]]:
        """The stamp of a directory, ``""`` if it is not known, and its records by leaf name.

        The records are looked at only where the stamp does not tell enough: they may be read then.
        """
        ...

    def directories_with(self, layer: str) -> Sequence[str]:
        """The directories with a record of something that ``layer`` has."""
        ...

    def replace(self, scan: int, batch: Sequence[tuple[str, str, Sequence[EntityRecord]]]) -> None:
        """Put directories, each with its stamp and all its records, in one transaction."""
        ...

    def touch(self, scan: int, directories: Sequence[str]) -> None:
        """Note that directories were seen, and are what they were; nothing for one that is not known."""
        ...

    def remove_below(self, directory: str) -> None:
        """Forget a directory and everything below it, if it is known."""
        ...

    def finish(self, scan: int) -> None:
        """The run is whole: forget the directories that it has not seen."""
        ...


class Batch:
    """Directories that were looked at, on their way to the records.

    What is handed over last of all are the directories of runs: whoever finds one there may rely on
    those below it.

    Args:
        records: Where they go.
        scan: Number of the run, or `OUTSIDE`.
    """

    def __init__(self, records: Records, scan: int) -> None:
        self._records = records
        self._scan = scan
        self._begun_s = time.monotonic()
        self._entities = 0
        self._same: list[str] = []
        self._changed: list[tuple[str, str, Sequence[EntityRecord]]] = []
        self._same_above: list[str] = []

    def add(self, directory: str, look: Look, *, is_above: bool = False) -> None:
        """Add a directory as it was seen; one that is above others after these."""
        if look.records is not None:
            self._changed.append((directory, look.stamp, look.records))
            self._entities += len(look.records)
        else:
            (self._same_above if is_above else self._same).append(directory)

    def keep(self, directories: Iterable[str]) -> None:
        """Add directories of which nothing new is known; one that is above others comes first."""
        self._same += reversed(list(directories))

    @property
    def is_due(self) -> bool:
        """True once it is large or old enough."""
        return self._entities >= _BATCH_ENTITIES or time.monotonic() - self._begun_s > _BATCH_S

    def flush(self) -> None:
        """Hand over what there is."""
        is_run = self._scan != OUTSIDE
        if self._same and is_run:
            self._records.touch(self._scan, self._same)
        if self._changed:
            self._records.replace(self._scan, self._changed)
        if self._same_above and is_run:
            self._records.touch(self._scan, self._same_above)
        self._same, self._changed, self._same_above = [], [], []
        self._entities = 0
        self._begun_s = time.monotonic()

"""Which runs there are, and what the portal tells of their datasets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from copickfs.errors import ConfigError
from copickfs.layers.portal.asking import Overwhelmed
from copickfs.layers.portal.records import about_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from copickfs.layers.portal.insisting import Asker

    Records = list[dict[str, Any]]

_HALFWAY = 1 << 16
_LAST = 1 << 30
"""Where the numbers of runs are divided first, and where that ends: they have 31 bits."""

_FEWEST_NUMBERS = 16
_TOO_LARGE = (Overwhelmed,)


def runs_and_datasets(
    datasets: Sequence[int], runs: Sequence[int], asker: Asker
) -> tuple[Records, dict[str, Any]]:
    """The records of all runs of some datasets, or of some runs; and what is kept of their datasets.

    Raises:
        ConfigError: There is no such portal, dataset or run.
        Transient: The portal is out of reach, or does not answer.
    """
    if runs:
        found = _runs_of(sorted(runs), asker)
        _require("run", "run_ids", runs, found)
        return found, _about(sorted({run["dataset_id"] for run in found}), datasets, asker)
    about = _about(sorted(datasets), datasets, asker)  # a small question, which tells whether it answers
    return _runs_between(datasets, 0, None, asker), about


def _runs_of(numbers: list[int], asker: Asker) -> Records:
    """The runs of these numbers; in parts, if they are too many for the portal."""
    try:
        return asker.insist(lambda client: client.find("Run", ("id", numbers)), at_once=_TOO_LARGE)
    except Overwhelmed:
        if len(numbers) == 1:
            raise
        half = len(numbers) // 2
        return _runs_of(numbers[:half], asker) + _runs_of(numbers[half:], asker)


def _runs_between(datasets: Sequence[int], start: int, stop: int | None, asker: Asker) -> Records:
    """The runs of the datasets; in parts, by number, if they are too many for the portal."""
    try:
        return asker.insist(
            lambda client: client.between("Run", "dataset_id", datasets, start, stop), at_once=_TOO_LARGE
        )
    except Overwhelmed:
        middle = max(_HALFWAY, 2 * start) if stop is None else (start + stop) // 2
        if middle - start < _FEWEST_NUMBERS or start >= _LAST:
            raise
        below = _runs_between(datasets, start, middle, asker)
        return below + _runs_between(datasets, middle, stop, asker)


def _about(numbers: list[int], wanted: Sequence[int], asker: Asker) -> dict[str, Any]:
    if not numbers:
        return about_of((), ())
    found = asker.insist(lambda client: client.find("Dataset", ("id", numbers)))
    _require("dataset", "dataset_ids", wanted, found)
    authors = asker.insist(lambda client: client.find("DatasetAuthor", ("dataset_id", numbers)))
    return about_of(found, authors)


def _require(what: str, key: str, wanted: Iterable[int], found: Records) -> None:
    missing = sorted(set(wanted) - {record["id"] for record in found})
    if missing:
        shown = ", ".join(map(str, missing[:5]))
        raise ConfigError(f"the portal has no {what} {shown}; correct {key!r}", key=key)

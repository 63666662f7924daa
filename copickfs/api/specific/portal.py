"""Discovering what a portal has: datasets, runs, tomograms and annotations (specification, 2.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from copickfs.api.specific.filesystem import FilesystemFeatures, path_of
from copickfs.api.tree import entries
from copickfs.entities import RUNS_DIRECTORY
from copickfs.errors import NotFound
from copickfs.layers.portal.records import unpacked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from copickfs.index.portal import RunRow
    from copickfs.layers.portal.layer import PortalLayer

    Record = dict[str, Any]


class PortalRun(NamedTuple):
    """A run of the portal.

    Attributes:
        number: The portal's number of it; as text it is the run's name in copick.
        dataset: Number of the dataset that it belongs to.
        name: The portal's name of it.
    """

    number: int
    dataset: int
    name: str


class PortalFeatures(FilesystemFeatures):
    """What the portal tells of the datasets of one layer, from what is stored of it; nothing is fetched.

    Records are dictionaries with the fields of the portal's own client. A ``run`` is a number, the name of
    a run in copick, or a run itself. Everything raises `Transient` while the portal has told nothing yet.
    """

    def datasets(self) -> list[Record]:
        """The datasets, with their titles, descriptions and authors."""
        found = {each["id"]: each for told in self._catalogue.answers() for each in told.about["datasets"]}
        return [dict(found[number]) for number in sorted(found)]

    def runs(self, dataset: int | None = None, name: str | None = None) -> list[PortalRun]:
        """The runs that this layer shows.

        Args:
            dataset: Only those of this dataset.
            name: Only those of this name, as the portal has it.
        """
        shown = {entry.name for entry in entries(self._tree, RUNS_DIRECTORY)}
        found = [PortalRun(row.run, row.dataset, row.name) for row in self._rows() if str(row.run) in shown]
        return sorted(run for run in found if dataset in (None, run.dataset) and name in (None, run.name))

    def record(self, run: Any) -> Record:
        """All that the portal tells of a run. Raises `NotFound`."""
        number = str(getattr(run, "number", getattr(run, "name", run)))
        for row in self._rows():
            if str(row.run) == number:
                return unpacked(row.record)
        raise NotFound(f"layer {self.name}: the portal has told of no run {number!r}")

    def tomograms(self, run: Any) -> list[Record]:
        """The tomograms of a run, shown and not shown. Raises `NotFound`."""
        return list(self.record(run)["tomograms"])

    def annotations(self, run: Any, object_name: str | None = None) -> list[Record]:
        """The annotations of a run, with their shapes and files, shown and not shown. Raises `NotFound`.

        Args:
            run: The run.
            object_name: Only those of this object, as the portal calls it.
        """
        found = self.record(run)["annotations"]
        return [each for each in found if object_name in (None, each.get("object_name"))]

    def objects(self) -> list[Record]:
        """Entries of ``pickable_objects`` for all that is annotated in the datasets."""
        return self._portal.pickable_objects()

    def described(self, place: Any) -> dict[str, str]:
        """What the portal tells people of a path or a copick object: ``portal.authors`` and the like."""
        return dict(self._portal.described(path_of(place)))

    def refresh(self) -> None:
        """Ask the portal anew now; without an answer, what it has told before stays."""
        self._layer_root.reconnect()

    def _rows(self) -> Iterator[RunRow]:
        for told in self._catalogue.answers():
            yield from told.runs.values()

    @property
    def _portal(self) -> PortalLayer:
        return self._layer_root.layer  # type: ignore[return-value] # what its configuration makes

    @property
    def _catalogue(self) -> Any:
        return self._portal.catalogue

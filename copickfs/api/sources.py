"""Where a merged object comes from: the same one in each layer that has it (specification, 2.3 and 4.4)."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from copickfs.api import tree as trees
from copickfs.view.partial import PartialLayer

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")


class Sourced(Generic[T]):
    """An object of the merged tree, and the same object in each layer.

    The layer that decides comes first in the dictionary: the highest one that has the object, and does not
    have it hidden. All others that have it follow, in order; what they have is shadowed, or, of a run and
    a voxel spacing, merged. What is read and written is the merged tree's.
    """

    _given: tuple[dict[str, T], T | None] | None = None
    path: Any

    def _give(self, sources: Mapping[str, T] | None, primary: T | None) -> None:
        """Sources that somebody has found out already."""
        if sources is not None:
            self._given = dict(sources), primary

    def _sources(self) -> dict[str, T]:
        if self._given is None:
            self._given = self._find(), None
        return self._given[0]

    def _primary(self) -> T | None:
        sources = self._sources()
        assert self._given is not None  # noqa: S101 -- made by the line above
        primary = self._given[1]
        return primary if primary is not None else next(iter(sources.values()), None)

    def refresh(self) -> None:
        """Find out anew where it comes from, and what copick's class remembers of it."""
        self._changed()
        again = getattr(super(), "refresh", None)
        if again is not None:
            again()

    def _changed(self) -> None:
        """It may have another source since it was stored."""
        self._given = None

    def _find(self) -> dict[str, T]:
        tree, roots = self.tree, self._root().layer_manager.layers  # type: ignore[attr-defined]
        try:
            found = tree.view.sources(self.path)
        except trees.ABSENT:
            return {}
        layers = [each.layer for each in found if not isinstance(each.layer, PartialLayer)]
        return {layer.name: self.counterpart(roots[layer.name]) for layer in layers}  # type: ignore[attr-defined]

    def _take(self) -> None:
        self.tree.take(self.path)  # type: ignore[attr-defined]


def decided(root: Any, sources: Mapping[str, T], primary: T | None) -> tuple[dict[str, T], T]:
    """Sources by the priority of their layers, and the one that is primary.

    Raises:
        ValueError: There is no source, or one of a layer that the root does not have.
    """
    if not sources:
        raise ValueError("a proxy needs at least one source")
    order = [layer.name for layer in root.layer_manager.get_layers_by_priority()]
    unknown = [name for name in sources if name not in order]
    if unknown:
        raise ValueError(f"there is no layer {unknown[0]!r}; there are: {', '.join(order)}")
    ordered = {name: sources[name] for name in order if name in sources}
    return ordered, next(iter(ordered.values())) if primary is None else primary


def meta_of(primary: Any, meta: Any) -> Any:
    """The metadata of a proxy: as given, else a copy of its primary's."""
    if meta is not None:
        return meta
    if primary is None:
        raise TypeError("a proxy needs its metadata, or a primary source to take them from")
    return deepcopy(primary.meta)

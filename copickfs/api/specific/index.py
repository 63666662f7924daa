"""Searching and finding across the layers (specification, 2.4 and 7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from copickfs.layers import entitypaths

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from copickfs.index import StackState
    from copickfs.indexing import Catalog, Summary
    from copickfs.stack import Shared


class IndexFeatures:
    """The index as a layer of the stack.

    Args:
        config: Its configuration.
        shared: The stack that it is of.
        root: Gives the merged root whose objects answers are made of.

    Attributes:
        config: As given.
        name: Name of the layer.
        priority: Higher is asked first.
    """

    def __init__(self, config: Any, shared: Shared, root: Callable[[], Any]) -> None:
        self.config = config
        self.name: str = config.layer_name
        self.priority: int = config.priority
        self._shared = shared
        self._root = root

    def __repr__(self) -> str:
        return f"<IndexFeatures {self.name}>"

    @property
    def catalog(self) -> Catalog:
        """What answers with records of paths, layers, sizes and metadata instead of objects."""
        return self._shared.get().catalog

    @property
    def is_indexed(self) -> bool:
        """True if the index has been made; until then all layers are gone through for an answer."""
        return self.catalog.is_indexed

    def state(self) -> StackState | None:
        """How far the index is; None if there is none that can be read."""
        return self.catalog.state()

    def query(self) -> list[Any]:
        """All runs, from the index (specification, 8.4)."""
        return self.find_objects(type="runs")["runs"]

    def find_objects(self, **criteria: Any) -> dict[str, list[Any]]:
        """See `CopickRootMultilayer.find_objects`."""
        return self._root().find_objects(**criteria)  # type: ignore[no-any-return]

    def search(
        self,
        query: str | None = None,
        object_types: Collection[str] | None = None,
        limit: int | None = None,
        **criteria: Any,
    ) -> dict[str, list[Any]]:
        """The objects that words, or else criteria, tell of (specification, 7.2 and 7.3)."""
        if query is None:
            return self.find_objects(**criteria)
        return self._root().search(query, object_types, limit)  # type: ignore[no-any-return]

    def start_indexing(self, *, full: bool = False, layer: str | None = None) -> Summary:
        """Bring the index up to date, or what it has of one layer (specification, 7.1)."""
        return self.catalog.index(full=full, layer=layer)

    def index_run(self, run: Any) -> None:
        """Look at a run now (specification, 8.1)."""
        self.catalog.changed(entitypaths.run_path(run))

    def update_index(self, layer_name: str, path: str) -> None:  # noqa: ARG002 -- all layers are asked
        """Look at a path of the tree now: it has changed in a layer (specification, 5.3)."""
        self.catalog.changed(path)

    def update_segmentation_index(self, layer_name: str, segmentation: Any) -> None:
        """Look at a segmentation now (specification, 5.3)."""
        self.update_index(layer_name, entitypaths.segmentation_path(segmentation))

    def update_object(self, layer_name: str, changed: Any) -> None:
        """Look at any object of the merged root now."""
        self.update_index(layer_name, changed.path)

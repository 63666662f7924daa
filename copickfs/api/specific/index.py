"""Searching and finding across the layers (specification, 2.4 and 7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from copickfs.index import StackState
    from copickfs.indexing import Catalog, Summary
    from copickfs.layers.database import SQLiteDBLayer
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
        self.update_run_index("", run)

    def update_index(self, layer_name: str, path: str) -> None:
        """Look at a path of the tree now: it has changed in a layer (specification, 5.3)."""
        self._layer().update_index(layer_name, path)

    def update_object(self, layer_name: str, changed: Any) -> None:
        """Look at any object of a root of layers now: it has changed in a layer."""
        self.update_index(layer_name, changed.path)

    def update_run_index(self, layer_name: str, run: Any) -> None:
        """Look at a run now (specification, 5.3)."""
        self._layer().update_run_index(layer_name, run)

    def update_voxel_spacing_index(self, layer_name: str, voxel_spacing: Any) -> None:
        """Look at a voxel spacing now (specification, 5.3)."""
        self._layer().update_voxel_spacing_index(layer_name, voxel_spacing)

    def update_tomogram_index(self, layer_name: str, tomogram: Any) -> None:
        """Look at a tomogram now (specification, 5.3)."""
        self._layer().update_tomogram_index(layer_name, tomogram)

    def update_features_index(self, layer_name: str, features: Any) -> None:
        """Look at features now (specification, 5.3)."""
        self._layer().update_features_index(layer_name, features)

    def update_picks_index(self, layer_name: str, picks: Any) -> None:
        """Look at picks now (specification, 5.3)."""
        self._layer().update_picks_index(layer_name, picks)

    def update_filaments_index(self, layer_name: str, filaments: Any) -> None:
        """Look at filaments now (specification, 5.3)."""
        self._layer().update_filaments_index(layer_name, filaments)

    def update_mesh_index(self, layer_name: str, mesh: Any) -> None:
        """Look at a mesh now (specification, 5.3)."""
        self._layer().update_mesh_index(layer_name, mesh)

    def update_segmentation_index(self, layer_name: str, segmentation: Any) -> None:
        """Look at a segmentation now (specification, 5.3)."""
        self._layer().update_segmentation_index(layer_name, segmentation)

    def _layer(self) -> SQLiteDBLayer:
        layer = self._shared.get().manager.db_layer
        assert layer is not None  # noqa: S101 -- it is configured
        return layer

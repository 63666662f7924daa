"""The index as a layer of the stack (specification, sections 5.3 and 7): it holds no part of the tree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from copickfs.errors import ConfigError, NotFound
from copickfs.layers import entitypaths
from copickfs.layers.base import BaseLayer
from copickfs.model import Health

if TYPE_CHECKING:
    from collections.abc import Collection

    from copickfs.entities import EntityRecord
    from copickfs.layers.manager import LayerManager

    Answer = dict[str, list[EntityRecord]]


class IndexService(Protocol):
    """What stands behind the layer, as far as the layer knows; see `copickfs.indexing.Catalog`."""

    def find_objects(self, **criteria: Any) -> Answer:
        """The entities that meet all criteria."""
        ...

    def search(
        self, query: str, object_types: Collection[str] | None = None, limit: int | None = None
    ) -> Answer:
        """The entities in whose names the words are."""
        ...

    def index(self, *, full: bool = False, layer: str | None = None) -> Any:
        """Bring the index up to date."""
        ...

    def changed(self, path: str) -> None:
        """What is at ``path`` of the tree has changed."""
        ...


class SQLiteDBLayer(BaseLayer):
    """Searching and finding across the layers; a name for what `IndexService` does.

    Args:
        config: A `SQLiteDBConfig` or `CopickConfigSQLiteDB`.

    Attributes:
        config: As given.
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config.layer_name, config.priority)
        self.config = config
        self.layer_manager: LayerManager | None = None
        self._service: IndexService | None = None

    def set_layer_manager(self, manager: LayerManager) -> None:
        """The stack whose index this is."""
        self.layer_manager = manager

    def attach(self, service: IndexService) -> None:
        """What stands behind the layer from now on."""
        self._service = service

    def find_objects(self, **criteria: Any) -> Answer:
        """See `Catalog.find_objects`."""
        return self._attached().find_objects(**criteria)

    def search(
        self, query: str | None = None, object_types: Collection[str] | None = None, **criteria: Any
    ) -> Answer:
        """The entities that words, or else criteria, tell of (specification, 7.2 and 7.3)."""
        if query is None:
            return self._attached().find_objects(**criteria)
        return self._attached().search(query, object_types, **criteria)

    def query(self) -> list[EntityRecord]:
        """All runs (specification, 8.4)."""
        return self._attached().find_objects(type="runs")["runs"]

    def start_indexing(self, *, full: bool = False, layer: str | None = None) -> Any:
        """See `Catalog.index`."""
        return self._attached().index(full=full, layer=layer)

    def update_index(self, layer_name: str, path: str) -> None:  # noqa: ARG002 -- all layers are asked
        """``path`` of the tree has changed in a layer."""
        self._attached().changed(path)

    def update_run_index(self, layer_name: str, run: Any) -> None:
        """A ``CopickRun`` was changed in a layer (specification, 5.3)."""
        self.update_index(layer_name, entitypaths.run_path(run))

    def update_voxel_spacing_index(self, layer_name: str, voxel_spacing: Any) -> None:
        """A ``CopickVoxelSpacing`` was changed in a layer (specification, 5.3)."""
        self.update_index(layer_name, entitypaths.voxel_spacing_path(voxel_spacing))

    def update_tomogram_index(self, layer_name: str, tomogram: Any) -> None:
        """A ``CopickTomogram`` was changed in a layer (specification, 5.3)."""
        self.update_index(layer_name, entitypaths.tomogram_path(tomogram))

    def update_features_index(self, layer_name: str, features: Any) -> None:
        """``CopickFeatures`` was changed in a layer (specification, 5.3)."""
        self.update_index(layer_name, entitypaths.features_path(features))

    def update_picks_index(self, layer_name: str, picks: Any) -> None:
        """``CopickPicks`` was changed in a layer (specification, 5.3)."""
        self.update_index(layer_name, entitypaths.picks_path(picks))

    def update_filaments_index(self, layer_name: str, filaments: Any) -> None:
        """``CopickFilaments`` was changed in a layer (specification, 5.3)."""
        self.update_index(layer_name, entitypaths.filaments_path(filaments))

    def update_mesh_index(self, layer_name: str, mesh: Any) -> None:
        """A ``CopickMesh`` was changed in a layer (specification, 5.3)."""
        self.update_index(layer_name, entitypaths.mesh_path(mesh))

    def update_segmentation_index(self, layer_name: str, segmentation: Any) -> None:
        """A ``CopickSegmentation`` was changed in a layer (specification, 5.3)."""
        self.update_index(layer_name, entitypaths.segmentation_path(segmentation))

    def update_object_index(self, layer_name: str, shown: Any) -> None:
        """A ``CopickObject`` was changed in a layer (specification, 5.3)."""
        self.update_index(layer_name, entitypaths.object_path(shown))

    def stat(self, path: str) -> Any:
        """Nothing is here."""
        raise NotFound(path)

    scan = open = stat

    def location(self, path: str) -> str:  # noqa: ARG002 -- one file holds everything
        """The database."""
        return str(self.config.db_path)

    def health(self) -> Health:
        """Unknown until it is in use."""
        return Health("unknown" if self._service is None else "ok")

    def _attached(self) -> IndexService:
        if self._service is None:
            raise ConfigError(
                f"layer {self.name}: the index is not open; make a copickfs.indexing.Catalog of the stack"
            )
        return self._service

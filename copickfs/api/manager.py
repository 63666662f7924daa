"""The layers as the users of copick objects see them (specification, 3.2)."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from copickfs.api.root import LayerRoot
from copickfs.api.specific import CacheFeatures, IndexFeatures
from copickfs.layers.manager import ByPriority
from copickfs.stack import Shared

if TYPE_CHECKING:
    from copickfs.config.models import CopickConfigMultilayer
    from copickfs.errors import Transient
    from copickfs.layers.base import Layer
    from copickfs.layers.manager import LayerManager as StackManager


class LayerManager(ByPriority[Any]):
    """The layers of one configuration: each data layer is a copick root of that layer alone.

    Construction reaches for nothing; the layers are connected when something is asked of them.

    Args:
        config: The configuration.
        shared: Its stack, if somebody has one already.
        root: The merged root whose layers these are, if there is one already.

    Attributes:
        config: As given.
        shared: The stack that all who use this configuration in this process share.
        layers: Layer names to layers, in the order of the configuration.
        configs: Layer names to their configurations.
        default_write_layer: Name of the layer that is written, or None.
        cache_layer: The cache, or None.
        db_layer: The index, or None.
    """

    def __init__(
        self, config: CopickConfigMultilayer, shared: Shared | None = None, root: Any = None
    ) -> None:
        self.config = config
        self._root = root
        self.shared = shared or Shared(config)
        self.configs: dict[str, Any] = config.layer_configs
        self.default_write_layer: str | None = config.default_write_layer
        self.cache_layer: CacheFeatures | None = None
        self.db_layer: IndexFeatures | None = None
        if config.cache_config is not None:
            self.cache_layer = CacheFeatures(config.cache_config, self.shared)
        if config.db_config is not None:
            self.db_layer = IndexFeatures(config.db_config, self.shared, self._merged_root)
        self.layers: OrderedDict[str, Any] = OrderedDict(
            (name, self._layer(name, self.configs[name])) for name in config.layers
        )

    def get_data_layers(self) -> list[LayerRoot]:
        """The layers that hold a part of the tree, highest priority first."""
        return [layer for layer in self.get_layers_by_priority() if isinstance(layer, LayerRoot)]

    def connect_layers(self) -> list[tuple[Layer, Transient]]:
        """Open the layers, if nobody has; those that were out of reach then, with their faults.

        Raises:
            ConfigError: A layer can never work as it is configured; names its key.
        """
        return self.shared.get().absent

    def refresh_all(self) -> None:
        """Forget what is remembered of every source, so that all is asked anew."""
        self._stack_manager.refresh_all()
        stack = self.shared.get()
        for view in (stack.view, *(stack.view_of(layer.name) for layer in self.get_data_layers())):
            view.membership.announce("")
        for layer in self.get_data_layers():
            layer._invalidate_all_caches()  # noqa: SLF001

    def close(self) -> None:
        """Close the layers, for all who share them; whoever uses them again opens them anew."""
        self.shared.close()

    def flush(self, timeout_s: float) -> bool:
        """Wait until all that was written is at its source, at most ``timeout_s`` seconds; True if it is."""
        return all(layer.flush_pending(timeout_s) for layer in self._stack_manager.get_data_layers())

    def _merged_root(self) -> Any:
        if self._root is None:
            from copickfs.api.multilayer import CopickRootMultilayer  # which makes managers

            self._root = CopickRootMultilayer(self.config)
        return self._root

    @property
    def _stack_manager(self) -> StackManager:
        return self.shared.get().manager

    def _layer(self, name: str, config: Any) -> Any:
        for service in (self.cache_layer, self.db_layer):
            if service is not None and service.name == name:
                return service
        project = {key: getattr(self.config, key) for key in ("pickable_objects", "user_id", "session_id")}
        return LayerRoot(config.model_copy(update=project), self.shared)

"""The layer stack of one configuration (specification 3.2)."""

from __future__ import annotations

import logging
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from copickfs.errors import ConfigError, Transient
from copickfs.layers.base import BaseLayer, nobody
from copickfs.layers.database import SQLiteDBLayer
from copickfs.layers.kinds import BuildContext, build_layer

if TYPE_CHECKING:
    from collections.abc import Callable

    from copickfs.layers.base import Layer
    from copickfs.layers.cachelayer import CacheLayer

_log = logging.getLogger(__name__)


T = TypeVar("T", bound=Any)


class ByPriority(Generic[T]):
    """Layers by name and by priority; what is one is the subclass's matter.

    Attributes:
        layers: Layer names to layers, in the order of the configuration.
    """

    layers: OrderedDict[str, T]

    def __repr__(self) -> str:
        return f"<LayerManager {' > '.join(layer.name for layer in self.get_layers_by_priority())}>"

    def get_layer(self, name: str) -> T:
        """The layer called ``name``.

        Raises:
            ConfigError: There is none of that name.
        """
        try:
            return self.layers[name]
        except KeyError:
            raise ConfigError(f"no layer {name!r}; there are: {', '.join(self.layers)}") from None

    def get_layers_by_priority(self) -> list[T]:
        """The layers, highest priority first; among equals the order of the configuration decides."""
        return sorted(self.layers.values(), key=lambda layer: -layer.priority)


class LayerManager(ByPriority["Layer"]):
    """Builds, connects and closes the layers of a configuration.

    Construction makes the layers and reaches for nothing; `connect_layers` does.

    Args:
        config: A `MultilayerConfig` or `CopickConfigMultilayer`.
        context: What the layers need to know of the face they serve.

    Attributes:
        layers: Layer names to layers, in the order of the configuration.
        configs: Layer names to their configurations.
        default_write_layer: Name of the layer that is written to, or None.
        cache_layer: The cache layer, or None.
        db_layer: The index layer, or None.

    Raises:
        ConfigError: A layer is of a kind that is not known or cannot be mounted.
    """

    def __init__(self, config: Any, context: BuildContext | None = None) -> None:
        self.config = config
        self.configs: dict[str, Any] = config.layer_configs
        self.default_write_layer: str | None = config.default_write_layer
        self.layers: OrderedDict[str, Layer] = OrderedDict()
        self.cache_layer: CacheLayer | None = None
        self.db_layer: SQLiteDBLayer | None = None
        context = (context or BuildContext())._replace(objects=_identified(config))
        self._mountpoint = context.mountpoint
        if config.cache_config is not None:
            self.cache_layer = cast("CacheLayer", self._build(config.cache_config, context))
            context = context._replace(cache=self.cache_layer)
        for name in config.layers:
            is_cache = self.cache_layer is not None and name == self.cache_layer.name
            self.layers[name] = (
                cast("Layer", self.cache_layer) if is_cache else self._build(self.configs[name], context)
            )
        if config.db_config is not None:
            self.db_layer = self._database(config.db_config)

    def get_data_layers(self) -> list[Layer]:
        """The layers that hold a part of the tree, highest priority first."""
        return [layer for layer in self.get_layers_by_priority() if self.configs[layer.name].is_data]

    def connect_layers(
        self, *, tolerate_outages: bool = False, progress: Callable[[str], None] | None = None
    ) -> list[tuple[Layer, Transient]]:
        """Check that every layer can be reached.

        Args:
            tolerate_outages: Go on without a layer that is out of reach just now; it is asked
                again when it is needed.
            progress: Told, in one line, what a layer is at that takes long; from any thread.

        Returns:
            The layers that are out of reach, with their faults.

        Raises:
            ConfigError: A layer can never work as it is configured; names its key.
            Transient: A layer is out of reach and that is not tolerated.
        """
        absent = []
        if self.cache_layer is not None:
            self._connect_cache(self.cache_layer)
        for name, layer in self.layers.items():
            if layer is self.cache_layer:
                continue
            if progress is not None and isinstance(layer, BaseLayer):
                layer.on_progress = progress
            try:
                layer.connect()
            except ConfigError as error:
                raise self._placed(error, name) from None
            except Transient as error:
                if not tolerate_outages:
                    raise
                _log.info("layer %s is out of reach: %s", name, error)
                absent.append((layer, error))
            finally:
                if isinstance(layer, BaseLayer):
                    layer.on_progress = nobody
        return absent

    def _placed(self, error: ConfigError, name: str) -> ConfigError:
        """What a layer says of its configuration, with the file, and the key as it is in the file."""
        fields = type(self.configs[name]).model_fields
        if error.file is not None or not (error.key is None or error.key in fields):
            return error
        message = str(error) if error.key is None else str(error).removeprefix(f"{error.key}: ")
        file, key = self.config.where(name, error.key or ("root" if "root" in fields else ""))
        return ConfigError(message, file=file, key=key)

    def refresh_all(self) -> None:
        """Forget what is remembered of every source."""
        for layer in self.layers.values():
            layer.refresh()

    def close(self) -> None:
        """Close every layer. Idempotent."""
        for layer in self.layers.values():
            if layer is not self.cache_layer:
                layer.close()
        if self.cache_layer is not None:  # to which the others give what they have read
            self.cache_layer.close()

    def _connect_cache(self, cache: CacheLayer) -> None:
        try:
            self._check_apart(cache)
            cache.connect()
        except ConfigError as error:
            file, key = self.config.where(cache.name, "root")
            raise ConfigError(str(error), file=file, key=key) from None

    def _check_apart(self, cache: CacheLayer) -> None:
        """What the cache keeps must not be shown in the tree, nor be read through the mount."""
        places = {"the mount point": self._mountpoint} if self._mountpoint else {}
        places |= {
            f"layer {name}": c.root for name, c in self.configs.items() if getattr(c, "is_local", False)
        }
        root = cache.disk.root.resolve()
        for name, place in places.items():
            if root.is_relative_to(Path(place).resolve() if name != "the mount point" else place):
                raise ConfigError(f"{root} lies in {name}; name a directory of its own for the cache")

    def _database(self, config: Any) -> SQLiteDBLayer:
        layer = self.layers.get(config.layer_name) or self._build(config, BuildContext())
        assert isinstance(layer, SQLiteDBLayer)  # noqa: S101 -- what its configuration makes
        layer.set_layer_manager(self)
        return layer

    def _build(self, layer_config: Any, context: BuildContext) -> Layer:
        try:
            return build_layer(layer_config, context)
        except ValueError as error:
            if not isinstance(error, ConfigError):
                file, key = self.config.where(layer_config.layer_name, "root")
                raise ConfigError(
                    f"not a path that a file system can have: {error}", file=file, key=key
                ) from None
            if error.file is not None:
                raise
            file, key = self.config.where(layer_config.layer_name, "config_type")
            raise ConfigError(str(error), file=file, key=key if error.key is None else None) from None


def _identified(config: Any) -> dict[str, str]:
    """Names of the objects of a project by their identifiers; the first of an identifier counts."""
    named = [(one.identifier, one.name) for one in reversed(config.pickable_objects)]
    return {identifier: name for identifier, name in named if identifier}

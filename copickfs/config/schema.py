"""The configuration of a whole stack of layers, and the rules that hold between its keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import (
    Field,
    PrivateAttr,
    SerializeAsAny,
    ValidationError,
    ValidationInfo,
    WrapValidator,
    model_validator,
)

from copickfs.config.kinds import BUILT_IN, find_kind
from copickfs.config.layer_schema import (
    BUILT_IN_MODELS,
    CacheConfig,
    ExtensionConfig,
    FSConfig,
    LayerConfig,
    LayerName,
    PortalConfig,
    SQLiteDBConfig,
)
from copickfs.config.project import ProjectConfig, fault, nearest
from copickfs.config.source import Location, Place, Source, source_of
from copickfs.config.views import ViewsConfig  # noqa: TC001 -- pydantic looks it up
from copickfs.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = [
    "CacheConfig",
    "ExtensionConfig",
    "FSConfig",
    "LayerConfig",
    "MultilayerConfig",
    "PortalConfig",
    "SQLiteDBConfig",
]


Service = TypeVar("Service", CacheConfig, SQLiteDBConfig)


def layer_from(value: Any, info: ValidationInfo, models: Mapping[str, type[LayerConfig]]) -> LayerConfig:
    """The configuration of one layer, in the class that its ``config_type`` asks for.

    Args:
        value: A dictionary, or a configuration that keeps its own class.
        info: Context of the validation.
        models: Classes of the built-in kinds.
    """
    if isinstance(value, LayerConfig):
        return value
    if not isinstance(value, dict):
        raise fault((), "must be an object with the keys of one layer")
    config_type = value.get("config_type")
    if not isinstance(config_type, str):
        shown = "must be the name of a kind of layer" if "config_type" in value else "is missing"
        raise fault(("config_type",), f"{shown}; built in are {', '.join(BUILT_IN)}")
    context = source_of(info)
    if config_type in models:
        return models[config_type].model_validate(value, context=context)
    model = _extension_model(config_type)
    try:
        return model.model_validate(value, context=context)
    except ValidationError:
        raise
    except Exception as error:  # another package's validators may raise anything
        raise fault((), f"refused by its kind of layer, {config_type!r}: {type(error).__name__}") from error


def _extension_model(config_type: str) -> type[LayerConfig]:
    try:
        model = getattr(find_kind(config_type), "config_model", None) or ExtensionConfig
    except ConfigError as error:
        raise fault(("config_type",), str(error)) from error
    if not (isinstance(model, type) and issubclass(model, LayerConfig)):
        raise fault(
            ("config_type",), "the config_model of this kind is not derived from LayerConfig", config_type
        )
    return model


def _plain_layer(value: Any, _handler: object, info: ValidationInfo) -> LayerConfig:
    return layer_from(value, info, BUILT_IN_MODELS)


class MultilayerConfig(ProjectConfig):
    """A stack of layers (specification, 3.1).

    After validation every name in ``layers`` is a key of ``layer_configs``, and ``cache_config`` and
    ``db_config`` are the configurations of the cache and the index however these were given.
    """

    config_type: Literal["multilayer"] = Field(
        "multilayer", description="Says that this is a stack of layers.", examples=["multilayer"]
    )
    layers: list[str] = Field(
        description="Names of the layers in use; breaks ties between equal priorities.",
        examples=[["mine", "lab"]],
    )
    layer_configs: dict[LayerName, Annotated[SerializeAsAny[LayerConfig], WrapValidator(_plain_layer)]] = (
        Field(
            description="Each layer's configuration by its name.",
            examples=[{"lab": {"config_type": "filesystem", "root": "/data/lab"}}],
        )
    )
    default_write_layer: str | None = Field(
        None, description="The layer that is written; absent: nothing can be written.", examples=["mine"]
    )
    write_strategy: Literal["default", "source", "cache_and_propagate"] = Field(
        "default",
        description="Where changes go: `default_write_layer`; back to their source; the cache first.",
        examples=["source"],
    )
    complete_below_bytes: int = Field(
        64 * 1024**2,
        strict=True,
        ge=0,
        le=2**63 - 1,
        description="A store of a lower layer that is changed is copied whole, behind, if it is no larger.",
        examples=[1073741824],
    )
    cache_config: CacheConfig | None = Field(
        None,
        description="The cache, if it is not among the layers.",
        examples=[{"root": "~/.cache/copickfs"}],
    )
    db_config: SQLiteDBConfig | None = Field(
        None,
        description="The index, if it is not among the layers.",
        examples=[{"db_path": "~/.cache/copickfs/index.db"}],
    )
    views: ViewsConfig = Field(
        default=True,
        validate_default=True,
        description="The files under `Views/`: true, false, a list of formats, or an object (below).",
        examples=[["mrc", "star"]],
    )

    _source: Source = PrivateAttr(default_factory=Source)
    _places: dict[str, Location] = PrivateAttr(default_factory=dict)

    def model_post_init(self, context: Any, /) -> None:
        """Remember where the configuration comes from."""
        if isinstance(context, Source):
            self._source = context

    @property
    def source_file(self) -> str | None:
        """The file that was read, None for a configuration that was made in Python."""
        return self._source.file

    @property
    def base_directory(self) -> Path:
        """What relative paths in the configuration are relative to."""
        return self._source.base_directory

    @property
    def data_layers(self) -> list[str]:
        """Names of the layers that hold data, in the order in which they are asked."""
        names = [name for name in self.layers if self.layer_configs[name].is_data]
        return sorted(names, key=lambda name: -self.layer_configs[name].priority)

    @property
    def written_layers(self) -> frozenset[str]:
        """Names of the layers that a mount may change."""
        default = {self.default_write_layer} - {None}
        if self.write_strategy == "source":
            default |= {name for name in self.data_layers if not self.layer_configs[name].read_only}
        return frozenset(name for name in default if name is not None)

    @property
    def unused_layers(self) -> list[str]:
        """Names of layers that are configured but not in ``layers``."""
        services = (self.cache_config, self.db_config)
        used = {*self.layers, *(service.layer_name for service in services if service)}
        return [name for name in self.layer_configs if name not in used]

    def where(self, layer_name: str, field: str = "") -> Place:
        """File and key of a layer's configuration, or of one field of it, for an error about it."""
        location = self._places.get(layer_name, ("layer_configs", layer_name))
        return Place(self._source.file, self._source.key((*location, field) if field else location))

    @model_validator(mode="after")
    def _check_stack(self) -> MultilayerConfig:
        self._name_layers()
        self.cache_config = self._service(CacheConfig, "cache_config", self.cache_config, "cache")
        self.db_config = self._service(SQLiteDBConfig, "db_config", self.db_config, "db")
        self._check_layers()
        self._check_write_layer()
        self._check_parent_layer()
        return self

    def _name_layers(self) -> None:
        seen: set[str] = set()
        for index, name in enumerate(self.layers):
            if name in seen:
                raise fault(("layers", index), "a layer is named twice; remove one", name)
            seen.add(name)
        for name, config in self.layer_configs.items():
            if not name:
                raise fault(("layer_configs", name), "a layer's name must not be empty")
            if not config.layer_name:
                self.layer_configs[name] = config.model_copy(update={"layer_name": name})
            elif config.layer_name != name:
                message = (
                    f"a layer has one name; write {name!r}, as its key in layer_configs, or leave it out"
                )
                raise fault(("layer_configs", name, "layer_name"), message, config.layer_name)
            self._places[name] = ("layer_configs", name)

    def _service(self, kind: type[Service], key: str, given: Service | None, name: str) -> Service | None:
        """The cache or the index, wherever it was given."""
        listed = [config for name in self.layers if isinstance(config := self.layer_configs.get(name), kind)]
        if len(listed) > 1:
            second = listed[1].layer_name
            message = f"a second {listed[1].config_type} layer; there can be one, remove {second!r}"
            raise fault(("layers", self.layers.index(second)), message)
        if given is None:
            return listed[0] if listed else None
        if not given.layer_name:
            given = given.model_copy(update={"layer_name": name})
        same = self.layer_configs.get(given.layer_name)
        if given.layer_name in self._places and not isinstance(same, kind):
            raise fault((key, "layer_name"), "two layers have this name; rename one", given.layer_name)
        other = same or (listed[0] if listed else None)
        if isinstance(other, kind):
            if other.model_dump() != given.model_dump():
                raise fault(
                    (key,), f"given twice, here and as {other.layer_name!r} in layer_configs; remove one"
                )
            return other
        self._places[given.layer_name] = (key,)
        if given.layer_name in self.layers:
            self.layer_configs[given.layer_name] = given
        return given

    def _check_layers(self) -> None:
        for index, name in enumerate(self.layers):
            if name not in self.layer_configs:
                remedy = nearest(name, self.layer_configs) if self.layer_configs else "it is empty"
                raise fault(("layers", index), f"no such layer in layer_configs; {remedy}", name)
        if not self.data_layers:
            raise fault(
                ("layers",), "names no layer that holds data; add one, of config_type filesystem for example"
            )

    def _check_write_layer(self) -> None:
        name = self.default_write_layer
        if name is None:
            return
        key = ("default_write_layer",)
        if name not in self.layers:
            raise fault(key, f"no such layer in layers; {nearest(name, self.layers)}", name)
        config = self.layer_configs[name]
        if not config.is_data:
            raise fault(key, f"a {config.config_type} layer holds no data; name a filesystem layer", name)
        if config.read_only:
            raise fault(key, "this layer is read-only; name another, or leave the key out", name)

    def _check_parent_layer(self) -> None:
        cache = self.cache_config
        if cache is None or cache.parent_layer is None:
            return
        if cache.parent_layer not in self.data_layers:
            message = f"no such data layer in layers; {nearest(cache.parent_layer, self.data_layers)}"
            raise fault((*self._places[cache.layer_name], "parent_layer"), message, cache.parent_layer)
        if getattr(self.layer_configs[cache.parent_layer], "is_local", False):
            message = (
                "this layer is on this machine, and only remote ones are cached; name one, or leave it out"
            )
            raise fault((*self._places[cache.layer_name], "parent_layer"), message, cache.parent_layer)

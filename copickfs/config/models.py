"""The configuration classes of the specification: copick's own, with what a stack of layers adds.

Each is its plain twin in `copickfs.config.schema` and a ``copick.models.CopickConfig`` at once.
Importing this module imports copick.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from copick.models import CopickConfig, PickableObject
from pydantic import BeforeValidator, Field, SerializeAsAny, ValidationInfo, WrapValidator

from copickfs.config.layer_schema import (
    CacheConfig,
    FSConfig,
    LayerConfig,
    LayerName,
    PortalConfig,
    SQLiteDBConfig,
)
from copickfs.config.loading import load
from copickfs.config.project import ObjectConfig
from copickfs.config.schema import MultilayerConfig, layer_from

if TYPE_CHECKING:
    import os
    from typing import Self


def _checked(item: Any) -> Any:
    """The plain twin goes first: copick warns on standard error, and fails on a missing colour."""
    if isinstance(item, dict):
        ObjectConfig.model_validate(item)
    return item


class _CopickFields(CopickConfig):  # type: ignore[misc] # copick has no annotations for mypy
    """copick's configuration, whose objects may be absent."""

    pickable_objects: list[Annotated[PickableObject, BeforeValidator(_checked)]] = Field(default_factory=list)


class CopickConfigFS(_CopickFields, FSConfig):
    """A layer that is a directory, or anything else that fsspec can open. See `FSConfig`."""


class CopickConfigPortal(_CopickFields, PortalConfig):
    """A layer that is datasets of a CryoET Data Portal. See `PortalConfig`."""


class CopickConfigCache(_CopickFields, CacheConfig):
    """A cache for a remote layer. See `CacheConfig`."""


class CopickConfigSQLiteDB(_CopickFields, SQLiteDBConfig):
    """An index of all layers. See `SQLiteDBConfig`."""


_MODELS: dict[str, type[LayerConfig]] = {
    "filesystem": CopickConfigFS,
    "cryoet_data_portal": CopickConfigPortal,
    "cache": CopickConfigCache,
    "sqlite_db": CopickConfigSQLiteDB,
}


def _public_layer(value: Any, _handler: object, info: ValidationInfo) -> LayerConfig:
    return layer_from(value, info, _MODELS)


class CopickConfigMultilayer(_CopickFields, MultilayerConfig):
    """A stack of layers. See `MultilayerConfig`."""

    layer_configs: dict[LayerName, Annotated[SerializeAsAny[LayerConfig], WrapValidator(_public_layer)]]
    cache_config: CopickConfigCache | None = None
    db_config: CopickConfigSQLiteDB | None = None

    @classmethod
    def from_file(cls, filename: str | os.PathLike[str]) -> Self:
        """Read a configuration file, as `copickfs.config.load` does.

        Raises:
            ConfigError: As for `copickfs.config.load`.
        """
        return load(Path(filename), model=cls)

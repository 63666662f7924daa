"""The configuration of one layer, a model for each kind."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationInfo,
    field_validator,
    model_validator,
)

from copickfs.config.expansion import (
    escape,
    expand_argument,
    expand_variables,
    is_url,
    resolve_root,
)
from copickfs.config.project import Model, ProjectConfig, fault
from copickfs.config.source import Location, Source, source_of

_LAYER_NAME_MAX = 100
_DAY_S = 86_400.0
_GIB = 1024**3
_MOST = 2**63 - 1


def _layer_name(name: str) -> str:
    if len(name) > _LAYER_NAME_MAX or not name.isprintable() or "/" in name or name != name.strip():
        raise ValueError(f"a layer's name is at most {_LAYER_NAME_MAX} printable characters without '/'")
    return name


def _expanded(text: str, info: ValidationInfo) -> tuple[str, Source]:
    """``text`` with its variables expanded where it comes from a file, and what it is relative to."""
    source = source_of(info)
    return (text, Source()) if source is None else (expand_variables(text), source)


def _root(root: str, info: ValidationInfo) -> str:
    text, source = _expanded(root, info)
    return resolve_root(text, source.base_directory)


def _local_path(path: str, info: ValidationInfo) -> str:
    text, source = _expanded(path, info)
    resolved = resolve_root(text, source.base_directory)
    if is_url(resolved):
        raise ValueError("must be a path on this machine, not a URL")
    return resolved


def _arguments(arguments: dict[str, Any], info: ValidationInfo) -> Any:
    source = source_of(info)
    return arguments if source is None else _expanded_arguments(arguments, (), strict=source.strict_arguments)


def _expanded_arguments(value: Any, location: Location, *, strict: bool) -> Any:
    """``value`` with every string in it expanded; the error names the key, never the value."""
    if isinstance(value, dict):
        return {
            key: _expanded_arguments(item, (*location, str(key)), strict=strict)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [
            _expanded_arguments(item, (*location, index), strict=strict) for index, item in enumerate(value)
        ]
    try:
        return expand_argument(value, strict=strict) if isinstance(value, str) else value
    except ValueError as error:
        raise fault(location, str(error)) from None


def _none_is_empty(value: Any) -> Any:
    return {} if value is None else value


# In JSON, which is what files hold, a "$" is written "$$": a dump reads back as what it was made from.
_AsInFiles = PlainSerializer(escape, when_used="json")

LayerName = Annotated[str, AfterValidator(_layer_name)]
Root = Annotated[str, AfterValidator(_root), _AsInFiles]
"""An absolute path or a URL; variables, ``~`` and relative paths are resolved."""
LocalPath = Annotated[str, AfterValidator(_local_path), _AsInFiles]
"""An absolute path; variables, ``~`` and relative paths are resolved."""
Arguments = Annotated[dict[str, Any], BeforeValidator(_none_is_empty), AfterValidator(_arguments), _AsInFiles]
"""Keyword arguments of an fsspec file system, with variables expanded. May hold secrets."""
Identifier = Annotated[int, Field(strict=True, ge=0, le=_MOST)]


class LayerConfig(ProjectConfig):
    """What the configuration of every layer has.

    copick's own keys are accepted, for the specification's classes extend copick's configuration;
    those of the whole configuration count, not a layer's.
    """

    quiet_fields: ClassVar[frozenset[str]] = frozenset(ProjectConfig.model_fields)
    is_data: ClassVar[bool] = True
    """False for a kind that holds no part of the tree: cache and index."""

    config_type: str = Field(description="Kind of the layer.", examples=["filesystem"])
    layer_name: LayerName = Field(
        "", description="Name of the layer; the same as its key in `layer_configs`.", examples=["lab"]
    )
    priority: int = Field(
        0,
        strict=True,
        ge=-1_000_000_000,
        le=1_000_000_000,
        description="Higher is asked first; among equals the order of `layers` decides.",
        examples=[50],
    )
    read_only: bool = Field(default=False, strict=True, description="Never write here.", examples=[True])


class RemoteFields(Model):
    """How a layer behind a network is treated."""

    timeout: float = Field(
        20.0, strict=True, gt=0, le=_DAY_S, description="Limit of one request, in seconds.", examples=[60]
    )
    on_unavailable: Literal["wait", "error"] = Field(
        "wait",
        description="A read while the source is out of reach: wait for it, or fail with EIO.",
        examples=["error"],
    )
    fs_args: Arguments = Field(
        default_factory=dict,
        repr=False,
        description="Keyword arguments of the fsspec file system (host, credentials, ...).",
        examples=[{"host": "files.example.org", "password": "${LAB_PASSWORD}"}],
    )


class FSConfig(RemoteFields, LayerConfig):
    """A directory, or anything else that fsspec can open."""

    config_type: Literal["filesystem"] = Field(
        "filesystem", description="Kind of the layer.", examples=["filesystem"]
    )
    root: Root = Field(description="Path or fsspec URL of the project.", examples=["../lab/project"])
    ttl: float = Field(
        60.0,
        strict=True,
        ge=0,
        le=1e9,
        description="How long a remote listing is believed, in seconds.",
        examples=[600],
    )
    immutable: bool = Field(
        default=False,
        strict=True,
        description="Nothing there ever changes: believe it for ever.",
        examples=[True],
    )

    @property
    def is_local(self) -> bool:
        """True if ``root`` is a path on this machine."""
        return not is_url(self.root)


class PortalConfig(RemoteFields, LayerConfig):
    """Datasets of a CryoET Data Portal. Read-only by nature."""

    config_type: Literal["cryoet_data_portal"] = Field(
        "cryoet_data_portal", description="Kind of the layer.", examples=["cryoet_data_portal"]
    )
    read_only: bool = Field(default=True, strict=True, description="Always true.", examples=[True])
    dataset_ids: list[Identifier] = Field(
        default_factory=list, description="Datasets to show. This or `run_ids` is needed.", examples=[[10301]]
    )
    run_ids: list[Identifier] = Field(
        default_factory=list, description="Only these runs, by number.", examples=[[15094]]
    )
    run_names: list[str] = Field(
        default_factory=list,
        description="Only runs of which the portal's name fits one of these patterns (`*`, `?`, `[...]`).",
        examples=[["TS_0*"]],
    )
    tomo_types: list[str] = Field(
        default_factory=list,
        description="Only these types of tomograms, as copick names them.",
        examples=[["wbp-denoised"]],
    )
    object_identifiers: list[str] = Field(
        default_factory=list,
        description="Only annotations of these objects, by the portal's identifiers.",
        examples=[["GO:0022626"]],
    )
    graphql_url: str | None = Field(
        None,
        pattern=r"^https?://\S+$",
        description="The portal's query service, if not the public one.",
        examples=["https://portal.example.org/graphql"],
    )
    url_style: Literal["s3", "https"] = Field(
        "s3",
        description="By which of their addresses files are read: in the bucket, or on the web server.",
        examples=["https"],
    )
    ttl: float = Field(
        _DAY_S,
        strict=True,
        ge=0,
        le=1e9,
        description="Age at which what the portal has told is asked for again, behind, in seconds.",
        examples=[3600],
    )

    @field_validator("read_only")
    @classmethod
    def _never_written(cls, read_only: bool) -> bool:
        if not read_only:
            raise ValueError("the portal cannot be written; leave it out or set it to true")
        return read_only

    @model_validator(mode="after")
    def _something_is_selected(self) -> PortalConfig:
        if not (self.dataset_ids or self.run_ids):
            raise fault(("dataset_ids",), "name at least one dataset, or runs in run_ids")
        return self


class CacheConfig(LayerConfig):
    """A directory on this machine that keeps what was read from a remote layer."""

    is_data: ClassVar[bool] = False

    config_type: Literal["cache"] = Field("cache", description="Kind of the layer.", examples=["cache"])
    root: LocalPath = Field(
        description="Directory of the cache; a path on this machine.", examples=["~/.cache/copickfs"]
    )
    max_size_bytes: int = Field(
        10 * _GIB,
        strict=True,
        ge=1024**2,
        le=_MOST,
        description="Most that the cache may hold, its database included, in bytes; at least 1 MiB.",
        examples=[107374182400],
    )
    parent_layer: str | None = Field(
        None, description="The data layer that is cached; all remote ones if absent.", examples=["portal"]
    )
    min_free_bytes: int = Field(
        1 * _GIB,
        strict=True,
        ge=0,
        le=_MOST,
        description="Room on its file system that the cache leaves to others, in bytes.",
        examples=[10737418240],
    )
    memory_bytes: int = Field(
        256 * 1024**2,
        strict=True,
        ge=16 * 1024**2,
        le=_MOST,
        description="Most that is kept in memory, in bytes.",
        examples=[1073741824],
    )
    prefetch: bool = Field(
        default=True,
        strict=True,
        description="Fetch what a reader is about to ask for: the next planes, the next blocks.",
        examples=[False],
    )
    prefetch_window_bytes: int = Field(
        64 * 1024**2,
        strict=True,
        gt=0,
        le=_MOST,
        description="How far ahead of a reader to fetch, in bytes; at most half of `memory_bytes`.",
        examples=[134217728],
    )


class SQLiteDBConfig(LayerConfig):
    """An index of all layers in an SQLite database."""

    is_data: ClassVar[bool] = False

    config_type: Literal["sqlite_db"] = Field(
        "sqlite_db", description="Kind of the layer.", examples=["sqlite_db"]
    )
    db_path: LocalPath = Field(
        description="File of the database; a path on this machine.", examples=["~/.cache/copickfs/index.db"]
    )
    auto_index: bool = Field(
        default=True, strict=True, description="Index without being asked to.", examples=[False]
    )
    index_interval: float = Field(
        3600,
        strict=True,
        gt=0,
        le=1e9,
        description="Time between two indexing runs, in seconds.",
        examples=[600],
    )


class ExtensionConfig(LayerConfig):
    """A layer of a kind that another package adds without a model of its own: every key is kept."""

    model_config = ConfigDict(extra="allow")


BUILT_IN_MODELS: dict[str, type[LayerConfig]] = {
    "filesystem": FSConfig,
    "cryoet_data_portal": PortalConfig,
    "cache": CacheConfig,
    "sqlite_db": SQLiteDBConfig,
}

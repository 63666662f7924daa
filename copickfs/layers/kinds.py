"""From a layer's configuration to the layer: the built-in kinds and those of other packages.

A kind is an object with ``build(config, context) -> Layer``. Another package adds one by the entry
point group ``copickfs.layers``, whose entry names are values of ``config_type``.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

from copickfs.config.kinds import find_kind
from copickfs.layers.local import LocalLayer
from copickfs.layers.localwrite import WritableLocalLayer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from copickfs.index import Database
    from copickfs.index.listings import ListingStore
    from copickfs.layers.base import Layer
    from copickfs.layers.cachelayer import CacheLayer


class BuildContext(NamedTuple):
    """What a layer needs to know of the face that it serves.

    Attributes:
        watch: Announce changes at the source; a mount needs that, a short script does not.
        confined: The daemon serves other users: symbolic links out of a root are refused.
        mountpoint: Where the tree is mounted; a layer must never reach into it.
        writable: Names of the layers that may be written.
        write_strategy: ``write_strategy`` of the configuration.
        journal_directory: Where what is to be sent to remote layers is kept; None for the default.
        database: The index, where the listings of remote layers are kept for the next process; or None.
        cache: What is read of remote layers is kept there; or None.
        offline: Reach for nothing on a network: answer from what is known, and from the cache.
        objects: Names of the project's objects by their identifiers.
    """

    watch: bool = False
    confined: bool = False
    mountpoint: str = ""
    writable: frozenset[str] = frozenset()
    write_strategy: str = "default"
    journal_directory: str | None = None
    database: Database | None = None
    cache: CacheLayer | None = None
    offline: bool = False
    objects: Mapping[str, str] = MappingProxyType({})


class LayerKind(Protocol):
    """What an entry point of the group ``copickfs.layers`` loads to."""

    def build(self, config: Any, context: BuildContext) -> Layer:
        """Make the layer; connecting comes later. Raises `ConfigError`."""
        ...


def build_layer(config: Any, context: BuildContext) -> Layer:
    """Make the layer that one layer configuration describes.

    Raises:
        ConfigError: The kind is not known, or cannot be mounted by this version.
    """
    builder = _BUILT_IN.get(config.config_type)
    if builder is not None:
        return builder(config, context)
    kind = cast("LayerKind", find_kind(config.config_type))
    return kind.build(config, context)


def _build_filesystem(config: Any, context: BuildContext) -> Layer:
    if "://" not in config.root and "::" not in config.root:
        writable = not config.read_only and config.layer_name in context.writable
        layer = (WritableLocalLayer if writable else LocalLayer)(
            config.layer_name,
            config.root,
            config.priority,
            read_only=config.read_only,
            watch=context.watch,
            confined=context.confined,
            mountpoint=context.mountpoint,
            on_unavailable=config.on_unavailable,
        )
        layer.parts_links = bool(context.writable) and not writable
        return layer
    if config.layer_name in context.writable:
        return _build_writable_remote(config, context)
    from copickfs.layers.remote import FsspecLayer

    return FsspecLayer(
        config.layer_name,
        config.root,
        config.priority,
        read_only=config.read_only,
        **_fs_options(config, context),
    )


def _build_writable_remote(config: Any, context: BuildContext) -> Layer:
    from copickfs.layers.remotewrite import WritableFsspecLayer

    return WritableFsspecLayer(
        config.layer_name,
        config.root,
        config.priority,
        propagate=context.write_strategy == "cache_and_propagate",
        journal_directory=context.journal_directory,
        **_fs_options(config, context),
    )


def _fs_options(config: Any, context: BuildContext) -> dict[str, Any]:
    return {
        **_remote_options(config, context),
        "fs_args": config.fs_args,
        "immutable": config.immutable,
        "listing_store": _listing_store(config, context),
    }


def _remote_options(config: Any, context: BuildContext) -> dict[str, Any]:
    cache = context.cache if context.cache is not None and context.cache.caches(config.layer_name) else None
    return {
        "ttl_s": config.ttl,
        "timeout_s": config.timeout,
        "on_unavailable": config.on_unavailable,
        "cache": cache,
        "offline": context.offline,
    }


def _build_cache(config: Any, _context: BuildContext) -> Layer:
    from copickfs.layers.cachelayer import CacheLayer

    return CacheLayer(config)


def _build_database(config: Any, _context: BuildContext) -> Layer:
    from copickfs.layers.database import SQLiteDBLayer

    return SQLiteDBLayer(config)


def _listing_store(config: Any, context: BuildContext) -> ListingStore | None:
    if context.database is None:
        return None
    from copickfs.index.listings import ListingStore
    from copickfs.layers.identity import listing_key

    return ListingStore(context.database, listing_key(config.root, config.fs_args))


def _build_portal(config: Any, context: BuildContext) -> Layer:
    from copickfs.layers.portal.layer import PortalLayer

    options = _remote_options(config, context)
    return PortalLayer(config, context.objects, context.database, options)


_BUILT_IN: dict[str, Callable[[Any, BuildContext], Layer]] = {
    "filesystem": _build_filesystem,
    "cryoet_data_portal": _build_portal,
    "cache": _build_cache,
    "sqlite_db": _build_database,
}

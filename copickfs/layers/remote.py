"""A layer anywhere that fsspec reaches: SFTP, HTTP, SMB, object stores, memory.

* `copickfs.layers.sources`: one module for each way of asking; tells an absence from an outage
* `copickfs.layers.guard`, `breaker`: time limits, bounded threads, retries, the state of the layer
* `copickfs.layers.connection`: the session, and all calls through the guard
* `copickfs.layers.lister`, `listings`, `catalogue`: what is remembered, and when it is believed
* `copickfs.layers.archive`: what of that is kept in the index for the next process
* `copickfs.layers.remotefile`, `pieces`: an open file, and how its contents come
* `copickfs.layers.prefetch`, `walks`, `listahead`: what is fetched, and listed, before anybody asks

fsspec and its implementations are imported by `FsspecLayer.connect` or the first call.
"""

from __future__ import annotations

import errno
import logging
import math
import os
import stat
from typing import TYPE_CHECKING, Any

from copickfs.cache import Cache
from copickfs.errors import AccessDenied, ConfigError, IsADirectory, WouldBlock
from copickfs.layers.archive import ListingArchive
from copickfs.layers.base import BaseLayer
from copickfs.layers.catalogue import Catalogue
from copickfs.layers.connection import Connection
from copickfs.layers.identity import cache_name
from copickfs.layers.listahead import ListAhead
from copickfs.layers.pieces import Pieces
from copickfs.layers.prefetch import Prefetcher
from copickfs.layers.remotefile import RemoteFile
from copickfs.layers.sources import DIRECTORY, LINK, SEALED, Found
from copickfs.layers.sources.redaction import shown_url
from copickfs.model import BLOCK_BYTES, Entry, Health, Statistics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from copickfs.index.listings import ListingStore
    from copickfs.layers.base import Layer
    from copickfs.layers.cachelayer import CacheLayer
    from copickfs.layers.lister import Fetcher
    from copickfs.layers.listings import Listing
    from copickfs.layers.sources import Counters, Source

_log = logging.getLogger(__name__)

IMMUTABLE_TTL_S = 86_400.0
"""How long callers may believe an answer about a source that never changes."""

_INLINE_ENTRIES = 2_000
_OWN_MEMORY_BYTES = 64 << 20
_MODES = {
    DIRECTORY: stat.S_IFDIR | 0o755,
    LINK: stat.S_IFLNK | 0o777,
    SEALED: stat.S_IFREG,
}
_FILE_MODE = stat.S_IFREG | 0o644


class FsspecLayer(BaseLayer):
    """A directory on a file system that fsspec knows.

    Attributes:
        owner: User and group whose everything is.
        cached_as: Name in the cache's directory of what is read from here; ``""`` if that is not kept there.

    Args:
        name: Name of the layer.
        root_url: The directory, as a URL.
        priority: Higher is asked first.
        read_only: True if no face may ever write here.
        fs_args: Arguments for the fsspec file system.
        ttl_s: How long a listing is believed.
        immutable: The source never changes: a listing is believed for ever.
        timeout_s: Silence after which a call is given up.
        on_unavailable: ``"wait"`` or ``"error"``.
        listing_store: Where its listings outlive this process.
        cache: Where its contents outlive the open files; None: in a little memory only.
        offline: Never ask the source: what is known and cached is all there is.
        opener: Makes the source, if ``root_url`` does not tell how.
        identity: What tells this source from others, if that is not its root.
    """

    believes_stored = True
    """What an earlier process has listed is an answer while it is younger than ``ttl_s``."""

    def __init__(  # noqa: PLR0913 - the keys of the configuration
        self,
        name: str,
        root_url: str,
        priority: int = 0,
        *,
        read_only: bool = True,
        fs_args: Mapping[str, Any] | None = None,
        ttl_s: float = 60.0,
        immutable: bool = False,
        timeout_s: float = 20.0,
        on_unavailable: str = "wait",
        listing_store: ListingStore | None = None,
        cache: CacheLayer | None = None,
        offline: bool = False,
        opener: Callable[[Counters], Source] | None = None,
        identity: str = "",
    ) -> None:
        # Nobody comes back while this process lives: there is nothing to wait for.
        reads = "error" if offline else on_unavailable
        super().__init__(name, priority, read_only=read_only, on_unavailable=reads)
        self._shown_root = shown_url(root_url).rstrip("/")
        self._ttl_s = IMMUTABLE_TTL_S if immutable else ttl_s
        self._connection = Connection(
            name, root_url, fs_args or {}, timeout_s, offline=offline, opener=opener
        )
        self._fetcher = self._fetcher_for(self._connection)
        self._callbacks: list[Callable[[str], None]] = []
        believed_s = math.inf if immutable else ttl_s
        self._archive = ListingArchive(name, listing_store, is_believed=self.believes_stored)
        self._catalogue = Catalogue(
            name, self._fetcher, believed_s, 1.25 * timeout_s, self._announce, self._archive
        )
        self.owner = (os.getuid(), os.getgid())
        source = cache_name(identity or root_url, fs_args or {})
        self.cached_as = "" if cache is None else source
        self._pieces = Pieces(
            Cache(memory_bytes=_OWN_MEMORY_BYTES) if cache is None else cache.cache,
            source,
            self._fetcher.read,
            immutable=immutable,
        )
        self._list_ahead = ListAhead(
            name, self._catalogue, lambda: self._connection.is_busy, self._connection.guesses
        )
        if not offline:
            self._catalogue.on_use = self._list_ahead.seen
        self._prefetcher: Prefetcher | None = None
        if cache is not None and cache.config.prefetch and not offline:
            self._prefetcher = self._goes_ahead(cache.config.prefetch_window_bytes)

    def connect(self) -> None:
        """See `Layer.connect`. The root is listed at once, unless the server lists nothing."""
        self._connection.connect()
        try:
            self._catalogue.listing("")
        except AccessDenied:
            if not self._shown_root.startswith("http"):
                raise ConfigError(f"no permission to list {self._shown_root}; correct 'root'") from None
            _log.warning(
                "layer %s: %s gives no directory listings: nothing in it is listed; files and zarr arrays "
                "can be opened by their full path; turn listings on at the server",
                self.name, self._shown_root,
            )  # fmt: skip

    def close(self) -> None:
        """See `Layer.close`."""
        self._list_ahead.close()
        if self._prefetcher is not None:
            self._prefetcher.close()
        self._connection.close()
        self._list_ahead.join()
        if self._prefetcher is not None:
            self._prefetcher.join()
        self._catalogue.close()

    def stat(self, path: str) -> Entry:
        """See `Layer.stat`. Costs no request once the directory is listed."""
        return self.entry_of(self._catalogue.sized(path))

    def scan(self, path: str) -> list[Entry]:
        """See `Layer.scan`."""
        return [self.entry_of(found) for found in self._catalogue.listing(path)]

    def open(self, path: str) -> RemoteFile:
        """See `Layer.open`. Costs no request once the directory is listed."""
        return self.opened(path, self._catalogue.seen(path))

    def readlink(self, path: str) -> str:
        """See `Layer.readlink`."""
        if self._catalogue.found(path).kind != LINK:
            raise OSError(errno.EINVAL, f"not a symbolic link: {path!r}")
        return self._fetcher.readlink(path)

    def stat_nowait(self, path: str) -> Entry:
        """See `Layer.stat_nowait`."""
        return self.entry_of(self._catalogue.sized(path, wait=False))

    def scan_nowait(self, path: str) -> list[Entry]:
        """See `Layer.scan_nowait`."""
        listing = self._catalogue.listing(path, wait=False)
        if len(listing) > _INLINE_ENTRIES:
            raise WouldBlock(self.name)
        return [self.entry_of(found) for found in listing]

    def open_nowait(self, path: str) -> RemoteFile:
        """See `Layer.open_nowait`."""
        return self.opened(path, self._catalogue.seen(path, wait=False))

    def ttl_s(self, directory: str) -> float:  # noqa: ARG002 - the same for all of them
        """See `Layer.ttl_s`."""
        return self._ttl_s

    def subscribe(self, callback: Callable[[str], None]) -> None:
        """See `Layer.subscribe`. Changes are noticed when a listing is fetched again."""
        self._callbacks.append(callback)

    def refresh(self) -> None:
        """See `Layer.refresh`. What was known still answers while the source is out of reach."""
        self._catalogue.distrust()

    def location(self, path: str) -> str:
        """See `Layer.location`."""
        return f"{self._shown_root}/{path}" if path else self._shown_root

    def health(self) -> Health:
        """See `Layer.health`."""
        return self._connection.health()

    def statistics(self) -> Statistics:
        """See `Layer.statistics`: requests that were sent and contents that have arrived."""
        pieces = self._pieces
        return self._connection.statistics()._replace(
            cache_hits=pieces.hits,
            cache_misses=pieces.misses,
            cached_bytes=pieces.hit_bytes,
            prefetch_queued=0 if self._prefetcher is None else self._prefetcher.queued,
        )

    def wait_available_hint_s(self) -> float:
        """Seconds until it makes sense to repeat a failed read; 0 when the source answers. Never blocks."""
        return self._connection.hint_s()

    def keep_listings(self) -> None:
        """Have all listings from now on in the index, so that a mount can go on without the source.

        What is believed now, or is listed later, is believed to the end: a long run does not list it again.
        """
        self._catalogue.keep()

    @property
    def unsaved_listings(self) -> int:
        """Listings since `keep_listings` that are not in the index."""
        return self._catalogue.unsaved

    def found(self, path: str, *, wait: bool = True) -> Found:
        """What the source has at ``path``; see `Catalogue.found`."""
        return self._catalogue.found(path, wait=wait)

    def listing(self, path: str, *, wait: bool = True) -> Listing:
        """What the source has in the directory ``path``; see `Catalogue.listing`."""
        return self._catalogue.listing(path, wait=wait)

    def opened(self, path: str, found: Found, entry: Entry | None = None) -> RemoteFile:
        """The file that was found at ``path`` of the source, shown as ``entry``."""
        if found.kind == DIRECTORY:
            raise IsADirectory(path)
        if found.kind == LINK:
            raise FileNotFoundError(errno.ENOENT, "a symbolic link that leads nowhere", path)
        if found.kind == SEALED:
            raise AccessDenied(errno.EACCES, f"layer {self.name}: the server does not let {path!r} be read")

        return RemoteFile(
            entry or self.entry_of(found), path, found, self._pieces, lambda: self.doubt(path, found)
        )

    def doubt(self, path: str, found: Found) -> None:
        """The source was seen to have another version at ``path`` than ``found``."""
        self._catalogue.doubt(path, found)

    def entry_of(self, found: Found) -> Entry:
        """What is shown for something at the source."""
        name, kind, size_bytes, mtime_ns, etag = found
        uid, gid = self.owner
        return Entry(
            name, _MODES.get(kind, _FILE_MODE), size_bytes, mtime_ns, self.name, etag, mtime_ns, mtime_ns, 1,
            uid, gid, -(-size_bytes // BLOCK_BYTES),
        )  # fmt: skip

    def _fetcher_for(self, connection: Connection) -> Fetcher:
        """What answers for paths of this layer; a kind may know of some without asking."""
        return connection

    def _goes_ahead(self, window_bytes: int) -> Prefetcher:
        prefetcher = Prefetcher(
            self.name,
            self._pieces,
            lambda path: self._catalogue.found(path, wait=False),
            self._catalogue.array_at,
            lambda: self._connection.is_busy or self._pieces.cache.is_behind,
            window_bytes,
            self._connection.guesses,
        )
        self._pieces.on_use = prefetcher.seen
        return prefetcher

    def _announce(self, path: str) -> None:
        for callback in self._callbacks:
            callback(path)


def remote_layers(layers: Iterable[Layer]) -> list[FsspecLayer]:
    """Those of some layers that are remote."""
    return [layer for layer in layers if isinstance(layer, FsspecLayer)]


def cached_layers(layers: Iterable[Layer]) -> list[FsspecLayer]:
    """Those of some layers of which what is read is kept in the cache's directory."""
    return [layer for layer in remote_layers(layers) if layer.cached_as]

"""The layer of kind ``cryoet_data_portal`` (specification, 2.1 and 9)."""

from __future__ import annotations

import hashlib
import re
from functools import partial
from typing import TYPE_CHECKING, Any

import xxhash

from copickfs.errors import LayerError, Transient
from copickfs.index.listings import ListingStore
from copickfs.layers.identity import listing_key
from copickfs.layers.portal.access import portal_fs_args
from copickfs.layers.portal.discovery import catalogue_of, objects_of, portal_url
from copickfs.layers.portal.fetcher import PortalFetcher
from copickfs.layers.portal.project import PortalProject
from copickfs.layers.portal.tree import Selection
from copickfs.layers.remote import FsspecLayer
from copickfs.layers.sources.opening import open_source
from copickfs.layers.sources.places import PlacesSource
from copickfs.layers.sources.redaction import shown_url
from copickfs.model import Health

if TYPE_CHECKING:
    from collections.abc import Mapping

    from copickfs.index import Database
    from copickfs.layers.connection import Connection
    from copickfs.layers.lister import Fetcher
    from copickfs.layers.portal.nodes import Node
    from copickfs.layers.sources import Counters, Found, Source
    from copickfs.model import Entry

_OF_THE_PORTAL = re.compile("[a-z][0-9a-f]{16}~")
"""How the version begins of a file that the portal's records tell of."""


class PortalLayer(FsspecLayer):
    """Datasets of a CryoET Data Portal, as copick shows them.

    Args:
        config: A `PortalConfig` or `CopickConfigPortal`.
        objects: Names of the project's objects by their identifiers; empty: all that the portal has.
        database: The index, where the catalogue is kept; None for nowhere.
        options: Of every remote layer; see `FsspecLayer`.
    """

    def __init__(
        self, config: Any, objects: Mapping[str, str], database: Database | None, options: Mapping[str, Any]
    ) -> None:
        self.config = config
        self._url = portal_url(config)
        self.catalogue = catalogue_of(config, database, offline=bool(options.get("offline")))
        self._project = PortalProject(
            config.layer_name,
            self.catalogue,
            Selection(
                objects or None,
                frozenset(config.tomo_types),
                frozenset(config.object_identifiers),
                config.url_style,
            ),
            config.run_names,
            config.dataset_ids if config.run_ids else (),
        )
        self._database = database
        self._what = (
            sorted(objects.items()), config.tomo_types, config.object_identifiers, config.run_names,
            config.url_style,
        )  # fmt: skip
        fs_args = portal_fs_args(config.fs_args, config.url_style)
        self._shown_as = listing_key(shown_url(self._url), fs_args)
        opener = partial(_open_places, fs_args, config.timeout)
        super().__init__(
            config.layer_name, f"{config.url_style}://", config.priority,
            fs_args=fs_args, opener=opener, identity=shown_url(self._url), **options,
        )  # fmt: skip

    def connect(self) -> None:
        """See `Layer.connect`. With a stored catalogue it needs no network."""
        self.catalogue.progress = lambda text: self.on_progress(f"layer {self.name}: {text}")
        try:
            self.catalogue.load()
            self._keep_listings_apart()
        finally:
            self.catalogue.keep_up(self._changed)

    def close(self) -> None:
        """See `Layer.close`."""
        self.catalogue.close()
        super().close()

    def refresh(self) -> None:
        """See `Layer.refresh`. The portal is asked; without an answer, what it has told before stays."""
        self._portal_fetcher.forget()
        super().refresh()
        self.catalogue.refresh(self._changed)

    def location(self, path: str) -> str:
        """See `Layer.location`: the address of what is in the bucket, else the portal's."""
        try:
            node, inner = self._project.node_at(path)
        except (LayerError, Transient):
            return shown_url(self._url)
        place = getattr(node, "place", "")
        scheme, _, rest = place.partition(":")
        return f"{scheme}://{rest}{inner}" if place else shown_url(self._url)

    def health(self) -> Health:
        """See `Layer.health`."""
        health = super().health()
        failure = self.catalogue.failure
        if failure and not self.catalogue.is_complete:
            return Health("down", failure)
        return health._replace(message=health.message or failure)

    def notes(self) -> Mapping[str, Any]:
        """See `Layer.notes`."""
        return {"portal": {**self.catalogue.notes(), "withdrawn": self._portal_fetcher.left_out}}

    def pickable_objects(self) -> list[dict[str, Any]]:
        """The objects of a project that names none; see `copickfs.layers.objects`."""
        return objects_of(self.config, self.catalogue)

    def described(self, path: str) -> Mapping[str, str]:
        """See `Layer.described`."""
        node = self._node(path)
        return {} if node is None or node.facts is None else node.facts.told()

    def known_of(self, path: str) -> Mapping[str, Any] | None:
        """See `Layer.known_of`."""
        node = self._node(path)
        return None if node is None or node.facts is None else node.facts.detail()

    def entry_of(self, found: Found) -> Entry:
        """See `FsspecLayer.entry_of`. A file has a number that stays when its version becomes known."""
        entry = super().entry_of(found)
        version = _OF_THE_PORTAL.match(found.etag)
        if version is None:
            return entry
        return entry._replace(
            inode=xxhash.xxh3_64_intdigest(f"{version[0]}{found.name}".encode(errors="surrogateescape")) | 1
        )

    def _node(self, path: str) -> Node | None:
        """What the portal tells of a path, but for what is inside of a store."""
        node, inner = self._project.node_at(path)
        return None if inner else node

    def _fetcher_for(self, connection: Connection) -> Fetcher:
        self._portal_fetcher = PortalFetcher(self.config.layer_name, self._project, connection)
        return self._portal_fetcher

    def _changed(self) -> None:
        """The portal tells something else now."""
        self._project.forget()
        self._portal_fetcher.forget()
        self._keep_listings_apart()
        self._catalogue.distrust()

    def _keep_listings_apart(self) -> None:
        """Stored listings are those of what the portal tells now, and of what of it this layer shows."""
        if self._database is not None:
            told = [told.digest for told in self.catalogue.answers()]
            key = hashlib.sha256(repr((self._shown_as, self._what, told)).encode()).hexdigest()[:32]
            self._archive.keep_in(ListingStore(self._database, key))


def _open_places(fs_args: Mapping[str, Any], timeout_s: float, counters: Counters) -> Source:
    return PlacesSource(lambda url: _open_place(url, fs_args, timeout_s, counters))


def _open_place(url: str, fs_args: Mapping[str, Any], timeout_s: float, counters: Counters) -> Source:
    source = open_source(url, fs_args, counters, timeout_s)
    if url.startswith("http"):
        from copickfs.layers.sources.web import HttpSource

        assert isinstance(source, HttpSource)  # noqa: S101 - what fsspec has for the protocol
        source.root_is_unlisted = True  # the mirror of a bucket lists nothing
    return source

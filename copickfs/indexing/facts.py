"""What renderers are told of a project without anything being read: from the layers' memory and the index."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from typing import TYPE_CHECKING, Any

import xxhash

from copickfs.entities import (
    OBJECTS_DIRECTORY,
    RUNS_DIRECTORY,
    EntityType,
    Identity,
    holds_entities,
    identify,
)
from copickfs.errors import IndexUnavailable, NotADirectory, NotFound
from copickfs.index import StatisticsTable
from copickfs.indexing.metadata import STORES, Metadata
from copickfs.paths import join
from copickfs.virtual.sources import Statistics

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from copickfs.indexing.catalog import Catalog
    from copickfs.layers.base import Layer
    from copickfs.model import Entry

_MAX_WRONG = 10_000
_ALL_FOR_S = 5.0
"""So long the entities of all runs are believed to be the same, if nothing is heard of a change."""


class ProjectFacts:
    """See `copickfs.virtual.sources.Facts`. Thread-safe.

    Args:
        catalog: Finds entities of the tree, in the index if there is one.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._view = catalog.view
        self._metadata = Metadata(catalog.view)
        database = catalog.database
        self._statistics = None if database is None else StatisticsTable(database, catalog.key)
        self._lock = threading.Lock()
        self._answers: dict[tuple[EntityType, str], _Answer] = {}
        self._wrong: dict[str, str | None] = {}

    def known(self, path: str, entry: Entry, layer: Layer) -> tuple[str, Mapping[str, Any]] | None:
        """See `Facts.known`."""
        known = self._told(path, entry, layer)
        if path in self._wrong and known is not None:
            if self._wrong[path] in (None, known[0]):
                self._wrong[path] = known[0]
                return None
            del self._wrong[path]
        return known

    def distrust(self, path: str) -> None:
        """See `Facts.distrust`."""
        if len(self._wrong) >= _MAX_WRONG:
            self._wrong.clear()
        self._wrong[path] = None

    def _told(self, path: str, entry: Entry, layer: Layer) -> tuple[str, Mapping[str, Any]] | None:
        with contextlib.suppress(NotFound, NotADirectory):
            told = layer.known_of(path)
            if told is not None:
                return _digest(json.dumps(dict(told), sort_keys=True)), told
        if self._catalog.table is None:
            return None
        try:
            record = self._catalog.table.record(path)
        except IndexUnavailable:
            return None
        if record is None or record.layers[:1] != (layer.name,):
            return None
        if record.identity.type in STORES:
            asked = layer if len(record.layers) == 1 else None
            is_same = self._metadata.is_store_unchanged(path, record.version, entry, asked)
        else:
            is_same = record.version == entry.version
        return (record.version, record.detail) if is_same else None

    def entities(self, kind: EntityType, run: str | None = None) -> tuple[str, list[Identity]]:
        """See `Facts.entities`. The tree is asked, so that nothing that is there is missing."""
        key = (kind, run or "")
        with self._lock:
            answer = self._answers.get(key)
        if answer is not None and answer.is_valid(self._view.news):
            return answer.mark, answer.identities
        news = self._view.news
        begin = RUNS_DIRECTORY if kind is not EntityType.OBJECT else OBJECTS_DIRECTORY
        below = self._below(join(begin, run) if run else begin)
        found = sorted((each for each in below if each.type is kind), key=lambda each: each.path)
        answer = _Answer(_digest("\0".join(each.path for each in found)), found, news)
        if run is None:
            with self._lock:
                self._answers[key] = answer
        return answer.mark, found

    def statistics(self, path: str, version: str) -> Statistics | None:
        """See `Facts.statistics`."""
        with contextlib.suppress(IndexUnavailable):
            numbers = None if self._statistics is None else self._statistics.get(path, version)
            return None if numbers is None else Statistics(*numbers, exact=True)
        return None

    def keep_statistics(self, path: str, version: str, statistics: Statistics) -> None:
        """See `Facts.keep_statistics`."""
        with contextlib.suppress(IndexUnavailable):
            if self._statistics is not None:
                self._statistics.put(path, version, statistics[:4])

    def _below(self, directory: str) -> Iterator[Identity]:
        try:
            entries = self._view.listing(directory).entries
        except (NotFound, NotADirectory):
            return
        for entry in entries:
            path = join(directory, entry.name)
            identity = identify(path, is_dir=entry.is_dir)
            if identity is not None:
                yield identity
            if entry.is_dir and holds_entities(path):
                yield from self._below(path)


class _Answer:
    """All entities of one kind, at one time."""

    def __init__(self, mark: str, identities: list[Identity], news: int) -> None:
        self.mark = mark
        self.identities = identities
        self._news = news
        self._until_s = time.monotonic() + _ALL_FOR_S

    def is_valid(self, news: int) -> bool:
        """True if nothing was heard of since, and it is not old."""
        return self._news == news and time.monotonic() < self._until_s


def _digest(text: str) -> str:
    return xxhash.xxh3_128_hexdigest(text.encode(errors="surrogateescape"))

"""What renderers are told of a project without anything being read: from the layers' memory and the index."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import xxhash

from copickfs.entities import (
    OBJECTS_DIRECTORY,
    RUNS_DIRECTORY,
    STORES,
    EntityType,
    Identity,
    holds_entities,
    identify,
)
from copickfs.errors import IndexUnavailable, NotADirectory, NotFound
from copickfs.index import StatisticsTable
from copickfs.indexing.metadata import Metadata
from copickfs.paths import join, split
from copickfs.virtual.project import Statistics

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from copickfs.entities import EntityRecord
    from copickfs.indexing.catalog import Catalog
    from copickfs.layers.base import Layer
    from copickfs.model import Entry
    from copickfs.view import View

_MAX_WRONG = 10_000
_ALL_FOR_S = 5.0
"""So long the entities of all runs are believed to be the same, if nothing is heard of a change."""

_ONE_FOR_S = 1.0
"""The same for those of one run."""

_MAX_ANSWERS = 1_000
_RECORDS_FOR_S = 1.0
"""So long the records of a directory are kept for the other entities in it; each is compared all the same."""


class ProjectFacts:
    """See `copickfs.virtual.project.Facts`. Thread-safe.

    Args:
        catalog: Finds entities of the tree, in the index if there is one.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        view = self._view = catalog.view
        self._news = 0
        view.subscribe(self._changed)
        view.membership.subscribe_own(self._changed)
        self._metadata = Metadata(catalog.view)
        database = catalog.database
        self._statistics = None if database is None else StatisticsTable(database, catalog.key)
        self._lock = threading.Lock()
        self._answers: dict[tuple[EntityType, str], _Answer] = {}
        self._wrong: dict[str, str | None] = {}
        self._kept = _Kept("", 0.0, {})

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
        for anew in (False, True):
            record = self._record(path, anew=anew)
            if record is not None and self._is_true(record, path, entry, layer):
                return record.version, record.detail
        return None

    def _is_true(self, record: EntityRecord, path: str, entry: Entry, layer: Layer) -> bool:
        """True if a record is of what is at ``path`` now."""
        if record.layers[:1] != (layer.name,):
            return False
        if record.identity.type not in STORES:
            return record.version == entry.version
        asked = layer if len(record.layers) == 1 else None
        return self._metadata.is_store_unchanged(path, record.version, entry, asked)

    def entities(self, kind: EntityType, run: str | None = None) -> tuple[str, list[Identity]]:
        """See `Facts.entities`. The tree is asked, so that nothing that is there is missing."""
        key = (kind, run or "")
        with self._lock:
            answer = self._answers.get(key)
        if answer is not None and answer.is_valid(self._news):
            return answer.mark, answer.identities
        news = self._news
        found = entities_in(self._view, kind, run)
        believed_s = _ALL_FOR_S if run is None else _ONE_FOR_S
        answer = _Answer(_digest("\0".join(each.path for each in found)), found, news, believed_s)
        with self._lock:
            if len(self._answers) >= _MAX_ANSWERS:
                self._answers.clear()
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

    def _changed(self, _path: str) -> None:
        """A layer has announced a change, or this process has made one: nothing older is believed."""
        with self._lock:
            self._news += 1

    def _record(self, path: str, *, anew: bool) -> EntityRecord | None:
        """What is in the index; the records of a directory come together, for they are asked for together.

        Args:
            path: The entity.
            anew: Those that are at hand are not of what is there now.
        """
        if self._catalog.table is None:
            return None
        directory, leaf = split(path)
        kept = self._kept
        if kept.directory != directory or time.monotonic() - kept.since_s > (0 if anew else _RECORDS_FOR_S):
            begun_s = time.monotonic()
            try:
                kept = _Kept(directory, begun_s, dict(self._catalog.table.known(directory)[1]))
            except IndexUnavailable:
                return None
            self._kept = kept
        return kept.records.get(leaf)


def entities_in(view: View, kind: EntityType, run: str | None = None) -> list[Identity]:
    """The entities of a kind in the merged tree, of one run or of all, in the order of their paths."""
    begin = RUNS_DIRECTORY if kind is not EntityType.OBJECT else OBJECTS_DIRECTORY
    below = _below(view, join(begin, run) if run else begin)
    return sorted((each for each in below if each.type is kind), key=lambda each: each.path)


def _below(view: View, directory: str) -> Iterator[Identity]:
    try:
        entries = view.listing(directory).entries
    except (NotFound, NotADirectory):
        return
    for entry in entries:
        path = join(directory, entry.name)
        identity = identify(path, is_dir=entry.is_dir)
        if identity is not None:
            yield identity
        if entry.is_dir and holds_entities(path):
            yield from _below(view, path)


class _Kept(NamedTuple):
    """The records of one directory, as they were a moment ago."""

    directory: str
    since_s: float
    records: dict[str, EntityRecord]


class _Answer:
    """All entities of one kind, at one time."""

    def __init__(self, mark: str, identities: list[Identity], news: int, believed_s: float) -> None:
        self.mark = mark
        self.identities = identities
        self._news = news
        self._until_s = time.monotonic() + believed_s

    def is_valid(self, news: int) -> bool:
        """True if nothing was heard of since, and it is not old."""
        return self._news == news and time.monotonic() < self._until_s


def _digest(text: str) -> str:
    return xxhash.xxh3_128_hexdigest(text.encode(errors="surrogateescape"))

"""Looking at one directory of the merged tree: which entities are in it, and what is known of each."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, NamedTuple

import xxhash

from copickfs.entities import ENTITY_DIRECTORIES, STORES, EntityRecord, EntityType, holds_entities, naming
from copickfs.errors import NotADirectory, NotFound
from copickfs.indexing.metadata import CONTAINERS, Known, Metadata
from copickfs.paths import split

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from copickfs.entities import Identity
    from copickfs.layers.base import Layer
    from copickfs.model import Entry
    from copickfs.view import View

_FORMAT = "2"
"""Another one where other things are read of the same documents: all of them are read again then."""

_BITS = {name: 1 << number for number, name in enumerate(ENTITY_DIRECTORIES)}
_RUN_DEPTH = 1
_NOTHING: Mapping[str, list[Entry]] = {}


class Look(NamedTuple):
    """What one directory holds now.

    Attributes:
        stamp: Differs when one of the records does.
        records: Its entities; None if the stamp is the one that was known.
        entities: How many there are.
        below: The directories in it that hold entities.
        new: Those of them that were not known.
        gone: Those that were known, and are not there.
        reads: How many entities' metadata was read.
    """

    stamp: str
    records: list[EntityRecord] | None
    entities: int
    below: list[str]
    new: list[str]
    gone: list[str]
    reads: int


class _Seen(NamedTuple):
    """An entity in a listing.

    Attributes:
        identity: What it is.
        leaf: Its name in the directory.
        entry: The entry.
        layers: The layers that have it, the deciding one first.
        asked: The layer to read it from; None to ask the merged tree.
        version: As in its record; None if its metadata has to be read for that.
        told: What is known of it without reading; None if it has to be read.
    """

    identity: Identity
    leaf: str
    entry: Entry
    layers: tuple[str, ...]
    asked: Layer | None
    version: str | None
    told: Known | None


class Looker:
    """Looks at directories. Thread-safe. Raises what `View.listing` raises.

    Args:
        view: The merged tree.
    """

    def __init__(self, view: View) -> None:
        self._view = view
        self._metadata = Metadata(view)
        self._by_name = {layer.name: layer for layer in view.layers}

    def look(
        self, directory: str, known_stamp: str, known: Mapping[str, EntityRecord], *, full: bool = False
    ) -> Look:
        """What ``directory`` holds.

        Args:
            directory: One that holds entities.
            known_stamp: Its stamp when it was looked at last, or ``""``.
            known: Its records then, by leaf name.
            full: Read all metadata again, whatever is known of it.
        """
        kept = {} if full or not known_stamp.startswith(_FORMAT) else known
        seen, below = self._seen(directory, kept)
        if kept is known and all(one.version is not None for one in seen):
            stamp = _stamp(seen, [one.version for one in seen], below)
            if stamp == known_stamp:
                return Look(stamp, None, len(seen), below, [], [], 0)
        records, reads = [], 0
        for one in seen:
            old = kept.get(one.leaf)
            if old is None or one.version != old.version:
                old = None
                reads += one.told is None and one.identity.type not in CONTAINERS
            records.append(self._record(one, old))
        had = _known_below(directory, known_stamp, known)
        return Look(
            _stamp(seen, [record.version for record in records], below),
            records,
            len(records),
            below,
            [path for path in below if path not in had],
            sorted(had.difference(below)),
            reads,
        )

    def _record(self, one: _Seen, old: EntityRecord | None) -> EntityRecord:
        entry = one.entry
        if one.told is not None:
            version, detail = one.told
        elif old is None:
            version, detail = self._metadata.read(one.identity, entry, one.asked)
        else:
            version, detail = old.version, old.detail
        return EntityRecord(
            one.identity,
            one.layers,
            0 if stat.S_ISDIR(entry.mode) else entry.size_bytes,
            _mtime_ns(one),
            version,
            detail,
        )

    def _seen(self, directory: str, known: Mapping[str, EntityRecord]) -> tuple[list[_Seen], list[str]]:
        """The entities in a directory, and the directories in it that hold others."""
        parse = naming(directory)
        assert parse is not None  # noqa: S101 -- nobody asks for another directory
        entries = self._view.listing(directory).entries
        members = tuple(self._view.members(directory))
        shadowed = self._shadowed(directory, members[1:])
        alone: dict[str, tuple[str, ...]] = {layer.name: (layer.name,) for layer in members}
        marks = self._view.membership.marks
        is_run = directory.count("/") == _RUN_DEPTH
        seen, below = [], []
        for entry in entries:
            leaf = entry[0]
            is_dir = stat.S_ISDIR(entry[1])
            identity = parse(leaf, is_dir)
            if is_run and is_dir and holds_entities(f"{directory}/{leaf}"):
                below.append(f"{directory}/{leaf}")
            if identity is None:
                continue
            if identity.type is EntityType.RUN:
                below.append(identity.path)
            others = shadowed.get(leaf)
            if others is None:
                layers = alone.get(entry.layer) or (entry.layer,)
            else:
                layers = self._layers(identity, entry, others)
            asked = None if len(layers) > 1 and marks.possible else self._by_name.get(layers[0])
            having = [self._by_name[name] for name in layers if name in self._by_name]
            told = self._metadata.told(identity, entry, having)
            version = told.version if told else self._version(identity, leaf, entry, asked, known)
            seen.append(_Seen(identity, leaf, entry, layers, asked, version, told))
        return seen, sorted(below)

    def _version(
        self,
        identity: Identity,
        leaf: str,
        entry: Entry,
        asked: Layer | None,
        known: Mapping[str, EntityRecord],
    ) -> str | None:
        """The version of an entity as far as it can be told without reading it."""
        if identity.type in CONTAINERS:
            return ""
        if identity.type not in STORES:
            return entry.version
        old = known.get(leaf)
        if old is not None and self._metadata.is_store_unchanged(identity.path, old.version, entry, asked):
            return old.version
        return None

    def _shadowed(self, directory: str, lower: Sequence[Layer]) -> Mapping[str, list[Entry]]:
        """What all layers but the first have, by name, in order."""
        if not lower:
            return _NOTHING
        found: dict[str, list[Entry]] = {}
        for layer in lower:
            try:
                entries = layer.scan(directory)
            except (NotFound, NotADirectory):
                continue  # gone since the directory was listed
            for entry in entries:
                found.setdefault(entry[0], []).append(entry)
        return found

    def _layers(self, identity: Identity, entry: Entry, others: Sequence[Entry]) -> tuple[str, ...]:
        """The layers that have an entity, where one below the first has the name: perhaps of another kind."""
        names = dict.fromkeys(
            (entry.layer, *(other.layer for other in others if other.is_dir == entry.is_dir))
        )
        if len(names) > 1:
            try:
                if identity.type in CONTAINERS:
                    names = dict.fromkeys(layer.name for layer in self._view.members(identity.path)) or names
                elif self._view.membership.marks.possible:
                    sources = self._view.sources(identity.path)
                    names = dict.fromkeys(
                        found.layer.name for found in sources if found.entry.is_dir == entry.is_dir
                    )
            except (NotFound, NotADirectory):
                pass  # gone since the directory was listed
        return tuple(names)


def _stamp(seen: Sequence[_Seen], versions: Sequence[str | None], below: Sequence[str]) -> str:
    """A digest of all that the records are made from, and which `ENTITY_DIRECTORIES` there are."""
    lines = sorted(
        f"{one.leaf}\0{version}\0{_mtime_ns(one)}\0{'/'.join(one.layers)}"
        for one, version in zip(seen, versions, strict=True)
    )
    digest = xxhash.xxh3_128_hexdigest("\0\0".join(lines).encode(errors="surrogateescape"))
    return f"{_FORMAT}{digest}{sum(_BITS.get(split(path)[1], 0) for path in below):02x}"


def _mtime_ns(one: _Seen) -> int:
    """The time that is in the record."""
    return 0 if one.identity.type in CONTAINERS else one.entry.mtime_ns


def _known_below(directory: str, stamp: str, known: Mapping[str, EntityRecord]) -> set[str]:
    """The directories of entities in ``directory`` that are known."""
    depth = directory.count("/")
    if depth > _RUN_DEPTH or not stamp:
        return set()
    had = {record.identity.path for record in known.values() if record.identity.type in CONTAINERS}
    if depth == _RUN_DEPTH and stamp.startswith(_FORMAT):
        bits = int(stamp[-2:], 16)
        had.update(f"{directory}/{name}" for name, bit in _BITS.items() if bits & bit)
    return had

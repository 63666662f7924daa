"""What an entity's metadata tells, read from the layers; never bulk data.

The version of a record says which documents were looked at, and which version of each was found, so
that they need not be read again while they are what they were. Thread-safe.
"""

from __future__ import annotations

import json
import stat
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import xxhash

from copickfs.arrays.documents import parsed
from copickfs.arrays.pyramid import MAX_DOCUMENT_BYTES, levels_document, pyramid_of, summary_of
from copickfs.entities import STORES, EntityType
from copickfs.errors import (
    LayerError,
    NotADirectory,
    NotFound,
    Stale,
    Transient,
    Unreadable,
    WouldBlock,
)
from copickfs.indexing import documents
from copickfs.layers.local import LocalLayer
from copickfs.model import ByteRange

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from copickfs.entities import Identity
    from copickfs.layers.base import Layer, LayerFile
    from copickfs.model import Entry
    from copickfs.view import View

MAX_POINTS_BYTES = 8 << 20
"""Points in a longer file are not counted: the whole of it has to be parsed for that."""

CONTAINERS = frozenset({EntityType.RUN, EntityType.VOXEL_SPACING})

_MESH_BYTES = 16 << 10
_TICK_NS = 50_000_000
"""A file may be changed again within this time and look the same: its times are those of a clock's ticks."""

_UNSURE = "~"
_TOLD = "told"
"""Begins the version of a record that was made without reading documents."""

_MARK_CHARACTERS = 16
_ABSENT_MARK = "-" * _MARK_CHARACTERS
_UNSURE_MARK = _UNSURE * _MARK_CHARACTERS


class Known(NamedTuple):
    """What was found out about one entity.

    Attributes:
        version: See `EntityRecord.version`.
        detail: See `EntityRecord.detail`.
    """

    version: str
    detail: dict[str, Any]


class Metadata:
    """Reads the metadata of entities.

    Everything takes the layer that has the whole of the entity, or None to ask the merged tree. Raises
    `Transient` where a layer is out of reach, and nothing else: what cannot be read is not known.

    Args:
        view: The merged tree.
    """

    def __init__(self, view: View) -> None:
        self._view = view
        self._is_local = all(isinstance(layer, LocalLayer) for layer in view.layers)

    def read(self, identity: Identity, entry: Entry, layer: Layer | None) -> Known:
        """Read what there is to know of an entity."""
        kind, path = identity.type, identity.path
        if kind in STORES:
            store = _Store(self, path, layer)
            detail = store.read()
            return Known("\n".join((_mark(entry.version), *store.looked_at)), detail)
        if kind is EntityType.MESH:
            data, version = self.document(path, layer, MAX_DOCUMENT_BYTES, is_mesh=True)
            return Known(version or entry.version, documents.mesh(data))
        if kind in CONTAINERS or not stat.S_ISREG(entry.mode):
            return Known("" if kind in CONTAINERS else entry.version, {})
        data, version = self.document(path, layer, MAX_POINTS_BYTES)
        tell = documents.picks if kind is EntityType.PICKS else documents.filaments
        return Known(version or entry.version, tell(data))

    def told(self, identity: Identity, entry: Entry, layers: Sequence[Layer]) -> Known | None:
        """What the layers that have an entity tell of it without being asked for contents.

        Args:
            identity: The entity.
            entry: Its entry.
            layers: All that have it, the deciding one first. Of what merges all say something, of which
                the highest counts.

        Returns:
            None if its documents have to be read.
        """
        is_container = identity.type in CONTAINERS
        asked = layers if is_container else layers[:1]
        said = [each for each in (_known_of(layer, identity.path) for layer in asked) if each is not None]
        if not said:
            return None
        detail = {name: value for each in reversed(said) for name, value in each.items()}
        text = json.dumps(detail, sort_keys=True)
        versions = () if is_container else (_mark(entry.version),)
        return Known("\n".join((_TOLD, *versions, _mark(text))), detail)

    def is_store_unchanged(self, path: str, version: str, entry: Entry, layer: Layer | None) -> bool:
        """True if the documents that ``version`` speaks of are what they were.

        A layer that would have to ask its source is not asked: its listing has to do.
        """
        root, *looked_at = version.split("\n")
        return root == _mark(entry.version) and all(
            self._mark_now(f"{path}/{line[_MARK_CHARACTERS:]}", layer) in (line[:_MARK_CHARACTERS], None)
            for line in looked_at
        )

    def document(
        self, path: str, layer: Layer | None, limit_bytes: int, *, is_mesh: bool = False
    ) -> tuple[bytes, str]:
        """The contents of a document and their version.

        Returns:
            ``b""`` if it cannot be had or is too long; ``""`` if it is not there, and a version that no
            file has if something else was wrong.
        """
        for _attempt in range(2):
            try:
                file = self._view.open(path)[0] if layer is None else layer.open(path)
                try:
                    data = _json_of_mesh(file) if is_mesh else _whole(file, limit_bytes)
                finally:
                    file.close()
                return data, _sure_version(file.entry)
            except Transient:
                raise
            except Stale:
                continue
            except (NotFound, NotADirectory):
                return b"", ""
            except (OSError, LayerError):
                break
        return b"", _UNSURE

    def _mark_now(self, path: str, layer: Layer | None) -> str | None:
        """The mark of a document as it is now; None if only its source could tell."""
        try:
            if layer is None:
                look = self._view.lookup if self._is_local else self._view.lookup_nowait
                return _mark(look(path).entry.version)
            stat_now = layer.stat if isinstance(layer, LocalLayer) else layer.stat_nowait
            return _mark(stat_now(path).version)
        except (NotFound, NotADirectory):
            return _ABSENT_MARK
        except WouldBlock:
            return None
        except Transient:
            raise
        except (OSError, LayerError):
            return _UNSURE_MARK


class _Store:
    """One store while it is read.

    Attributes:
        looked_at: For each document that was looked for its mark, and its path in the store.
    """

    def __init__(self, metadata: Metadata, path: str, layer: Layer | None) -> None:
        self._metadata = metadata
        self._path = path
        self._layer = layer
        self.looked_at: list[str] = []
        self._read: dict[str, Any] = {}

    def read(self) -> dict[str, Any]:
        """What the documents say of the first level, or of the array that the store is, and ``pyramid``."""
        detail = summary_of(self._document)
        try:
            return {**detail, "pyramid": levels_document(pyramid_of(self._document))}
        except Unreadable:
            return detail

    def _document(self, inner: str) -> Any:
        if inner not in self._read:
            data, version = self._metadata.document(f"{self._path}/{inner}", self._layer, MAX_DOCUMENT_BYTES)
            mark = (
                _ABSENT_MARK if not version else _UNSURE_MARK if version.endswith(_UNSURE) else _mark(version)
            )
            self.looked_at.append(mark + inner)
            self._read[inner] = parsed(data) if data else None
        return self._read[inner]


def _known_of(layer: Layer, path: str) -> Mapping[str, Any] | None:
    try:
        return layer.known_of(path)
    except (NotFound, NotADirectory):  # gone since it was listed
        return {}


def _mark(version: str) -> str:
    """A version in few characters: there is one for each document of a million stores."""
    return xxhash.xxh3_64_hexdigest(version.encode(errors="surrogateescape"))


def _sure_version(entry: Entry) -> str:
    """The version of a file, or one that no file has if it was changed only just now."""
    changed_ns = max(entry.mtime_ns, entry.ctime_ns)
    is_sure = abs(time.time_ns() - changed_ns) > _TICK_NS
    return entry.version if is_sure else entry.version + _UNSURE


def _whole(file: LayerFile, limit_bytes: int) -> bytes:
    size_bytes = file.entry.size_bytes
    return file.read(ByteRange(0, size_bytes)) if 0 < size_bytes <= limit_bytes else b""


def _json_of_mesh(file: LayerFile) -> bytes:
    start = file.read(ByteRange(0, min(_MESH_BYTES, file.entry.size_bytes)))
    stop = documents.GLB_HEADER_BYTES + documents.glb_json_bytes(start)
    if stop > min(file.entry.size_bytes, MAX_DOCUMENT_BYTES):
        return b""
    if stop > len(start):
        start += file.read(ByteRange(len(start), stop))
    return start[documents.GLB_HEADER_BYTES : stop]

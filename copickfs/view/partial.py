"""A partial copy of a store: the files of it that were changed, kept beside a store below.

It lies in ``D/.copickfs-partial/NAME`` of the layer that was written and stands for ``D/NAME``. To the
merged tree it is a layer of its own that has nothing but the store, so that looking up, listing and
opening need no special case. It belongs to one store of one layer, as ``.copickfs-origin`` in it says:
over any other store of the name its chunks would be those of another array.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, NamedTuple

from copickfs import paths
from copickfs.errors import CopickfsError, IsADirectory, NotADirectory, NotFound
from copickfs.layers.base import BaseLayer
from copickfs.model import ByteRange

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from copickfs.layers.base import Layer, LayerFile
    from copickfs.model import Entry, Health, Space, Statistics
    from copickfs.view.speeds import Speed

_DOCUMENT_BYTES = 1 << 20
_ARRAY_DOCUMENTS = (".zarray", "zarr.json")


class Gone(CopickfsError):
    """A partial copy, or a directory, went away while it was asked: find out anew who contributes."""


class Origin(NamedTuple):
    """What a partial copy is a copy of.

    Attributes:
        layer: Name of the layer that has the store.
        fingerprint: See `fingerprint`.
    """

    layer: str
    fingerprint: str

    def encode(self) -> bytes:
        """The document that is kept in the partial copy."""
        return json.dumps(self._asdict()).encode()


def partial_path(store: str) -> str:
    """Where a layer keeps its partial copy of ``store``."""
    directory, name = paths.split(store)
    return paths.join(directory, f"{paths.PARTIAL_DIRECTORY}/{name}")


def read_origin(layer: Layer, store: str, ask: Speed) -> Origin | None:
    """What the partial copy of ``store`` in ``layer`` belongs to; None if there is no partial copy.

    Until its origin is written there is none.
    """
    path = f"{partial_path(store)}/{paths.ORIGIN_NAME}"
    try:
        ask.stat(layer, path)  # cheaper than to open what is hardly ever there
        document = json.loads(_contents(layer, path, ask))
        return Origin(str(document["layer"]), str(document["fingerprint"]))
    except (NotFound, NotADirectory, ValueError, KeyError, TypeError):
        return None


def fingerprint(layer: Layer, store: str, ask: Speed) -> str:
    """A hash of the array metadata of a store: at its root, or one level down."""
    hashed = hashlib.blake2b(digest_size=16)
    entries = sorted(ask.scan(layer, store), key=lambda entry: entry.name)
    documents = [entry.name for entry in entries if entry.name in _ARRAY_DOCUMENTS]
    if ".zarray" not in documents:
        documents += [f"{e.name}/{document}" for e in entries if e.is_dir for document in _ARRAY_DOCUMENTS]
    for document in documents:
        try:
            data = _contents(layer, f"{store}/{document}", ask)
        except (NotFound, NotADirectory, IsADirectory):
            continue
        hashed.update(f"{document}\0{len(data)}\0".encode(errors="surrogateescape"))
        hashed.update(data)
    return hashed.hexdigest()


def _contents(layer: Layer, path: str, ask: Speed) -> bytes:
    file = ask.open(layer, path)
    try:
        size_bytes = min(file.entry.size_bytes, _DOCUMENT_BYTES)
        return bytes(ask.read(file, ByteRange(0, size_bytes)))
    finally:
        file.close()


class PartialLayer(BaseLayer):
    """The partial copy of one store as a layer, under the name of the layer that has it.

    Args:
        base: The layer that has it.
        store: The store that it is a copy of.

    Attributes:
        base: As given.
        store: As given.
    """

    def __init__(self, base: Layer, store: str) -> None:
        super().__init__(
            base.name, base.priority, read_only=base.read_only, on_unavailable=base.on_unavailable
        )
        self.base = base
        self.store = store
        self._root = partial_path(store)

    def __repr__(self) -> str:
        return f"<PartialLayer {self.name}:{self.store}>"

    def place(self, path: str) -> str:
        """Where the layer that has the partial copy has ``path``, which is the store or inside of it."""
        return self._root + path[len(self.store) :]

    def stat(self, path: str) -> Entry:
        """See `Layer.stat`. Raises `Gone`, as all methods that look at the source."""
        try:
            return self.base.stat(self.place(path))
        except NotFound:
            self._check(self.base.stat)
            raise

    def scan(self, path: str) -> Sequence[Entry]:
        """See `Layer.scan`."""
        try:
            return self.base.scan(self.place(path))
        except NotFound:
            self._check(self.base.stat)
            raise

    def open(self, path: str) -> LayerFile:
        """See `Layer.open`."""
        try:
            return self.base.open(self.place(path))
        except NotFound:
            self._check(self.base.stat)
            raise

    def readlink(self, path: str) -> str:
        """See `Layer.readlink`."""
        return self.base.readlink(self.place(path))

    def get_xattr(self, path: str, name: str) -> bytes:
        """See `Layer.get_xattr`."""
        return self.base.get_xattr(self.place(path), name)

    def list_xattrs(self, path: str) -> list[str]:
        """See `Layer.list_xattrs`."""
        return self.base.list_xattrs(self.place(path))

    def stat_nowait(self, path: str) -> Entry:
        """See `Layer.stat_nowait`."""
        try:
            return self.base.stat_nowait(self.place(path))
        except NotFound:
            self._check(self.base.stat_nowait)
            raise

    def scan_nowait(self, path: str) -> Sequence[Entry]:
        """See `Layer.scan_nowait`."""
        try:
            return self.base.scan_nowait(self.place(path))
        except NotFound:
            self._check(self.base.stat_nowait)
            raise

    def open_nowait(self, path: str) -> LayerFile:
        """See `Layer.open_nowait`."""
        try:
            return self.base.open_nowait(self.place(path))
        except NotFound:
            self._check(self.base.stat_nowait)
            raise

    def ttl_s(self, directory: str) -> float:
        """As long as the layer says of the directory."""
        inside = directory == self.store or directory.startswith(self.store + "/")
        return self.base.ttl_s(self.place(directory) if inside else directory)

    def location(self, path: str) -> str:
        """Where the layer has it."""
        return self.base.location(self.place(path))

    def space(self) -> Space | None:
        """See `Layer.space`."""
        return self.base.space()

    def health(self) -> Health:
        """See `Layer.health`."""
        return self.base.health()

    def statistics(self) -> Statistics:
        """See `Layer.statistics`."""
        return self.base.statistics()

    def _check(self, stat: Callable[[str], Entry]) -> None:
        """Check that it was the partial copy that did not have a file.

        It is moved into the place of the store in one step: if it is still there now, it was there
        when the file was not found. Otherwise the store below must not answer for the file.

        Raises:
            Gone: It is not there.
        """
        try:
            stat(f"{self._root}/{paths.ORIGIN_NAME}")
        except NotFound:
            raise Gone(self.store) from None

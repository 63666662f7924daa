"""The partial copies of stores that are being written: how they begin, and which there are.

A partial copy counts from the moment its origin is written (`copickfs.view.partial`). A note at the
root of the layer is written before that, so that a later mount finds it again without a walk.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import threading
from typing import TYPE_CHECKING

from copickfs import paths
from copickfs.errors import NotADirectory, NotFound
from copickfs.model import ByteRange
from copickfs.view.copyup import Place, copy_directory
from copickfs.view.partial import Origin, PartialLayer, fingerprint, partial_path, read_origin
from copickfs.view.speeds import WAIT
from copickfs.view.whiteouts import daemon_owner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from copickfs.layers.writable import WritableLayer
    from copickfs.view.merged import View
    from copickfs.view.opened import OpenFile
    from copickfs.view.whiteouts import Whiteouts

_log = logging.getLogger(__name__)

NOTES = f"{paths.CONTROL_DIRECTORY}/partial"
"""In a layer: a note for each partial copy."""

_NOTE_BYTES = 1 << 16


class Stores:
    """The partial copies that this process writes. Thread-safe.

    Args:
        view: The merged tree.
        whiteouts: The marks of the layers.
    """

    def __init__(self, view: View, whiteouts: Whiteouts) -> None:
        self._view = view
        self._whiteouts = whiteouts
        self._lock = threading.Lock()
        self._active: dict[str, tuple[WritableLayer, PartialLayer]] = {}
        self._opened: dict[str, set[OpenFile]] = {}

    def active(self, path: str) -> PartialLayer | None:
        """The partial copy that ``path`` is written in."""
        store = paths.store_of(path)
        known = self._active.get(store) if store is not None else None
        return None if known is None else known[1]

    def layer_of(self, store: str) -> WritableLayer | None:
        """The layer that has an active partial copy of ``store``."""
        known = self._active.get(store)
        return None if known is None else known[0]

    def below(self, directory: str) -> list[str]:
        """The stores at or below ``directory`` that are partly copied; of a path in a store, that store."""
        own = paths.store_of(directory)
        inside = directory + "/" if directory else ""
        return sorted(store for store in self._active if store == own or store.startswith(inside))

    def begin(self, store: str, layer: WritableLayer) -> PartialLayer:
        """The partial copy of a lower store in ``layer``, which has the directory; made if need be."""
        with self._lock:
            members = tuple(self._view.members(store))
            for member in members:
                if isinstance(member, PartialLayer) and member.base is layer:
                    self._active[store] = (layer, member)
                    return member
            root = partial_path(store)
            if read_origin(layer, store, WAIT) is not None:
                self._whiteouts.keep(layer, root)
            self._whiteouts.prepare(layer, NOTES)
            _write(layer, _note(store), json.dumps({"path": store}).encode())
            directory = paths.split(root)[0]
            parent = layer.stat(paths.split(directory)[0])
            with contextlib.suppress(FileExistsError):
                layer.mkdir(directory, parent.mode & 0o777, daemon_owner())
            partial = self._view.membership.marks.partial(layer, store)
            copy_directory(store, self._view.lookup(store), Place(layer, root, partial))
            origin = Origin(members[-1].name, fingerprint(members[-1], store, WAIT))
            _write(layer, f"{root}/{paths.ORIGIN_NAME}", origin.encode())
            self._view.membership.changed(store)
            self._active[store] = (layer, partial)
            return partial

    def end(self, store: str) -> None:
        """The partial copy is whole, or was removed; its note stays for as long as its marks."""
        self._active.pop(store, None)

    def forget(self, store: str, layer: WritableLayer) -> None:
        """Nothing is left of a partial copy: remove its note."""
        with contextlib.suppress(NotFound):
            layer.unlink(_note(store))
        with contextlib.suppress(OSError):
            layer.rmdir(paths.split(partial_path(store))[0])  # it is not empty while there are others

    def noted(self, layer: WritableLayer) -> Iterator[str]:
        """The stores of whose partial copies a layer has notes."""
        try:
            entries = layer.scan(NOTES)
        except (NotFound, NotADirectory):
            return
        for entry in entries:
            note = f"{NOTES}/{entry.name}"
            file = layer.open(note)
            try:
                document = json.loads(file.read(ByteRange(0, _NOTE_BYTES)))
                yield str(document["path"])
            except (ValueError, KeyError, TypeError):
                _log.warning("layer %s: %r is no note of a partial copy", layer.name, note)
            finally:
                file.close()

    def adopt(self, store: str, layer: WritableLayer, partial: PartialLayer) -> None:
        """Take over a partial copy that an earlier mount has begun."""
        self._active[store] = (layer, partial)

    def opened(self, store: str) -> list[OpenFile]:
        """The files in a partial copy that are open for writing."""
        with self._lock:
            return list(self._opened.get(store, ()))

    def add_opened(self, store: str, file: OpenFile) -> None:
        """A file in a partial copy was opened for writing."""
        with self._lock:
            self._opened.setdefault(store, set()).add(file)

    def remove_opened(self, store: str, file: OpenFile) -> None:
        """It was closed."""
        with self._lock:
            files = self._opened.get(store, set())
            files.discard(file)
            if not files:
                self._opened.pop(store, None)


def _note(store: str) -> str:
    digest = hashlib.blake2b(store.encode(errors="surrogateescape"), digest_size=16).hexdigest()
    return f"{NOTES}/{digest}.json"


def _write(layer: WritableLayer, path: str, data: bytes) -> None:
    file = layer.create(path, 0o644, daemon_owner(), whole=True)
    try:
        file.write(0, data)
        file.flush()
    finally:
        file.close()

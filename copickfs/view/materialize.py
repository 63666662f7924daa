"""Completing partial copies: small stores behind, some seconds after they were written, others on demand.

What is missing is copied into the partial copy, file by file; that changes nothing that anybody sees.
Then the partial copy takes the place of the store in one step, and at last the marks in it are removed.
"""

from __future__ import annotations

import contextlib
import logging
import stat
import threading
import time
from typing import TYPE_CHECKING

from copickfs import paths
from copickfs.errors import NotADirectory, NotFound, Transient
from copickfs.model import UNSIZED
from copickfs.view.copyup import begin_copy, copy_other, copy_xattrs
from copickfs.view.locks import gate_of
from copickfs.view.partial import Gone, PartialLayer, partial_path
from copickfs.view.speeds import WAIT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from copickfs.layers.writable import WritableLayer
    from copickfs.view.background import Background
    from copickfs.view.locks import PathLocks
    from copickfs.view.merged import View
    from copickfs.view.places import Places
    from copickfs.view.stores import Stores
    from copickfs.view.whiteouts import Whiteouts

_log = logging.getLogger(__name__)

QUIET_S = 3.0
"""How long a store has not been written when its completion begins."""

RETRY_S = 30.0
"""How long after a failure it is tried again."""


class Completion:
    """Completes partial copies. Thread-safe.

    Args:
        view: The merged tree.
        locks: The locks of the writer.
        stores: The partial copies.
        places: Where changes are made.
        whiteouts: The marks.
        background: Where small stores are completed.
        small_store_bytes: Stores up to this size are small.
    """

    def __init__(
        self,
        view: View,
        locks: PathLocks,
        stores: Stores,
        places: Places,
        whiteouts: Whiteouts,
        background: Background,
        small_store_bytes: int,
    ) -> None:
        self._view = view
        self._locks = locks
        self._stores = stores
        self._places = places
        self._whiteouts = whiteouts
        self._background = background
        self._small_store_bytes = small_store_bytes
        self._one_at_a_time = threading.Lock()
        self._written_s: dict[str, float] = {}
        self._waiting: set[str] = set()
        self._reported: set[str] = set()

    def touch(self, path: str) -> None:
        """``path`` was written: if it is in a partial copy, that is completed some time later."""
        store = paths.store_of(path)
        if store is None or self._stores.layer_of(store) is None:
            return
        self._written_s[store] = time.monotonic()
        if store not in self._waiting:
            self._later(store, QUIET_S)

    def resume(self, layers: Iterable[WritableLayer]) -> None:
        """Go on with what an earlier mount has left, in the background."""
        for layer in layers:
            if layer.prompt:
                try:
                    layer.stat(paths.CONTROL_DIRECTORY)
                except (NotFound, NotADirectory):
                    continue
            self._resume_later(layer, 0.0)

    def complete_below(self, directory: str, layers: Iterable[WritableLayer]) -> int:
        """Complete all partial copies at or below ``directory``; the number of files copied."""
        for layer in layers:
            self._take_over(layer)
        return sum(self._complete(store) for store in self._stores.below(directory))

    def _later(self, store: str, delay_s: float) -> None:
        self._waiting.add(store)
        self._background.schedule(f"complete {store}", delay_s, lambda: self._try(store))

    def _try(self, store: str) -> None:
        self._waiting.discard(store)
        quiet_s = time.monotonic() - self._written_s.get(store, 0.0)
        if quiet_s < QUIET_S:
            self._later(store, QUIET_S - quiet_s)
            return
        try:
            if self._is_small(store):
                self._complete(store)
        except (Transient, Gone, NotFound) as error:
            _log.info("the partial copy of %r is completed later: %s", store, error)
            self._later(store, RETRY_S)
        except OSError as error:
            if store not in self._reported:
                self._reported.add(store)
                _log.warning("the partial copy of %r cannot be completed now: %s", store, error)
            self._later(store, RETRY_S)

    def _is_small(self, store: str) -> bool:
        size_bytes, pending = 0, [store]
        while pending and size_bytes <= self._small_store_bytes:
            directory = pending.pop()
            for entry in self._view.listing(directory).entries:
                if entry.is_dir:
                    pending.append(paths.join(directory, entry.name))
                elif entry.size_bytes != UNSIZED:
                    size_bytes += entry.size_bytes
                else:
                    size_bytes += self._view.lookup(paths.join(directory, entry.name)).entry.size_bytes
        return size_bytes <= self._small_store_bytes

    def _complete(self, store: str) -> int:
        with self._one_at_a_time:
            layer = self._stores.layer_of(store)
            if layer is None:
                return 0
            copied = self._copy_below(store, layer)
            if not self._background.ending.is_set() and self._put_in_place(store, layer):
                self._clean(store, layer)
            return copied

    def _copy_below(self, directory: str, layer: WritableLayer) -> int:
        copied = 0
        try:
            entries = self._view.listing(directory).entries
        except (NotFound, NotADirectory):
            return 0  # removed meanwhile
        for entry in entries:
            if self._background.ending.is_set():
                break
            path = paths.join(directory, entry.name)
            if entry.is_dir:
                with contextlib.suppress(NotFound, NotADirectory), self._locks.changing(path):
                    self._places.prepare_directory(path, layer)
                copied += self._copy_below(path, layer)
            elif entry.layer != layer.name:
                with contextlib.suppress(NotFound, NotADirectory):
                    copied += self._copy_one(path, layer)
        return copied

    def _copy_one(self, path: str, layer: WritableLayer) -> int:
        """Copy one file of the store below, unless it is changed, removed or written meanwhile."""
        found = self._view.lookup(path)
        with self._locks.changing(path):
            place = self._places.prepare(path, layer)
            if not stat.S_ISREG(found.entry.mode):
                if self._view.lookup(path).layer is place.member:
                    return 0
                copy_other(path, found, place)
                return 1
        file = begin_copy(path, found, place, self._background.ending.is_set)
        if file is None:
            return 0
        try:
            with self._locks.changing(path):
                now = self._view.lookup(path)
                if now.layer is not found.layer or now.entry.version != found.entry.version:
                    file.discard()
                    return 0
                file.replaces = False  # another process may have written it in this moment
                file.sync()
                copy_xattrs(path, found, place)
                return 1
        except FileExistsError:
            return 0
        finally:
            file.close()

    def _put_in_place(self, store: str, layer: WritableLayer) -> bool:
        """Let the partial copy, in which nothing is missing, take the place of the store."""
        directory = paths.split(store)[0]
        with self._locks.hold((gate_of(store), store), (directory,)):
            # Whether it still belongs to the store below is found out once more.
            self._view.membership.changed(store)
            first = next(iter(self._view.members(store)), None)
            if not isinstance(first, PartialLayer) or first.base is not layer:
                self._stores.end(store)
                return False
            layer.rename(partial_path(store), store, replace=False)
            self._stores.end(store)
            self._view.membership.changed(store)
            for file in self._stores.opened(store):
                file.follow()
        layer.sync_directory(directory)
        return True

    def _clean(self, store: str, layer: WritableLayer) -> None:
        """Remove the marks in a store that is whole by now, and the note of its partial copy."""
        pending = [store]
        while pending:
            directory = pending.pop()
            entries = layer.scan(directory)
            names = {entry.name for entry in entries}
            if paths.WHITEOUT_DIRECTORY in names:
                self._whiteouts.clear(layer, directory)
            if paths.ORIGIN_NAME in names:
                layer.unlink(paths.join(directory, paths.ORIGIN_NAME))
            pending += [
                paths.join(directory, entry.name)
                for entry in entries
                if entry.is_dir and not entry.name.startswith(paths.RESERVED_PREFIX)
            ]
        self._stores.forget(store, layer)

    def _resume_later(self, layer: WritableLayer, delay_s: float) -> None:
        self._background.schedule(f"resume {layer.name}", delay_s, lambda: self._resume(layer))

    def _resume(self, layer: WritableLayer) -> None:
        self._whiteouts.empty_later(layer)
        try:
            self._take_over(layer)
        except (Transient, Gone, OSError) as error:
            _log.info("layer %s: partial copies are looked for later: %s", layer.name, error)
            self._resume_later(layer, RETRY_S)

    def _take_over(self, layer: WritableLayer) -> None:
        """Find the partial copies that the notes in a layer tell of, and clean up after a crash."""
        for store in list(self._stores.noted(layer)):
            if self._stores.layer_of(store) is None:
                with self._locks.hold((gate_of(store), store)):
                    self._take_over_one(store, layer)

    def _take_over_one(self, store: str, layer: WritableLayer) -> None:
        self._view.membership.changed(store)
        first = next(iter(self._view.members(store)), None)
        if isinstance(first, PartialLayer) and first.base is layer:
            self._stores.adopt(store, layer, first)
            self.touch(store)
        elif self._places.member(store, layer) is not None:
            self._clean(store, layer)
        elif not _exists(layer, partial_path(store)):
            self._stores.forget(store, layer)
        elif self._view.membership.hides(layer, store, WAIT):
            self._whiteouts.discard(layer, partial_path(store))
            self._stores.forget(store, layer)


def _exists(layer: WritableLayer, path: str) -> bool:
    try:
        layer.stat(path)
    except (NotFound, NotADirectory):
        return False
    return True

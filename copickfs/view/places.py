"""Which layer a change is made in, and where in it."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import time
from typing import TYPE_CHECKING, NoReturn

from copickfs import paths
from copickfs.errors import NotADirectory, NotFound, ReadOnly, Transient
from copickfs.layers.writable import is_writable
from copickfs.view.copyup import Place, copy_directory, keeping_times
from copickfs.view.partial import PartialLayer
from copickfs.view.speeds import WAIT

if TYPE_CHECKING:
    from copickfs.layers.base import Layer
    from copickfs.layers.writable import WritableLayer
    from copickfs.view.merged import Found, View
    from copickfs.view.stores import Stores

_log = logging.getLogger(__name__)
_REPORT_EVERY_S = 60.0


class Places:
    """Finds the place of each change. Thread-safe.

    Args:
        view: The merged tree.
        default: The layer that is written by default; None if there is none.
        strategy: ``write_strategy`` of the configuration.
        stores: The partial copies.
    """

    def __init__(self, view: View, default: WritableLayer | None, strategy: str, stores: Stores) -> None:
        self._view = view
        self._default = default
        self._to_source = strategy == "source"
        self._stores = stores
        self._rank = {layer.name: rank for rank, layer in enumerate(view.layers)}
        self._by_name = {layer.name: layer for layer in view.layers}
        self._reported: dict[str, float] = {}

    def is_written(self, layer: Layer) -> bool:
        """True if what ``layer`` has is changed there, without being copied up."""
        own = self._by_name.get(layer.name)
        if own is None or not is_writable(own):
            return False
        return self._to_source or own is self._default

    @property
    def written(self) -> list[WritableLayer]:
        """All layers that are written."""
        return [layer for layer in self._view.layers if is_writable(layer) and self.is_written(layer)]

    def target(self, path: str, found: Found | None = None) -> WritableLayer:
        """The layer that a change of ``path`` is made in.

        Args:
            path: A path of the merged tree.
            found: What is there; None for a new name.

        Raises:
            ReadOnly: What is there is decided by a layer above that one, or made of other files, or there is
                no such layer.
        """
        if self._view.is_generated(path):
            self.refuse(self._view.generated, path)
        decides = found.layer if found is not None else None
        source = decides
        if self._to_source and source is None:
            store = paths.store_of(paths.split(path)[0])
            source = None if store is None else next(reversed(tuple(self._view.members(store))), None)
        if self._to_source and source is not None:
            layer = self._by_name.get(source.name)
            if layer is not None and is_writable(layer):
                return layer
        if self._default is None or not is_writable(self._default):
            self.refuse(decides or self._default, path)
        if decides is not None and self._rank_of(decides) < self._rank[self._default.name]:
            self.refuse(decides, path)
        return self._default

    def prepare(self, path: str, layer: WritableLayer) -> Place:
        """Where ``layer`` has or will have ``path``; the directories above it are there afterwards.

        Raises:
            ReadOnly: It would not be seen there, because a layer above hides it.
            NotFound: The directory does not exist in the merged tree.
        """
        if self._view.is_generated(path):
            self.refuse(self._view.generated, path)
        directory = paths.split(path)[0]
        place = self._place(path, paths.store_of(directory), layer)
        self._check_seen(path, place)
        self._copy_directories(directory, layer)
        return place

    def prepare_directory(self, path: str, layer: WritableLayer) -> Place:
        """Like `prepare`, for a directory of the merged tree, which is there afterwards as well."""
        place = self._place(path, paths.store_of(path), layer)
        self._check_seen(path, place)
        self._copy_directories(path, layer)
        return place

    def member(self, path: str, layer: WritableLayer) -> Place | None:
        """Where ``layer`` has directory ``path``; None if it does not contribute to it."""
        for member in self._view.members(path):
            if is_of(member, layer):
                return at(layer, member, path)
        return None

    def shows_below(self, path: str, place: Place) -> bool:
        """True if ``path`` would still be there if the layer of ``place`` did not have it."""
        below = False
        try:
            for member in self._view.members(paths.split(path)[0]):
                if below and _has(member, path):
                    return True
                below = below or member is place.member
                if below and self._view.membership.hides(member, path, WAIT):
                    return False
        except Transient:
            return True  # nobody knows just now, and a mark does no harm
        return False

    def refuse(self, layer: Layer | None, path: str) -> NoReturn:
        """Raise `ReadOnly`, and say in the log which layer it is, now and then."""
        name = "" if layer is None else layer.name
        now_s = time.monotonic()
        if now_s - self._reported.get(name, -_REPORT_EVERY_S) >= _REPORT_EVERY_S:
            self._reported[name] = now_s
            if layer is None:
                _log.info("%r cannot be changed: there is no write layer", path)
            else:
                _log.info("%r cannot be changed: layer %s decides it and is not written", path, name)
        raise ReadOnly(errno.EROFS, os.strerror(errno.EROFS))

    def _rank_of(self, layer: Layer) -> int:
        return self._rank.get(layer.name, -1)

    def _place(self, path: str, store: str | None, layer: WritableLayer) -> Place:
        """Where ``layer`` has ``path`` of ``store``; a partial copy begins if it does not have the store."""
        if store is None:
            return Place(layer, path, layer)
        found = self.member(store, layer)
        if found is not None:
            return at(layer, found.member, path)
        first = next(iter(self._view.members(store)), None)
        if first is None:
            raise self._view.membership.missing(store, WAIT)
        if self._rank_of(first) < self._rank[layer.name]:
            self.refuse(first, path)
        self._copy_directories(paths.split(store)[0], layer)
        return at(layer, self._stores.begin(store, layer), path)

    def _check_seen(self, path: str, place: Place) -> None:
        """Check that no layer above hides ``path`` or a directory on the way to it.

        Raises:
            ReadOnly: One does.
        """
        rank = self._rank[place.layer.name]
        if rank == 0 or not self._view.membership.marks.possible:
            return
        inner = ""
        for name in path.split("/"):
            directory, inner = inner, paths.join(inner, name)
            for member in self._view.members(directory):
                if self._rank_of(member) >= rank:
                    break
                if self._view.membership.hides(member, inner, WAIT):
                    self.refuse(member, path)

    def _copy_directories(self, directory: str, layer: WritableLayer) -> None:
        """Give ``layer`` the directories of the merged tree down to ``directory``."""
        if self.member(directory, layer) is not None:
            return
        found = self._view.lookup(directory)
        if not found.entry.is_dir:
            raise NotADirectory(directory)
        self._copy_directories(paths.split(directory)[0], layer)
        place = self._place(directory, paths.store_of(directory), layer)
        with keeping_times(place) if layer.prompt else contextlib.nullcontext():
            copy_directory(directory, found, place)
        self._view.membership.changed(directory)


def is_of(member: Layer, layer: WritableLayer) -> bool:
    """True if a member of the merged tree is ``layer``, or a partial copy that it has."""
    return member is layer or (isinstance(member, PartialLayer) and member.base is layer)


def at(layer: WritableLayer, member: Layer, path: str) -> Place:
    """Where ``layer`` has ``path``, which it contributes to the merged tree as ``member``."""
    return Place(layer, member.place(path) if isinstance(member, PartialLayer) else path, member)


def _has(layer: Layer, path: str) -> bool:
    try:
        layer.stat(path)
    except (NotFound, NotADirectory):
        return False
    return True

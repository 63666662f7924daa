"""Reading the marks that layers keep: which names are hidden, and which stores are partly copied.

``D/.copickfs-whiteouts/NAME`` hides ``D/NAME`` of all layers below the one that has the mark; that
layer's own ``D/NAME`` is shown. Only a layer with ``.copickfs/`` at its root has any. What is
below the lowest layer is nothing, and so its marks are never asked for.

What was read is remembered until the layer announces a change, or until the time for which its
answers may be believed is over. Thread-safe.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from copickfs import paths
from copickfs.errors import NotADirectory, NotFound
from copickfs.view.partial import Gone, Origin, PartialLayer, fingerprint, partial_path, read_origin

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet

    from copickfs.layers.base import Layer
    from copickfs.view.speeds import Speed

_log = logging.getLogger(__name__)
_MAX_REMEMBERED = 65_536
_NONE: frozenset[str] = frozenset()


class _Names(NamedTuple):
    """The marks of one directory of one layer; names are added to the set while it is used."""

    names: set[str]
    expires_s: float


class Marks:
    """The marks of a stack of layers.

    Args:
        layers: The data layers, highest priority first.

    Attributes:
        possible: False if no layer has any; then nothing here needs to be called.
        until_s: When that has to be asked again.
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        self._asking = tuple(layer.name for layer in layers[:-1])
        self._lowest = layers[-1].name if layers else ""
        self._marked: dict[str, tuple[bool, float]] = {}
        self._hidden: dict[tuple[str, str], _Names] = {}
        self._partials: dict[tuple[str, str], PartialLayer] = {}
        self._reported: set[tuple[str, str]] = set()
        self._changes = 0
        self.until_s = math.inf
        self._lock = threading.Lock()
        self.possible = bool(self._asking)

    def expire(self) -> None:
        """The answers that `possible` rests on are too old: marks are possible again."""
        self.possible, self.until_s = bool(self._asking), math.inf

    def of_layer(self, layer: Layer, ask: Speed) -> bool:
        """True if ``layer`` may have marks that matter."""
        if isinstance(layer, PartialLayer):
            return True
        if layer.name == self._lowest:
            return False
        known = self._marked.get(layer.name)
        now_s = time.monotonic()
        if known is not None and known[1] > now_s:
            return known[0]
        changes = self._changes
        try:
            marked = ask.stat(layer, paths.CONTROL_DIRECTORY).is_dir
        except (NotFound, NotADirectory):
            marked = False
        with self._lock:
            if changes == self._changes:
                self._marked[layer.name] = (marked, now_s + layer.ttl_s(""))
                answers = [self._marked.get(name, (True, 0.0)) for name in self._asking]
                if not any(found for found, _until in answers):
                    self.possible, self.until_s = False, min(until for _found, until in answers)
        return marked

    def hides(self, layer: Layer, path: str, ask: Speed) -> bool:
        """True if ``layer``, which contributes to the directory, hides ``path`` of all layers below it."""
        directory, _, name = path.rpartition("/")
        return name in self.hidden(layer, directory, ask)

    def hidden(self, layer: Layer, directory: str, ask: Speed) -> AbstractSet[str]:
        """The names in ``directory`` that ``layer`` hides of all layers below it.

        Raises:
            Gone: The layer does not contribute to the directory any more.
        """
        if not self.of_layer(layer, ask):
            return _NONE
        key = _key(layer, directory)
        known = self._hidden.get(key)
        now_s = time.monotonic()
        if known is not None and known.expires_s > now_s:
            return known.names
        changes = self._changes
        try:
            found = ask.scan(layer, paths.join(directory, paths.WHITEOUT_DIRECTORY))
            names = {entry.name for entry in found}
        except (NotFound, NotADirectory):
            self._check_contributes(layer, directory, ask)
            names = set()
        with self._lock:
            # A mark that was put since then may be missing in what was read.
            if changes == self._changes:
                if len(self._hidden) >= _MAX_REMEMBERED:
                    self._hidden.clear()
                self._hidden[key] = _Names(names, now_s + layer.ttl_s(directory))
        return names

    def partials(self, store: str, above: Sequence[Layer], layer: Layer, ask: Speed) -> tuple[Layer, ...]:
        """The partial copies of the store of ``layer`` that layers above it have.

        Args:
            store: The store.
            above: The layers above that contribute to its directory, and do not have it, in order.
            layer: The first that has it.
            ask: How to ask.

        Raises:
            Gone: One was completed meanwhile.
        """
        found: list[Layer] = []
        wanted: Origin | None = None
        for upper in above:
            if not self.of_layer(upper, ask):
                continue
            origin = read_origin(upper, store, ask)
            if origin is None:
                self._check_not_completed(upper, store, ask)
                continue
            wanted = wanted or Origin(layer.name, fingerprint(layer, store, ask))
            if origin == wanted:
                found.append(self.partial(upper, store))
            else:
                self._report(upper, store, origin, layer)
        return tuple(found)

    def partial(self, layer: Layer, store: str) -> PartialLayer:
        """The one object that stands for the partial copy of ``store`` in ``layer``."""
        with self._lock:
            return self._partials.setdefault((layer.name, store), PartialLayer(layer, store))

    def add(self, layer: str, directory: str, name: str) -> None:
        """A mark was put into ``directory`` (as ``layer`` has it)."""
        with self._lock:
            self._changes += 1
            known = self._hidden.get((layer, directory))
            if known is not None:
                known.names.add(name)

    def forget(self, layer: str, directory: str) -> None:
        """The marks at and below ``directory`` (as ``layer`` has it) have changed."""
        inside = directory + "/" if directory else ""
        with self._lock:
            self._changes += 1
            for key in [k for k in self._hidden if k[0] == layer]:
                if key[1] == directory or key[1].startswith(inside):
                    del self._hidden[key]

    def start(self, layer: str) -> None:
        """``layer`` has been given the directory without which it has no marks."""
        with self._lock:
            self._changes += 1
            self._marked[layer] = (True, math.inf)
            self.possible, self.until_s = bool(self._asking), math.inf

    def reset(self) -> None:
        """Forget everything."""
        with self._lock:
            self._changes += 1
            self._marked.clear()
            self._hidden.clear()
            self.possible, self.until_s = bool(self._asking), math.inf

    def _check_contributes(self, layer: Layer, directory: str, ask: Speed) -> None:
        """A directory that was removed has taken its marks along: nothing below must be shown for that."""
        try:
            ask.stat(layer, directory)
        except (NotFound, NotADirectory):
            raise Gone(directory) from None

    def _check_not_completed(self, upper: Layer, store: str, ask: Speed) -> None:
        """Between the look at the store and the look at the partial copy one may have become the other."""
        try:
            ask.stat(upper, store)
        except (NotFound, NotADirectory):
            return
        raise Gone(store)

    def _report(self, upper: Layer, store: str, origin: Origin, layer: Layer) -> None:
        if (upper.name, store) in self._reported or len(self._reported) >= _MAX_REMEMBERED:
            return
        self._reported.add((upper.name, store))
        what = f"layer {origin.layer}" if origin.layer != layer.name else "an array that was there before"
        _log.warning(
            "layer %s: the partial copy of %r is of %s, and is not shown over that of layer %s; it is in %s",
            upper.name, store, what, layer.name, upper.location(partial_path(store)),
        )  # fmt: skip


def _key(layer: Layer, directory: str) -> tuple[str, str]:
    return layer.name, layer.place(directory) if isinstance(layer, PartialLayer) else directory

"""What is kept of remote layers on the local disk, now or beforehand (specification, 2.4 and 6)."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

from copickfs.api.specific.filesystem import path_of
from copickfs.entities import RUNS_DIRECTORY
from copickfs.errors import UserError
from copickfs.layers.remote import cached_layers, remote_layers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from copickfs.cache.ledger import Ledger
    from copickfs.fetching import Outcome
    from copickfs.layers.cachelayer import CacheLayer
    from copickfs.layers.remote import FsspecLayer
    from copickfs.stack import Shared, Stack


class Usage(NamedTuple):
    """How full the cache is.

    Attributes:
        used_bytes: What its files take on the disk.
        most_bytes: What they may take, as things are just now.
        pinned_bytes: Of `used_bytes` what stays whatever happens.
        objects: Files of the layers of which something is there.
    """

    used_bytes: int
    most_bytes: int
    pinned_bytes: int
    objects: int


class CacheFeatures:
    """The cache as a layer of the stack: policies, pinning and prefetching.

    Every ``place`` is a path of the tree or a copick object of the merged root; ``""`` is everything.

    Args:
        config: Its configuration, which holds the policies.
        shared: The stack that it is of.

    Attributes:
        config: As given.
        name: Name of the layer.
        priority: Higher is asked first.
    """

    def __init__(self, config: Any, shared: Shared) -> None:
        self.config = config
        self.name: str = config.layer_name
        self.priority: int = config.priority
        self._shared = shared

    def __repr__(self) -> str:
        return f"<CacheFeatures {self.name}>"

    @property
    def layers(self) -> list[str]:
        """Names of the layers whose contents are kept."""
        return [layer.name for layer in self._cached(None)]

    def usage(self) -> Usage:
        """How full it is."""
        with self._ledger() as ledger:
            own = [summary for summary in ledger.summaries() if summary.source]
            return Usage(
                sum(summary.charge_bytes for summary in own),
                self._layer().disk.most_bytes(),
                sum(summary.pinned_bytes for summary in own),
                sum(summary.objects for summary in own),
            )

    def cached_bytes(self, place: Any = "", *, layer: str | None = None) -> int:
        """How much of what is at and below a place is there."""
        path = path_of(place)
        with self._ledger() as ledger:
            return sum(
                each.cached_bytes for name in self._names(layer) for each in ledger.objects(name, path)
            )

    def query(self) -> list[str]:
        """Names of the runs of which something is there."""
        prefix = f"{RUNS_DIRECTORY}/"
        with self._ledger() as ledger:
            found = [each.path for name in self._names(None) for each in ledger.objects(name, RUNS_DIRECTORY)]
        return sorted({path.removeprefix(prefix).split("/")[0] for path in found})

    def pin(self, place: Any, *, layer: str | None = None) -> None:
        """Have what is at and below a place stay, also what comes later."""
        self._pin(place, layer, is_pinned=True)

    def unpin(self, place: Any, *, layer: str | None = None) -> None:
        """Let what was pinned at a place go again; it stays while there is room."""
        self._pin(place, layer, is_pinned=False)

    def pins(self) -> list[str]:
        """The paths that are pinned."""
        with self._ledger() as ledger:
            names = self._names(None)
            return sorted({path for name, path in ledger.pins() if name in names})

    def clear(self, place: Any = "", *, layer: str | None = None, pinned: bool = False) -> int:
        """Remove what is at and below a place, but for what is pinned unless that is asked for.

        Returns:
            The bytes that are free on the disk now.
        """
        path = path_of(place)
        self._layer().cache.memory.clear()
        with self._ledger() as ledger:
            return sum(ledger.forget(name, path, keep_pinned=not pinned)[1] for name in self._names(layer))

    def prefetch(self, places: Any, *, level: int | None = None, pin: bool = False, jobs: int = 8) -> Outcome:
        """Fetch what is at and below places, and wait until it is on the disk.

        Args:
            places: A path or an object, or several.
            level: The only level of pyramids that is wanted, 0 the finest.
            pin: It is to stay.
            jobs: Files at a time.

        Returns:
            What became of the files; those that could not be read or kept are named.

        Raises:
            UserError: A place is not in the tree, or nothing is cached.
        """
        from copickfs.fetching import Fetcher, Looking, Targets, named, surroundings

        stack, stop = self._stack(), threading.Event()
        layers = self._cached(None)
        for each in remote_layers(stack.manager.get_data_layers()):
            each.keep_listings()
        with ThreadPoolExecutor(jobs, "copickfs-prefetch") as pool:
            looking = Looking(stack.view, pool, stop)
            targets = Targets(looking, [each.name for each in layers], level)
            roots = named(looking, [path_of(place) for place in _several(places)])
            surroundings(looking, roots)
            targets.collect(roots)
            if pin:
                for root in roots:
                    self.pin(root)
            outcome = Fetcher(stack.view, self._layer().cache, pool, jobs, stop).fetch(targets.files)
        return outcome._replace(failed=looking.skipped + outcome.failed)

    def _pin(self, place: Any, layer: str | None, *, is_pinned: bool) -> None:
        with self._ledger() as ledger:
            for name in self._names(layer):
                ledger.pin(name, path_of(place), is_pinned=is_pinned)

    def _stack(self) -> Stack:
        return self._shared.get()

    def _layer(self) -> CacheLayer:
        layer = self._stack().manager.cache_layer
        assert layer is not None  # noqa: S101 -- it is configured
        return layer

    @contextlib.contextmanager
    def _ledger(self) -> Iterator[Ledger]:
        layer = self._layer()
        layer.disk.flush_touches(now=True)
        with layer.disk.using() as opened:
            yield opened.ledger

    def _cached(self, only: str | None) -> list[FsspecLayer]:
        manager = self._stack().manager
        if only is not None:
            manager.get_layer(only)
        layers = cached_layers(manager.get_data_layers())
        found = [layer for layer in layers if only in (None, layer.name)]
        if not found:
            which = "no layer of this configuration is" if only is None else f"layer {only} is not"
            raise UserError(
                f"{which} cached: remote layers are, or the one of them that 'parent_layer' names"
            )
        return found

    def _names(self, only: str | None) -> list[str]:
        """What the layers are called in the cache."""
        return list(dict.fromkeys(layer.cached_as for layer in self._cached(only)))


def _several(places: Any) -> Iterable[Any]:
    return [places] if isinstance(places, str) or hasattr(places, "path") else places

"""Listing what a walk through a project is about to list: the next runs, as deep as the last one.

``find``, a file browser and copick go through the runs one after the other, and look into the same
directories of each. Over a network each look is a request. Once two directories have been listed that
follow each other in the one above, the next ones are listed ahead, with those below them that were
listed below their neighbour.
"""

from __future__ import annotations

import logging
from collections import OrderedDict, deque
from typing import TYPE_CHECKING

from copickfs.errors import CopickfsError, NotADirectory, NotFound
from copickfs.layers.ahead import GoingAhead
from copickfs.paths import join

if TYPE_CHECKING:
    from collections.abc import Callable

    from copickfs.layers.catalogue import Catalogue

_log = logging.getLogger(__name__)

FIRST_SIBLINGS = 4
MOST_SIBLINGS = 32
"""So many directories are listed ahead of a walk, with what is below them."""

_MOST_BELOW = 64
_WALKS = 64


class _Walk:
    """A walk through the directories in one directory."""

    def __init__(self, child: str) -> None:
        self.child = child
        self.below: list[str] = []
        self.siblings = 0


class ListAhead(GoingAhead[str, str]):
    """Goes ahead of those who list.

    Args:
        name: Name of the layer.
        catalogue: Lists.
        is_busy: True while nothing is to be guessed.
        workers: Listings that are fetched at a time.
    """

    def __init__(self, name: str, catalogue: Catalogue, is_busy: Callable[[], bool], workers: int) -> None:
        super().__init__(f"copickfs-list-{name}", is_busy, workers)
        self._name = name
        self._catalogue = catalogue
        self._walks: OrderedDict[str, _Walk] = OrderedDict()
        self._targets: deque[str] = deque()

    def seen(self, directory: str) -> None:
        """Somebody has listed ``directory``. Never waits."""
        self.note(directory)

    def _has_target(self) -> bool:
        return bool(self._targets)

    def _take(self) -> str:
        return self._targets.popleft()

    def _forget(self) -> None:
        self._targets.clear()

    def _do(self, directory: str) -> None:
        try:
            self._catalogue.list_ahead(directory)
        except (NotFound, NotADirectory):
            pass  # its neighbour has such a directory, it has none
        except (CopickfsError, OSError) as error:
            # Whoever wants it will ask, and be told.
            _log.debug("layer %s: nothing more is listed ahead: %s", self._name, error)
            with self._lock:
                self._forget()

    def _plan(self) -> None:
        while self._events:
            self._follow(self._events.popleft())

    def _follow(self, directory: str) -> None:
        """A directory was listed: of all above it, it is a step of a walk, or below the last step."""
        parts = directory.split("/")
        for depth in range(len(parts)):
            above, child, below = "/".join(parts[:depth]), parts[depth], "/".join(parts[depth + 1 :])
            walk = self._walks.get(above)
            if walk is None:
                walk = self._walks[above] = _Walk(child)
                if len(self._walks) > _WALKS:
                    self._walks.popitem(last=False)
            self._walks.move_to_end(above)
            if walk.child != child:
                self._step(above, walk, child)
            if below and below not in walk.below and len(walk.below) < _MOST_BELOW:
                walk.below.append(below)

    def _step(self, above: str, walk: _Walk, child: str) -> None:
        names = self._catalogue.children(above)
        try:
            is_next = names.index(child) == names.index(walk.child) + 1
        except ValueError:
            is_next = False
        below, walk.child, walk.below = walk.below, child, []
        walk.siblings = min(max(FIRST_SIBLINGS, 2 * walk.siblings), MOST_SIBLINGS) if is_next else 0
        if not walk.siblings:
            return
        first = names.index(child) + 1
        queued = set(self._targets)
        for sibling in names[first - 1 : first + walk.siblings]:
            base = join(above, sibling)
            wanted = [base, *(join(base, inner) for inner in below)]
            self._targets.extend(path for path in wanted if path not in queued)

"""Which renderers there are, and which of them a configuration has chosen."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from copickfs.config.kinds import renderer_points

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from copickfs.entities import EntityType
    from copickfs.virtual.project import Limits
    from copickfs.virtual.rendering import Renderer

_log = logging.getLogger(__name__)


class Renderers:
    """The renderers of one stack, made when they are first needed. Thread-safe.

    Args:
        load: Makes them, by the words that choose them.
    """

    def __init__(self, load: Callable[[], Mapping[str, Renderer]]) -> None:
        self._load = load
        self._lock = threading.Lock()
        self._all: dict[str, Renderer] | None = None
        self._by_type: dict[EntityType | None, list[tuple[str, Renderer]]] = {}
        self._closed = False

    @property
    def is_loaded(self) -> bool:
        """True if they have been made."""
        return self._all is not None

    @property
    def suffixes(self) -> list[str]:
        """How the names of their files end, as far as that is known."""
        return [renderer.suffix for renderer in (self._all or {}).values()]

    def of_type(self, kind: EntityType | None) -> list[tuple[str, Renderer]]:
        """Those that make files of a kind of entities, with their words; see `Renderer.makes_of`."""
        if self._all is None:
            with self._lock:
                if self._all is None and not self._closed:
                    made = dict(self._load())
                    for word, renderer in made.items():
                        for each in renderer.makes_of:
                            self._by_type.setdefault(each, []).append((word, renderer))
                    self._all = made
        return self._by_type.get(kind, [])

    def forget(self, path: str) -> None:
        """Something has changed at ``path`` of the project, or anything (``""``)."""
        for word, renderer in (self._all or {}).items():
            try:
                renderer.forget(path)
            except Exception as error:  # noqa: BLE001 -- another package's code may raise anything
                _log.warning("the renderer of %s cannot forget %r: %r", word, path, error)

    def close(self) -> None:
        """Close all that have been made. Idempotent."""
        with self._lock:
            made, self._all, self._by_type, self._closed = self._all or {}, None, {}, True
        for word, renderer in made.items():
            try:
                renderer.close()
            except Exception as error:  # noqa: BLE001 -- another package's code may raise anything
                _log.warning("the renderer of %s cannot be closed: %r", word, error)


def load(words: list[str] | None, limits: Limits) -> dict[str, Renderer]:
    """Make renderers; one that cannot be imported is left out, and the log says why.

    Args:
        words: Which; None for all that are installed.
        limits: What they may take.
    """
    made: dict[str, Renderer] = {}
    for word, point in sorted(renderer_points().items()):
        if words is None or word in words:
            try:
                renderer = point.load()()
                renderer.configure(limits)
                "".endswith(renderer.suffix), frozenset(renderer.makes_of)  # or it cannot be asked
                made[word] = renderer
            except (Exception, SystemExit) as error:  # noqa: BLE001 -- another package's code
                _log.warning("no %s under Views: %s does not load: %s", word, point.value, error)
    return made

"""What renderers are given in tests without an index."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from copickfs.indexing.facts import entities_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from copickfs.entities import EntityType, Identity
    from copickfs.layers.base import Layer
    from copickfs.model import Entry
    from copickfs.view import View
    from copickfs.virtual.project import Statistics


class NoFacts:
    """Facts of a project without an index: nothing is known, and entities are looked for in the tree."""

    def __init__(self, view: View) -> None:
        self._view = view
        self.distrusted: list[str] = []
        self.kept: dict[tuple[str, str], Statistics] = {}

    def known(self, _path: str, _entry: Entry, _layer: Layer) -> tuple[str, Mapping[str, Any]] | None:
        return None

    def distrust(self, path: str) -> None:
        self.distrusted.append(path)

    def entities(self, kind: EntityType, run: str | None = None) -> tuple[str, list[Identity]]:
        found = entities_in(self._view, kind, run)
        return repr(found), found

    def statistics(self, path: str, version: str) -> Statistics | None:
        return self.kept.get((path, version))

    def keep_statistics(self, path: str, version: str, statistics: Statistics) -> None:
        self.kept[path, version] = statistics

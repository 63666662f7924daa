"""What renderers are given in tests without an index."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from copickfs.entities import EntityType, Identity, holds_entities, identify
from copickfs.errors import NotADirectory, NotFound
from copickfs.paths import join

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

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
        begin = "ExperimentRuns" if kind is not EntityType.OBJECT else "Objects"
        below = sorted(self._below(join(begin, run) if run else begin), key=lambda each: each.path)
        found = [each for each in below if each.type is kind]
        return repr(found), found

    def statistics(self, path: str, version: str) -> Statistics | None:
        return self.kept.get((path, version))

    def keep_statistics(self, path: str, version: str, statistics: Statistics) -> None:
        self.kept[path, version] = statistics

    def _below(self, directory: str) -> Iterator[Identity]:
        try:
            entries = self._view.listing(directory).entries
        except (NotFound, NotADirectory):
            return
        for entry in entries:
            path = join(directory, entry.name)
            identity = identify(path, is_dir=entry.is_dir)
            if identity is not None:
                yield identity
            if entry.is_dir and holds_entities(path):
                yield from self._below(path)

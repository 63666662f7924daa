"""What renderers are given in tests without an index, and trees with views over layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from copickfs.indexing.facts import entities_in
from copickfs.model import ByteRange
from copickfs.view import View
from copickfs.virtual.project import Project
from copickfs.virtual.renderers import Renderers
from copickfs.virtual.viewslayer import ViewsLayer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from copickfs.entities import EntityType, Identity
    from copickfs.layers.base import Layer
    from copickfs.model import Entry
    from copickfs.virtual.project import Statistics
    from copickfs.virtual.rendering import Renderer


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


class Shown:
    """A tree with views over layers, of objects of which nothing is known."""

    def __init__(self, layers: Sequence[Layer], renderers: Mapping[str, Renderer]) -> None:
        self.view = View(layers)
        project = Project(self.view, NoFacts(self.view), {})
        self.layer = ViewsLayer(project, Renderers(lambda: renderers))
        self.heard: list[str] = []
        self.view.subscribe(self.heard.append)
        self.view.generate(self.layer)

    def names(self, path: str) -> list[str]:
        return sorted(entry.name for entry in self.view.listing(path).entries)

    def content(self, path: str) -> bytes:
        file, _layer = self.view.open(path)
        try:
            return bytes(file.read(ByteRange(0, file.entry.size_bytes)))
        finally:
            file.close()

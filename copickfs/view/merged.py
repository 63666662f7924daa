"""The tree that is shown: what the layers have, with the files that copickfs adds above and below it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from copickfs.errors import NotFound
from copickfs.layers.base import LISTED_TTL_S, POLLED_TTL_S
from copickfs.view.layered import Found, Layered, Listing, by_name, merge

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from copickfs.layers.base import Layer, LayerFile
    from copickfs.model import Entry
    from copickfs.view.speeds import Speed
    from copickfs.virtual.control import ControlLayer
    from copickfs.virtual.viewslayer import ViewsLayer

__all__ = ["Found", "Listing", "View"]


class View(Layered):
    """The merged tree over a stack of layers.

    Args:
        layers: The data layers, highest priority first.
        control: The files that copickfs adds at the root, above all that layers have there.

    Attributes:
        control: As given.
        generated: The files that are made of others, for which it is asked last; None: there are none.
    """

    def __init__(self, layers: Sequence[Layer], control: ControlLayer | None = None) -> None:
        super().__init__(layers)
        self.control = control
        self.generated: ViewsLayer | None = None
        self._subscribers: list[Callable[[str], None]] = []

    def generate(self, generated: ViewsLayer) -> None:
        """Show the files that are made of those of the layers, and let them hear of every change."""
        for callback in self._subscribers:
            generated.subscribe(callback)
        self.generated = generated
        for layer in self.layers:
            layer.subscribe(generated.source_changed)
        self.membership.subscribe_own(generated.source_changed)

    def is_generated(self, path: str) -> bool:
        """True if ``path`` is where files are shown that are made of others; nothing is written there."""
        return self.generated is not None and self.generated.claims(path)

    def sources(self, path: str) -> list[Found]:
        """See `Layered.sources`."""
        first = self.lookup(path)
        return [first] if first.layer in (self.control, self.generated) else super().sources(path)

    def negative_ttl_s(self, path: str) -> float:
        """See `Layered.negative_ttl_s`. What will be made of a new file is nothing that can be announced."""
        return 0.0 if self.is_generated(path) else super().negative_ttl_s(path)

    def subscribe(self, callback: Callable[[str], None]) -> None:
        """See `Layered.subscribe`."""
        super().subscribe(callback)
        self._subscribers.append(callback)
        if self.generated is not None:
            self.generated.subscribe(callback)

    def _lookup(self, path: str, ask: Speed) -> Found:
        if self.control is not None and self.control.claims(path):
            return Found(ask.stat(self.control, path), self.control, LISTED_TTL_S)
        generated = self.generated
        if generated is None or not generated.claims(path):
            return super()._lookup(path, ask)
        try:
            return super()._lookup(path, ask)
        except NotFound:
            return Found(ask.stat(generated, path), generated, POLLED_TTL_S)

    def _listing(self, path: str, ask: Speed) -> Listing:
        if self.control is not None and self.control.claims(path):
            return Listing(list(ask.scan(self.control, path)), LISTED_TTL_S)
        if not path:
            own = [] if self.control is None else ask.scan(self.control, path)
            top = [] if self.generated is None else self.generated.top()
            entries, ttl_s = super()._listing(path, ask)
            return Listing(list(merge(merge(by_name(own), entries), top).values()), ttl_s)
        generated = self.generated
        if generated is None or not generated.claims(path):
            return super()._listing(path, ask)
        return self._with_made(path, generated, ask)

    def _with_made(self, path: str, generated: ViewsLayer, ask: Speed) -> Listing:
        try:
            had = super()._listing(path, ask).entries
        except NotFound:
            return Listing(list(ask.scan(generated, path)), POLLED_TTL_S)
        made: Sequence[Entry]
        try:
            made = ask.scan(generated, path)
        except NotFound:
            made = []
        return Listing(list(merge(by_name(had), made).values()), POLLED_TTL_S)

    def _open(self, path: str, ask: Speed) -> tuple[LayerFile, Layer]:
        if self.control is not None and self.control.claims(path):
            return ask.open(self.control, path), self.control
        generated = self.generated
        if generated is None or not generated.claims(path):
            return super()._open(path, ask)
        try:
            return super()._open(path, ask)
        except NotFound:
            file: Any = ask.open(generated, path)
            return file, file.layer

"""The objects of a mount whose configuration names none: those that its layers tell of."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from copickfs import MemoryLayer
from copickfs.config.project import ObjectConfig
from copickfs.errors import Unavailable
from copickfs.layers.objects import objects_told
from copickfs.layers.portal.objects import objects_from

if TYPE_CHECKING:
    import pytest


class Knowing(MemoryLayer):
    """A layer that holds annotations of objects."""

    def __init__(self, name: str, *identifiers: str) -> None:
        super().__init__(name)
        self.annotations = [
            {"id": number, "object_id": each, "object_name": each} for number, each in enumerate(identifiers)
        ]

    def pickable_objects(self) -> list[dict[str, Any]]:
        return objects_from(self.annotations, [])


class OutOfReach(Knowing):
    def pickable_objects(self) -> list[dict[str, Any]]:
        raise Unavailable("layer portal: HTTP 502")


def test_objects_of_all_layers_each_once_and_with_a_label_of_its_own() -> None:
    told = objects_told([MemoryLayer("plain"), Knowing("a", "GO:1", "GO:2"), Knowing("b", "GO:0", "GO:2")])
    assert [(each["identifier"], each["label"]) for each in told] == [("GO:1", 1), ("GO:2", 2), ("GO:0", 3)]
    assert [ObjectConfig(**each).name for each in told] == ["go-1", "go-2", "go-0"]
    assert objects_told([MemoryLayer("plain")]) == []


def test_a_layer_that_is_out_of_reach_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert len(objects_told([OutOfReach("portal"), Knowing("b", "GO:0")])) == 1
    assert caplog.messages == [
        "layer portal: its objects are not known, so copick sees none: layer portal: HTTP 502"
    ]

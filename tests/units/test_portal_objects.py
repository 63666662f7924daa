"""Objects made of a portal's annotations: those that copick makes, in an order that stays."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from copickfs.config.project import ObjectConfig
from copickfs.layers.portal.objects import objects_from, pickable_objects, told_of_objects

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest
    from copick.models import PickableObject

Record = dict[str, Any]

ANNOTATIONS: list[Record] = [
    {"id": 1, "object_id": "GO:0022626", "object_name": "cytosolic ribosome", "annotation_publication": None},
    {
        "id": 2,
        "object_id": "GO:0016020",
        "object_name": "membrane",
        "annotation_publication": "10.1/x,EMD-1",
    },
    {"id": 3, "object_id": "PDB-1BXN", "object_name": "Rubisco", "annotation_publication": None},
    {
        "id": 4,
        "object_id": "UniProtKB:P00722",
        "object_name": "Beta/Galactosidase",
        "annotation_publication": "EMPIAR-1,EMD-3883 , EMD-9, PDB-6Z3U",
    },
    {"id": 5, "object_id": "GO:0022626", "object_name": "ribosome_80S", "annotation_publication": "EMD-7"},
    {"id": 6, "object_id": "GO:0016020", "object_name": "membrane", "annotation_publication": ""},
    {"id": 7, "object_id": "PDB-4V4R", "object_name": "x", "annotation_publication": "PDB-1ABC"},
]
SHAPES: list[Record] = [
    {"annotation_id": 1, "shape_type": "OrientedPoint"},
    {"annotation_id": 2, "shape_type": "SegmentationMask"},
    {"annotation_id": 3, "shape_type": "Point"},
    {"annotation_id": 4, "shape_type": "InstanceSegmentationMask"},
    {"annotation_id": 4, "shape_type": "Point"},
    {"annotation_id": 5, "shape_type": "SegmentationMask"},
    {"annotation_id": 6, "shape_type": "SegmentationMask"},
    {"annotation_id": 7, "shape_type": "SegmentationMask"},
]


def of_copick(
    annotations: Sequence[Record], shapes: Sequence[Record], monkeypatch: pytest.MonkeyPatch
) -> list[PickableObject]:
    import cryoet_data_portal as cdp
    from copick.impl.cryoet_data_portal import PortalObject
    from copick.util.portal import objects_from_datasets

    monkeypatch.setattr(cdp, "Client", lambda: None)
    monkeypatch.setattr(cdp.Annotation, "find", lambda *_: [PortalObject(each) for each in annotations])
    monkeypatch.setattr(cdp.AnnotationShape, "find", lambda *_: [PortalObject(each) for each in shapes])
    return objects_from_datasets([10301])  # type: ignore[no-any-return] # copick has no annotations


def test_the_objects_are_those_of_copick(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = [each.model_dump() for each in of_copick(ANNOTATIONS, SHAPES, monkeypatch)]
    ours = [ObjectConfig(**each).model_dump() for each in objects_from(ANNOTATIONS, SHAPES)]
    assert len(ours) == 5

    def without_order(objects: list[Record]) -> list[Record]:
        ordered = sorted(objects, key=lambda each: each["identifier"])
        return [{**each, "label": 0, "color": None} for each in ordered]

    assert without_order(ours) == without_order(theirs)
    for key in ("label", "color"):
        assert [each[key] for each in ours] == [each[key] for each in theirs]


def test_the_order_is_that_of_the_identifiers_whatever_the_portal_answers_first() -> None:
    expected = objects_from(ANNOTATIONS, SHAPES)
    assert [each["identifier"] for each in expected] == sorted({each["object_id"] for each in ANNOTATIONS})
    assert [each["label"] for each in expected] == [1, 2, 3, 4, 5]
    for seed in range(5):
        annotations, shapes = list(ANNOTATIONS), list(SHAPES)
        random.Random(seed).shuffle(annotations)
        random.Random(seed).shuffle(shapes)
        assert objects_from(annotations, shapes) == expected


def test_colours_are_those_of_copick_for_any_number_of_objects() -> None:
    import distinctipy

    def colors(number: int) -> list[list[int]]:
        annotations = [{"id": each, "object_id": f"GO:{each}"} for each in range(number)]
        return [each["color"] for each in objects_from(annotations, [])]

    more = [[*(int(part * 255) for part in color), 255] for color in distinctipy.get_colors(49, rng=42)]
    assert colors(49) == more
    for number in (1, 2, 47, 48):
        assert colors(number) == more[:number]


def test_what_is_told_in_parts_is_put_together() -> None:
    parts = [told_of_objects([each], SHAPES) for each in ANNOTATIONS]
    for order in (parts, parts[::-1]):
        assert pickable_objects(told for part in order for told in part) == objects_from(ANNOTATIONS, SHAPES)


def test_odd_records_make_no_objects_or_ones_that_copick_accepts() -> None:
    from copick.models import PickableObject

    odd: list[Record] = [
        {},
        {"id": None, "object_id": None, "object_name": "nothing"},
        {"id": 8, "object_id": "", "object_name": "nothing"},
        {"id": 9, "object_id": 17, "object_name": "nothing"},
        {"id": 10, "object_id": "GO:1", "object_name": None, "annotation_publication": 3},
        {"id": 11, "object_id": "GO:2", "object_name": "../\0\u202e"},
        {"id": 12, "object_id": "PDB-1BXN\n", "object_name": "a" * 300},
    ]
    objects = objects_from(odd, [{}, {"annotation_id": 10, "shape_type": None}, {"shape_type": "Point"}])
    assert [each["name"] for each in objects] == ["go-1", "go-2", "a" * 200]
    assert [PickableObject(**each).pdb_id for each in objects] == [None, None, "1BXN"]
    assert objects_from([], []) == []

"""The pickable objects of a project that is made of datasets of a portal."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from copickfs.layers.portal.naming import object_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

RADIUS_ANGSTROM = 50

_POINTS = frozenset({"point", "orientedpoint"})
_PDB_IDENTIFIER = re.compile(r"PDB-([0-9a-zA-Z]{4,8})", re.IGNORECASE)
_TOLD = ("id", "object_id", "object_name", "annotation_publication")

_COLORS = (
    (0, 255, 0), (255, 0, 255), (0, 127, 255), (255, 127, 0), (127, 191, 127), (94, 6, 164), (233, 1, 56),
    (211, 254, 9), (0, 255, 255), (193, 119, 247), (3, 112, 74), (128, 66, 8), (0, 255, 127), (0, 0, 255),
    (250, 187, 117), (138, 231, 253), (203, 96, 117), (90, 169, 4), (100, 98, 175), (56, 193, 206),
    (104, 249, 50), (2, 58, 161), (153, 46, 239), (197, 0, 159), (193, 253, 140), (41, 38, 77),
    (131, 0, 63), (9, 200, 59), (206, 191, 208), (252, 74, 199), (181, 180, 33), (117, 117, 91),
    (37, 86, 0), (33, 163, 128), (104, 140, 246), (223, 68, 22), (62, 58, 236), (0, 0, 127), (96, 243, 161),
    (174, 114, 36), (10, 151, 7), (143, 54, 138), (239, 135, 181), (168, 141, 156), (10, 122, 176),
    (251, 201, 28), (180, 6, 5), (187, 0, 235),
)  # fmt: skip
"""The first of ``distinctipy.get_colors(n, rng=42)`` for any n, which takes copick half a second for 30."""

Record = dict[str, Any]


def objects_from(
    annotations: Iterable[Mapping[str, Any]], shapes: Iterable[Mapping[str, Any]]
) -> list[Record]:
    """Objects and colours as ``copick.util.portal.objects_from_datasets`` makes them, but in a stable order.

    copick puts them in the order of ``hash(identifier)``, which is another one in each process; labels and
    colours follow it. Here it is the order of the identifiers: the same annotations give the same objects.

    Args:
        annotations: Fields of annotations by the names of the portal's client.
        shapes: The same of their shapes.

    Returns:
        Entries of ``pickable_objects``.
    """
    return pickable_objects(told_of_objects(annotations, shapes))


def told_of_objects(
    annotations: Iterable[Mapping[str, Any]], shapes: Iterable[Mapping[str, Any]]
) -> list[Record]:
    """What annotations tell of each object that is annotated, for `pickable_objects`.

    An annotation without an object is passed over.
    """
    with_points = {shape.get("annotation_id") for shape in shapes if _is_of_points(shape)}
    return put_together(
        {
            **{field: annotation.get(field) for field in _TOLD},
            "is_particle": annotation.get("id") in with_points,
        }
        for annotation in annotations
        if isinstance(annotation.get("object_id"), str) and annotation["object_id"]
    )


def put_together(told: Iterable[Record]) -> list[Record]:
    """What is told of each object, in the order of their identifiers.

    Of several annotations of one object the one with the highest number tells its name and its entries in
    EMDB and PDB; it is a particle if one of them has points.
    """
    found: dict[str, Record] = {}
    for each in sorted(told, key=_number):
        before = found.get(each["object_id"], each)
        found[each["object_id"]] = {**each, "is_particle": each["is_particle"] or before["is_particle"]}
    return [found[identifier] for identifier in sorted(found)]


def pickable_objects(told: Iterable[Record]) -> list[Record]:
    """Entries of ``pickable_objects`` for what `told_of_objects` has found, once or several times."""
    ordered = put_together(told)
    return [
        {**_entry(each), "label": label, "color": [*color, 255]}
        for label, (each, color) in enumerate(zip(ordered, _colors(len(ordered)), strict=True), 1)
    ]


def _entry(told: Record) -> Record:
    emdb_id, pdb_id = _entries(told)
    return {
        "name": object_name(told["object_name"], told["object_id"]),
        "is_particle": told["is_particle"],
        "emdb_id": emdb_id,
        "pdb_id": pdb_id,
        "identifier": told["object_id"],
        "map_threshold": None,
        "radius": RADIUS_ANGSTROM,
    }


def _colors(number: int) -> Sequence[tuple[int, int, int]]:
    """As many colours as there are objects, 0 to 255; the first ones are the same for any number."""
    if number <= len(_COLORS):
        return _COLORS[:number]
    import distinctipy

    return [
        (int(red * 255), int(green * 255), int(blue * 255))
        for red, green, blue in distinctipy.get_colors(number, rng=42)
    ]


def _is_of_points(shape: Mapping[str, Any]) -> bool:
    kind = shape.get("shape_type")
    return isinstance(kind, str) and kind.lower() in _POINTS


def _number(record: Mapping[str, Any]) -> int:
    number = record.get("id")
    return number if isinstance(number, int) else 0


def _entries(annotation: Record) -> tuple[str | None, str | None]:
    """Its entries in EMDB and PDB: the first ones among its publications, or the object itself."""
    told = annotation.get("annotation_publication")
    publications = [each.strip() for each in told.split(",")] if isinstance(told, str) else []
    emdb_id = next((each for each in publications if each.startswith("EMD")), None)
    pdb_id = next((each for each in publications if each.startswith("PDB")), None)
    if pdb_id is None:
        own = _PDB_IDENTIFIER.fullmatch(annotation["object_id"].strip())
        pdb_id = own[1] if own else None
    return emdb_id, pdb_id

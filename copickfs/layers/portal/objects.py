"""The pickable objects of a project that is made of datasets of a portal."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any

from copickfs.layers.portal.naming import object_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

RADIUS_ANGSTROM = 50

_POINTS = frozenset({"point", "orientedpoint"})
_PDB_IDENTIFIER = re.compile(r"PDB-([0-9a-zA-Z]{4,8})", re.IGNORECASE)


def objects_from(
    annotations: Iterable[Mapping[str, Any]], shapes: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Objects and colours as ``copick.util.portal.objects_from_datasets`` makes them, but in a stable order.

    copick puts them in the order of ``hash(identifier)``, which is another one in each process; labels and
    colours follow it. Here it is the order of the identifiers: the same annotations give the same objects.
    Of several annotations of one object the one with the highest number tells its name and its entries in
    EMDB and PDB. An annotation without an object is passed over.

    Args:
        annotations: Fields of annotations by the names of the portal's client.
        shapes: The same of their shapes.

    Returns:
        Entries of ``pickable_objects``.
    """
    with_points = {shape.get("annotation_id") for shape in shapes if _is_of_points(shape)}
    found: dict[str, dict[str, Any]] = {}
    for annotation in sorted(annotations, key=_number):
        identifier = annotation.get("object_id")
        if not isinstance(identifier, str) or not identifier:
            continue
        is_particle = annotation.get("id") in with_points
        if identifier in found:
            is_particle |= found[identifier]["is_particle"]
        emdb_id, pdb_id = _entries(annotation)
        found[identifier] = {
            "name": object_name(annotation.get("object_name"), identifier),
            "is_particle": is_particle,
            "emdb_id": emdb_id,
            "pdb_id": pdb_id,
            "identifier": identifier,
            "map_threshold": None,
            "radius": RADIUS_ANGSTROM,
        }
    ordered = [found[identifier] for identifier in sorted(found)]
    return [
        {**each, "label": label, "color": [*color, 255]}
        for label, (each, color) in enumerate(zip(ordered, _colors(len(ordered)), strict=True), 1)
    ]


@functools.lru_cache(maxsize=4)
def _colors(number: int) -> tuple[tuple[int, int, int], ...]:
    """As many colours as copick takes for so many objects, 0 to 255; a second for 40, five for 100."""
    if not number:
        return ()
    import distinctipy

    return tuple(
        (int(red * 255), int(green * 255), int(blue * 255))
        for red, green, blue in distinctipy.get_colors(number, rng=42)
    )


def _is_of_points(shape: Mapping[str, Any]) -> bool:
    kind = shape.get("shape_type")
    return isinstance(kind, str) and kind.lower() in _POINTS


def _number(record: Mapping[str, Any]) -> int:
    number = record.get("id")
    return number if isinstance(number, int) else 0


def _entries(annotation: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Its entries in EMDB and PDB: the first ones among its publications, or the object itself."""
    told = annotation.get("annotation_publication")
    publications = [each.strip() for each in told.split(",")] if isinstance(told, str) else []
    emdb_id = next((each for each in publications if each.startswith("EMD")), None)
    pdb_id = next((each for each in publications if each.startswith("PDB")), None)
    if pdb_id is None:
        own = _PDB_IDENTIFIER.fullmatch(annotation["object_id"].strip())
        pdb_id = own[1] if own else None
    return emdb_id, pdb_id

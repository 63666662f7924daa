"""What a portal tells, as it is kept: a record for each run, with all of its records below it.

A record is a JSON object with the fields of the portal's client, those that are null left out::

    {"id": ..., "name": ..., "dataset_id": ...,
     "spacings": [{"id": ..., "voxel_spacing": ...}],
     "tomograms": [{..., "authors": ["..."]}],
     "annotations": [{..., "authors": ["..."], "shapes": [{..., "files": [{...}]}]}]}
"""

from __future__ import annotations

import json
import zlib
from collections import defaultdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

Record = dict[str, Any]

_LEVEL = 6


def run_records(
    runs: Iterable[Record],
    *,
    spacings: Iterable[Record],
    tomograms: Iterable[Record],
    tomogram_authors: Iterable[Record],
    annotations: Iterable[Record],
    annotation_authors: Iterable[Record],
    shapes: Iterable[Record],
    files: Iterable[Record],
) -> list[Record]:
    """The records of some runs, put together from those of each class."""
    by_author = _authors(tomogram_authors, "tomogram_id")
    authors = _authors(annotation_authors, "annotation_id")
    files_of = _grouped(files, "annotation_shape_id")
    shapes_of = _grouped(shapes, "annotation_id")
    annotations_of = _grouped(annotations, "run_id")
    spacings_of = _grouped(spacings, "run_id")
    tomograms_of = _grouped(tomograms, "run_id")
    found = []
    for run in runs:
        record = _told(run)
        record["spacings"] = [_told(spacing) for spacing in spacings_of[run["id"]]]
        record["tomograms"] = [
            {**_told(tomogram), "authors": by_author[tomogram["id"]]} for tomogram in tomograms_of[run["id"]]
        ]
        record["annotations"] = [
            {
                **_told(annotation),
                "authors": authors[annotation["id"]],
                "shapes": [
                    {**_told(shape), "files": [_told(file) for file in files_of[shape["id"]]]}
                    for shape in shapes_of[annotation["id"]]
                ],
            }
            for annotation in annotations_of[run["id"]]
        ]
        found.append(record)
    return found


def about_of(datasets: Iterable[Record], authors: Iterable[Record]) -> Record:
    """What is kept of the datasets that runs belong to."""
    by_dataset = _authors(authors, "dataset_id")
    return {
        "datasets": [
            {**_told(dataset), "authors": by_dataset[dataset["id"]]}
            for dataset in sorted(datasets, key=lambda dataset: dataset["id"])
        ]
    }


def packed(record: Record) -> bytes:
    """A record as it is kept."""
    text = json.dumps(record, default=_as_text, sort_keys=True, separators=(",", ":"))
    return zlib.compress(text.encode(), _LEVEL)


def unpacked(data: bytes) -> Record:
    """The record that `packed` has made these bytes of. Raises `ValueError` for any others."""
    try:
        record = json.loads(zlib.decompress(data))
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if not isinstance(record, dict):
        raise ValueError("not a record")  # noqa: TRY004 - of any damage
    return record


def _as_text(value: Any) -> str:
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _told(record: Record) -> Record:
    return {field: value for field, value in record.items() if value is not None}


def _grouped(records: Iterable[Record], field: str) -> defaultdict[Any, list[Record]]:
    groups: defaultdict[Any, list[Record]] = defaultdict(list)
    for record in sorted(records, key=lambda record: record["id"]):
        groups[record[field]].append(record)
    return groups


def _authors(records: Iterable[Record], field: str) -> defaultdict[Any, list[str]]:
    ordered = sorted(records, key=lambda record: (record.get("author_list_order") or 0, record["id"]))
    names: defaultdict[Any, list[str]] = defaultdict(list)
    for record in ordered:
        if record.get("name"):
            names[record[field]].append(record["name"])
    return names

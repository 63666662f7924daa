"""What of the portal's records people and the index are told, and what tells one version from another."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, NamedTuple

import xxhash

if TYPE_CHECKING:
    from collections.abc import Mapping

    Record = Mapping[str, Any]


_DATES = ("last_modified_date", "release_date", "deposition_date")
_OF_A_TOMOGRAM = {
    "tomogram_id": "id",
    "method": "reconstruction_method",
    "processing": "processing",
    "software": "reconstruction_software",
    "processing_software": "processing_software",
    "ctf_corrected": "ctf_corrected",
    "alignment_id": "alignment_id",
    "deposition_id": "deposition_id",
    "is_author_submitted": "is_author_submitted",
    "is_portal_standard": "is_portal_standard",
    "publications": "publications",
    "neuroglancer": "neuroglancer_config",
}
_OF_AN_ANNOTATION = {
    "annotation_id": "id",
    "object_name": "object_name",
    "object_id": "object_id",
    "object_state": "object_state",
    "object_description": "object_description",
    "object_count": "object_count",
    "method": "annotation_method",
    "method_type": "method_type",
    "software": "annotation_software",
    "ground_truth": "ground_truth_status",
    "curator_recommended": "is_curator_recommended",
    "precision": "confidence_precision",
    "recall": "confidence_recall",
    "publications": "annotation_publication",
    "deposition_id": "deposition_id",
}
_SEARCHED = (
    "run_name", "dataset", "dataset_title", "object_name", "object_id", "authors", "method", "software"
)  # fmt: skip
_LONGEST = 1_000
"""Characters of one value; extended attributes are no place for a page of text."""


class Facts(NamedTuple):
    """The records that tell of one entity.

    Attributes:
        kind: ``"run"``, ``"voxel_spacing"``, ``"tomogram"``, ``"picks"``, ``"segmentation"``, or
            ``"annotation"`` for its other files.
        run: The record of its run.
        record: Its own; None for a run.
        shape: The record of an annotation's shape.
        file: The record of an annotation's file.
    """

    kind: str
    run: Record
    record: Record | None = None
    shape: Record | None = None
    file: Record | None = None

    def told(self) -> dict[str, str]:
        """What people are told: of the run, of its own record, and who made it, by short names."""
        return {f"portal.{name}": _text(value) for name, value in self._all().items()}

    def detail(self) -> dict[str, Any]:
        """What the index is to know, as in `EntityRecord.detail`."""
        facts, record = self._all(), self.record
        detail: dict[str, Any] = {"portal": {name: facts[name] for name in _SEARCHED if name in facts}}
        if self.kind == "tomogram" and record is not None:
            size = [record.get(f"size_{axis}") for axis in "zyx"]
            if all(isinstance(n, int) and n > 0 for n in size):
                detail["shape"] = size
            if record.get("voxel_spacing"):
                detail["voxel_size"] = record["voxel_spacing"]
        if self.kind == "picks" and record is not None and isinstance(record.get("object_count"), int):
            detail["points"] = record["object_count"]
        return detail

    def _all(self) -> dict[str, Any]:
        run, record = self.run, self.record
        facts: dict[str, Any] = {"run_id": run["id"], "run_name": run.get("name")}
        facts |= {"dataset": run.get("dataset_id"), "dataset_title": run.get("dataset_title")}
        if self.kind == "voxel_spacing" and record is not None:
            facts["voxel_spacing_id"] = record["id"]
        elif record is not None:
            fields = _OF_A_TOMOGRAM if self.kind == "tomogram" else _OF_AN_ANNOTATION
            facts |= {name: record.get(field) for name, field in fields.items()}
            facts["authors"] = record.get("authors")
            facts |= {field.removesuffix("_date"): record.get(field) for field in _DATES}
        if self.shape is not None:
            facts["shape_type"] = self.shape.get("shape_type")
        if self.file is not None:
            facts["annotation_file_id"] = self.file["id"]
        return {name: value for name, value in facts.items() if value not in (None, "", [])}


def time_ns(record: Record) -> int:
    """When a record, or of a run the last in it, was changed, ns since the epoch; 0 if that is not told."""
    inner = [time_ns(one) for part in ("tomograms", "annotations") for one in record.get(part, ())]
    for field in _DATES:
        try:
            told = dt.datetime.fromisoformat(record[field])
        except (KeyError, TypeError, ValueError):
            continue
        if told.tzinfo is None:
            told = told.replace(tzinfo=dt.UTC)
        try:
            inner.append(max(0, int(told.timestamp())) * 1_000_000_000)
        except (OverflowError, OSError):
            continue
        break
    return max(inner, default=0)


def file_version(kind: str, *parts: object) -> str:
    """What tells a file, and the portal's record of it, from others."""
    return f"{kind}{xxhash.xxh3_64_hexdigest(repr(parts).encode(errors='surrogateescape'))}"


def _text(value: Any) -> str:
    text = "; ".join(map(str, value)) if isinstance(value, list) else str(value)
    if isinstance(value, bool):
        return text.lower()
    return text[:_LONGEST].encode(errors="replace").decode()  # JSON can have halves of characters

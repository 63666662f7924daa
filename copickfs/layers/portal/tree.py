"""From a run's record to the directories and files that copick shows of it, and to those under ``Views/``.

The names are copick's (1.31, ``copick.impl.cryoet_data_portal``), made safe for paths; see `naming`.
What cannot be shown is left out, and told to whoever collects it.
"""

from __future__ import annotations

import json
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from copickfs.layers.portal import naming
from copickfs.layers.portal.nodes import File, Folder, Node, Store, Text
from copickfs.layers.portal.picks import copick_picks
from copickfs.layers.portal.telling import Facts, file_version, time_ns
from copickfs.layers.sources.places import place_of_url
from copickfs.model import UNSIZED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Record = Mapping[str, Any]

_POINTS = frozenset({"Point", "OrientedPoint"})
_ONLY_VIEWS = frozenset({"InstanceSegmentation", "Mesh", "GlobalCaption", "AnnotationCaption"})
"""Shapes that copick does not show; their files are there as they are."""

_ANNOTATIONS = "Annotations"
_SAME = ("alignment_id", "tomogram_voxel_spacing_id")
_MOST_ANGSTROM = 1e6


class Selection(NamedTuple):
    """What of the portal's records is shown.

    Attributes:
        objects: Names of the objects that are shown, by identifier; None: all, by the portal's names.
        tomogram_types: Only tomograms of these types; empty for all.
        identifiers: Only annotations of objects with these identifiers; empty for all.
        url_style: ``"s3"`` or ``"https"``: which of the portal's addresses is used.
    """

    objects: Mapping[str, str] | None = None
    tomogram_types: frozenset[str] = frozenset()
    identifiers: frozenset[str] = frozenset()
    url_style: str = "s3"

    def object_name(self, annotation: Record) -> str | None:
        """The name under which an annotation's object is shown; None if it is not."""
        identifier = str(annotation.get("object_id") or "")
        if self.identifiers and identifier not in self.identifiers:
            return None
        if self.objects is None:
            return naming.object_name(annotation.get("object_name"), identifier)
        name: str | None = self.objects.get(identifier)
        return name


class RunTree(NamedTuple):
    """What is shown of one run.

    Attributes:
        project: Its directory as copick has it.
        views: Its directory under ``Views/``.
    """

    project: Folder
    views: Folder


def run_tree(record: Record, selection: Selection, odd: Callable[[str, str], None]) -> RunTree:
    """The directories of one run.

    Args:
        record: See `copickfs.layers.portal.records`.
        selection: What is shown.
        odd: Called with the reason and the name of each record that cannot be shown.
    """
    return _Builder(record, selection, odd).tree()


class _Builder:
    def __init__(self, record: Record, selection: Selection, odd: Callable[[str, str], None]) -> None:
        self._record = record
        self._run = record["id"]
        self._selection = selection
        self._tell = odd
        self._facts = Facts("run", record)
        self._mtime_ns = time_ns(record)
        self._project = self._folder()
        self._views = self._folder()
        self._spacings: dict[int, float] = {}

    def tree(self) -> RunTree:
        for spacing in self._record["spacings"]:
            self._add_spacing(spacing)
        self._add_tomograms()
        for annotation in self._record["annotations"]:
            name = self._selection.object_name(annotation)
            if name is not None:
                for shape in annotation["shapes"]:
                    for file in shape["files"]:
                        self._add_annotation_file(annotation, shape, file, name)
        version = file_version("d", json.dumps(self._record, sort_keys=True))
        document = Text(version, partial(_document, self._record), facts=self._facts, mtime_ns=self._mtime_ns)
        self._views.children["portal.json"] = document
        return RunTree(self._project, self._views)

    def _add_spacing(self, spacing: Record) -> None:
        size = spacing.get("voxel_spacing")
        if not isinstance(size, int | float) or not 0 < size < _MOST_ANGSTROM:
            self._odd("a voxel spacing without a size", f"voxel spacing {spacing['id']}")
            return
        self._spacings[spacing["id"]] = float(size)
        folder = self._folder(Facts("voxel_spacing", self._record, spacing))
        self._project.children.setdefault(_spacing_name(size), folder)

    def _add_tomograms(self) -> None:
        types: defaultdict[str, dict[int, str]] = defaultdict(dict)
        tomograms: dict[int, Record] = {}
        for tomogram in self._record["tomograms"]:
            number = tomogram["id"]
            if tomograms.setdefault(number, tomogram) is not tomogram:
                self._odd("a second record of one id", f"tomogram {number}")
                continue
            spacing = self._spacings.get(tomogram.get("tomogram_voxel_spacing_id", -1))
            if spacing is None:
                self._odd("a tomogram without a voxel spacing", f"tomogram {number}")
            else:
                types[_spacing_name(spacing)][number] = naming.tomogram_type(tomogram)
        wanted = self._selection.tomogram_types
        for directory, names in types.items():
            for number, name in naming.told_apart(names).items():
                if not wanted or names[number] in wanted or name in wanted:
                    self._add_tomogram(directory, name, tomograms[number])

    def _add_tomogram(self, directory: str, name: str, tomogram: Record) -> None:
        subject = f"tomogram {tomogram['id']}"
        facts, mtime_ns = Facts("tomogram", self._record, tomogram), time_ns(tomogram)
        store = self._place(tomogram, "omezarr_dir")
        if store is None:
            self._odd("a tomogram without an OME-Zarr", subject)
        else:
            node = Store(store, facts=facts, mtime_ns=mtime_ns)
            self._put(self._project, directory, f"{name}.zarr", node, subject)
        volume = self._place(tomogram, "mrc_file")
        if volume is not None:
            version = file_version("t", volume, tomogram["id"], mtime_ns)
            size_bytes = _size(tomogram, "file_size_mrc")
            file = File(volume, version, size_bytes, facts=facts, mtime_ns=mtime_ns)
            self._put(self._views, directory, f"{name}.mrc", file, subject)

    def _add_annotation_file(self, annotation: Record, shape: Record, file: Record, name: str) -> None:
        subject = f"annotation file {file['id']}"
        kind, form = shape.get("shape_type"), file.get("format")
        place = self._place(file, "path")
        if place is None:
            self._odd("an annotation file without an address", subject)
            return
        if kind in _POINTS and form == "ndjson":
            self._add_picks(Facts("picks", self._record, annotation, shape, file), name, place)
        elif kind in naming.SEGMENTATION_DIRECTORIES and form in ("zarr", "mrc"):
            self._add_mask(Facts("segmentation", self._record, annotation, shape, file), name, place)
        else:
            if kind not in _ONLY_VIEWS:
                self._odd(f"an annotation of the kind {kind!r} as {form!r}", subject)
            self._add_raw(Facts("annotation", self._record, annotation, shape, file), place)

    def _add_picks(self, facts: Facts, name: str, place: str) -> None:
        _, _, annotation, shape, file = facts
        assert annotation is not None and shape is not None and file is not None  # noqa: S101, PT018
        spacing = self._spacing_of(annotation, file)
        if spacing is None:
            return
        subject, mtime_ns = f"annotation file {file['id']}", time_ns(annotation)
        leaf = naming.picks_name(file["id"], name)
        make = partial(
            copick_picks, run=str(self._run), object_name=name, session=str(file["id"]),
            voxel_spacing_angstrom=spacing, shape_type=shape["shape_type"],
        )  # fmt: skip
        version = file_version("p", place, file["id"], mtime_ns, name, spacing, shape["shape_type"])
        picks = File(place, version, make=make, facts=facts, mtime_ns=mtime_ns)
        if self._put(self._project, "Picks", leaf, picks, subject):
            version = file_version("n", place, file["id"], mtime_ns)
            raw = File(place, version, _size(file), facts=facts, mtime_ns=mtime_ns)
            stem = leaf.removesuffix(".json")
            self._put(self._views, "Picks", f"{stem}.ndjson", raw, subject)
            self._add_metadata(annotation, "Picks", stem)

    def _add_mask(self, facts: Facts, name: str, place: str) -> None:
        _, _, annotation, shape, file = facts
        assert annotation is not None and shape is not None and file is not None  # noqa: S101, PT018
        spacing = self._spacing_of(annotation, file)
        if spacing is None:
            return
        subject, mtime_ns = f"annotation file {file['id']}", time_ns(annotation)
        directory = naming.SEGMENTATION_DIRECTORIES[shape["shape_type"]]
        named = _store_of(shape, file)
        leaf = naming.segmentation_name(spacing, named["id"], name)
        stem = leaf.removesuffix(".zarr")
        if file["format"] == "zarr":
            store = Store(place, facts=facts, mtime_ns=mtime_ns)
            self._put(self._project, directory, leaf, store, subject)
        else:
            version = file_version("m", place, file["id"], mtime_ns)
            volume = File(place, version, _size(file), facts=facts, mtime_ns=mtime_ns)
            self._put(self._views, directory, f"{stem}.mrc", volume, subject)
        if named is file:
            self._add_metadata(annotation, directory, stem)

    def _add_raw(self, facts: Facts, place: str) -> None:
        _, _, annotation, _, file = facts
        assert annotation is not None and file is not None  # noqa: S101, PT018
        leaf = naming.safe_name(f"{file['id']}-{place.rpartition('/')[2]}", str(file["id"]))
        version, mtime_ns = file_version("r", place, file["id"], time_ns(annotation)), time_ns(annotation)
        raw = File(place, version, _size(file), facts=facts, mtime_ns=mtime_ns)
        self._put(self._views, _ANNOTATIONS, leaf, raw, f"annotation file {file['id']}")

    def _add_metadata(self, annotation: Record, directory: str, stem: str) -> None:
        """The document that the portal keeps beside the annotation."""
        place = self._place(annotation, "metadata_path")
        if place is not None:
            facts, version = (
                Facts("annotation", self._record, annotation),
                file_version("j", place, annotation["id"], time_ns(annotation)),
            )
            document = File(place, version, facts=facts, mtime_ns=time_ns(annotation))
            subject = f"annotation {annotation['id']}"
            self._put(self._views, directory, f"{stem}.metadata.json", document, subject)

    def _spacing_of(self, annotation: Record, file: Record) -> float | None:
        for record in (file, annotation):
            spacing = self._spacings.get(record.get("tomogram_voxel_spacing_id", -1))
            if spacing is not None:
                return spacing
        self._odd("an annotation file without a voxel spacing", f"annotation file {file['id']}")
        return None

    def _place(self, record: Record, field: str) -> str | None:
        return place_of_url(record.get(f"{self._selection.url_style}_{field}"))

    def _put(self, top: Folder, directory: str, name: str, node: Node, subject: str) -> bool:
        """Add a node; False if its name is taken already: two records of the portal clash."""
        folder = top.children.get(directory)
        if folder is None:
            folder = top.children[directory] = self._folder()
        if not isinstance(folder, Folder) or name in folder.children:
            self._odd("a second record of one name", f"{subject} ({name!r})")
            return False
        folder.children[name] = node
        return True

    def _folder(self, facts: Facts | None = None) -> Folder:
        return Folder(facts=facts or self._facts, mtime_ns=self._mtime_ns)

    def _odd(self, reason: str, subject: str) -> None:
        self._tell(reason, f"{subject} of run {self._run}")


def _document(record: Record) -> bytes:
    return json.dumps(record, indent=1, sort_keys=True).encode() + b"\n"


def _store_of(shape: Record, file: Record) -> Record:
    """The file of a mask whose name this one of the same mask has: a volume has that of its store."""
    if file.get("format") == "zarr":
        return file
    alike = [one for one in shape["files"] if all(one.get(field) == file.get(field) for field in _SAME)]
    volumes = [one for one in alike if one.get("format") == "mrc"]
    stores = [one for one in alike if one.get("format") == "zarr"]
    number = next((number for number, one in enumerate(volumes) if one is file), 0)
    return stores[number] if number < len(stores) else file


def _spacing_name(size_angstrom: float) -> str:
    return f"VoxelSpacing{size_angstrom:.3f}"


def _size(record: Record, field: str = "file_size") -> int:
    size = record.get(field)
    return int(size) if isinstance(size, int | float) and size > 0 else UNSIZED

"""Records nobody expects, each of which the schema allows or a portal could once have sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.portal.records import OBJECTS, Annotated

if TYPE_CHECKING:
    from tests.portal.records import Records
    from tests.portal.store import Row

HOSTILE_NAMES = (
    "../up",
    "..",
    ".",
    "/etc/passwd",
    "a/b",
    "nul\0byte",
    "two\nlines",
    "back\\slash",
    "x" * 300,
    "é" * 150,  # 300 bytes of 150 characters
    "\u202egnp.exe",
    "\u200fright to left",
    "e\u0301 composed",
    "\ud800 alone",
    " spaces ",
    "",
    "-rf",
    "*?[a]",
    ".hidden",
    "\x1b[31mred",
)


def hostile_runs(records: Records, dataset: Row) -> list[Row]:
    """A run with one tomogram and one file of picks for each of `HOSTILE_NAMES`, and two more of one name."""
    made = []
    for name in (*HOSTILE_NAMES, "twice", "twice"):
        run = records.run(dataset, name)
        spacing = records.spacing(run)
        records.tomogram(run, spacing)
        records.annotate(run, spacing, 1)
        made.append(run)
    return made


def hostile_software(records: Records, run: Row, spacing: Row) -> list[Row]:
    """A tomogram for each of `HOSTILE_NAMES`, its software: copick's type of tomogram names that."""
    return [records.tomogram(run, spacing, processingSoftware=name) for name in HOSTILE_NAMES]


def hostile_objects(records: Records, run: Row, spacing: Row) -> list[Row]:
    """A file of picks for each of `HOSTILE_NAMES`, which is the object's name and its identifier."""
    files = []
    for name in HOSTILE_NAMES:
        files += records.shape(records.annotation(run, spacing, Annotated(name, name, ())), "Point")
    return files


def same_types(records: Records, run: Row, spacing: Row, count: int = 3) -> list[Row]:
    """Tomograms of one voxel spacing that copick gives one type, one only after its name is made plain."""
    common = {"processing": "raw", "ctfCorrected": False}
    made = [
        records.tomogram(run, spacing, **common, processingSoftware="AreTomo 3") for _ in range(count - 1)
    ]
    return [*made, records.tomogram(run, spacing, **common, processingSoftware="areTomo-3")]


def tomogram_of_dashes(records: Records, run: Row, spacing: Row) -> Row:
    """A tomogram of a software without a letter in its name: copick fails to name its type."""
    return records.tomogram(run, spacing, processingSoftware="--")


def tomogram_without_zarr(records: Records, run: Row, spacing: Row) -> Row:
    """A tomogram that has an MRC only."""
    none = {"s3OmezarrDir": None, "httpsOmezarrDir": None, "scale0Dimensions": None}
    return records.tomogram(run, spacing, **none)


def tomogram_without_files(records: Records, run: Row, spacing: Row) -> Row:
    """A tomogram that has no file at all."""
    addresses = ("s3OmezarrDir", "httpsOmezarrDir", "s3MrcFile", "httpsMrcFile", "fileSizeMrc")
    return records.tomogram(run, spacing, **dict.fromkeys(addresses))


def tomogram_without_spacing(records: Records, run: Row) -> Row:
    """A tomogram whose voxel spacing has no record."""
    return records.tomogram(run, _lost_spacing(records, run), tomogramVoxelSpacingId=None)


def tomogram_of_nulls(records: Records, run: Row, spacing: Row) -> Row:
    """A tomogram that has nothing the schema lets it lack but its place, its name and its files."""
    kept = {"runId", "tomogramVoxelSpacingId", "s3OmezarrDir", "httpsOmezarrDir", "s3MrcFile", "httpsMrcFile"}
    return _emptied(records, "Tomogram", records.tomogram(run, spacing), kept)


def annotation_of_nulls(records: Records, run: Row, spacing: Row) -> list[Row]:
    """The files of an annotation that has nothing the schema lets it lack but its run."""
    annotation = records.annotation(run, spacing)
    files = records.shape(annotation, "Point")
    _emptied(records, "Annotation", annotation, {"runId", "s3MetadataPath"})
    kept = {"annotationShapeId", "s3Path", "httpsPath"}
    return [_emptied(records, "AnnotationFile", file, kept) for file in files]


def unknown_shapes(records: Records, run: Row, spacing: Row) -> list[Row]:
    """Files of shapes that cannot be shown: known to the schema, unknown to it, and none."""
    files: list[Row] = []
    for shape_type in ("Mesh", "GlobalCaption", "Hologram", None):
        annotation = records.annotation(run, spacing)
        files += records.shape(annotation, shape_type)
    return files


def unknown_formats(records: Records, run: Row, spacing: Row) -> list[Row]:
    """Files of known shapes in formats that cannot be shown."""
    annotation = records.annotation(run, spacing)
    return records.shape(annotation, "Point", ("star",)) + records.shape(
        annotation, "SegmentationMask", ("tif",)
    )


def file_without_spacing(records: Records, run: Row, spacing: Row) -> Row:
    """A file of picks whose voxel spacing has no record: nobody knows where its points are."""
    annotation = records.annotation(run, spacing)
    (file,) = records.shape(annotation, "Point")
    return records.change(
        "AnnotationFile", file["id"], tomogramVoxelSpacingId=_lost_spacing(records, run)["id"]
    )


def file_of_lost_shape(records: Records, run: Row, spacing: Row) -> Row:
    """A file whose shape has no record."""
    (file,) = records.shape(records.annotation(run, spacing), "Point")
    records.remove("AnnotationShape", file["annotationShapeId"])
    return file


def same_ids(records: Records, run: Row, spacing: Row) -> list[Row]:
    """Two tomograms of one id, and two files of picks of one id: what no database allows."""
    first = records.tomogram(run, spacing)
    second = records.tomogram(run, spacing, id=first["id"])
    (picks,) = records.shape(records.annotation(run, spacing, OBJECTS[0]), "Point")
    (others,) = records.shape(records.annotation(run, spacing, OBJECTS[2]), "Point")
    records.change("AnnotationFile", others["id"], id=picks["id"])
    return [first, second, picks, others]


def strange_spacings(records: Records, run: Row) -> list[Row]:
    """Voxel spacings that have one name in a tree, and some that no microscope has."""
    return [records.spacing(run, size) for size in (10.0, 10.0001, 10.0, 0.0, -1.0, 1e-9, 123456.789)]


def empty_run(records: Records, dataset: Row) -> Row:
    """A run of which there is nothing."""
    return records.run(dataset, "empty")


def _lost_spacing(records: Records, run: Row) -> Row:
    spacing = records.spacing(run, 99.0)
    records.remove("TomogramVoxelSpacing", spacing["id"])
    return spacing


def _emptied(records: Records, kind: str, row: Row, kept: set[str]) -> Row:
    required = records.tables[kind].kind.required
    nulls = {field: None for field in row if field not in required and field not in kept}
    return records.change(kind, row["id"], **nulls)

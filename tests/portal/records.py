"""Generated records: the same ones each time, as many as wanted, shaped like the portal's own."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.portal.store import Row, Store

if TYPE_CHECKING:
    from collections.abc import Sequence

BUCKET = "cryoet-data-portal-public"
HTTPS = "https://files.cryoetdataportal.cziscience.com"
SPACINGS = (13.48, 7.84)
SHAPE_ZYX = (24, 20, 28)
POINTS = 6
LEVELS = 3
AUTHORS = (("Jane Smith", "0000-0001-2345-6789"), ("J Carpenter", None))
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Annotated(NamedTuple):
    """An object, and the shapes in which it is annotated."""

    object_id: str
    object_name: str
    shapes: tuple[str, ...]


OBJECTS = (
    Annotated("GO:0022626", "cytosolic ribosome", ("OrientedPoint", "Point")),
    Annotated("GO:0016020", "membrane", ("SegmentationMask",)),
    Annotated("GO:0070288", "ferritin complex", ("InstanceSegmentation", "InstanceSegmentationMask")),
)
FORMATS = {
    "Point": ("ndjson",),
    "OrientedPoint": ("ndjson",),
    "InstanceSegmentation": ("ndjson",),
    "SegmentationMask": ("zarr", "mrc"),
    "InstanceSegmentationMask": ("zarr", "mrc"),
    "Mesh": ("glb",),
}
FILES_OF_EACH_OBJECT = 7  # a run with this many files has each of OBJECTS once


class Records(Store):
    """Records that lead to one bucket and its mirror.

    Every method makes one record, and what always comes with it; any field of it can be given another value.

    Args:
        bucket: Name of the bucket.
        https: Address of the mirror, without a slash.
    """

    def __init__(self, bucket: str = BUCKET, https: str = HTTPS) -> None:
        super().__init__()
        self.bucket = bucket
        self.https = https

    def links(self, key: str, s3: str, https: str) -> Row:
        """Both addresses of a key, in the fields of these names."""
        return {s3: f"s3://{self.bucket}/{key}", https: f"{self.https}/{key}"}

    def key(self, address: str) -> str:
        """The key of an ``s3://`` address."""
        return address.removeprefix(f"s3://{self.bucket}/")

    def dataset(self, number: int, **fields: Any) -> Row:
        """A dataset, in a deposition of its own, with authors and funding."""
        deposition = self.add("Deposition", title=f"Deposition of {number}", description="generated")
        self._authors("DepositionAuthor", depositionId=deposition["id"])
        self.add("DepositionType", depositionId=deposition["id"])
        links = self.links(f"{number}/", "s3Prefix", "httpsPrefix")
        links |= {"title": f"Dataset {number}", "organismName": "S. pombe", "sampleType": "cell"}
        made = self.add("Dataset", **{"id": number, "depositionId": deposition["id"], **links, **fields})
        self._authors("DatasetAuthor", datasetId=made["id"])
        self.add("DatasetFunding", datasetId=made["id"], fundingAgencyName="Agency", grantId="G-1")
        return made

    def run(self, dataset: Row, name: str, **fields: Any) -> Row:
        """A run with a tilt series and an alignment; what is no plain name has another one in the bucket."""
        number = fields.pop("id", 14_001 + len(self.tables["Run"].rows))
        folder = name if _PLAIN.fullmatch(name) else f"run-{number}"
        links = self.links(f"{dataset['id']}/{folder}/", "s3Prefix", "httpsPrefix")
        made = self.add("Run", **{"id": number, "datasetId": dataset["id"], "name": name, **links, **fields})
        common = {"runId": made["id"], "depositionId": dataset["depositionId"]}
        series = self.add("Tiltseries", **common)
        key = f"{dataset['id']}/{folder}/Alignments/100/alignment_metadata.json"
        links = self.links(key, "s3AlignmentMetadata", "httpsAlignmentMetadata")
        self.add("Alignment", tiltseriesId=series["id"], **common, **links)
        return made

    def spacing(self, run: Row, voxel_spacing: float = SPACINGS[0], **fields: Any) -> Row:
        """A voxel spacing of a run, in Angstrom."""
        key = f"{self.key(run['s3Prefix'])}Reconstructions/VoxelSpacing{voxel_spacing:.3f}/"
        links = self.links(key, "s3Prefix", "httpsPrefix")
        return self.add(
            "TomogramVoxelSpacing", **{"runId": run["id"], "voxelSpacing": voxel_spacing, **links, **fields}
        )

    def tomogram(self, run: Row, spacing: Row, **fields: Any) -> Row:
        """A tomogram: the first of a spacing is raw, the others are denoised, each with another software."""
        before = len(self.rows("Tomogram", tomogramVoxelSpacingId=spacing["id"]))
        folder = self.key(run["s3Prefix"]).split("/")[1]
        base = f"{self.key(spacing['s3Prefix'])}Tomograms/{100 + before}/{folder}"
        size_z, size_y, size_x = SHAPE_ZYX
        sizes = {f"scale{n}Dimensions": _dimensions(n) for n in range(LEVELS)}
        made = self.add(
            "Tomogram",
            **{
                "alignmentId": self._alignment(run),
                "depositionId": self.rows("Dataset", id=run["datasetId"])[0]["depositionId"],
                "runId": run["id"],
                "tomogramVoxelSpacingId": spacing["id"],
                "name": run["name"],
                "sizeX": size_x,
                "sizeY": size_y,
                "sizeZ": size_z,
                **sizes,
                "voxelSpacing": spacing["voxelSpacing"],
                "reconstructionMethod": "WBP",
                "reconstructionSoftware": "IMOD",
                "processing": "denoised" if before else "raw",
                "processingSoftware": f"cryoCARE-{before}" if before else None,
                "ctfCorrected": before == 0,
                **self.links(f"{base}.zarr", "s3OmezarrDir", "httpsOmezarrDir"),
                **self.links(f"{base}.mrc", "s3MrcFile", "httpsMrcFile"),
                "fileSizeMrc": 1024.0 + 2 * size_x * size_y * size_z,
                **fields,
            },
        )
        self._authors("TomogramAuthor", tomogramId=made["id"])
        return made

    def annotation(self, run: Row, spacing: Row, of: Annotated = OBJECTS[0], **fields: Any) -> Row:
        """An annotation, still without shapes."""
        number = 101 + len(self.rows("Annotation", runId=run["id"]))
        name = re.sub(r"\W+", "_", of.object_name)[:100]
        key = f"{self.key(spacing['s3Prefix'])}Annotations/{number}/{name}-1.0.json"
        made = self.add(
            "Annotation",
            **{
                "runId": run["id"],
                "depositionId": self.rows("Dataset", id=run["datasetId"])[0]["depositionId"],
                "tomogramVoxelSpacingId": spacing["id"],
                **self.links(key, "s3MetadataPath", "httpsMetadataPath"),
                "annotationIngestId": str(number),
                "annotationMethod": "template matching",
                "methodType": "hybrid",
                "objectId": of.object_id,
                "objectName": of.object_name,
                "objectCount": POINTS,
                **fields,
            },
        )
        self._authors("AnnotationAuthor", annotationId=made["id"])
        return made

    def shape(self, annotation: Row, shape_type: str, formats: Sequence[str] | None = None) -> list[Row]:
        """A shape of an annotation, with a file of each format; returns the files."""
        shape = self.add("AnnotationShape", annotationId=annotation["id"], shapeType=shape_type)
        formats = FORMATS.get(shape_type, ("bin",)) if formats is None else formats
        return [self.file(annotation, shape, name) for name in formats]

    def file(self, annotation: Row, shape: Row, file_format: str, **fields: Any) -> Row:
        """A file of a shape."""
        base = self.key(annotation["s3MetadataPath"]).removesuffix(".json")
        key = f"{base}_{(shape['shapeType'] or 'none').lower()}.{file_format}"
        alignments = self.rows("Alignment", runId=annotation["runId"])
        return self.add(
            "AnnotationFile",
            **{
                "alignmentId": alignments[0]["id"] if alignments else None,
                "annotationShapeId": shape["id"],
                "tomogramVoxelSpacingId": annotation["tomogramVoxelSpacingId"],
                "format": file_format,
                **self.links(key, "s3Path", "httpsPath"),
                "isVisualizationDefault": file_format != "mrc",
                "source": "dataset_author",
                **fields,
            },
        )

    def annotate(self, run: Row, spacing: Row, files: int) -> list[Row]:
        """Annotate one object after the other until a run has this many files; returns these."""
        made: list[Row] = []
        for of in itertools.cycle(OBJECTS):
            if len(made) >= files:
                return made
            annotation = self.annotation(run, spacing, of)
            for shape_type in of.shapes:
                formats = FORMATS[shape_type][: files - len(made)]
                made += self.shape(annotation, shape_type, formats) if formats else []
        raise AssertionError

    def fill(
        self,
        dataset: Row,
        runs: int,
        files_per_run: int = FILES_OF_EACH_OBJECT,
        spacings: Sequence[float] = SPACINGS,
        tomograms_per_spacing: int = 2,
    ) -> list[Row]:
        """Add runs to a dataset, annotated at their first voxel spacing; returns the runs."""
        made = []
        for number in range(1, runs + 1):
            run = self.run(dataset, f"TS_{number:03d}")
            kept = [self.spacing(run, voxel_spacing) for voxel_spacing in spacings]
            for spacing in kept:
                for _ in range(tomograms_per_spacing):
                    self.tomogram(run, spacing)
            self.annotate(run, kept[0], files_per_run)
            made.append(run)
        return made

    def _alignment(self, run: Row) -> int | None:
        found = self.rows("Alignment", runId=run["id"])
        return found[0]["id"] if found else None

    def _authors(self, kind: str, **of: int) -> None:
        for order, (name, orcid) in enumerate(AUTHORS, 1):
            first = order == 1
            self.add(kind, name=name, orcid=orcid, authorListOrder=order, primaryAuthorStatus=first, **of)


def _dimensions(level: int) -> str:
    return ",".join(str(-(-size // 2**level)) for size in reversed(SHAPE_ZYX))

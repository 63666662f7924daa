"""The files of the tests' own portal, read by other programs, and by copick through the records."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import fsspec
import mrcfile
import numpy as np
import pytest
import requests
import zarr

from tests.portal import contents
from tests.portal.copick_root import copick_root
from tests.portal.local import LocalPortal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.portal.store import Row

CLASSES = (
    "Run",
    "AnnotationFile",
    "AnnotationShape",
    "Annotation",
    "AnnotationAuthor",
    "TomogramVoxelSpacing",
    "Tomogram",
    "TomogramAuthor",
)


@pytest.fixture(scope="module")
def portal() -> Iterator[LocalPortal]:
    with LocalPortal(runs=3, written=2) as made:
        yield made


def annotation_files(portal: LocalPortal, run: Row) -> list[tuple[Row, str]]:
    records = portal.records
    annotations = [row["id"] for row in records.rows("Annotation", runId=run["id"])]
    where = {"annotationShape": {"annotationId": {"_in": annotations}}}
    return [
        (file, records.row("AnnotationShape", file["annotationShapeId"])["shapeType"])
        for file in records.select("AnnotationFile", where)
    ]


def test_a_tomogram_is_there_twice_and_in_two_types(portal: LocalPortal, tmp_path: Path) -> None:
    fs = portal.files.client()
    for row in portal.records.rows("Tomogram", runId=portal.runs[0]["id"])[1:3]:
        group = zarr.open(zarr.storage.FSStore(row["s3OmezarrDir"], fs=fs, mode="r"), "r")
        assert np.array_equal(group["0"][:], contents.volume(row))
        assert group["0"].shape == (row["sizeZ"], row["sizeY"], row["sizeX"])
        scales = [
            level["coordinateTransformations"][0]["scale"][0]
            for level in group.attrs["multiscales"][0]["datasets"]
        ]
        assert scales == [row["voxelSpacing"] * factor for factor in (1, 2, 4)]
        assert [",".join(map(str, reversed(group[str(level)].shape))) for level in range(3)] == [
            row[f"scale{level}Dimensions"] for level in range(3)
        ]
        data = fs.cat_file(row["s3MrcFile"])
        assert len(data) == row["fileSizeMrc"]
        assert sum(fs.du(row["s3OmezarrDir"], total=False).values()) == row["fileSizeOmezarr"]
        file = tmp_path / "tomogram.mrc"
        file.write_bytes(data)
        assert mrcfile.validate(file)
        with mrcfile.open(file) as opened:
            assert opened.data.dtype == np.int16
            assert np.array_equal(opened.data, contents.mrc_volume(row))
            assert opened.voxel_size.x == pytest.approx(row["voxelSpacing"])


def test_the_mirror_has_every_file(portal: LocalPortal) -> None:
    portal.forget()
    seen = set()
    for file, shape_type in annotation_files(portal, portal.runs[1]):
        key = portal.records.key(file["s3Path"])
        inner = key + "/.zattrs" if file["format"] == "zarr" else key
        answer = requests.get(file["httpsPath"] + inner.removeprefix(key), timeout=30)
        assert answer.content == portal.files.data(inner)
        assert portal.files.counts()[inner] == 1
        if file["format"] == "ndjson":
            assert len(answer.content) == file["fileSize"]
            lines = [json.loads(line) for line in answer.text.splitlines()]
            assert lines == contents.points(file, shape_type)
        seen.add((shape_type, file["format"]))
    assert len(seen) == 7
    annotation = portal.records.rows("Annotation", runId=portal.runs[1]["id"])[0]
    assert requests.get(annotation["httpsMetadataPath"], timeout=30).json()["objectId"] == "GO:0022626"
    part = requests.get(f"{portal.files.https}/{key}", headers={"Range": "bytes=4-7"}, timeout=30)
    assert (part.status_code, part.content) == (206, portal.files.data(key)[4:8])
    assert portal.files.requests[-1][:2] == ("GET", key)
    assert portal.files.requests[-1].byte_range == "bytes=4-7"


def test_files_are_withdrawn_and_come_back(portal: LocalPortal) -> None:
    file, _ = annotation_files(portal, portal.runs[1])[0]
    key = portal.records.key(file["s3Path"])
    data = portal.files.data(key)

    def status() -> int:
        return requests.get(file["httpsPath"], timeout=30).status_code

    portal.files.withheld = (key,)
    assert status() == 403
    portal.files.withheld = ()
    portal.files.remove(key)
    assert status() == 404
    portal.files.put({key: data})
    assert status() == 200
    portal.files.stop()
    with pytest.raises(requests.ConnectionError):
        status()
    portal.files.start()
    assert status() == 200
    missing = portal.records.rows("Tomogram", runId=portal.runs[2]["id"])[0]  # of a run nobody wrote
    assert requests.get(missing["httpsMrcFile"], timeout=30).status_code == 404


def test_copick_reads_all_of_it(portal: LocalPortal, tmp_path: Path) -> None:
    portal.forget()
    with copick_root(portal, tmp_path) as root:
        assert portal.server.counts() == dict.fromkeys(CLASSES, 1)
        assert [run.name for run in root.runs] == [str(row["id"]) for row in portal.runs]
        run, row = root.runs[0], portal.runs[0]
        assert (run.portal_run_name, run.portal_dataset_id) == ("TS_001", portal.dataset["id"])
        found = {
            (spacing.voxel_size, tomogram.tomo_type, tomogram.meta.portal_tomo_id)
            for spacing in run.voxel_spacings
            for tomogram in spacing.tomograms
        }
        types = {True: "wbp-raw-ctfdeconv", False: "wbp-denoised-cryocare1"}
        assert found == {
            (tomogram["voxelSpacing"], types[tomogram["ctfCorrected"]], tomogram["id"])
            for tomogram in portal.records.rows("Tomogram", runId=row["id"])
        }
        tomogram = run.voxel_spacings[0].tomograms[1]
        expected = contents.volume(portal.records.row("Tomogram", tomogram.meta.portal_tomo_id))
        assert np.array_equal(tomogram.numpy(), expected)
        files = {str(file["id"]): (file, kind) for file, kind in annotation_files(portal, row)}
        assert sorted(picks.session_id for picks in run.picks) == sorted(
            name for name, (_, kind) in files.items() if kind.endswith("Point")
        )
        for picks in run.picks:
            lines = contents.points(*files[picks.session_id])
            assert [(point.location.x, point.location.y, point.location.z) for point in picks.points] == [
                tuple(line["location"][axis] * 13.48 for axis in "xyz") for line in lines
            ]
            if picks.trust_orientation:
                rotations = [line["xyz_rotation_matrix"] for line in lines]
                assert np.array_equal([point.transformation[:3, :3] for point in picks.points], rotations)
        assert [(made.name, made.is_instance) for made in run.segmentations] == [
            ("membrane", False),
            ("ferritin-complex", True),
        ]
        for segmentation in run.segmentations:
            assert np.array_equal(segmentation.numpy(), contents.mask(*files[segmentation.session_id]))
        assert sum(portal.server.counts().values()) == len(CLASSES)
        assert portal.files.counts()[portal.records.key(files[run.picks[0].session_id][0]["s3Path"])] == 2
    assert fsspec.config.conf.get("s3", {}).get("endpoint_url") is None

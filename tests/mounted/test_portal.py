"""A portal behind a mount: what copick reads of it, what is asked of it, and what is written beside it."""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import copick
import mrcfile
import numpy as np
import pytest
import zarr
from copick.models import CopickLocation, CopickPoint

from tests.mounted import portals
from tests.mounted.cached import refused
from tests.mounted.test_copick import assert_same, content
from tests.portal import contents, oddities
from tests.portal.copick_root import copick_root
from tests.portal.local import LocalPortal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Mounter
    from tests.portal.store import Row
    from tests.sandbox import Run, Sandbox

ODD = 10_001
CLASSES = (
    "Run", "Dataset", "DatasetAuthor", "TomogramVoxelSpacing", "Tomogram", "TomogramAuthor", "Annotation",
    "AnnotationAuthor", "AnnotationShape", "AnnotationFile",
)  # fmt: skip
OF_COPICK_ALONE = {"run_name", "voxel_spacing", "portal_metadata"}
"""What copick's own view leaves out of picks, or adds."""


@pytest.fixture(scope="module")
def portal() -> Iterator[LocalPortal]:
    """Two runs as they should be, and a dataset of odd ones with files, all of which copick survives."""
    with LocalPortal(runs=2, tomograms_per_spacing=1) as made:
        records, odd = made.records, made.records.dataset(ODD)
        runs = []
        for number, oddity in enumerate((oddities.same_types, oddities.unknown_shapes)):
            run = records.run(odd, f"odd {number}")
            spacing = records.spacing(run, 10.0)
            oddity(records, run, spacing)
            records.annotate(run, spacing, 3)
            runs.append(run)
        runs.append(oddities.empty_run(records, odd))
        oddities.tomogram_of_nulls(records, runs[1], spacing)
        made.files.write(records, runs)
        yield made


@pytest.fixture
def asked(portal: LocalPortal) -> LocalPortal:
    """The same, with its counts at zero."""
    portal.forget()
    return portal


def same_content(found: Any, wanted: Any) -> None:
    one, other = content(found), content(wanted)
    if "meta" in other:
        for meta in (one["meta"], other["meta"]):
            for name in OF_COPICK_ALONE:
                meta.pop(name, None)
    assert_same(one, other)


def test_copick_reads_the_same_through_the_mount(portal: LocalPortal, mount: Mounter, tmp_path: Path) -> None:
    mount.expect_warning("layer portal: left out: ")
    ids = [portal.dataset["id"], ODD]
    point = mount(portals.configuration(portal, tmp_path, dataset_ids=ids))
    with copick_root(portal, tmp_path / "overlay", *ids) as root:
        wanted = list(portals.listed(root))
        found = portals.entities(copick.from_file(str(point / "copick_config.json")))
        shown = dict(wanted)
        # copick itself shows one of several tomograms that it gives one type
        apart = {path for path in found if path.removesuffix(".zarr").rpartition("-")[2].isdigit()}
        assert found.keys() - apart == shown.keys()
        assert len(apart) == 2
        for path, entity in wanted[::-1]:
            if Counter(name for name, _ in wanted)[path] == 1:
                same_content(found[path], entity)
    for row in portal.records.rows("Tomogram", processingSoftware="AreTomo 3"):
        (path,) = (
            path for path, one in found.items()
            if str(row["id"]) in path or (path.endswith("aretomo3.zarr") and row["id"] not in _others(apart))
        )  # fmt: skip
        assert np.array_equal(found[path].numpy("0"), contents.volume(row))


def _others(paths: set[str]) -> set[int]:
    return {int(path.removesuffix(".zarr").rpartition("-")[2]) for path in paths}


def test_the_portals_own_files_are_in_the_views(portal: LocalPortal, mount: Mounter, tmp_path: Path) -> None:
    run = portal.runs[0]
    point = mount(portals.configuration(portal, tmp_path))
    views = point / "Views" / str(run["id"])
    tomogram = portal.records.rows("Tomogram", runId=run["id"])[0]
    volume = views / "VoxelSpacing13.480" / "wbp-raw-ctfdeconv.mrc"
    assert volume.stat().st_size == tomogram["fileSizeMrc"]
    with mrcfile.mmap(volume, mode="r") as opened:
        assert opened.data.dtype == np.int16
        assert np.array_equal(opened.data, contents.mrc_volume(tomogram))
    picks = sorted((views / "Picks").glob("*.ndjson"))
    files = [portal.records.row("AnnotationFile", int(path.name.split("_")[1])) for path in picks]
    for path, file in zip(picks, files, strict=True):
        assert path.stat().st_size == file["fileSize"]
        assert path.read_bytes() == portal.files.data(portal.records.key(file["s3Path"]))
    assert json.loads(picks[0].with_suffix(".metadata.json").read_text())["objectId"] == "GO:0022626"
    assert json.loads((views / "portal.json").read_text())["name"] == run["name"]
    link = point / "ByName" / str(portal.dataset["id"]) / run["name"]
    assert os.readlink(link) == f"../../ExperimentRuns/{run['id']}"
    assert sorted(os.listdir(link)) == sorted(os.listdir(point / "ExperimentRuns" / str(run["id"])))


def walked(point: Path) -> list[str]:
    """``ls -R`` down to the stores."""
    found = []
    for place, directories, files in os.walk(point):
        directories[:] = [name for name in directories if not name.endswith(".zarr")]
        found += [os.path.join(place, name) for name in (*directories, *files)]
    return found


def keys(portal: LocalPortal) -> Counter[str]:
    """What was asked of the bucket since the last call: names of files, and of stores that were listed."""
    found: Counter[str] = Counter()
    for request in portal.files.requests:
        found[f"{request.method} {request.key.rpartition('/')[2]}"] += 1
    portal.files.forget()
    return found


def test_each_request_is_made_once(asked: LocalPortal, mount: Mounter, tmp_path: Path) -> None:
    portal, config = asked, portals.configuration(asked, tmp_path)
    point = mount(config)
    assert portal.server.counts() == dict.fromkeys(CLASSES, 1)
    paths = walked(point)
    assert not portal.files.requests
    run = point / "ExperimentRuns" / str(portal.runs[0]["id"])
    picks = run / "Picks" / min(os.listdir(run / "Picks"))
    readings: list[bytes] = []
    readers = [threading.Thread(target=lambda: readings.append(picks.read_bytes())) for _ in range(16)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    name = "cytosolic_ribosome-1.0_orientedpoint.ndjson"
    assert keys(portal) == {f"HEAD {name}": 1, f"GET {name}": 1}
    assert len(readings) == 16
    assert len(set(readings)) == 1
    array = zarr.open(str(run / "VoxelSpacing13.480" / "wbp-raw-ctfdeconv.zarr"), "r")["0"]
    voxels = array[:16, :16, :16]
    counts = keys(portal)
    assert {key: n for key, n in counts.items() if key not in ("GET ", "GET .zgroup", "GET .zarray")} == {
        "GET 0": 1
    }
    volume = point / "Views" / str(portal.runs[0]["id"]) / "VoxelSpacing13.480" / "wbp-raw-ctfdeconv.mrc"
    with mrcfile.mmap(volume, mode="r") as opened:
        plane = opened.data[3].copy()
    counts = keys(portal)
    assert counts.keys() <= {"HEAD TS_001.mrc", "GET TS_001.mrc"}
    assert counts["HEAD TS_001.mrc"] == 1
    mount.umount(point)
    portal.forget()
    point = mount(config, mountpoint=point)
    assert walked(point) == paths
    assert picks.read_bytes() == readings[0]
    again = zarr.open(str(run / "VoxelSpacing13.480" / "wbp-raw-ctfdeconv.zarr"), "r")["0"]
    assert np.array_equal(again[:16, :16, :16], voxels)
    with mrcfile.mmap(volume, mode="r") as opened:
        assert np.array_equal(opened.data[3], plane)
    assert not portal.server.queries
    assert not [key for key in keys(portal) if key.startswith("GET") and key != "GET "]


def test_views_stand_beside_the_portals_own_files(asked: LocalPortal, mount: Mounter, tmp_path: Path) -> None:
    point = mount({**portals.configuration(asked, tmp_path), "views": ["mrc", "star"]})
    run = str(asked.runs[0]["id"])
    views = point / "Views" / run
    names = os.listdir(views / "VoxelSpacing13.480")
    assert {"wbp-raw-ctfdeconv.mrc", "wbp-raw-ctfdeconv_bin2.mrc"} <= set(names)
    with mrcfile.mmap(views / "VoxelSpacing13.480/wbp-raw-ctfdeconv.mrc") as opened:
        assert opened.data.dtype == np.int16  # the portal's own
    store = point / "ExperimentRuns" / run / "VoxelSpacing13.480/wbp-raw-ctfdeconv.zarr"
    with mrcfile.mmap(views / "VoxelSpacing13.480/wbp-raw-ctfdeconv_bin2.mrc") as opened:
        assert np.array_equal(opened.data, zarr.open(str(store), "r")["1"][:])
    picks = point / "ExperimentRuns" / run / "Picks"
    for file in sorted(views.glob("Picks/*.star")):
        points = json.loads((picks / f"{file.stem}.json").read_text())["points"]
        assert file.read_text().count(f"\n{run} ") == len(points)
        assert file.stat().st_size == len(file.read_bytes())
        assert (views / f"Picks/{file.stem}.ndjson").exists()


def test_many_jobs_that_start_at_once_ask_once(
    asked: LocalPortal, mount: Mounter, sandbox: Sandbox, tmp_path: Path
) -> None:
    """Two mounts, and fifty processes that open the layer: the index is empty."""
    config = mount.config_file(portals.configuration(asked, tmp_path))
    program = [sandbox.python, "-m", "tests.portal.jobs", config, "50"]
    with sandbox.start(program) as jobs:
        points = [mount(config) for _ in range(2)]
        output, errors = jobs.communicate(timeout=60)
    assert not errors
    assert json.loads(output) == [[str(run["id"]) for run in asked.runs]] * 50
    assert asked.server.counts() == dict.fromkeys(CLASSES, 1)
    assert all(len(os.listdir(point / "ExperimentRuns")) == 2 for point in points)


def row_of(portal: LocalPortal, picks: Path) -> Row:
    return portal.records.row("AnnotationFile", int(picks.name.split("_")[1]))


def test_what_is_written_lands_beside_the_portal(portal: LocalPortal, mount: Mounter, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    config = portals.with_written(portals.configuration(portal, tmp_path), mine)
    point = mount(config)
    run = point / "ExperimentRuns" / str(portal.runs[0]["id"])
    first, second = sorted((run / "Picks").iterdir())
    project = copick.from_file(str(point / "copick_config.json"))
    own = project.get_run(run.name).new_picks("cytosolic-ribosome", "1", "me")
    own.points = [CopickPoint(location=CopickLocation(x=1, y=2, z=3))]
    own.store()
    document = json.loads(first.read_text())
    document["points"] = document["points"][:2]
    first.write_text(json.dumps(document))
    old = second.read_bytes()
    second.rename(second.with_name("me_2_cytosolic-ribosome.json"))
    store = run / "VoxelSpacing13.480" / "wbp-raw-ctfdeconv.zarr"
    array = zarr.open(str(store), "r+")["0"]
    voxels = array[:]
    array[:4, :4, :4] = 7.0
    voxels[:4, :4, :4] = 7.0
    segmentation = next((run / "Segmentations").iterdir())
    for place, directories, files in os.walk(segmentation, topdown=False):
        for name in files:
            os.unlink(os.path.join(place, name))
        for name in directories:
            os.rmdir(os.path.join(place, name))
    segmentation.rmdir()
    mount.umount(point)
    before = {key: portal.files.data(key) for key in (portal.records.key(row_of(portal, first)["s3Path"]),)}
    point = mount(config, mountpoint=point)
    names = sorted(os.listdir(run / "Picks"))
    assert names == [first.name, "me_1_cytosolic-ribosome.json", "me_2_cytosolic-ribosome.json"]
    assert len(json.loads(first.read_text())["points"]) == 2
    assert (run / "Picks" / "me_2_cytosolic-ribosome.json").read_bytes() == old
    assert np.array_equal(zarr.open(str(store), "r")["0"][:], voxels)
    assert os.listdir(run / "Segmentations") == []
    assert all(portal.files.data(key) == data for key, data in before.items())
    assert (mine / "ExperimentRuns" / run.name / "Picks" / "me_1_cytosolic-ribosome.json").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dataset_ids": [4711]}, "dataset 4711"),
        ({"run_ids": [4711]}, "run 4711"),
    ],
)
def test_a_mistake_is_one_line(
    portal: LocalPortal,
    mount: Mounter,
    copickfs: Run,
    tmp_path: Path,
    options: dict[str, Any],
    said: str,
) -> None:
    config = mount.config_file(portals.configuration(portal, tmp_path, **options))
    (tmp_path / "mnt").mkdir()
    refused(copickfs("mount", config, tmp_path / "mnt"), config, said, next(iter(options)))

"""The portal, or its bucket, goes away and comes back under a mount; or was never there."""

from __future__ import annotations

import json
import os
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr

from tests.mounted import portals
from tests.mounted.cached import refused
from tests.portal import contents
from tests.portal.local import LocalPortal
from tests.portal.server import Faults
from tests.sandbox import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Mounter
    from tests.sandbox import Run

STORE = "VoxelSpacing13.480/wbp-raw-ctfdeconv.zarr"


@pytest.fixture(scope="module")
def shared() -> Iterator[LocalPortal]:
    with LocalPortal(runs=2, written=1, tomograms_per_spacing=1) as made:
        yield made


@pytest.fixture
def portal(shared: LocalPortal) -> Iterator[LocalPortal]:
    """The same each time: both servers are there."""
    shared.forget()
    yield shared
    shared.server.faults = Faults()
    shared.server.stop()
    shared.server.start()
    if shared.files._server is None:
        shared.files.start()


def run_in(point: Path, portal: LocalPortal) -> Path:
    return point / "ExperimentRuns" / str(portal.runs[0]["id"])


def picks_in(point: Path, portal: LocalPortal) -> Path:
    directory = run_in(point, portal) / "Picks"
    return directory / min(os.listdir(directory))


def runs(point: Path) -> list[str]:
    return sorted(os.listdir(point / "ExperimentRuns"))


def test_a_stored_catalogue_needs_no_portal(
    portal: LocalPortal, mount: Mounter, copickfs: Run, tmp_path: Path
) -> None:
    config = mount.config_file(portals.configuration(portal, tmp_path, ttl=1.0))
    mount.expect_warning("the portal cannot be asked for news .*refused")
    mount.expect_warning("TS_001.*which its bucket does not have|TS_002.*does not have")  # files of one run
    point = mount(config)
    wanted = runs(point)
    points = picks_in(point, portal).read_bytes()
    mount.umount(point)
    portal.server.stop()
    point = mount(config, mountpoint=point)
    assert runs(point) == wanted
    assert picks_in(point, portal).read_bytes() == points
    array = zarr.open(str(run_in(point, portal) / STORE), "r")["0"]
    tomogram = portal.records.rows("Tomogram", runId=portal.runs[0]["id"])[0]
    assert np.array_equal(array[:], contents.volume(tomogram))
    wait_until(lambda: "cannot be asked for news" in mount.log(), what="the warning")
    assert runs(point) == wanted
    assert len([line for line in mount.log().splitlines() if "cannot be asked for news" in line]) == 1
    opened = os.open(run_in(point, portal), os.O_RDONLY)
    extra = portal.records.fill(portal.dataset, 1)[0]
    try:
        portal.server.start()
        copickfs("index", config, "--full", check=True)
        wait_until(lambda: str(extra["id"]) in runs(point), what="the new run")
        assert set(wanted) < set(runs(point))
        assert picks_in(point, portal).read_bytes() == points
    finally:
        os.close(opened)
        portal.records.remove("Run", extra["id"])


def test_a_portal_that_is_asked_again_writes_nowhere_but_to_the_index(
    portal: LocalPortal, mount: Mounter, tmp_path: Path
) -> None:
    """What a start is at was written to its pipe, whose number another file had later: the index."""
    point = mount(portals.configuration(portal, tmp_path, ttl=0.1))
    wait_until(lambda: portal.server.counts()["AnnotationFile"] >= 3, what="the third question")
    assert (tmp_path / "index.db").read_bytes()[:15] == b"SQLite format 3"
    mount.umount(point)
    assert (tmp_path / "index.db").read_bytes()[:15] == b"SQLite format 3"


def test_without_a_catalogue_it_is_refused_or_comes_later(
    portal: LocalPortal, mount: Mounter, copickfs: Run, tmp_path: Path
) -> None:
    portal.server.stop()
    config = mount.config_file(portals.configuration(portal, tmp_path))
    point = tmp_path / "mnt"
    point.mkdir()
    refused(copickfs("mount", config, point), "layer portal", "out of reach")
    mount.expect_warning("portal")
    mount(config, "-o", "degraded", mountpoint=point)
    portal.server.start()

    def shown() -> list[str]:
        try:
            return runs(point)
        except OSError:
            return []

    assert wait_until(shown, 30, "the portal") == [str(run["id"]) for run in portal.runs]


def test_offline_is_what_is_stored_and_cached(
    portal: LocalPortal, mount: Mounter, copickfs: Run, tmp_path: Path
) -> None:
    config = mount.config_file(portals.configuration(portal, tmp_path))
    point = tmp_path / "mnt"
    point.mkdir()
    refused(copickfs("mount", config, point, "--offline"), "layer portal", "nothing is stored")
    mount(config, mountpoint=point)
    points = picks_in(point, portal).read_bytes()
    voxels = zarr.open(str(run_in(point, portal) / STORE), "r")["0"][:16, :16, :16]
    mount.umount(point)
    portal.forget()
    mount(config, "--offline", mountpoint=point)
    assert picks_in(point, portal).read_bytes() == points
    array = zarr.open(str(run_in(point, portal) / STORE), "r")["0"]
    assert np.array_equal(array[:16, :16, :16], voxels)
    with pytest.raises(OSError, match="Input/output error"):
        array[16:, :, :]
    assert not portal.server.queries
    assert not portal.files.requests


@pytest.mark.parametrize("on_unavailable", ["wait", "error"])
def test_a_bucket_that_is_gone_costs_what_is_in_it_only(
    portal: LocalPortal, mount: Mounter, copickfs: Run, tmp_path: Path, on_unavailable: str
) -> None:
    mount.expect_warning("portal")
    config = portals.configuration(portal, tmp_path, on_unavailable=on_unavailable, timeout=3)
    point = mount(config)
    array = zarr.open(str(run_in(point, portal) / STORE), "r")["0"]
    array[:16, :16, :16]
    portal.files.stop()
    assert runs(point) == [str(run["id"]) for run in portal.runs]
    assert len(os.listdir(run_in(point, portal) / "Picks")) == 2
    assert b"TS_001" in os.getxattr(run_in(point, portal), "user.copickfs.portal.run_name")
    found = copickfs("find", point, "--run-name", "TS_00*", check=True).stdout
    assert str(portal.runs[1]["id"]) in found
    tomogram = portal.records.rows("Tomogram", runId=portal.runs[0]["id"])[0]
    if on_unavailable == "error":
        with pytest.raises(OSError, match="Input/output error"):
            array[16:]
        portal.files.start()
        return
    read: list[Any] = []
    reader = threading.Thread(target=lambda: read.append(array[:]))
    reader.start()
    wait_until(lambda: mount.status(point)["waiting_reads"], 20, "a read that waits")
    assert not read
    portal.files.start()
    reader.join(60)
    assert np.array_equal(read[0], contents.volume(tomogram))


def test_what_is_withdrawn_is_left_out_and_counted(
    portal: LocalPortal, mount: Mounter, tmp_path: Path
) -> None:
    mount.expect_warning(
        "the portal tells of .* which its bucket (does not have|refuses to show): it is left out"
    )
    point = mount(portals.configuration(portal, tmp_path, ttl=1.0))
    first, second = sorted((run_in(point, portal) / "Picks").iterdir())
    key = portal.records.key(portal.records.row("AnnotationFile", int(first.name.split("_")[1]))["s3Path"])
    portal.files.withheld = (key,)
    try:
        with pytest.raises(FileNotFoundError):
            first.read_bytes()
        assert json.loads(second.read_text())["points"]
        wait_until(lambda: os.listdir(first.parent) == [second.name], what="the listing without it")
        assert "1" in str(mount.status(point)["layers"])
    finally:
        portal.files.withheld = ()
    portal.records.change("Run", portal.runs[1]["id"], name="renamed")  # news: the bucket is asked again
    wait_until(first.exists, what="what was withdrawn")
    assert first.read_bytes()

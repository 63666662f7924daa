"""Reading the entities of a merged tree: whole, again, in part, interrupted, and with a layer down."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from copickfs.entities import EntityType
from copickfs.errors import AccessDenied, Unavailable
from copickfs.indexing.crawl import Crawler
from copickfs.layers.remote import FsspecLayer
from copickfs.view import View
from tests.entities import (
    Crawled,
    DictRecords,
    WatchedLocal,
    array,
    attributes,
    fresh,
    picks,
    project,
    run_files,
)
from tests.overlays import OWNER, Stack, fill

if TYPE_CHECKING:
    from pathlib import Path

    from copickfs.entities import EntityRecord

RUN = "ExperimentRuns/A"
TOMOGRAM = f"{RUN}/VoxelSpacing10.000/wbp.zarr"
PICKS = f"{RUN}/Picks/u_s_ribosome.json"


@pytest.fixture(autouse=True)
def always_sure(monkeypatch: pytest.MonkeyPatch) -> None:
    """The trees of these tests are younger than a tick of the clock."""
    monkeypatch.setattr("copickfs.indexing.metadata._TICK_NS", -1)


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("copickfs.indexing.records._BATCH_ENTITIES", 1)
    monkeypatch.setattr("copickfs.indexing.records._BATCH_S", -1.0)


def local(tmp_path: Path, files: dict[str, bytes]) -> tuple[WatchedLocal, Crawler, DictRecords]:
    layer = WatchedLocal("lab", fill(tmp_path / "lab", files))
    layer.connect()
    records = DictRecords()
    return layer, Crawler(View([layer]), records), records


def test_a_whole_tree() -> None:
    tree = Crawled(project())
    summary = tree.crawler.crawl()
    found = tree.records.all()
    assert {path for path in found if not path.startswith("ExperimentRuns/B")} == {
        RUN, f"{RUN}/VoxelSpacing10.000", TOMOGRAM, PICKS, f"{RUN}/Filaments/u_s_actin.json",
        f"{RUN}/Meshes/u_s_membrane.glb", f"{RUN}/Segmentations/10.000_u_s_membrane.zarr",
        "Objects/ribosome.zarr",
    }  # fmt: skip
    assert (summary.runs, summary.directories, summary.changed, summary.entities) == (2, 14, 14, 15)
    assert (summary.reads, summary.skipped, summary.is_whole) == (11, [], True)
    assert found[TOMOGRAM].detail == {
        "shape": [4, 5, 6], "chunks": [4, 5, 6], "dtype": "|u1", "levels": 1, "voxel_size": 10.0,
        "pyramid": [["0", [4, 5, 6], "|u1", 0, [10.0] * 3, 0]],
    }  # fmt: skip
    assert found[PICKS].detail == {"points": 3}
    entry = tree.view.lookup(PICKS).entry
    assert (found[PICKS].size_bytes, found[PICKS].mtime_ns) == (entry.size_bytes, entry.mtime_ns)
    assert found[PICKS].version == entry.version
    assert all(record.layers == ("a",) for record in found.values())
    assert found[RUN].identity.type is EntityType.RUN


def test_no_project_at_all() -> None:
    tree = Crawled({"notes/x": b""})
    assert tree.crawler.crawl().is_whole
    assert tree.records.kept == {}


@pytest.mark.parametrize("kind", ["memory", "local"])
def test_what_has_not_changed_is_not_read_again(kind: str, tmp_path: Path) -> None:
    if kind == "local":
        layer, crawler, records = local(tmp_path, project())
    else:
        tree = Crawled(project())
        layer, crawler, records = tree.layers[0], tree.crawler, tree.records
    crawler.crawl()
    before = dict(records.kept)
    layer.opened.clear()
    records.calls.clear()
    summary = crawler.crawl()
    assert (summary.reads, summary.changed, summary.entities, summary.is_whole) == (0, 0, 15, True)
    assert layer.opened == []
    assert records.calls == ["touch"] * records.calls.count("touch") + ["finish"]
    assert records.kept == before
    assert crawler.crawl(full=True).reads == 11
    assert records.kept == before


def test_only_what_has_changed_is_read() -> None:
    tree = Crawled(project())
    tree.crawler.crawl()
    tree.layers[0].put(f"{RUN}/Picks/x_y_z.json", picks(9))
    tree.layers[0].put(f"{TOMOGRAM}/0/.zarray", array(1, 1, 1))
    tree.forget_calls()
    summary = tree.crawler.crawl()
    assert (summary.reads, summary.changed) == (2, 2)
    assert tree.layers[0].opened == [
        f"{RUN}/Picks/x_y_z.json", f"{TOMOGRAM}/.zattrs", f"{TOMOGRAM}/0/.zarray",
    ]  # fmt: skip
    assert tree.records.all()[TOMOGRAM].detail["shape"] == [1, 1, 1]
    tree.assert_right()


@pytest.mark.parametrize("name", [".zattrs", "0/.zarray"])
def test_documents_rewritten_in_place_are_noticed(name: str, tmp_path: Path) -> None:
    _layer, crawler, records = local(tmp_path, project())
    crawler.crawl()
    before = records.all()[TOMOGRAM].detail
    with open(tmp_path / "lab" / TOMOGRAM / name, "r+b") as file:
        data = attributes(20.0) if name == ".zattrs" else array(4, 5, 7)
        file.write(data)
        file.truncate()
    os.utime(tmp_path / "lab" / TOMOGRAM / name, ns=(1, 1))
    assert crawler.crawl().reads == 1
    size, scale = (6, 20.0) if name == ".zattrs" else (7, 10.0)
    assert records.all()[TOMOGRAM].detail == before | {
        "shape": [4, 5, size], "chunks": [4, 5, size], "voxel_size": scale,
        "pyramid": [["0", [4, 5, size], "|u1", 0, [scale] * 3, 0]],
    }  # fmt: skip


def test_what_is_gone_is_forgotten() -> None:
    tree = Crawled(project(("A", "B", "C")))
    tree.crawler.crawl()
    for path in ("ExperimentRuns/B", f"{RUN}/Picks", f"{RUN}/VoxelSpacing10.000", "Objects"):
        tree.layers[0].remove(path)
    assert tree.crawler.crawl().is_whole
    assert not [path for path in tree.records.kept if "B" in path or path.startswith(("Objects", f"{RUN}/P"))]
    tree.assert_right()


def test_layers_that_have_the_same() -> None:
    tree = Crawled(
        {PICKS: picks(1), f"{TOMOGRAM}/.zarray": array(1)},
        {PICKS: picks(2), f"{RUN}/Picks/u_s_other.json": picks(5)},
        project(("A",)),
    )
    tree.crawler.crawl()
    layers = tree.records.layers()
    assert layers[PICKS] == ("a", "b", "c")
    assert layers[f"{RUN}/Picks/u_s_other.json"] == ("b",)
    assert layers[f"{RUN}/Meshes/u_s_membrane.glb"] == ("c",)
    assert layers[TOMOGRAM] == ("a", "c")
    assert layers[RUN] == ("a", "b", "c")
    assert layers[f"{RUN}/VoxelSpacing10.000"] == ("a", "c")
    assert tree.records.all()[PICKS].detail == {"points": 1}
    assert tree.records.all()[TOMOGRAM].detail["shape"] == [1]
    tree.layers[1].remove(PICKS)
    assert tree.crawler.crawl().reads == 0
    assert tree.records.layers()[PICKS] == ("a", "c")


def test_a_file_over_a_directory_hides_what_is_below() -> None:
    tree = Crawled(
        {"ExperimentRuns/B": b"a file", f"{RUN}/Picks": b"a file", TOMOGRAM: b"a file"},
        project(("A", "B")),
        {"ExperimentRuns/A": b"a file", "ExperimentRuns/C/Picks/u_s_o.json": picks(1)},
    )
    tree.crawler.crawl()
    layers = tree.records.layers()
    assert not {path for path in layers if path.startswith(("ExperimentRuns/B", f"{RUN}/Picks", TOMOGRAM))}
    assert layers[RUN] == ("a", "b")
    assert layers["ExperimentRuns/C"] == ("c",)


def test_what_is_of_another_kind_is_no_layers_entity() -> None:
    tree = Crawled(
        {PICKS: picks(1), f"{TOMOGRAM}/.zarray": array(1)},
        {f"{PICKS}/x": b"", TOMOGRAM: b"a file"},
        {PICKS: picks(2), f"{TOMOGRAM}/.zarray": array(2)},
    )
    tree.crawler.crawl()
    assert tree.records.layers()[PICKS] == ("a", "c")
    assert tree.records.layers()[TOMOGRAM] == ("a", "c")
    tree.layers[0].remove(PICKS)
    tree.layers[0].remove(TOMOGRAM)
    tree.crawler.crawl()
    assert not {PICKS, TOMOGRAM} & tree.records.all().keys()


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    """A write layer ``mine`` over ``lab``."""
    stack = Stack([fill(tmp_path / "mine", {}), fill(tmp_path / "lab", project())])
    stack.writer.create("x", 0o644, OWNER)[0].close()
    return stack


def test_what_is_hidden_by_marks(stack: Stack) -> None:
    with stack:
        records = DictRecords()
        crawler = Crawler(stack.view, records)
        crawler.crawl()
        assert set(records.layers().values()) == {("lab",)}
        stack.writer.unlink(PICKS)
        assert crawler.refresh(PICKS) == []
        assert PICKS not in records.all()
        stack.create(PICKS, picks(8))
        stack.write(f"{RUN}/Filaments/u_s_actin.json", b'{"filaments": []}')
        crawler.refresh(RUN)
        assert records.all()[PICKS].layers == ("mine",)
        assert records.all()[PICKS].detail == {"points": 8}
        assert records.layers()[f"{RUN}/Filaments/u_s_actin.json"] == ("mine", "lab")
        assert records.layers()[RUN] == ("mine", "lab")
        assert records.kept == fresh(stack.view)


def test_what_is_of_another_kind_where_marks_are_possible(tmp_path: Path) -> None:
    lower = {f"{PICKS}/x": b"", TOMOGRAM: b"a file"}
    with Stack([fill(tmp_path / "mine", {}), fill(tmp_path / "lab", lower)]) as stack:
        stack.writer.create("x", 0o644, OWNER)[0].close()
        fill(tmp_path / "mine", {PICKS: picks(1), f"{TOMOGRAM}/.zarray": array(1)})
        layers = {path: record.layers for path, record in records_of(stack).items()}
        assert layers[PICKS] == ("mine",)
        assert layers[TOMOGRAM] == ("mine",)


def records_of(stack: Stack) -> dict[str, EntityRecord]:
    records = DictRecords()
    Crawler(stack.view, records).crawl()
    return records.all()


def test_an_opaque_directory(stack: Stack) -> None:
    with stack:
        records = DictRecords()
        crawler = Crawler(stack.view, records)
        crawler.crawl()
        for name in stack.names(f"{RUN}/Picks"):
            stack.writer.unlink(f"{RUN}/Picks/{name}")
        stack.writer.rmdir(f"{RUN}/Picks")
        stack.mkdir(f"{RUN}/Picks")
        stack.create(f"{RUN}/Picks/u_s_new.json", picks(1))
        crawler.refresh(RUN, f"{RUN}/Picks")
        assert [p for p in records.layers() if p.startswith(f"{RUN}/Picks")] == [f"{RUN}/Picks/u_s_new.json"]
        assert records.kept == fresh(stack.view)


def test_a_partial_copy_of_a_store(tmp_path: Path) -> None:
    roots = [fill(tmp_path / "mine", {}), fill(tmp_path / "lab", project())]
    with Stack(roots, small_store_bytes=-1) as stack:
        records = DictRecords()
        crawler = Crawler(stack.view, records)
        crawler.crawl()
        assert records.layers()[TOMOGRAM] == ("lab",)
        stack.write(f"{TOMOGRAM}/.zattrs", attributes(40.0))
        assert (roots[0] / TOMOGRAM).exists() is False
        crawler.refresh(f"{TOMOGRAM}/.zattrs")
        found = records.all()[TOMOGRAM]
        assert found.layers == ("mine", "lab")
        assert (found.detail["voxel_size"], found.detail["shape"]) == (40.0, [4, 5, 6])
        assert crawler.crawl().reads == 0
        with open(roots[0] / f"{RUN}/VoxelSpacing10.000/.copickfs-partial/wbp.zarr/.zattrs", "r+b") as file:
            file.write(attributes(50.0))
        crawler.refresh(f"{TOMOGRAM}/.zattrs")
        assert records.all()[TOMOGRAM].detail["voxel_size"] == 50.0
        assert records.kept == fresh(stack.view)


def test_stores_of_a_remote_layer_cost_no_request_again(tmp_path: Path) -> None:
    files = {}
    for name in ("wbp", "denoised", "ctf"):
        files |= run_files("A", name)
    layer = FsspecLayer("far", "file://" + str(fill(tmp_path / "far", files)))
    layer.connect()
    try:
        view = View([layer])
        records = DictRecords()
        crawler = Crawler(view, records)
        assert crawler.crawl().reads == 7
        assert records.all()[TOMOGRAM].detail["shape"] == [4, 5, 6]
        layer.refresh()
        before = layer.statistics().requests
        summary = crawler.crawl()
        assert (summary.reads, summary.is_whole) == (0, True)
        assert layer.statistics().requests - before <= summary.directories + 2  # and the root, and no Objects
        assert records.kept == fresh(view)
    finally:
        layer.close()


@pytest.mark.usefixtures("small_batches")
def test_a_stopped_crawl_goes_on() -> None:
    tree = Crawled(project(("A", "B", "C", "D")))
    stop = threading.Event()
    told: list[tuple[int, int, int]] = []

    def progress(*numbers: int) -> None:
        told.append(numbers)  # type: ignore[arg-type]
        if numbers[2] == 2:
            stop.set()

    assert not tree.crawler.crawl(progress=progress, stop=stop).is_whole
    assert told[:3] == [(5, 4, 0), (11, 4, 1), (17, 4, 2)]
    assert "ExperimentRuns/B" in tree.records.kept
    assert "ExperimentRuns/C" not in tree.records.kept
    tree.forget_calls()
    summary = Crawler(tree.view, tree.records).crawl()
    assert summary.is_whole
    assert (summary.runs, summary.reads) == (4, 10)
    assert not [
        path for path in tree.layers[0].scanned if path.startswith(("ExperimentRuns/A", "ExperimentRuns/B"))
    ]
    tree.assert_right()
    assert Crawler(tree.view, tree.records).crawl().directories == 26


@pytest.mark.usefixtures("small_batches")
def test_a_stopped_crawl_that_reads_all_again_goes_on_so() -> None:
    tree = Crawled(project(("A", "B", "C", "D")))
    tree.crawler.crawl()
    stop = threading.Event()

    def progress(_entities: int, _runs: int, done: int) -> None:
        if done == 2:
            stop.set()

    assert tree.crawler.crawl(full=True, progress=progress, stop=stop).reads == 11
    assert Crawler(tree.view, tree.records).crawl().reads == 11, (
        "of the two runs that are left, and of Objects"
    )
    assert Crawler(tree.view, tree.records).crawl().reads == 0


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("calls", range(10))
def test_a_killed_crawl_goes_on(calls: int) -> None:
    tree = Crawled(project(("A", "B", "C")))
    tree.crawler.crawl()
    tree.layers[0].put(f"{RUN}/Picks/x_y_z.json", picks(1))
    tree.layers[0].put("ExperimentRuns/B/Picks/x_y_z.json", picks(1))
    tree.layers[0].put("ExperimentRuns/D/Picks/x_y_z.json", picks(1))
    tree.layers[0].remove("ExperimentRuns/C")
    tree.layers[0].put_directory(f"{RUN}/VoxelSpacing7.500")
    tree.records.fails_after = calls
    with pytest.raises(KeyboardInterrupt):
        tree.crawler.crawl()
    tree.records.fails_after = -1
    tree.layers[0].remove("ExperimentRuns/D")
    tree.layers[0].put_directory("ExperimentRuns/D")
    tree.layers[0].remove("ExperimentRuns/B/Meshes")
    assert Crawler(tree.view, tree.records).crawl().is_whole
    assert tree.records.kept.keys() >= fresh(tree.view).keys()
    assert Crawler(tree.view, tree.records).crawl().is_whole
    tree.assert_right()


def test_an_outage_keeps_the_records() -> None:
    tree = Crawled({PICKS: picks(1)}, project())
    tree.crawler.crawl()
    before = dict(tree.records.kept)
    tree.layers[1].is_down = True
    tree.layers[0].put(PICKS, picks(2))
    summary = tree.crawler.crawl()
    assert not summary.is_whole
    assert ("ExperimentRuns", "out of reach") in summary.skipped
    assert tree.records.kept == before
    assert tree.crawler.refresh(PICKS, TOMOGRAM, "notes") == [PICKS, TOMOGRAM]
    assert tree.records.kept == before
    tree.layers[1].is_down = False
    assert tree.crawler.crawl().is_whole
    tree.assert_right()


@pytest.mark.parametrize("directory", ["Objects", RUN, f"{RUN}/Picks", PICKS])
def test_an_outage_of_one_directory(directory: str) -> None:
    tree = Crawled(project())
    tree.crawler.crawl()
    before = dict(tree.records.kept)
    tree.layers[0].put(f"{RUN}/Picks/u_s_ribosome.json", picks(77))
    tree.layers[0].put("ExperimentRuns/B/Picks/u_s_ribosome.json", picks(77))
    tree.layers[0].remove("ExperimentRuns/B/Meshes")
    tree.layers[0].refused = {directory: Unavailable("gone fishing")}
    summary = tree.crawler.crawl()
    assert [reason for _path, reason in summary.skipped] == ["gone fishing"]
    assert not summary.is_whole
    assert tree.records.all()["ExperimentRuns/B/Picks/u_s_ribosome.json"].detail == {"points": 77}
    assert "ExperimentRuns/B/Meshes" not in tree.records.kept
    skipped = summary.skipped[0][0]
    assert tree.records.kept[skipped] == before[skipped]
    # Whoever goes on with it tries again, and what is seen in between does not get lost.
    tree.layers[0].put("ExperimentRuns/B/Picks/u_s_ribosome.json", picks(78))
    assert not tree.crawler.crawl().is_whole
    assert tree.records.all()["ExperimentRuns/B/Picks/u_s_ribosome.json"].detail == {"points": 78}
    tree.layers[0].refused = {}
    assert Crawler(tree.view, tree.records).crawl().is_whole
    tree.assert_right()


@pytest.mark.parametrize("directory", ["ExperimentRuns", RUN, f"{RUN}/Picks", "Objects"])
def test_a_directory_without_permission_keeps_its_records(directory: str) -> None:
    tree = Crawled(project())
    tree.crawler.crawl()
    before = dict(tree.records.kept)
    tree.layers[0].refused = {directory: AccessDenied(13, "no")}
    summary = tree.crawler.crawl()
    assert [path for path, _reason in summary.skipped] == [directory]
    assert summary.is_whole
    assert tree.records.kept == before
    assert tree.crawler.crawl().is_whole
    assert tree.records.kept == before
    assert tree.crawler.refresh(f"{directory}/x") == []


def test_one_layer() -> None:
    tree = Crawled({PICKS: picks(1)}, project())
    summary = tree.crawler.crawl(layer="a")
    assert not summary.is_whole
    assert tree.crawler.crawl().is_whole
    tree.layers[0].put(PICKS, picks(2))
    tree.layers[1].put("ExperimentRuns/B/Picks/x_y_z.json", picks(3))
    tree.forget_calls()
    summary = tree.crawler.crawl(layer="a")
    assert (summary.directories, summary.reads) == (3, 1)
    assert tree.records.all()[PICKS].detail == {"points": 2}
    assert "ExperimentRuns/B/Picks/x_y_z.json" not in tree.records.all()
    assert tree.crawler.crawl(layer="a", full=True).reads == 1
    assert tree.crawler.crawl().is_whole
    tree.assert_right()


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize(
    "lost", [RUN, f"{RUN}/Picks", f"{RUN}/VoxelSpacing10.000", "ExperimentRuns", TOMOGRAM]
)
def test_what_one_layer_has_lost_where_another_has_the_run(lost: str) -> None:
    theirs = {
        f"{RUN}/Picks/x_y_z.json": picks(1),
        f"{RUN}/Meshes/x_y_z.glb": b"",
        "Objects/x.zarr/.zarray": array(1),
    }
    tree = Crawled(theirs, {**run_files("A", "denoised"), **run_files("A")})
    tree.layers[0].put(f"{RUN}/VoxelSpacing10.000/denoised.zarr/.zarray", array(1))
    tree.crawler.crawl()
    tree.layers[1].remove(lost)
    tree.crawler.crawl(layer="b")
    tree.assert_right()


@pytest.mark.usefixtures("small_batches")
def test_one_layer_while_a_crawl_is_interrupted() -> None:
    tree = Crawled({PICKS: picks(1)}, project())
    stop = threading.Event()
    tree.crawler.crawl(progress=lambda *_numbers: stop.set(), stop=stop)
    tree.layers[0].put("ExperimentRuns/N/Picks/u_s_o.json", picks(1))
    tree.layers[1].put("ExperimentRuns/N/Meshes/u_s_o.glb", b"")
    tree.crawler.crawl(layer="a")
    assert tree.crawler.crawl().is_whole
    tree.assert_right()


def test_all_is_read_again_where_more_is_read_than_before(monkeypatch: pytest.MonkeyPatch) -> None:
    tree = Crawled(project())
    tree.crawler.crawl()
    monkeypatch.setattr("copickfs.indexing.looking._FORMAT", "9")
    assert tree.crawler.crawl().reads == 11
    assert tree.crawler.crawl().reads == 0


def test_what_was_new_in_an_outage_and_is_gone_after_it() -> None:
    tree = Crawled(project())
    tree.crawler.crawl()
    layer = tree.layers[0]
    layer.put("ExperimentRuns/N/Picks/u_s_o.json", picks(1))
    layer.put("ExperimentRuns/N/Meshes/u_s_o.glb", b"")
    layer.put(f"{RUN}/InstanceSegmentations/10.000_u_s_o.zarr/.zarray", array(1))
    layer.refused = {
        directory: Unavailable("no") for directory in ("ExperimentRuns/N/Meshes", f"{RUN}/Picks")
    }
    assert not tree.crawler.crawl().is_whole
    layer.refused = {}
    layer.remove("ExperimentRuns/N/Picks")
    layer.remove(f"{RUN}/InstanceSegmentations")
    assert tree.crawler.crawl().is_whole
    tree.assert_right()

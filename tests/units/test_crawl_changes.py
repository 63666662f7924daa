"""Following changes of a merged tree: what a changed path costs, and what comes of it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from copickfs.indexing.changes import directories_of
from copickfs.indexing.crawl import Crawler
from copickfs.view import View
from tests.entities import Crawled, DictRecords, WatchedMemory, array, picks, project, run_files
from tests.sandbox import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from copickfs.entities import EntityRecord

RUN = "ExperimentRuns/A"
TOMOGRAM = f"{RUN}/VoxelSpacing10.000/wbp.zarr"
PICKS = f"{RUN}/Picks/u_s_ribosome.json"


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("copickfs.indexing.records._BATCH_ENTITIES", 1)
    monkeypatch.setattr("copickfs.indexing.records._BATCH_S", -1.0)


@pytest.mark.usefixtures("small_batches")
def test_changes_get_through_while_a_crawl_is_under_way() -> None:
    tree = Crawled(project(("A", "B", "C")))
    pending = [
        ("ExperimentRuns/A/Picks/n_e_w.json", "put"), ("ExperimentRuns/C", "remove"),
        ("ExperimentRuns/D/Picks/n_e_w.json", "put"),
    ]  # fmt: skip

    def progress(_entities: int, _runs: int, _done: int) -> None:
        if not pending:
            return
        path, what = pending.pop(0)
        if what == "put":
            tree.layers[0].put(path, picks(1))
            changed = ["/".join(path.split("/")[:depth]) for depth in range(2, 5)]
        else:
            tree.layers[0].remove(path)
            changed = [path]
        assert tree.crawler.refresh(*changed) == []

    assert tree.crawler.crawl(progress=progress).is_whole
    assert not pending
    tree.assert_right()


@pytest.mark.parametrize(
    ("path", "directories"),
    [
        ("", ["ExperimentRuns", "Objects"]),
        ("ExperimentRuns", ["ExperimentRuns"]),
        ("Objects", ["Objects"]),
        ("Objects/ribosome.zarr", ["Objects"]),
        ("Objects/notes.txt", []),
        ("notes/x", []),
        (".copickfs", []),
        ("ExperimentRuns/.hidden", []),
        ("ExperimentRuns/.hidden/Picks/u_s_o.json", []),
        (RUN, ["ExperimentRuns", RUN]),
        (f"{RUN}/.meta", []),
        (f"{RUN}/notes", []),
        (f"{RUN}/notes/u_s_o.json", []),
        (f"{RUN}/Picks", [RUN, f"{RUN}/Picks"]),
        (f"{RUN}/VoxelSpacing10.000", [RUN, f"{RUN}/VoxelSpacing10.000"]),
        (f"{RUN}/VoxelSpacing10", [RUN]),
        (PICKS, [f"{RUN}/Picks"]),
        (f"{RUN}/Picks/x.tmp", []),
        (f"{RUN}/Picks/.u_s_o.json.1", []),
        (TOMOGRAM, [f"{RUN}/VoxelSpacing10.000"]),
        (f"{TOMOGRAM}/.zattrs", [f"{RUN}/VoxelSpacing10.000"]),
        (f"{TOMOGRAM}/0", [f"{RUN}/VoxelSpacing10.000"]),
        (f"{TOMOGRAM}/0/.zarray", [f"{RUN}/VoxelSpacing10.000"]),
        (f"{TOMOGRAM}/scale0/image", [f"{RUN}/VoxelSpacing10.000"]),
        (f"{TOMOGRAM}/scale0/image/zarr.json", [f"{RUN}/VoxelSpacing10.000"]),
        (f"{TOMOGRAM}/0/1", []),
        (f"{TOMOGRAM}/0/1.2.3", []),
        (f"{TOMOGRAM}/0/1/2/3", []),
        (f"{TOMOGRAM}/0/c", []),
        (f"{TOMOGRAM}/0/c/1/2/3", []),
        (f"{TOMOGRAM}/0/1/2/3.e1b5f0.partial", []),
        (f"{TOMOGRAM}/0/1.2.3.e1b5f0.partial", []),
        (f"{RUN}/Picks/x.zarr/.zattrs", []),
        ("a.zarr/ExperimentRuns/A", []),
    ],
)
def test_directories_that_a_change_is_about(path: str, directories: list[str]) -> None:
    assert directories_of(path) == directories


def test_chunks_cost_nothing() -> None:
    tree = Crawled(project())
    tree.crawler.crawl()
    tree.forget_calls()
    assert tree.crawler.refresh(f"{TOMOGRAM}/0/1/2/3", f"{TOMOGRAM}/0/1/2", "x") == []
    assert (tree.layers[0].scanned, tree.layers[0].opened, tree.records.calls) == ([], [], [])


def test_a_change_costs_one_directory() -> None:
    tree = Crawled(project())
    tree.crawler.crawl()
    tree.layers[0].put(PICKS, picks(4))
    tree.layers[0].put(f"{RUN}/Picks/u_s_more.json", picks(4))
    tree.forget_calls()
    assert tree.crawler.refresh(PICKS, f"{RUN}/Picks/u_s_more.json") == []
    assert tree.layers[0].scanned == [f"{RUN}/Picks"]
    assert tree.records.calls == ["replace"]
    tree.assert_right()


def test_what_nobody_has_announced_is_found_beside_what_was() -> None:
    tree = Crawled(project())
    tree.crawler.crawl()
    for run in ("M", "N"):
        for path, data in run_files(run).items():
            tree.layers[0].put(path, data)
    tree.layers[0].put(f"{RUN}/VoxelSpacing7.500/x.zarr/.zarray", array(1))
    tree.crawler.refresh("ExperimentRuns/M", f"{RUN}/VoxelSpacing7")
    tree.assert_right()


class Hooked(DictRecords):
    """Calls something once, while a crawl hands over what it has found."""

    hook: Callable[[], None] | None = None

    def replace(self, scan: int, batch: Sequence[tuple[str, str, Sequence[EntityRecord]]]) -> None:
        hook, self.hook = self.hook, None
        if hook is not None:
            hook()
        super().replace(scan, batch)


@pytest.mark.usefixtures("small_batches")
def test_a_change_need_not_wait_for_more_than_a_batch() -> None:
    layer = WatchedMemory("a", 9, project(("A", "B", "C")))
    records = Hooked()
    crawler = Crawler(View([layer]), records)
    waiting = threading.Thread(target=crawler.refresh, args=(PICKS,))

    def change() -> None:
        waiting.start()
        wait_until(crawler._turn.locked, what="the change to wait for its turn")

    records.hook = change
    alive = []
    crawler.crawl(progress=lambda *_numbers: alive.append(waiting.is_alive() and crawler._turn.locked()))
    waiting.join()
    assert len(alive) > 3
    assert not any(alive)


def test_refreshing_directories_that_came_and_went() -> None:
    tree = Crawled(project())
    tree.crawler.crawl()
    (layer,) = tree.layers
    for path, data in run_files("N").items():
        layer.put(path, data)
    tree.crawler.refresh("ExperimentRuns/N")
    tree.assert_right()
    layer.remove(f"{RUN}/Meshes")
    tree.crawler.refresh(f"{RUN}/Meshes")
    tree.assert_right()
    layer.remove("ExperimentRuns/B")
    tree.crawler.refresh("ExperimentRuns/B")
    tree.assert_right()
    layer.put(f"{RUN}/VoxelSpacing7.840/x.zarr/.zarray", array(1))
    tree.crawler.refresh(f"{RUN}/VoxelSpacing7.840")
    tree.assert_right()
    layer.remove("Objects")
    tree.crawler.refresh("Objects")
    tree.assert_right()
    layer.put(PICKS, picks(50))
    assert tree.crawler.refresh("") == []
    tree.assert_right()
    layer.remove("ExperimentRuns")
    tree.crawler.refresh("ExperimentRuns")
    assert tree.records.kept == {}


def test_refreshing_anything_while_a_layer_is_down() -> None:
    tree = Crawled(project())
    tree.layers[0].is_down = True
    assert tree.crawler.refresh("") == [""]
    tree.layers[0].is_down = False
    assert tree.crawler.refresh("") == []
    tree.assert_right()

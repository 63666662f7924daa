"""Random changes of a stack of layers: what the announced paths lead to is what a fresh crawl finds."""

from __future__ import annotations

import contextlib
import threading

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from copickfs.errors import IsADirectory, NotADirectory, NotFound
from copickfs.indexing.crawl import Crawler
from copickfs.paths import CONTROL_DIRECTORY, WHITEOUT_DIRECTORY, split
from copickfs.view import View
from tests.entities import DictRecords, WatchedMemory, array, attributes, fresh, picks, project

RUNS = ("ExperimentRuns/A", "ExperimentRuns/B")
INSIDE = (
    "Picks/u_s_o.json", "Picks/u_s_p.json", "Picks/notes.txt", "Picks", "Filaments/u_s_f.json", "notes/x",
    "VoxelSpacing10.000/wbp.zarr/.zattrs", "VoxelSpacing10.000/wbp.zarr/0/.zarray",
    "VoxelSpacing10.000/wbp.zarr/0/0/0/0", "VoxelSpacing10.000/wbp.zarr", "VoxelSpacing10.000",
    "VoxelSpacing7/x.zarr/.zarray", "Segmentations/10.000_u_s_n.zarr/.zarray",
)  # fmt: skip
PATHS = (
    *RUNS, *(f"{run}/{inside}" for run in RUNS for inside in INSIDE),
    "Objects/o.zarr/.zarray", "Objects", "notes",
)  # fmt: skip
LAYERS = st.integers(0, 2)


class Crawling(RuleBasedStateMachine):
    """Three layers of memory. After each step the paths that they have announced are refreshed."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = [WatchedMemory(name, 9) for name in "abc"]
        for path, data in project(("A",)).items():
            self.layers[2].put(path, data)
        self.view = View(self.layers)
        self.records = DictRecords()
        self.crawler = Crawler(self.view, self.records)
        self.crawler.crawl()
        self.announced: list[str] = []
        self.view.subscribe(self.announced.append)

    @rule(number=LAYERS, path=st.sampled_from(PATHS), size=st.integers(0, 3))
    def put(self, number: int, path: str, size: int) -> None:
        name = split(path)[1]
        data = {".zattrs": attributes(size + 1.0), ".zarray": array(size)}.get(name, picks(size))
        with contextlib.suppress(NotADirectory, IsADirectory):
            self.layers[number].put(path, data)

    @rule(number=LAYERS, path=st.sampled_from(PATHS))
    def put_directory(self, number: int, path: str) -> None:
        with contextlib.suppress(NotADirectory):
            self.layers[number].put_directory(path)

    @rule(number=LAYERS, path=st.sampled_from(PATHS), up=st.integers(0, 3))
    def remove(self, number: int, path: str, up: int) -> None:
        for _ in range(up):
            path = split(path)[0] or path
        with contextlib.suppress(NotFound, NotADirectory):
            self.layers[number].remove(path)

    @rule(number=st.integers(0, 1), path=st.sampled_from(PATHS), up=st.integers(0, 2))
    def hide(self, number: int, path: str, up: int) -> None:
        for _ in range(up):
            path = split(path)[0] or path
        directory, name = split(path)
        if ".zarr" in directory:
            return  # inside of a store there are no marks
        layer = self.layers[number]
        with contextlib.suppress(NotADirectory):
            layer.put_directory(CONTROL_DIRECTORY)
            layer.put(f"{directory}/{WHITEOUT_DIRECTORY}/{name}".lstrip("/"), b"")

    @rule(number=st.integers(0, 1), path=st.sampled_from(PATHS))
    def show(self, number: int, path: str) -> None:
        directory, name = split(path)
        with contextlib.suppress(NotFound, NotADirectory):
            self.layers[number].remove(f"{directory}/{WHITEOUT_DIRECTORY}/{name}".lstrip("/"))

    @rule(number=LAYERS)
    def outage(self, number: int) -> None:
        self.layers[number].is_down = not self.layers[number].is_down

    @rule(after=st.integers(0, 3))
    def crawl_in_part(self, after: int) -> None:
        stop = threading.Event()

        def progress(_entities: int, _runs: int, done: int) -> None:
            if done >= after:
                stop.set()

        self.crawler.crawl(progress=progress, stop=stop)

    @rule()
    def crawl(self) -> None:
        self.crawler.crawl()

    @invariant()
    def is_what_a_fresh_crawl_finds(self) -> None:
        pending = list(dict.fromkeys(self.announced))
        self.announced[:] = self.crawler.refresh(*pending)
        if not any(layer.is_down for layer in self.layers):
            assert not self.announced
            assert self.records.kept == fresh(self.view)


TestCrawling = Crawling.TestCase
TestCrawling.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)

"""Layers change at random, through the tree and behind it: the index always says what a scan says."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from copickfs.errors import CopickfsError
from copickfs.index import open_database
from copickfs.indexing import Catalog
from copickfs.indexing.keeper import Keeper
from copickfs.layers.local import LocalLayer
from copickfs.layers.localwrite import WritableLocalLayer
from copickfs.layers.writable import Owner
from copickfs.view import View
from copickfs.view.writing import Writer
from tests.sandbox import wait_until
from tests.units.conftest import own_threads

if TYPE_CHECKING:
    from copickfs.entities import EntityRecord

EXAMPLES = int(os.environ.get("COPICKFS_INDEX_EXAMPLES", "25"))
"""More of them for a long run by hand."""

RUNS = "ExperimentRuns"
DIRECTORIES = st.sampled_from(
    [RUNS, f"{RUNS}/a", f"{RUNS}/b", f"{RUNS}/a/Picks", f"{RUNS}/b/Picks", f"{RUNS}/a/VoxelSpacing10.000",
     f"{RUNS}/a/VoxelSpacing10.000/wbp.zarr", f"{RUNS}/a/VoxelSpacing10.000/wbp.zarr/0", "Objects",
     "Objects/x.zarr", f"{RUNS}/b/Segmentations/10.000_u_s_mem.zarr"]
)  # fmt: skip
FILES = st.sampled_from(
    [f"{RUNS}/a/Picks/u_1_x.json", f"{RUNS}/a/Picks/v_1_x.json", f"{RUNS}/b/Picks/u_1_y.json",
     f"{RUNS}/a/VoxelSpacing10.000/wbp.zarr/.zattrs", f"{RUNS}/a/VoxelSpacing10.000/wbp.zarr/0/.zarray",
     f"{RUNS}/a/VoxelSpacing10.000/wbp.zarr/0/0", f"{RUNS}/a/Picks", f"{RUNS}/b", "Objects/x.zarr/.zarray"]
)  # fmt: skip
CONTENTS = st.sampled_from(
    [b'{"points": []}', b'{"points": [{"location": {"x": 1, "y": 1, "z": 1}}]}', b"{}", b"nonsense",
     b'{"shape": [4, 5, 6], "chunks": [2, 2, 2], "dtype": "<f4"}']
)  # fmt: skip
OWNER = Owner(os.getuid(), os.getgid())


class NoRunner:
    """Nobody makes whole runs here: what is heard has to do."""

    is_running = False
    fault = ""

    def start(self) -> None:
        raise AssertionError("so few directories are looked at by the keeper itself")

    def has_ended(self) -> bool:
        return False

    def stop(self) -> None:
        pass


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.roots = {name: self.directory / name for name in ("mine", "lab")}
        for root in self.roots.values():
            root.mkdir()
        self.layers = [
            WritableLocalLayer("mine", self.roots["mine"], 2, read_only=False, watch=True),
            LocalLayer("lab", self.roots["lab"], 1, watch=True),
        ]
        for layer in self.layers:
            layer.connect()
        view = View(self.layers)
        self.writer = Writer(view, self.layers[0])
        self.database = open_database(self.directory / "index.db")
        self.catalog = Catalog(view, self.database, "k")
        self.catalog.index()
        self.keeper = Keeper(self.catalog, NoRunner())  # type: ignore[arg-type]
        self.keeper.start()

    def teardown(self) -> None:
        try:
            self.compare_all("x")
        finally:
            self.close()

    def close(self) -> None:
        self.keeper.close()
        self.writer.close()
        self.database.close()
        for layer in self.layers:
            layer.close()
        shutil.rmtree(self.directory)

    @rule(path=FILES, data=CONTENTS)
    def write(self, path: str, data: bytes) -> None:
        with contextlib.suppress(OSError, CopickfsError):
            with contextlib.suppress(FileExistsError):
                self.writer.create(path, 0o644, OWNER)[0].close()
            with contextlib.closing(self.writer.open(path, truncate=True)[0]) as file:
                file.write(0, data)
                file.flush()

    @rule(path=DIRECTORIES)
    def mkdir(self, path: str) -> None:
        parts = path.split("/")
        for depth in range(1, len(parts) + 1):
            with contextlib.suppress(OSError, CopickfsError):
                self.writer.mkdir("/".join(parts[:depth]), 0o755, OWNER)

    @rule(path=FILES)
    def unlink(self, path: str) -> None:
        with contextlib.suppress(OSError, CopickfsError):
            self.writer.unlink(path)

    @rule(path=DIRECTORIES)
    def rmtree(self, path: str) -> None:
        def remove(path: str) -> None:
            for entry in self.writer.view.listing(path).entries:
                inner = f"{path}/{entry.name}"
                remove(inner) if entry.is_dir else self.writer.unlink(inner)
            self.writer.rmdir(path)

        with contextlib.suppress(OSError, CopickfsError):
            remove(path)

    @rule(path=st.one_of(FILES, DIRECTORIES), new_path=st.one_of(FILES, DIRECTORIES))
    def rename(self, path: str, new_path: str) -> None:
        with contextlib.suppress(OSError, CopickfsError):
            self.writer.rename(path, new_path, 0)

    @rule(name=st.sampled_from(["mine", "lab"]), path=FILES, data=CONTENTS)
    def write_behind(self, name: str, path: str, data: bytes) -> None:
        with contextlib.suppress(OSError):
            (self.roots[name] / path).parent.mkdir(parents=True, exist_ok=True)
            (self.roots[name] / path).write_bytes(data)

    @rule(name=st.sampled_from(["mine", "lab"]), path=DIRECTORIES)
    def remove_behind(self, name: str, path: str) -> None:
        shutil.rmtree(self.roots[name] / path, ignore_errors=True)

    @rule(name=st.sampled_from(["mine", "lab"]), path=DIRECTORIES, new_path=DIRECTORIES)
    def rename_behind(self, name: str, path: str, new_path: str) -> None:
        with contextlib.suppress(OSError):
            (self.roots[name] / path).rename(self.roots[name] / new_path)

    @rule(words=st.sampled_from(["x", "u x", "wbp", "a", '"u"', "me*", "b"]))
    def compare(self, words: str) -> None:
        self.compare_all(words)

    def compare_all(self, words: str) -> None:
        """Once what was changed has had its time."""
        wait_until(lambda: self.found() == self.expected(), limit_s=5, what=self.difference())
        fresh = self.fresh()
        answer, expected = self.catalog.search(words), fresh.search(words)
        assert documents(answer) == documents(expected)
        assert documents(self.catalog.find_objects(user="u")) == documents(fresh.find_objects(user="u"))

    def found(self) -> Any:
        self.keeper.settle(5)
        return documents(self.catalog.find_objects())

    def expected(self) -> Any:
        return documents(self.fresh().find_objects())

    def fresh(self) -> Catalog:
        """A scan by layers and a view that know nothing yet."""
        layers = [LocalLayer(name, root) for name, root in self.roots.items()]
        for layer in layers:
            layer.connect()
        return Catalog(View(layers), None, "")

    def difference(self) -> str:
        return f"{self.found()} == {self.expected()}"


def documents(answer: dict[str, list[EntityRecord]]) -> dict[str, list[Any]]:
    return {kind: [record.document() for record in records] for kind, records in answer.items()}


def test_the_index_always_says_what_a_scan_says() -> None:
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=12,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    wait_until(lambda: not own_threads(), what="the end of all threads")

"""zarr, dask, pandas, copick and other processes on ``copickfs://``."""

from __future__ import annotations

import contextlib
import io
import json
import multiprocessing
import os
import pickle
import threading
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, Any

import copick
import dask
import dask.array
import fsspec
import numpy as np
import pandas as pd
import pytest
import zarr

from copickfs.errors import NoAnswer
from copickfs.filesystem import CopickFileSystem
from copickfs.stack import close_shared
from tests.filesystems import LOWER, PICKS, configuration, leftovers, use_elsewhere
from tests.model import hash_tree
from tests.overlays import fill
from tests.sandbox import wait_until
from tests.webserver import WebServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("isolated")

STORE = "ExperimentRuns/TS_1/VoxelSpacing10.000/raw.zarr"
DATA = np.arange(6 * 8 * 10, dtype="<f4").reshape(6, 8, 10)  # (z, y, x)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Path]:
    root = fill(tmp_path / "lab", LOWER)
    group = zarr.open_group(zarr.DirectoryStore(str(root / STORE), dimension_separator="/"), mode="w")
    group.create_dataset("0", data=DATA, chunks=(3, 4, 5), dimension_separator="/")
    before = hash_tree(root)
    yield root
    assert hash_tree(root) == before


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    return fill(tmp_path / "mine", {})


@pytest.fixture
def config(tmp_path: Path, lab: Path, mine: Path) -> Iterator[str]:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(configuration(mine, lab)))
    yield str(file)
    close_shared()
    assert not leftovers(mine)
    assert not [t.name for t in threading.enumerate() if t.name.startswith(("copickfs", "watch-"))]


@pytest.fixture(scope="module")
def spawned() -> Iterator[ProcessPoolExecutor]:
    """A process that has nothing of this one."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        yield pool


def test_zarr_reads_and_writes(config: str, mine: Path) -> None:
    options = {"config": config}
    group = zarr.open_group(f"copickfs://{STORE}", mode="r+", storage_options=options)
    assert list(group.array_keys()) == ["0"]
    np.testing.assert_array_equal(group["0"][2:5, :, 3:], DATA[2:5, :, 3:])
    group["0"][0, 0, 0] = -1
    changed = DATA.copy()
    changed[0, 0, 0] = -1
    again = zarr.open_array(f"copickfs://{STORE}/0", mode="r", storage_options=options)
    np.testing.assert_array_equal(again[:], changed)
    assert not (mine / STORE).exists()  # a partial copy: plain copick does not see half of a store
    new = zarr.open(f"copickfs://{STORE[:-8]}new.zarr", mode="w", shape=8, chunks=2, storage_options=options)
    new[:] = np.arange(8)
    on_disk = zarr.open(str(mine / f"{STORE[:-8]}new.zarr"), mode="r")
    np.testing.assert_array_equal(on_disk[:], np.arange(8))
    zarr.consolidate_metadata(fsspec.get_mapper(f"copickfs://{STORE}", **options))
    assert zarr.open_consolidated(f"copickfs://{STORE}", storage_options=options)["0"].shape == DATA.shape
    group.store.rmdir("0")
    assert list(zarr.open_group(f"copickfs://{STORE}", mode="r", storage_options=options)) == []


def test_mappings_know_what_is_missing_from_what_cannot_be_read(config: str) -> None:
    fs = CopickFileSystem(config)
    mapping = fs.get_mapper(STORE)
    assert (json.loads(mapping[".zgroup"])["zarr_format"], "0/.zarray" in mapping, "none" in mapping) == (
        2,
        True,
        False,
    )
    assert mapping.getitems(["none", ".zgroup"], on_error="omit") == {".zgroup": mapping[".zgroup"]}
    with pytest.raises(KeyError):
        mapping["none"]
    read_only = CopickFileSystem(config, read_only=True).get_mapper("")
    with pytest.raises(PermissionError):
        read_only["x"] = b""
    assert pickle.loads(pickle.dumps(mapping))[".zgroup"] == mapping[".zgroup"]  # noqa: S301


def test_dask_reads_and_writes(config: str) -> None:
    options = {"config": config}
    with dask.config.set(scheduler="threads"):
        array = dask.array.from_zarr(f"copickfs://{STORE}", component="0", storage_options=options)
        np.testing.assert_array_equal((array * 2).compute(), DATA * 2)
        dask.array.to_zarr(array + 1, f"copickfs://{STORE[:-8]}plus.zarr", storage_options=options)
    plus = zarr.open(f"copickfs://{STORE[:-8]}plus.zarr", mode="r", storage_options=options)
    np.testing.assert_array_equal(plus[:], DATA + 1)


def test_dask_workers_are_other_processes(config: str, spawned: ProcessPoolExecutor) -> None:
    options = {"config": config}
    zarr.open_group(
        f"copickfs://{STORE}", mode="r", storage_options=options
    )  # this process has a stack already
    array = dask.array.from_zarr(f"copickfs://{STORE}", component="0", storage_options=options)
    target = zarr.open(
        f"copickfs://{STORE[:-8]}far.zarr", mode="w", shape=DATA.shape, chunks=(3, 4, 5), dtype="<f4",
        storage_options=options,
    )  # fmt: skip
    with dask.config.set(scheduler="processes", pool=spawned):
        dask.array.store(array + 1, target, lock=False)
    np.testing.assert_array_equal(target[:], DATA + 1)


@pytest.mark.parametrize("method", ["spawned", "forked"])
def test_a_file_system_goes_to_other_processes(
    config: str, mine: Path, method: str, spawned: ProcessPoolExecutor
) -> None:
    fs = CopickFileSystem(config)
    assert fs.exists(PICKS)
    with fs.open(PICKS) as file, contextlib.ExitStack() as ending:
        forked = ending.enter_context(ProcessPoolExecutor(1, multiprocessing.get_context("fork")))
        pool = {"spawned": spawned, "forked": forked}[method]
        file.read(5)
        other, data = pool.submit(use_elsewhere, fs, f"work/{method}", PICKS).result()
        assert (other != os.getpid(), data) == (True, LOWER[PICKS])
        assert pool.submit(hash, fs).result() == hash(fs)
        assert pool.submit(io.BufferedReader.read, file).result() == (LOWER[PICKS] or b"")[5:]
    assert fs.cat_file(f"work/{method}") == (mine / "work" / method).read_bytes() == str(other).encode()


def test_a_forked_child_does_not_publish_what_its_parent_writes(config: str) -> None:
    fs = CopickFileSystem(config)
    with fs.open("x", "wb") as file:
        file.write(b"half, ")
        child = os.fork()
        if not child:
            file.close()
            os._exit(1 if fs.exists("x") else 0)
        assert os.waitpid(child, 0)[1] == 0
        assert not fs.exists("x")
        file.write(b"whole")
    assert fs.cat_file("x") == b"half, whole"


def test_pandas_reads_and_writes(config: str) -> None:
    options = {"config": config}
    table = pd.read_csv("copickfs://table.csv", storage_options=options)
    assert list(table.score) == [0.5, 0.25]
    for name in ("t.csv", "t.csv.gz", "t.json", "t.pkl"):
        suffix = name.split(".")[1]
        writer = {"csv": "to_csv", "json": "to_json", "pkl": "to_pickle"}[suffix]
        kwargs: dict[str, Any] = {"index": False} if suffix == "csv" else {}
        getattr(table, writer)(f"copickfs://new/{name}", storage_options=options, **kwargs)
        reader = {"csv": pd.read_csv, "json": pd.read_json, "pkl": pd.read_pickle}[suffix]
        pd.testing.assert_frame_equal(reader(f"copickfs://new/{name}", storage_options=options), table)
    table.to_parquet("copickfs://new/t.parquet", storage_options=options)
    pd.testing.assert_frame_equal(pd.read_parquet("copickfs://new/t.parquet", storage_options=options), table)


def test_a_table_that_cannot_be_written_is_not_there(config: str) -> None:
    class Bad:
        def __str__(self) -> str:
            raise RuntimeError("cannot be shown")

    table = pd.DataFrame({"a": [*range(200_000), Bad()]})
    with pytest.raises(RuntimeError, match="cannot be shown"):
        table.to_csv("copickfs://bad.csv", storage_options={"config": config})
    assert not CopickFileSystem(config).exists("bad.csv")


def test_plain_copick_works_on_it(config: str, tmp_path: Path, mine: Path) -> None:
    project = {
        "config_type": "filesystem", "name": "p",
        "pickable_objects": [{"name": "ribosome", "is_particle": True}],
        "overlay_root": "copickfs://", "overlay_fs_args": {"config": config},
    }  # fmt: skip
    file = tmp_path / "plain.json"
    file.write_text(json.dumps(project))
    root = copick.from_file(str(file))
    run = root.get_run("TS_1")
    (tomogram,) = run.get_voxel_spacing(10.0).get_tomograms("raw")
    np.testing.assert_array_equal(tomogram.numpy("0"), DATA)
    assert [picks.user_id for picks in run.get_picks()] == ["alice"]
    made = run.new_picks("ribosome", "1", "bob")
    made.from_numpy(np.ones((2, 3)))
    made.store()
    assert (
        len(json.loads((mine / "ExperimentRuns/TS_1/Picks/bob_1_ribosome.json").read_bytes())["points"]) == 2
    )


def test_an_outage_is_never_an_absence(tmp_path: Path, lab: Path, mine: Path) -> None:
    document = configuration(mine, lab)
    with WebServer(lab) as server:
        document["layer_configs"]["lab"] |= {"root": server.url, "timeout": 2}
        options = {"config": document}
        store = zarr.storage.FSStore(f"copickfs://{STORE}", **options)
        array = zarr.open_array(store, mode="r", path="0")
        assert len(CopickFileSystem(**options).cat_ranges([f"{STORE}/0/.zarray"] * 3, 0, 2)) == 3
    unknown = zarr.storage.FSStore("copickfs://ExperimentRuns/TS_1/notes", **options)
    faults: list[Callable[[], object]] = [
        lambda: array[:],  # its chunks are known, and cannot be read
        lambda: unknown["x"],
        lambda: zarr.open_array(unknown, mode="a", path="a", shape=1),
    ]
    for fault in faults:
        with pytest.raises(NoAnswer):
            fault()
    close_shared()

    document["db_config"] = {"db_path": str(tmp_path / "new.db")}  # from which nothing is known
    fs = CopickFileSystem(document)
    calls: list[Callable[[], object]] = [
        lambda: fs.exists("ExperimentRuns"),
        lambda: fs.isdir("ExperimentRuns"),
        lambda: fs.isfile("x"),
        lambda: fs.info("x"),
        lambda: fs.ls(""),
        lambda: fs.find("ExperimentRuns"),
        lambda: fs.glob("ExperimentRuns/*/Picks/*"),
        lambda: list(fs.walk("")),
        lambda: fs.cat_file("x"),
        lambda: fs.cat("ExperimentRuns", recursive=True),
        lambda: fs.pipe_file("x", b"", mode="create"),
        lambda: fs.rm("ExperimentRuns", recursive=True),
        lambda: fs.get_mapper("ExperimentRuns")["x"],
        lambda: list(fs.get_mapper("ExperimentRuns")),
        lambda: "x" in fs.get_mapper("ExperimentRuns"),
    ]
    for call in calls:
        with pytest.raises(NoAnswer, match="layer lab"):
            call()
    assert isinstance(fs.cat_ranges([PICKS], 0, 1)[0], NoAnswer)
    close_shared()
    wait_until(lambda: not [t for t in threading.enumerate() if t.name.startswith("copickfs")])

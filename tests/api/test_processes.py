"""The API in many threads, in forked and spawned processes, and in workers of dask."""

from __future__ import annotations

import multiprocessing
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import dask
import dask.array
import numpy as np
import pytest
import zarr

from tests.projects import OBJECTS, points, volume

if TYPE_CHECKING:
    from copickfs.api import CopickRootMultilayer
    from tests.projects import Project

RUN, SIZE = "TS_001", 10.0


def work(root: CopickRootMultilayer, number: int) -> tuple[float, int]:
    """What a worker does: reads a tomogram, writes picks of its own, and reads those."""
    run = root.get_run(RUN)
    mean = float(run.get_voxel_spacing(SIZE).tomograms[0].numpy().mean())
    picks = run.new_picks("ribosome", f"worker{number}")
    picks.from_numpy(points(number, number + 1))
    root.layer_manager.refresh_all()
    return mean, len(root.get_run(RUN).get_picks(session_id=f"worker{number}")[0].points)


def check(root: CopickRootMultilayer, answers: list[tuple[float, int]]) -> None:
    assert answers == [(float(volume(0).mean()), number + 1) for number in range(len(answers))]
    for number in range(len(answers)):
        (picks,) = root.get_run(RUN).get_picks(session_id=f"worker{number}")
        np.testing.assert_array_equal(picks.numpy()[0], points(number, number + 1))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_of_a_pool(root: CopickRootMultilayer, method: str) -> None:
    assert root.get_run(RUN) is not None  # the parent has its stack open
    with multiprocessing.get_context(method).Pool(2) as pool:
        check(root, pool.starmap(work, [(root, number) for number in range(4)]))
        pool.close()
        pool.join()


def test_threads(root: CopickRootMultilayer) -> None:
    with ThreadPoolExecutor(8) as pool:
        check(root, list(pool.map(lambda number: work(root, number), range(16))))


def test_readers_beside_a_writer_see_whole_picks(root: CopickRootMultilayer, project: Project) -> None:
    run, ending, seen = root.get_run(RUN), threading.Event(), set()
    writer = run.new_picks("ribosome", "loop")
    writer.from_numpy(points(1, 200))
    bare = project.path("mine", writer.path)

    def read() -> None:
        while not ending.is_set():
            seen.add(len(root.get_run(RUN).get_picks(session_id="loop")[0].points))
            seen.add(bare.read_bytes()[-1:])

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(12):
        writer.from_numpy(points(number, 200 + number % 2))
    ending.set()
    for reader in readers:
        reader.join()
    assert seen <= {200, 201, b"}"}


@pytest.mark.parametrize("scheduler", ["threads", "processes"])
def test_dask(root: CopickRootMultilayer, scheduler: str) -> None:
    store = root.get_run(RUN).get_voxel_spacing(SIZE).tomograms[0].zarr()
    again = pickle.loads(pickle.dumps(store))  # noqa: S301
    assert again == store
    array = dask.array.from_zarr(zarr.open(store, mode="r")["0"], chunks=(6, 16, 20))
    with dask.config.set(scheduler=scheduler, num_workers=2):
        np.testing.assert_array_equal(array.compute(), volume(0))
    features = root.get_run(RUN).get_voxel_spacing(SIZE).tomograms[0].new_features(f"by-{scheduler}")
    target = zarr.open(features.zarr(), mode="a").create_dataset("0", shape=array.shape, chunks=(6, 16, 20))
    with dask.config.set(scheduler=scheduler, num_workers=2):
        (array * 2).store(target, lock=False)
    np.testing.assert_array_equal(features.numpy(), volume(0) * 2)


def test_a_pickled_root_has_its_configuration(root: CopickRootMultilayer) -> None:
    again: Any = pickle.loads(pickle.dumps(root))  # noqa: S301
    assert again.config == root.config
    assert [each.name for each in again.pickable_objects] == [each["name"] for each in OBJECTS]
    assert again.tree.stack is root.tree.stack
    assert again.layer_manager.db_layer.find_objects(type="runs")["runs"][0].root is again

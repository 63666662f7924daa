"""What a mount with a cache asks of an object store: each thing once, and what is known never again."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest
import zarr

from tests.mounted.stores import DIRECTORIES, RUN, STORE, asked, cached, tomogram
from tests.objectstore import ObjectStore
from tests.sandbox import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Mounter

PROBED = (".zarray", ".zattrs", ".zgroup", ".zmetadata", "zarr.json", "0", "c", "labels")
"""Names that readers ask for in every directory of a store to find out what it is."""

CONNECTING = Counter({"TREE ": 1})
"""The one request of a start that knows everything: whether there is something at the root."""


@pytest.fixture
def store() -> Iterator[ObjectStore]:
    with ObjectStore() as opened:
        yield opened


def read_whole(point: Path) -> np.ndarray:
    return np.asarray(zarr.open_group(str(point / STORE), mode="r")["0"][:])


def stored(mount: Mounter, point: Path) -> int:
    """How many pieces are on the disk of the cache."""
    return int(mount.status(point)["cache"]["stored"])


def test_each_object_is_asked_for_once_and_never_again(
    store: ObjectStore, mount: Mounter, tmp_path: Path
) -> None:
    voxels, objects = tomogram(tmp_path / "local")
    store.fill(objects)
    config = cached(store, tmp_path, ttl=600)
    with store.recorded() as requests:
        point = mount(config)
        assert np.array_equal(read_whole(point), voxels)
        listings = {f"LIST {directory}": 1 for directory in DIRECTORIES}
        documents = [f"{STORE}/.zgroup", f"{STORE}/0/.zarray"]
        chunks = [key for key in objects if key.startswith(f"{STORE}/0/") and not key.endswith("/.zarray")]
        assert len(chunks) == 27
        contents = {f"GET {key}": 1 for key in documents + chunks}
        assert asked(requests) == Counter({**CONNECTING, **listings, f"TREE {STORE}/0/": 1, **contents})
        requests.clear()
        assert np.array_equal(read_whole(point), voxels)
        for directory in (point / STORE, point / STORE / "0"):
            for name in PROBED:
                assert (directory / name).exists() == (
                    f"{directory.relative_to(point)}/{name}" in objects or name == "0"
                )
        assert not (point / STORE / "0" / "9" / "9" / "9").exists()  # a chunk that is not there
        assert not (point / RUN / "other.zarr").exists()
        assert not requests
        wait_until(lambda: stored(mount, point) == len(contents), what="everything on the disk")
        mount.umount(point)
        point = mount(config)
        assert np.array_equal(read_whole(point), voxels)
        assert sorted(os.listdir(point / STORE / "0" / "2" / "2")) == ["0", "1", "2"]
        assert asked(requests) == CONNECTING


def test_a_run_with_500_chunks_is_listed_by_one_request_a_directory(
    store: ObjectStore, mount: Mounter, tmp_path: Path
) -> None:
    _, objects = tomogram(tmp_path / "local", (10, 10, 5))
    store.fill(objects)
    point = mount(cached(store, tmp_path))
    with store.recorded() as requests:
        assert sorted(os.listdir(point / RUN)) == ["wbp.zarr"]
        above = [directory for directory in DIRECTORIES[1:] if not directory.startswith(STORE)]
        assert asked(requests) == Counter(f"LIST {directory}" for directory in above)
        requests.clear()
        found = subprocess.run(
            ["find", point / STORE, "-type", "f", "-size", "+0"], capture_output=True, check=True
        )
        assert len(found.stdout.splitlines()) == len(objects)
        assert len(objects) == 500 + 3
        assert asked(requests) == Counter([f"LIST {STORE}/", f"LIST {STORE}/0/", f"TREE {STORE}/0/"])
        requests.clear()
        subprocess.run(["find", point, "-ls"], stdout=subprocess.DEVNULL, check=True)
        assert not requests


READ_TOGETHER = """
import sys
sys.stdout.write("ready\\n"); sys.stdout.flush()
sys.stdin.readline()
sys.stdout.write(open(sys.argv[1], "rb").read().hex())
"""


def test_processes_that_read_one_chunk_at_the_same_moment_cost_one_request(
    store: ObjectStore, mount: Mounter, tmp_path: Path
) -> None:
    _, objects = tomogram(tmp_path / "local")
    key = f"{STORE}/0/1/1/1"
    store.fill(objects)
    point = mount(cached(store, tmp_path))
    (point / key).stat()
    command = [sys.executable, "-c", READ_TOGETHER, str(point / key)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    readers = [subprocess.Popen(command, **pipes) for _ in range(16)]  # type: ignore[call-overload]
    try:
        for reader in readers:
            assert reader.stdout.readline() == "ready\n"
        with store.recorded() as requests:
            for reader in readers:
                reader.stdin.write("\n")
                reader.stdin.flush()
            for reader in readers:
                out, _ = reader.communicate(timeout=30)
                assert bytes.fromhex(out) == objects[key]
            assert asked(requests) == Counter([f"GET {key}"])
    finally:
        for reader in readers:
            reader.kill()
            reader.communicate()


def test_a_second_daemon_reads_what_the_first_has_fetched(
    store: ObjectStore, mount: Mounter, tmp_path: Path
) -> None:
    voxels, objects = tomogram(tmp_path / "local")
    store.fill(objects)
    config = cached(store, tmp_path)
    first, second = mount(config), mount(config)
    assert np.array_equal(read_whole(first), voxels)
    wait_until(lambda: stored(mount, first) == 27 + 2, what="everything on the disk")
    with store.recorded() as requests:
        assert np.array_equal(read_whole(second), voxels)
        assert [request for request in asked(requests) if request.startswith("GET")] == []
    assert mount.status(second)["cache"]["disk_hits"] == 27 + 2


def test_of_a_shard_only_the_blocks_travel_that_are_read(
    store: ObjectStore, mount: Mounter, tmp_path: Path
) -> None:
    array = f"{RUN}/VoxelSpacing10.000/sharded.zarr/0"
    shard = os.urandom(24 << 20)
    document = b'{"zarr_format": 3, "node_type": "array"}'
    store.fill({f"{array}/zarr.json": document, f"{array}/c/0/0/0": shard})
    config = cached(store, tmp_path, ttl=600)
    ranges = ((len(shard) - 1_028, len(shard)), (10 << 20, (10 << 20) + 65_536))  # its index, then a chunk

    def read(point: Path) -> None:
        with (point / array / "c" / "0" / "0" / "0").open("rb", buffering=0) as file:
            for start, stop in ranges:
                assert os.pread(file.fileno(), stop - start, start) == shard[start:stop]

    with store.recorded() as requests:
        point = mount(config)
        requests.clear()
        read(point)
        contents = [request for request in asked(requests).elements() if request.startswith("GET ")]
        assert contents == [f"GET {array}/c/0/0/0"] * len(ranges)
        wait_until(lambda: stored(mount, point) == len(ranges), what="both blocks on the disk")
        mount.umount(point)
        point = mount(config)
        requests.clear()
        read(point)
        assert not [request for request in asked(requests) if request.startswith("GET ")]

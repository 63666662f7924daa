"""Object stores behind a mount by the real command line, whose daemon is a fork of the command."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr

from tests.objectstore import ObjectStore
from tests.sandbox import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Mounter

RUN = "ExperimentRuns/TS_1/VoxelSpacing10.000"
PICKS = "ExperimentRuns/TS_1/Picks/me_1_ribosome.json"
THREADS = 60
"""More than a daemon has with one layer that is not being asked."""


@pytest.fixture
def store() -> Iterator[ObjectStore]:
    with ObjectStore() as opened:
        yield opened


def config(store: ObjectStore, **options: object) -> dict[str, Any]:
    lab = {
        "config_type": "filesystem",
        "layer_name": "lab",
        "root": store.url,
        "fs_args": store.fs_args,
        "timeout": 3,
        **options,
    }
    return {"config_type": "multilayer", "layers": ["lab"], "layer_configs": {"lab": lab}, "views": False}


def tomogram(store: ObjectStore, directory: Path) -> np.ndarray[Any, np.dtype[np.float32]]:
    voxels = np.random.default_rng(5).random((24, 24, 24), dtype=np.float32) + 1
    group = zarr.open_group(str(directory / "wbp.zarr"), mode="w")
    group.create_dataset("0", data=voxels, chunks=(8, 8, 8), fill_value=0, dimension_separator="/")
    files = (path for path in directory.rglob("*") if path.is_file())
    store.fill({f"{RUN}/{path.relative_to(directory)}": path.read_bytes() for path in files})
    return voxels


def test_an_array_is_read_through_an_outage(store: ObjectStore, mount: Mounter, tmp_path: Path) -> None:
    voxels = tomogram(store, tmp_path / "local")
    mountpoint = mount(config(store, read_only=True))
    array = zarr.open_group(str(mountpoint / RUN / "wbp.zarr"), mode="r")["0"]
    assert np.array_equal(array[:8], voxels[:8])
    assert len(list(Path(f"/proc/{mount.pid(mountpoint)}/task").iterdir())) < THREADS
    store.stop()
    program = (
        f"import zarr; print(zarr.open_group({str(mountpoint / RUN / 'wbp.zarr')!r}, mode='r')['0'][:].sum())"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as reader:
        time.sleep(2)
        assert reader.poll() is None, "it has not waited"
        store.start()
        told, _ = reader.communicate(timeout=60)
    assert float(told) == pytest.approx(float(voxels.sum()), rel=1e-4)
    mount.expect_warning(r"layer lab is down")
    mount.expect_warning(r"answered from memory")


@pytest.mark.parametrize("strategy", ["default", "cache_and_propagate"])
def test_what_is_written_is_in_the_bucket(store: ObjectStore, mount: Mounter, strategy: str) -> None:
    mountpoint = mount({**config(store), "default_write_layer": "lab", "write_strategy": strategy})
    picks = mountpoint / PICKS
    picks.parent.mkdir(parents=True)
    picks.write_text("[1]")
    picks.write_text("[1, 2]")
    large = mountpoint / "large.mrc"
    data = bytes(range(256)) * (80 << 10)
    large.write_bytes(data)
    large.rename(mountpoint / "larger.mrc")
    client = store.client()
    where = f"{store.bucket}/project"
    wait_until(lambda: client.exists(f"{where}/larger.mrc") and not client.exists(f"{where}/large.mrc"))
    wait_until(lambda: client.exists(f"{where}/{PICKS}"))
    wait_until(lambda: client.cat_file(f"{where}/{PICKS}") == b"[1, 2]")
    assert client.cat_file(f"{where}/larger.mrc") == data
    assert (mountpoint / "larger.mrc").read_bytes() == data
    picks.unlink()
    wait_until(lambda: not client.exists(f"{where}/{PICKS}"))


@pytest.mark.parametrize("strategy", ["default", "cache_and_propagate"])
def test_what_was_just_written_is_read_and_written_by_another_name(
    store: ObjectStore, mount: Mounter, strategy: str
) -> None:
    mountpoint = mount({**config(store), "default_write_layer": "lab", "write_strategy": strategy})
    first, second, third = (mountpoint / name for name in ("first.txt", "second.txt", "third.txt"))
    first.write_text("one")
    first.rename(second)  # the kernel knows its inode, and does not look the name up
    assert second.read_text() == "one"
    with second.open("a") as file:
        file.write(" two")
    second.rename(third)
    assert third.read_text() == "one two"
    assert not first.exists()
    assert not second.exists()
    third.unlink()
    assert sorted(os.listdir(mountpoint)) == ["copick_config.json"]

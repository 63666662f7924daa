"""zarr 2's directory stores and zarr 3's LocalStore write through a mount what they write to a disk."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr
from numcodecs import blosc

from tests.grids import in_short
from tests.writing import assert_same_tree

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.writing import WritableStack

pytestmark = pytest.mark.filterwarnings("ignore:The NestedDirectoryStore is deprecated:FutureWarning")

INSTALL_LIMIT_S = 110
ZARR_3 = Path(__file__).with_name("zarr3_program.py")
RUN = "ExperimentRuns/TS_001/VoxelSpacing10.000"


@pytest.fixture(autouse=True)
def _same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compressed by several threads, a chunk's blocks lie in the order in which they were ready."""
    monkeypatch.setattr(blosc, "use_threads", False)


@pytest.fixture
def plain(writable: WritableStack, tmp_path: Path) -> Path:
    """A plain directory with what the mounted stack's lower layer has: an array in many chunks."""
    lower = writable.lower[0] / RUN
    lower.mkdir(parents=True)
    group = zarr.group(zarr.NestedDirectoryStore(str(lower / "lower.zarr")))
    data = np.arange(48**3, dtype="f4").reshape(48, 48, 48)
    group.create_dataset("0", data=data, chunks=(16, 16, 16))
    group.create_dataset("1", data=data[::2, ::2, ::2], chunks=(16, 16, 16))
    writable.mount()
    shutil.copytree(writable.lower[0], tmp_path / "plain")
    return tmp_path / "plain"


STORES: dict[str, Callable[[str], Any]] = {
    "directory": zarr.DirectoryStore,
    "nested": zarr.NestedDirectoryStore,
    "fsspec": lambda path: zarr.storage.FSStore(path, auto_mkdir=True, dimension_separator="/"),
}


def new_array(store: Any) -> None:
    group = zarr.group(store, overwrite=True)
    array = group.create_dataset("0", shape=(40, 40, 40), chunks=(16, 16, 16), dtype="f4")
    array[:] = np.arange(40**3).reshape(40, 40, 40)
    array[3:20, :, 7] = -1
    group.attrs["multiscales"] = [{"version": "0.4"}]
    group.attrs.update(more="attributes")


def change_array(store: Any) -> None:
    array = zarr.open_group(store, mode="r+")["0"]
    array[10:30, 5, :] = 7
    array.resize(50, 40, 40)
    array.append(np.ones((6, 40, 40), "f4"))
    array.resize(20, 20, 20)
    array.attrs["changed"] = True
    array[0, 0, 0] = 0


def remove_and_make_smaller(store: Any) -> None:
    group = zarr.open_group(store, mode="r+")
    del group["0"]
    group.create_dataset("0", data=np.full((10, 10, 10), 5, "i2"), chunks=(10, 10, 10))
    group.create_group("labels").create_dataset("x", data=np.arange(100))
    zarr.consolidate_metadata(store)


@pytest.mark.parametrize("kind", in_short(STORES, "nested", "fsspec"))
def test_zarr_2_new_store(writable: WritableStack, plain: Path, kind: str) -> None:
    for step in (new_array, change_array, remove_and_make_smaller, new_array):
        for root in (writable.point, plain):
            step(STORES[kind](str(root / RUN / "new.zarr")))
        assert_same_tree(writable.point, plain)
    assert_same_tree(writable.mine / RUN / "new.zarr", plain / RUN / "new.zarr")


@pytest.mark.parametrize("kind", ["nested", "fsspec"])
def test_zarr_2_lower_store(writable: WritableStack, plain: Path, kind: str) -> None:
    def one_chunk(store: Any) -> None:
        zarr.open_group(store, mode="r+")["0"][0, 0, 0] = 42

    def shrink(store: Any) -> None:
        zarr.open_group(store, mode="r+")["0"].resize(17, 48, 48)

    def grow(store: Any) -> None:
        zarr.open_group(store, mode="r+")["0"].resize(64, 64, 64)

    for step in (one_chunk, shrink, grow, change_array, remove_and_make_smaller):
        for root in (writable.point, plain):
            step(STORES[kind](str(root / RUN / "lower.zarr")))
        assert_same_tree(writable.point, plain)
    writable.wait_for_stores()
    assert_same_tree(writable.point, plain)
    assert_same_tree(writable.mine / RUN / "lower.zarr", plain / RUN / "lower.zarr")


def test_one_chunk_of_a_lower_store_survives_a_remount(writable: WritableStack, plain: Path) -> None:
    for root in (writable.point, plain):
        store = STORES["nested"](str(root / RUN / "lower.zarr"))
        zarr.open_group(store, mode="r+")["0"][20, 20, 20] = 42
    writable.remount()
    assert_same_tree(writable.point, plain)
    writable.wait_for_stores()
    assert_same_tree(writable.point, plain)
    assert_same_tree(writable.mine / RUN / "lower.zarr", plain / RUN / "lower.zarr")


@pytest.fixture(scope="session")
def zarr_3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with zarr 3, in a virtual environment that all workers of this run use."""
    is_worker = "PYTEST_XDIST_WORKER" in os.environ
    base = tmp_path_factory.getbasetemp()
    directory = (base.parent if is_worker else base) / "zarr3"
    python = directory / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", python, "install", "-q"]
    install += ["--disable-pip-version-check", "zarr>=3,<4"]
    try:
        with directory.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (directory / "ready").exists():
                venv.create(directory, clear=True)
                subprocess.run(install, check=True, capture_output=True, timeout=INSTALL_LIMIT_S, text=True)
                (directory / "ready").touch()
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        if os.environ.get("COPICKFS_CI"):
            raise
        pytest.skip(f"zarr 3 cannot be installed: {error.stderr or error}")
    return python


@pytest.mark.parametrize("name", ["new.zarr", "lower.zarr"])
def test_zarr_3_local_store(writable: WritableStack, plain: Path, zarr_3: Path, name: str) -> None:
    for step in ("create", "change", "shard", "shrink", "remove"):
        stores = [root / RUN / name for root in (writable.point, plain)]
        program = [zarr_3, ZARR_3, step, *stores]
        done = subprocess.run(program, check=False, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{step}: {done.stderr}"
        assert_same_tree(writable.point, plain)
    assert_same_tree(writable.mine / RUN / name, plain / RUN / name)


def test_this_is_zarr_2() -> None:
    assert zarr.__version__.startswith("2."), sys.path

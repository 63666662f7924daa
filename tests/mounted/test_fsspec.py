"""A mount and ``copickfs://`` of one configuration, in two processes: each shows what the other writes."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
import zarr

from copickfs.filesystem import CopickFileSystem
from copickfs.stack import close_shared
from tests import model
from tests.mounted.conftest import put
from tests.sandbox import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.writing import WritableStack

pytestmark = pytest.mark.usefixtures("isolated")

RUN = "ExperimentRuns/TS_1"
PICKS = f"{RUN}/Picks/a_1_ribosome.json"
ARRAY = f"{RUN}/VoxelSpacing10.000/wbp.zarr/0"


@pytest.fixture
def both(writable: WritableStack) -> Iterator[tuple[CopickFileSystem, Path]]:
    """A file system and a mount of one stack."""
    put(writable.lower[0] / PICKS, b"lower")
    put(writable.lower[0] / RUN / "notes" / "day.txt", b"lower")
    lower = zarr.DirectoryStore(str(writable.lower[0] / ARRAY), dimension_separator="/")
    zarr.open_array(lower, mode="w", shape=(4, 4), chunks=2, dtype="i4", fill_value=0)[:] = 1
    point = writable.mount()
    names = ["mine", "lower0"]
    fs = CopickFileSystem(model.configuration([writable.mine, *writable.lower], names))
    assert files_of(fs) == files_below(point)
    yield fs, point
    wait_until(lambda: files_of(fs) == files_below(point), what="the same tree on both sides")
    close_shared()


def files_of(fs: CopickFileSystem) -> dict[str, bytes | None]:
    """All that is shown: contents of files, None for directories."""
    found = fs.find("/", withdirs=True, detail=True)
    return {
        path.strip("/"): None if info["type"] == "directory" else fs.cat_file(path)
        for path, info in found.items()
        if path != "/"
    }


def files_below(point: Path) -> dict[str, bytes | None]:
    paths = [path for path in point.rglob("*") if path.name != "copick_config.json"]
    return {
        os.fspath(path.relative_to(point)): None if path.is_dir() else path.read_bytes() for path in paths
    }


def test_what_a_mount_writes_is_seen_when_its_call_returns(both: tuple[CopickFileSystem, Path]) -> None:
    fs, point = both
    for number in range(20):
        new = f"{RUN}{number}"
        assert not fs.exists(f"{new}/Picks/x.json")
        put(point / new / "Picks" / "x.json", b"new")
        assert fs.cat_file(f"{new}/Picks/x.json") == b"new"
        (point / PICKS).write_bytes(b"%d" % number)
        assert (fs.cat_file(PICKS), fs.info(PICKS)["layer"]) == (b"%d" % number, "mine")
        (point / new / "Picks" / "x.json").rename(point / new / "y.json")
        assert fs.find(new) == [f"/{new}/y.json"]
    (point / PICKS).unlink()
    assert not fs.exists(PICKS)
    shutil.rmtree(point / RUN / "notes")
    assert fs.find(RUN + "/notes") == []
    (point / RUN / "notes").mkdir()
    assert fs.ls(RUN + "/notes") == []
    zarr.open_array(zarr.DirectoryStore(str(point / ARRAY), dimension_separator="/"), mode="r+")[0, 0] = 7
    array = zarr.open_array(fs.get_mapper(ARRAY), mode="r", dimension_separator="/")
    assert array[:].tolist() == [[7, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]]


def test_a_mount_shows_what_is_written_by_fsspec(both: tuple[CopickFileSystem, Path]) -> None:
    fs, point = both
    with fs.open(PICKS, "wb") as file:
        file.write(b"upper")
        assert (point / PICKS).read_bytes() == b"lower"
    fs.pipe_file("new/deep/x", b"new")
    fs.rm(f"{RUN}/notes", recursive=True)
    store = zarr.storage.FSStore(ARRAY, fs=fs, dimension_separator="/")
    zarr.open_array(store, mode="r+")[:2, :2] = np.arange(4).reshape(2, 2)
    wait_until(lambda: files_of(fs) == files_below(point), what="what fsspec has written")
    assert (point / PICKS).read_bytes() == b"upper"
    assert (point / "new" / "deep" / "x").read_bytes() == b"new"
    assert not (point / RUN / "notes").exists()
    mounted = zarr.open_array(zarr.DirectoryStore(str(point / ARRAY), dimension_separator="/"), mode="r")
    assert mounted[0].tolist() == [0, 1, 1, 1]
    fs.mv("new/deep", "old")
    wait_until((point / "old" / "x").exists, what="a renamed directory")
    with (point / PICKS).open("rb") as before:
        fs.pipe_file(PICKS, b"again")
        assert before.read() == b"upper"

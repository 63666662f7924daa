"""``copickfs://`` over a write layer behind a network."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr

from copickfs.errors import NoAnswer
from copickfs.filesystem import CopickFileSystem
from copickfs.stack import close_shared
from tests.filesystems import LOWER, PICKS, configuration
from tests.model import hash_tree
from tests.overlays import fill
from tests.remotes import KINDS, Remote
from tests.sandbox import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("isolated")


@pytest.fixture(params=[kind for kind in KINDS if kind.name in ("memory", "s3")], ids=lambda kind: kind.name)
def remote(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Remote]:
    with request.param.open(tmp_path) as place:
        yield place
        close_shared()
        wait_until(lambda: not [t for t in threading.enumerate() if t.name.startswith("copickfs")])


def stack(remote: Remote, lab: Path, **fields: Any) -> CopickFileSystem:
    document = configuration(lab.parent / "mine", lab, **fields)
    document["layer_configs"]["mine"] |= {"root": remote.url, "fs_args": remote.fs_args, "timeout": 5}
    return CopickFileSystem(document)


@pytest.mark.parametrize("strategy", ["default", "cache_and_propagate"])
def test_what_is_written_arrives(remote: Remote, tmp_path: Path, strategy: str) -> None:
    lab = fill(tmp_path / "lab", LOWER)
    before = hash_tree(lab)
    fs = stack(remote, lab, write_strategy=strategy)
    with fs.open(PICKS, "ab") as file:
        file.write(b" ")
        assert fs.cat_file(PICKS) == LOWER[PICKS]
    with pytest.raises(RuntimeError), fs.open("notes.txt", "w") as text:  # noqa: PT012
        text.write("half")
        raise RuntimeError
    fs.pipe({"new/a": b"a" * 100_000, "new/b": b"b", "new/c": b"c"})
    assert fs.cat(["/new/a", "/new/b"]) == {"/new/a": b"a" * 100_000, "/new/b": b"b"}
    fs.mv("new/b", "new/d")
    fs.rm("new/c")
    with pytest.raises(FileExistsError):
        fs.pipe_file("new/d", b"", mode="create")
    fs.rm("ExperimentRuns/TS_1/notes", recursive=True)
    array = zarr.open(fs.get_mapper("x.zarr"), mode="w", shape=6, chunks=2, dtype="i2")
    array[:] = np.arange(6)
    assert fs.stack.manager.get_layer("mine").flush_pending(10)
    arrived = {path: data for path, data in remote.files().items() if ".copickfs" not in path}
    chunks = {f"x.zarr/{number}" for number in range(3)} | {"x.zarr/.zarray"}
    assert arrived.keys() == {PICKS, "new/a", "new/d", *chunks}
    assert arrived[PICKS] == (LOWER[PICKS] or b"") + b" "
    close_shared()
    assert fs.find("") == sorted(
        [f"/{path}" for path in arrived]
        + ["/table.csv", "/ExperimentRuns/TS_1/VoxelSpacing10.000/wbp.zarr/.zgroup"]
    )
    assert zarr.open(fs.get_mapper("x.zarr"), mode="r")[:].tolist() == list(range(6))
    assert hash_tree(lab) == before


def test_an_outage_refuses_what_is_written(tmp_path: Path) -> None:
    lab = fill(tmp_path / "lab", LOWER)
    (kind,) = (kind for kind in KINDS if kind.name == "s3")
    with kind.open(tmp_path) as remote:
        fs = stack(remote, lab)
        file = fs.open("new/x", "wb")
        file.write(b"x")
        remote.server.stop()
        with pytest.raises(NoAnswer):
            file.close()
        assert file.closed
        with pytest.raises(NoAnswer):
            fs.pipe_file("new/y", b"")
        close_shared()
    wait_until(lambda: not [t for t in threading.enumerate() if t.name.startswith("copickfs")])

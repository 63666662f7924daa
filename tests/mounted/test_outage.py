"""A remote layer goes away and comes back while programs read through the mount."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr

from tests import model
from tests.sandbox import wait_until
from tests.servers import SftpServer
from tests.webserver import WebServer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Mounter, Sandbox

RUN = "ExperimentRuns/TS_1/VoxelSpacing10.000"
LOCAL_LIMIT_S = 5.0
"""A generous bound: the same without an outage takes milliseconds."""

READ_CHUNK = "import sys; sys.stdout.buffer.write(open(sys.argv[1], 'rb').read()[:1])"


def project(root: Path, shape: tuple[int, int, int] = (24, 24, 24)) -> np.ndarray[Any, np.dtype[np.float32]]:
    """A copick tomogram of many chunks, none of them zero; its voxels, (z, y, x)."""
    voxels = np.random.default_rng(5).random(shape, dtype=np.float32) + 1
    group = zarr.open_group(str(root / RUN / "wbp.zarr"), mode="w")
    group.create_dataset("0", data=voxels, chunks=(8, 8, 8), fill_value=0, dimension_separator="/")
    axes = [{"name": name, "type": "space", "unit": "angstrom"} for name in "zyx"]
    scale = [{"type": "scale", "scale": [10.0, 10.0, 10.0]}]
    group.attrs["multiscales"] = [
        {"version": "0.4", "axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}
    ]
    return voxels


def stacked(server: SftpServer | WebServer, local: Path, **remote: object) -> dict[str, Any]:
    """A local layer above the layer of ``server``."""
    return {
        "config_type": "multilayer",
        "layers": ["mine", "far"],
        "layer_configs": {
            "mine": {"config_type": "filesystem", "layer_name": "mine", "priority": 9, "root": str(local)},
            "far": {
                "config_type": "filesystem",
                "layer_name": "far",
                "priority": 1,
                "read_only": True,
                "root": server.url,
                "fs_args": server.fs_args if isinstance(server, SftpServer) else {},
                "timeout": 3,
                **remote,
            },
        },
        "default_write_layer": "mine",
    }


@pytest.fixture(params=[SftpServer, WebServer])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    root = tmp_path / "far"
    root.mkdir()
    return request.param(root)


def test_copick_reads_on_when_the_server_is_back(
    server: SftpServer | WebServer, mount: Mounter, tmp_path: Path
) -> None:
    import copick

    voxels = project(tmp_path / "far")
    before = model.hash_tree(tmp_path / "far")
    (tmp_path / "mine").mkdir()
    mount.expect_warning("far")
    result: list[Any] = []
    with server:
        point = mount(stacked(server, tmp_path / "mine"))
        root = copick.from_file(str(point / "copick_config.json"))
        tomogram = root.get_run("TS_1").get_voxel_spacing(10.0).get_tomograms("wbp")[0]
        array = zarr.open(tomogram.zarr(), mode="r")["0"]
        assert np.array_equal(array[:8], voxels[:8])
        server.stop()
        reader = threading.Thread(target=lambda: result.append(array[8:]))
        reader.start()
        wait_until(lambda: mount.status(point)["waiting_reads"], 20, "a read that waits")
        time.sleep(1)
        assert not result  # neither zeros nor an error
        server.start()
        reader.join(60)
        assert not reader.is_alive()
        assert np.array_equal(result[0], voxels[8:])
        mount.umount(point)
    assert model.hash_tree(tmp_path / "far") == before


def test_what_is_set_to_fail_fails_loudly(
    server: SftpServer | WebServer, mount: Mounter, tmp_path: Path
) -> None:
    project(tmp_path / "far")
    (tmp_path / "far" / "Objects").mkdir()
    (tmp_path / "far" / "Objects" / "notes.txt").write_text("never listed")
    (tmp_path / "mine").mkdir()
    mount.expect_warning("far")
    with server:
        point = mount(stacked(server, tmp_path / "mine", on_unavailable="error"))
        chunks = point / RUN / "wbp.zarr" / "0"
        assert (chunks / ".zarray").read_bytes()
        server.stop()
        with pytest.raises(OSError, match=r"Input/output error|timed out"):
            (chunks / "2" / "2" / "2").read_bytes()
        with pytest.raises(OSError, match=r"Input/output error|timed out"):
            os.listdir(point / "Objects")
        mount.umount(point)


def test_a_hundred_stuck_readers_slow_nobody_down(mount: Mounter, sandbox: Sandbox, tmp_path: Path) -> None:
    project(tmp_path / "far", (40, 40, 32))
    mine = tmp_path / "mine"
    picks = mine / "ExperimentRuns" / "TS_1" / "Picks"
    picks.mkdir(parents=True)
    for index in range(50):
        (picks / f"me_1_ribosome{index}.json").write_text(json.dumps({"points": [index]}))
    (mine / "big.bin").write_bytes(os.urandom(8 << 20))
    mount.expect_warning("far")
    with WebServer(tmp_path / "far") as server:
        point = mount(stacked(server, mine))
        array = point / RUN / "wbp.zarr" / "0"
        chunks = [
            array / str(z) / str(y) / str(x)
            for z in range(5) for y in range(5) for x in range(4)
        ]  # fmt: skip
        assert (array / ".zarray").read_bytes()
        assert os.listdir(point / "ExperimentRuns" / "TS_1" / "Picks")
        for chunk in chunks:
            chunk.stat()
        server.stop()
        readers = [sandbox.start([sys.executable, "-c", READ_CHUNK, chunk], text=False) for chunk in chunks]
        try:
            wait_until(lambda: mount.status(point)["waiting_reads"] >= 100, 60, "100 reads that wait")
            began = time.monotonic()
            assert (point / "big.bin").read_bytes() == (mine / "big.bin").read_bytes()
            for index in range(50):
                path = point / "ExperimentRuns" / "TS_1" / "Picks" / f"me_1_ribosome{index}.json"
                assert json.loads(path.read_text())["points"] == [index]
            assert len(os.listdir(point / "ExperimentRuns" / "TS_1" / "Picks")) == 50
            assert (point / "ExperimentRuns").stat()
            assert time.monotonic() - began < LOCAL_LIMIT_S
            assert all(reader.poll() is None for reader in readers)
            readers[0].kill()  # a reader that waits can be killed
            assert readers[0].wait(10) == -9
            server.start()
            for reader, chunk in list(zip(readers, chunks, strict=True))[1:]:
                out, _ = reader.communicate(timeout=60)
                source = tmp_path / "far" / chunk.relative_to(point)
                assert out == source.read_bytes()[:1]
        finally:
            for reader in readers:
                reader.kill()
                reader.communicate()
        mount.umount(point)


def test_unmounting_works_when_readers_were_killed_that_had_waited(
    mount: Mounter, sandbox: Sandbox, tmp_path: Path
) -> None:
    """Nobody has the mount in use any more, but what they have asked for is still waited for."""
    project(tmp_path / "far")
    (tmp_path / "mine").mkdir()
    mount.expect_warning("far")
    with WebServer(tmp_path / "far") as server:
        point = mount(stacked(server, tmp_path / "mine"))
        chunk = point / RUN / "wbp.zarr" / "0" / "0" / "0" / "0"
        chunk.stat()
        server.stop()
        reader = sandbox.start([sys.executable, "-c", READ_CHUNK, chunk], text=False)
        wait_until(lambda: mount.status(point)["waiting_reads"], 20, "a read that waits")
        reader.kill()
        assert reader.wait(10) == -9
        reader.communicate()
        mount.umount(point)


def test_unmounting_works_while_the_layer_is_down(mount: Mounter, sandbox: Sandbox, tmp_path: Path) -> None:
    project(tmp_path / "far")
    (tmp_path / "mine").mkdir()
    mount.expect_warning("far")
    with WebServer(tmp_path / "far") as server:
        point = mount(stacked(server, tmp_path / "mine"))
        chunk = point / RUN / "wbp.zarr" / "0" / "0" / "0" / "0"
        chunk.stat()
        server.stop()
        reader = sandbox.start(
            [sys.executable, "-c", READ_CHUNK, chunk], text=False, stderr=subprocess.DEVNULL
        )
        wait_until(lambda: mount.status(point)["waiting_reads"], 20, "a read that waits")
        mount.umount(point, "--force")
        assert reader.wait(10) != 0
        reader.communicate()

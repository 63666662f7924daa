"""``--offline``: what is known and cached is there, what is not is an error, and nobody is asked anything.

Each kind of server is used with one TTL by default, and with the others by ``pytest -m soak``.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pytest
import zarr

from tests.grids import in_short
from tests.mounted.stores import RUN, STORE, cached, tomogram, with_local
from tests.objectstore import ObjectStore
from tests.sandbox import wait_until
from tests.servers import SftpServer
from tests.webserver import WebServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Mounter
    from tests.sandbox import Run

PICKS = "ExperimentRuns/TS_1/Picks/lab_1_ribosome.json"
UNREAD = f"{RUN}/notes.txt"
LARGE = "map.mrc"
LARGE_BYTES = 12 << 20
UNLISTED = "Extra"


class Ear:
    """Whoever calls a port that nobody serves any more is heard.

    Attributes:
        calls: How many there were.
    """

    def __init__(self, port: int) -> None:
        self._socket = socket.create_server(("127.0.0.1", port))
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self.calls = 0

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                line, _ = self._socket.accept()
                self.calls += 1
                line.close()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()


class Site:
    """A project on some server.

    Attributes:
        port: Where the server listens.
        voxels: Of the tomogram.
        objects: All files.
    """

    def __init__(self, server: Any, tmp_path: Path) -> None:
        self.server = server
        self.url = server.url
        self.fs_args = getattr(server, "fs_args", {})
        self.port = int(server.port)
        self.voxels, self.objects = tomogram(tmp_path / "local")
        self.objects[PICKS] = json.dumps({"points": [1]}).encode()
        self.objects[UNREAD] = b"never read"
        self.objects[LARGE] = os.urandom(LARGE_BYTES)
        self.objects[f"{UNLISTED}/ribosome.txt"] = b"never listed"
        if isinstance(server, ObjectStore):
            server.fill(self.objects)
            return
        for key, data in self.objects.items():
            path = server.root / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            os.utime(path, (1_700_000_000, 1_700_000_000))


@pytest.fixture
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    (tmp_path / "far").mkdir()
    server = ObjectStore() if request.param is ObjectStore else request.param(tmp_path / "far")
    with server:
        yield Site(server, tmp_path)


def use(point: Path, site: Site) -> None:
    """Read the tomogram, one of the picks, and a part of the large file."""
    array = zarr.open_group(str(point / STORE), mode="r")["0"]
    assert np.array_equal(array[:], site.voxels)
    assert (point / PICKS).read_bytes() == site.objects[PICKS]
    with (point / LARGE).open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        assert os.pread(file.fileno(), 1000, 0) == site.objects[LARGE][:1000]


def written_down(mount: Mounter, point: Path) -> None:
    """Wait until all that was read is on the disk."""
    wait_until(lambda: not mount.status(point)["cache"]["waiting_bytes"], what="the disk")


def refused(path: Path, offset: int | None = None) -> None:
    """Reading ends with EIO."""
    with pytest.raises(OSError, match="Input/output") as caught:  # noqa: SIM117
        with path.open("rb", buffering=0) as file:
            os.pread(file.fileno(), 100, offset or 0)
    assert caught.value.errno == errno.EIO


@pytest.mark.parametrize(
    ("site", "ttl"),
    in_short(
        itertools.product([ObjectStore, SftpServer, WebServer], [600, 0.2]),
        (ObjectStore, 0.2),
        (WebServer, 600),
        (SftpServer, 0.2),
        are_rows=True,
    ),
    indirect=["site"],
)
def test_what_was_used_is_there_and_nobody_is_asked(
    site: Site, mount: Mounter, copickfs: Run, tmp_path: Path, ttl: float
) -> None:
    stack = with_local(cached(site, tmp_path, ttl=ttl), tmp_path / "mine")
    stack["db_config"] |= {"auto_index": True, "index_interval": 1}
    config = mount.config_file(stack)
    copickfs("index", config, check=True)
    point = mount(config)
    use(point, site)
    written_down(mount, point)
    mount.umount(point)
    time.sleep(ttl if ttl < 1 else 0)
    site.server.stop()
    with Ear(site.port) as ear:
        mount(config, "--offline", mountpoint=point)
        use(point, site)
        assert sorted(os.listdir(point / "ExperimentRuns" / "TS_1")) == ["Picks", "VoxelSpacing10.000"]
        assert len(os.listdir(point / STORE / "0" / "1" / "1")) == 3
        assert (point / LARGE).stat().st_size == LARGE_BYTES
        assert not (point / STORE / "0" / "5" / "0" / "0").exists()
        refused(point / UNREAD)
        refused(point / LARGE, 8 << 20)
        for call in (os.listdir, os.stat):
            with pytest.raises(OSError, match="Input/output"):
                call(point / UNLISTED / ("" if call is os.listdir else "ribosome.txt"))
        mine = point / "ExperimentRuns" / "TS_1" / "Picks" / "me_1_ribosome.json"
        mine.write_text('{"points": [3]}')
        assert (tmp_path / "mine" / mine.relative_to(point)).read_text() == '{"points": [3]}'
        layers = {layer["name"]: layer["state"] for layer in mount.status(point)["layers"]}
        assert layers["lab"] == "offline"
        assert "offline" in copickfs("status", point).stdout
        before_ns = mount.status(point)["index"]["indexed_ns"]
        is_newer = lambda: mount.status(point)["index"]["indexed_ns"] > before_ns  # noqa: E731
        wait_until(is_newer, 30, "the mount to index by itself")
        copickfs("index", "--full", "--offline", config, check=True)
        for target in ([point], [config, "--offline"]):
            found = copickfs("find", *target, "--paths", check=True).stdout.splitlines()
            assert [path.endswith(suffix) for path in found for suffix in (STORE, PICKS, mine.name)].count(
                True
            ) == 3
            assert "lab_1" in copickfs("search", *target, "ribosome", "--paths", check=True).stdout
        mount.umount(point)
        assert ear.calls == 0
    site.server.start()
    mount(config, mountpoint=point)
    assert (point / UNREAD).read_bytes() == site.objects[UNREAD]
    assert (point / UNLISTED / "ribosome.txt").read_bytes() == b"never listed"
    assert (point / LARGE).read_bytes() == site.objects[LARGE]


def test_what_was_written_at_the_root_and_sent_is_there_offline(mount: Mounter, tmp_path: Path) -> None:
    with ObjectStore() as store:
        store.fill({"there.txt": b"there"})
        stack = cached(store, tmp_path, read_only=False)
        stack |= {"default_write_layer": "lab", "write_strategy": "cache_and_propagate"}
        config = mount.config_file(stack)
        point = mount(config)
        (point / "notes.txt").write_bytes(b"mine")
        (point / "new").mkdir()
        (point / "new" / "inner.txt").write_bytes(b"inner")
        wait_until(lambda: not mount.status(point)["layers"][0]["pending_entries"], what="the sending")
        written_down(mount, point)
        mount.umount(point)
    mount(config, "--offline", mountpoint=point)
    assert sorted(os.listdir(point)) == sorted(["copick_config.json", "new", "notes.txt", "there.txt"])
    assert (point / "notes.txt").read_bytes() == b"mine"
    assert os.listdir(point / "new") == ["inner.txt"]
    assert (point / "new" / "inner.txt").read_bytes() == b"inner"
    assert not (point / "absent").exists()


@pytest.mark.parametrize("is_prefetched", [True, False], ids=["prefetched", "read"])
def test_a_tomogram_of_a_server_that_lists_nothing_is_there_offline(
    mount: Mounter, copickfs: Run, tmp_path: Path, is_prefetched: bool
) -> None:
    (tmp_path / "far").mkdir()
    with WebServer(tmp_path / "far") as server:
        server.listing = ""
        site = Site(server, tmp_path)
        config = mount.config_file(with_local(cached(site, tmp_path), tmp_path / "mine"))
        mount.expect_warning("gives no directory listings")
        if is_prefetched:
            copickfs("prefetch", config, STORE, check=True)
            point = tmp_path / "point"
        else:
            point = mount(config)
            group = zarr.open_group(str(point / STORE), mode="r")
            assert np.array_equal(group["0"][:], site.voxels)
            assert group.attrs["multiscales"]
            written_down(mount, point)
            mount.umount(point)
    with Ear(site.port) as ear:
        mount(config, "--offline", mountpoint=point)
        group = zarr.open_group(str(point / STORE), mode="r")
        assert (point / STORE / ".zattrs").read_bytes() == site.objects[f"{STORE}/.zattrs"]
        assert np.array_equal(group["0"][:], site.voxels)
        assert group.attrs["multiscales"]
        assert not (point / STORE / "0" / "9" / "0" / "0").exists()
        refused(point / UNREAD)
        mount.umount(point)
        assert ear.calls == 0

"""SFTP servers that die, freeze, break off mid-file and change: no wrong byte, no wrong absence."""

from __future__ import annotations

import contextlib
import gc
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from copickfs.errors import AccessDenied, ConfigError, NotFound, Stale, Transient, Unavailable
from copickfs.layers.remote import FsspecLayer
from copickfs.model import ByteRange
from tests.sandbox import wait_until
from tests.servers import Proxy, SftpServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BIG = os.urandom(1 << 20) * 12
SMALL = b'{"points": []}' * 50
CHUNK = b"chunk" * 50


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SftpServer]:
    root = tmp_path / "site"
    (root / "dir/deep").mkdir(parents=True)
    (root / "big.bin").write_bytes(BIG)
    (root / "dir/small.json").write_bytes(SMALL)
    for name in (".zarray", "0/0/0", "0/0/1"):
        (root / "a.zarr/0" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "a.zarr/0" / name).write_bytes(CHUNK)
    with SftpServer(root) as running:
        yield running


@pytest.fixture
def layer(server: SftpServer) -> Iterator[FsspecLayer]:
    opened = FsspecLayer("lab", server.url, fs_args=server.fs_args, timeout_s=2, ttl_s=0.2)
    opened.connect()
    yield opened
    opened.close()
    wait_until(lambda: not own_threads(), what="the end of the layer's threads")


@pytest.fixture(autouse=True)
def no_task_is_forgotten(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """asyncio complains of exceptions that nobody has fetched, once the task is collected."""
    yield
    gc.collect()
    time.sleep(0.05)
    assert not [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]


def own_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("copickfs")]


def works(call: object, *arguments: object) -> bool:
    try:
        call(*arguments)  # type: ignore[operator]
    except Transient:
        return False
    return True


@pytest.mark.parametrize("outage", ["killed", "frozen"])
def test_an_outage_is_never_an_absence_nor_a_wrong_byte(
    server: SftpServer, layer: FsspecLayer, outage: str
) -> None:
    layer.stat("a.zarr/0/.zarray")
    layer.stat("dir/small.json")
    big, small = layer.open("big.bin"), layer.open("dir/small.json")
    assert big.read(ByteRange(5, 50)) == BIG[5:50]
    if outage == "killed":
        server.stop()
    else:
        server.freeze()
    time.sleep(0.3)  # everything remembered is out of date
    for _ in range(3):
        for file in (big, small):
            with pytest.raises(Transient):
                file.read(ByteRange(8 << 20, 9 << 20) if file is big else ByteRange(0, 10))
    for path in ("dir/deep", "dir/deep/x", "a.zarr/1"):
        with pytest.raises((Transient, NotFound)) as caught:
            layer.scan(path)
        assert path == "a.zarr/1" or isinstance(caught.value, Transient)
    wait_until(lambda: layer.health().state == "down", what="the layer to be found down", limit_s=30)
    assert layer.stat("dir/small.json").size_bytes == len(SMALL)
    assert layer.stat("a.zarr/0/0/0/1").size_bytes == len(CHUNK)
    with pytest.raises(NotFound):
        layer.stat("a.zarr/0/0/0/2")
    if outage == "killed":
        server.start()
    else:
        server.thaw()
    wait_until(lambda: works(small.read, ByteRange(0, 1)), limit_s=40, what="the layer to come back")
    assert small.read(ByteRange(0, 10**6)) == SMALL
    assert big.read(ByteRange(0, 10**9)) == BIG
    assert layer.scan("dir/deep") == []
    assert layer.health().state == "ok"


def test_a_lost_session_is_replaced_within_the_call(server: SftpServer, layer: FsspecLayer) -> None:
    file = layer.open("big.bin")
    file.read(ByteRange(0, 10))
    server.stop()
    server.start()
    assert file.read(ByteRange(0, 10**9)) == BIG
    time.sleep(0.3)
    server.stop()
    server.start()
    assert {entry.name for entry in layer.scan("dir/deep")} == set()
    assert layer.health().state == "ok"


def test_a_line_that_breaks_in_the_middle_of_a_file(server: SftpServer) -> None:
    with Proxy(server.port) as proxy:
        url = server.url.replace(str(server.port), str(proxy.port))
        layer = FsspecLayer("lab", url, fs_args=server.fs_args, timeout_s=3)
        layer.connect()
        file = layer.open("big.bin")
        for limit in (50_000, 300_000, 2_000_000):
            proxy.cut_after_bytes = limit
            with pytest.raises(Transient):
                file.read(ByteRange(0, 10**9))
        proxy.cut_after_bytes = None
        wait_until(lambda: works(file.read, ByteRange(0, 1)), what="the layer to come back")
        assert file.read(ByteRange(0, 10**9)) == BIG
        layer.close()


@pytest.mark.parametrize("change", ["rewritten", "shorter", "longer", "gone", "replaced"])
def test_a_change_between_two_reads_is_noticed(server: SftpServer, layer: FsspecLayer, change: str) -> None:
    announced: list[str] = []
    layer.subscribe(announced.append)
    path = server.root / "big.bin"
    os.utime(path, (1_600_000_000, 1_600_000_000))
    layer.refresh()
    file = layer.open("big.bin")
    assert file.read(ByteRange(0, 10)) == BIG[:10]
    if change == "gone":
        path.unlink()
    elif change == "replaced":
        (server.root / "new").write_bytes(BIG[::-1])
        (server.root / "new").rename(path)
    else:
        path.write_bytes({"rewritten": BIG[::-1], "shorter": BIG[:-1], "longer": BIG + b"x"}[change])
    with pytest.raises(Stale):
        file.read(ByteRange(3 << 20, 4 << 20))
    assert "big.bin" in announced
    if change == "gone":
        with pytest.raises(NotFound):
            layer.open("big.bin")
    else:
        with contextlib.closing(layer.open("big.bin")) as again:
            assert again.read(ByteRange(0, 10**9)) == path.read_bytes()


def test_what_the_server_refuses(server: SftpServer, layer: FsspecLayer, tmp_path: Path) -> None:
    """The server runs as root here, so refusals are those of a file system that has no such thing."""
    (server.root / "loop").symlink_to("loop")
    (server.root / "dir/away").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(server.root / "pipe")
    layer.refresh()
    assert "pipe" not in {entry.name for entry in layer.scan("")}
    assert layer.stat("loop").kind.name == "SYMLINK"
    assert layer.readlink("dir/away") == str(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError):
        layer.open("dir/away")


def test_an_answer_shorter_than_the_file_is_no_answer(server: SftpServer, layer: FsspecLayer) -> None:
    """The kernel's own files say that they have a page, and end after a line."""
    (server.root / "short").symlink_to("/sys/kernel/uevent_seqnum")
    layer.refresh()
    file = layer.open("short")
    assert file.entry.size_bytes == 4096
    with pytest.raises(Unavailable, match="bytes came for 4096"):
        file.read(ByteRange(0, 10))


def test_new_and_removed_files_are_seen_after_the_ttl(server: SftpServer, layer: FsspecLayer) -> None:
    announced: list[str] = []
    layer.subscribe(announced.append)
    layer.scan("dir")
    (server.root / "dir/new.json").write_bytes(b"new")
    (server.root / "dir/small.json").unlink()
    wait_until(lambda: "dir/new.json" in {f"dir/{e.name}" for e in layer.scan("dir")}, what="the new file")
    with pytest.raises(NotFound):
        layer.stat("dir/small.json")
    assert {"dir/new.json", "dir/small.json"} <= set(announced)


def test_an_array_is_listed_once_and_again_after_the_ttl(server: SftpServer) -> None:
    layer = FsspecLayer("lab", server.url, fs_args=server.fs_args, ttl_s=1.0)
    layer.connect()
    layer.stat("a.zarr/0/.zarray")
    asked = layer.statistics().requests
    for _ in range(50):
        layer.open_nowait("a.zarr/0/0/0/0").close()
        with pytest.raises(NotFound):
            layer.stat_nowait("a.zarr/0/5/5/5")
    assert layer.statistics().requests == asked
    (server.root / "a.zarr/0/0/0/2").write_bytes(CHUNK)
    wait_until(lambda: "2" in {entry.name for entry in layer.scan("a.zarr/0/0/0")}, what="the new chunk")
    layer.close()


def test_immutable_means_never_asked_again(server: SftpServer) -> None:
    layer = FsspecLayer("lab", server.url, fs_args=server.fs_args, ttl_s=0.05, immutable=True)
    layer.connect()
    layer.stat("dir/small.json")
    asked = layer.statistics().requests
    time.sleep(0.2)
    layer.stat_nowait("dir/small.json")
    assert layer.statistics().requests == asked
    assert layer.ttl_s("dir") > 3600
    layer.close()


def test_a_hundred_threads_in_an_outage_and_after(server: SftpServer, layer: FsspecLayer) -> None:
    file = layer.open("big.bin")
    server.stop()
    wrong: list[bytes] = []

    def reader(seed: int) -> None:
        start = seed * 100_003 % len(BIG)
        span = ByteRange(start, start + 5000)
        while True:
            with contextlib.suppress(Transient):
                data = file.read(span)
                if data != BIG[span.start : span.stop]:
                    wrong.append(data)
                return
            time.sleep(max(0.05, layer.wait_available_hint_s()))

    with ThreadPoolExecutor(100) as pool:
        readers = [pool.submit(reader, seed) for seed in range(100)]
        time.sleep(1.5)
        done_in_the_outage = [r for r in readers if r.done()]
        server.start()
        for r in readers:
            r.result(60)
    assert not done_in_the_outage
    assert not wrong


def test_wrong_credentials_and_roots_are_refused(server: SftpServer) -> None:
    for args, message in (
        ({**server.fs_args, "password": "not-the-password"}, "credentials"),
        ({**server.fs_args, "no_such_option": 1}, "fs_args"),
    ):
        layer = FsspecLayer("lab", server.url, fs_args=args, timeout_s=5)
        with pytest.raises(ConfigError, match=message) as caught:
            layer.connect()
        assert "\n" not in str(caught.value)
        assert "layer lab" not in str(caught.value), "who reports it names the layer, or its key"
        assert "not-the-password" not in str(caught.value)
        layer.close()
    for path, message in (("/absent", "no such directory"), ("/big.bin", "not a directory")):
        layer = FsspecLayer("lab", server.url + path, fs_args=server.fs_args, timeout_s=5)
        with pytest.raises(ConfigError, match=message):
            layer.connect()
        layer.close()


def test_a_server_that_is_away_at_the_start_is_an_outage(server: SftpServer) -> None:
    server.stop()
    layer = FsspecLayer("lab", server.url, fs_args=server.fs_args, timeout_s=2)
    with pytest.raises(Transient):
        layer.connect()
    server.start()
    wait_until(lambda: works(layer.scan, ""), what="the layer to be there")
    assert layer.stat("dir/small.json").size_bytes == len(SMALL)
    layer.close()


def test_a_password_that_changes_later_is_an_outage(
    server: SftpServer, layer: FsspecLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer.stat("dir/small.json")
    server.stop()
    monkeypatch.setattr("tests.servers.PASSWORD", "changed-on-the-server")
    server.start()
    time.sleep(0.3)
    with pytest.raises(Transient):
        layer.scan("dir/deep")
    assert not isinstance(layer.health().message, AccessDenied)
    assert layer.stat("dir/small.json").size_bytes == len(SMALL)

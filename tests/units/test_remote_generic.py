"""Any fsspec file system: what its exceptions mean, and that its habits do no harm."""

from __future__ import annotations

import errno
import io
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ClassVar

import fsspec
import pytest
from fsspec.asyn import AsyncFileSystem
from fsspec.spec import AbstractFileSystem

from copickfs.errors import (
    ConfigError,
    DeadlineExceeded,
    Stale,
    Transient,
    Unavailable,
)
from copickfs.layers.remote import FsspecLayer
from copickfs.model import ByteRange
from tests.sandbox import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

DATA = bytes(range(256)) * 100_000


class Flaky(AbstractFileSystem):
    """A file system with one session and one caller at a time, that fails as it is told."""

    protocol = "flaky"
    cachable = False
    instances: ClassVar[int] = 0
    files: ClassVar[dict[str, bytes]] = {}
    versions: ClassVar[dict[str, int]] = {}
    fault: ClassVar[Any] = None
    connect_fault: ClassVar[Any] = None

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        type(self).instances += 1
        if Flaky.connect_fault is not None:
            Flaky.connect_fault()
        self.lost = False
        self._busy = threading.Lock()

    def _connect(self) -> None:
        """What makes it a file system with a session."""

    def _enter(self, method: str, path: str) -> None:
        assert self._busy.acquire(blocking=False), "two calls at once"
        try:
            if self.lost:
                raise OSError("Socket is closed")
            time.sleep(0.001)
            if Flaky.fault is not None:
                Flaky.fault(self, method, path)
        finally:
            self._busy.release()

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        self._enter("info", path)
        if path in self.files:
            return self._about(path)
        if any(name.startswith(f"{path}/") for name in self.files):
            return {"name": path, "type": "directory", "size": 0}
        raise FileNotFoundError(path)

    def ls(self, path: str, **_: Any) -> Any:
        self._enter("ls", path)
        if path in self.files:
            return [self._about(path)]
        inner = {name[len(path) + 1 :].split("/")[0] for name in self.files if name.startswith(f"{path}/")}
        if not inner:
            raise FileNotFoundError(path)
        full = [f"{path}/{name}" for name in inner]
        return [
            self._about(f) if f in self.files else {"name": f, "type": "directory", "size": 0} for f in full
        ]

    def find(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("find skips what it cannot list")

    def cat_file(self, *_: Any, **__: Any) -> bytes:
        raise AssertionError("this file system sends whole files")

    def _open(self, path: str, mode: str = "rb", **_: Any) -> io.BytesIO:  # type: ignore[override]
        self._enter("open", path)
        assert mode == "rb"
        return io.BytesIO(self.files[path])

    def _about(self, path: str) -> dict[str, Any]:
        size, mtime = len(self.files[path]), self.versions.get(path, 1)
        return {"name": path, "type": "file", "size": size, "mtime": mtime}


@pytest.fixture
def layer() -> Iterator[FsspecLayer]:
    fsspec.register_implementation("flaky", Flaky, clobber=True)
    Flaky.files = {
        "/r/a/x": b"x" * 10,
        "/r/top": DATA,
        "/r/s.zarr/0/.zarray": b"{}",
        "/r/s.zarr/0/0/0": b"chunk",
        "/r/s.zarr/0/1/0": b"chunk",
    }
    Flaky.fault = Flaky.connect_fault = None
    Flaky.instances = 0
    Flaky.versions = {}
    opened = FsspecLayer("lab", "flaky:///r", timeout_s=2, ttl_s=60)
    opened.connect()
    yield opened
    opened.close()


def raising(error: Exception, *methods: str) -> Any:
    def fault(_fs: Flaky, method: str, _path: str) -> None:
        if method in methods:
            raise error

    return fault


def test_it_serves_one_caller_at_a_time(layer: FsspecLayer) -> None:
    file = layer.open("top")
    with ThreadPoolExecutor(16) as pool:
        spans = [ByteRange(i * 1_000_003, i * 1_000_003 + 77) for i in range(25)]
        assert list(pool.map(file.read, spans)) == [DATA[s.start : s.stop] for s in spans]
        assert [len(found) for found in pool.map(layer.scan, ["a", "s.zarr", "s.zarr/0"] * 5)] == [
            1,
            1,
            3,
        ] * 5
    assert Flaky.instances == 1


def test_an_absence_that_hides_an_outage_is_an_outage(layer: FsspecLayer) -> None:
    Flaky.fault = raising(FileNotFoundError("x"), "open")
    with pytest.raises(Stale):
        layer.open("top").read(ByteRange(0, 1))
    lie = FileNotFoundError("no such file")
    lie.__cause__ = ConnectionResetError("peer")
    Flaky.fault = raising(lie, "ls", "info")
    with pytest.raises(Transient):
        layer.scan("a")


def test_a_lost_session_is_made_anew(layer: FsspecLayer) -> None:
    def lose(fs: Flaky, _method: str, _path: str) -> None:
        Flaky.fault = None
        fs.lost = True
        raise OSError("Socket is closed")

    Flaky.fault = lose
    assert layer.open("top").read(ByteRange(5, 10)) == DATA[5:10]
    assert Flaky.instances == 2
    assert layer.health().state == "ok"


def test_a_directory_that_cannot_be_listed_is_not_left_out(layer: FsspecLayer) -> None:
    def fault(_fs: Flaky, method: str, path: str) -> None:
        if method == "ls" and path.endswith("s.zarr/0/1"):
            raise OSError(errno.EIO, "Input/output error")

    Flaky.fault = fault
    with pytest.raises(Transient):
        layer.stat("s.zarr/0/.zarray")
    Flaky.fault = None
    assert layer.stat("s.zarr/0/1/0").size_bytes == 5


def test_a_file_that_changes_under_a_read(layer: FsspecLayer) -> None:
    file = layer.open("top")
    assert file.read(ByteRange(0, 5)) == DATA[:5]
    Flaky.versions["/r/top"] = 2
    with pytest.raises(Stale):
        file.read(ByteRange(3 << 20, (3 << 20) + 5))
    assert layer.open("top").read(ByteRange(0, 5)) == DATA[:5]


def test_a_short_answer_is_no_answer(layer: FsspecLayer, monkeypatch: pytest.MonkeyPatch) -> None:
    file = layer.open("top")
    monkeypatch.setattr(Flaky, "_open", lambda *_args, **_options: io.BytesIO(DATA[:100]))
    with pytest.raises(Unavailable):
        file.read(ByteRange(0, 1000))


def test_a_constructor_that_hangs_takes_nobody_along(layer: FsspecLayer) -> None:
    release = threading.Event()

    def lose(fs: Flaky, _method: str, _path: str) -> None:
        fs.lost = True
        raise OSError("Socket is closed")

    Flaky.connect_fault = lambda: release.wait(20) and None
    Flaky.fault = lose
    file = layer.open("top")
    with ThreadPoolExecutor(5) as pool:
        began_s = time.monotonic()
        reads = [pool.submit(file.read, ByteRange(i << 20, (i << 20) + 5)) for i in range(5)]
        assert all(isinstance(read.exception(30), Transient) for read in reads)
        assert time.monotonic() - began_s < 15
    Flaky.fault = Flaky.connect_fault = None
    release.set()
    deadline = time.monotonic() + 20
    while True:
        try:
            assert file.read(ByteRange(0, 5)) == DATA[:5]
            break
        except Transient:
            assert time.monotonic() < deadline
            time.sleep(0.1)


class Counting(AsyncFileSystem):
    """An object store: asynchronous, with ranges and a flat listing."""

    protocol = "s3test"
    cachable = False
    hang: ClassVar[bool] = False
    cancelled: ClassVar[int] = 0

    async def _info(self, path: str, **_: Any) -> dict[str, Any]:
        if path.endswith("/big"):
            return {"name": path, "type": "file", "size": len(DATA), "ETag": '"1"'}
        if path in ("bucket/r", "bucket/r/s.zarr"):
            return {"name": path, "type": "directory", "size": 0}
        raise FileNotFoundError(path)

    async def _ls(self, path: str, **_: Any) -> list[dict[str, Any]]:
        if path != "bucket/r":
            raise FileNotFoundError(path)
        mark = {"name": "bucket/r/", "type": "file", "size": 0}
        twice = {"name": "bucket/r//", "type": "directory", "size": 0}
        return [mark, twice, {"name": "bucket/r/big", "type": "file", "size": len(DATA), "ETag": '"1"'}]

    async def _cat_file(self, *_: Any, start: int | None = None, end: int | None = None) -> bytes:
        import asyncio

        if Counting.hang:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                Counting.cancelled += 1
                raise
        return DATA[start:end]


def test_an_asynchronous_file_system_is_cancelled_when_it_hangs() -> None:
    fsspec.register_implementation("s3test", Counting, clobber=True)
    layer = FsspecLayer("lab", "s3test://bucket/r", timeout_s=0.5)
    layer.connect()
    assert [entry.name for entry in layer.scan("")] == ["big"]
    file = layer.open("big")
    assert file.read(ByteRange(20_000_000, 20_000_010)) == DATA[20_000_000:20_000_010]
    Counting.hang = True
    try:
        with pytest.raises(DeadlineExceeded):
            file.read(ByteRange(0, 10))
    finally:
        Counting.hang = False
    wait_until(lambda: Counting.cancelled == 1, what="the end of the call")
    assert file.read(ByteRange(0, 10)) == DATA[:10]
    layer.close()


@pytest.mark.parametrize("url", ["nonsense://host/x", "smb://host/share"])
def test_a_protocol_that_is_not_there_names_what_is_missing(url: str) -> None:
    layer = FsspecLayer("lab", url, timeout_s=5)
    with pytest.raises(ConfigError) as caught:
        layer.connect()
    text = str(caught.value)
    assert "\n" not in text
    assert url.partition("://")[0] in text or "smbprotocol" in text
    layer.close()


@pytest.mark.parametrize("method", ["scan", "stat", "open"])
def test_calls_without_connect_work(method: str) -> None:
    fs = fsspec.filesystem("memory")
    fs.pipe_file("/lazy/dir/x", b"x")
    layer = FsspecLayer("lab", "memory://lazy")
    getattr(layer, method)("dir" if method == "scan" else "dir/x")
    layer.close()
    fs.rm("/lazy", recursive=True)

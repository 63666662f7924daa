"""HTTP servers that refuse, hang, break off, lie about ranges and change: no wrong byte, no wrong absence."""

from __future__ import annotations

import contextlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from copickfs.errors import AccessDenied, NotFound, Stale, Transient, Unavailable
from copickfs.layers.remote import FsspecLayer
from copickfs.model import ByteRange
from tests.sandbox import wait_until
from tests.units.conftest import BIG, CHUNK, SMALL

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.webserver import WebHandler, WebServer


@pytest.fixture
def site(web_site: WebServer) -> WebServer:
    return web_site


@pytest.fixture
def layer(web_layer: FsspecLayer) -> FsspecLayer:
    return web_layer


def status(code: int) -> Callable[[WebHandler], bool]:
    def fault(handler: WebHandler) -> bool:
        handler.reply(code)
        return True

    return fault


def hang(handler: WebHandler) -> bool:
    with contextlib.suppress(OSError):
        handler.connection.recv(1 << 16)  # until the client gives up
    handler.close_connection = True
    return True


def reset(handler: WebHandler) -> bool:
    handler.close_connection = True
    handler.connection.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SO_LINGER 0: close by a reset
    handler.connection.close()
    return True


def cut(handler: WebHandler) -> bool:
    """Fewer bytes than promised, for files."""
    path = handler.server.site.root / handler.path.lstrip("/")
    if not path.is_file():
        return False
    handler.send_file(path, cut_bytes=10)
    return True


OUTAGES: dict[str, Callable[[WebHandler], bool]] = {
    "500": status(500),
    "502": status(502),
    "503": status(503),
    "429": status(429),
    "401": status(401),
    "hang": hang,
    "reset": reset,
}


@pytest.mark.parametrize("outage", OUTAGES)
def test_an_outage_is_never_an_absence(site: WebServer, layer: FsspecLayer, outage: str) -> None:
    site.fault = OUTAGES[outage]
    for path in ("dir", "dir/small.json", "dir/absent", "a.zarr/0/.zarray", "a.zarr/0/0/0/0"):
        for method in (layer.scan, layer.stat, layer.open):
            if path == "dir" and method is not layer.scan:
                continue  # known since the root was listed
            with pytest.raises(Transient):
                method(path)
    assert layer.statistics().errors > 0
    site.fault = None
    wait_until(lambda: is_found(layer, "dir/small.json"), what="the layer to come back")
    with pytest.raises(NotFound):
        layer.stat("dir/absent")


def is_found(layer: FsspecLayer, path: str) -> bool:
    try:
        layer.stat(path)
    except Transient:
        return False
    return True


@pytest.mark.parametrize("outage", [*OUTAGES, "cut"])
def test_a_read_in_an_outage_gives_no_byte_and_then_the_right_ones(
    site: WebServer, layer: FsspecLayer, outage: str
) -> None:
    small, big = layer.open("dir/small.json"), layer.open("big.bin")
    assert big.read(ByteRange(5, 10)) == BIG[5:10]
    site.fault = {**OUTAGES, "cut": cut}[outage]
    for file, span in ((small, ByteRange(0, 100)), (big, ByteRange(5 << 20, 6 << 20))):
        with pytest.raises(Transient):
            file.read(span)
    assert big.read(ByteRange(0, 1000)) == BIG[:1000], "what is at hand needs no server"
    site.fault = None
    wait_until(lambda: can_read(small), what="the layer to come back")
    assert small.read(ByteRange(0, 10**6)) == SMALL
    assert big.read(ByteRange(0, 10**8)) == BIG


def can_read(file: object) -> bool:
    try:
        file.read(ByteRange(0, 1))  # type: ignore[attr-defined]
    except Transient:
        return False
    return True


def test_a_server_that_is_gone_and_comes_back(site: WebServer, layer: FsspecLayer) -> None:
    assert layer.stat("dir/small.json").size_bytes == len(SMALL)
    layer.stat("a.zarr/0/.zarray")
    file = layer.open("big.bin")
    site.stop()
    time.sleep(0.3)  # everything remembered is out of date
    for _ in range(5):
        with pytest.raises(Transient):
            file.read(ByteRange(0, 100))
    assert layer.health().state == "down"
    began_s = time.monotonic()
    for _ in range(100):
        assert layer.stat("dir/small.json").size_bytes == len(SMALL)
        assert layer.stat("a.zarr/0/0/0/1").size_bytes == len(CHUNK)
        with pytest.raises(NotFound):
            layer.stat("a.zarr/0/0/0/2")
        with pytest.raises(NotFound):
            layer.stat("dir/absent")
    assert {entry.name for entry in layer.scan("")} == {"dir", "big.bin", "a.zarr"}
    assert layer.stat_nowait("a.zarr/0/0/0/0").size_bytes == len(CHUNK)
    assert time.monotonic() - began_s < 15, "a known answer waits for a dead server"
    with pytest.raises(Transient):
        layer.stat("dir/deep/never-asked")
    site.start()
    wait_until(lambda: can_read(file), what="the layer to come back")
    assert file.read(ByteRange(0, 10**8)) == BIG
    assert layer.health().state == "ok"
    assert layer.wait_available_hint_s() == 0


def test_an_array_that_cannot_be_listed_has_no_metadata(site: WebServer, layer: FsspecLayer) -> None:
    layer.scan("a.zarr")

    def inner_fails(handler: WebHandler) -> bool:
        return "/a.zarr/0/0/" in handler.path and status(503)(handler)

    site.fault = inner_fails
    for path in ("a.zarr/0/.zarray", "a.zarr/0/0/0/0", "a.zarr/0/0/0/9"):
        with pytest.raises(Transient):
            layer.stat(path)
    site.fault = None
    wait_until(lambda: is_found(layer, "a.zarr/0/.zarray"), what="the array to be listed")
    asked = len(site.requests)
    for path in ("a.zarr/0/0/0/0", "a.zarr/0/0/0/1"):
        assert layer.open_nowait(path).entry.size_bytes == len(CHUNK)
    with pytest.raises(NotFound):
        layer.stat_nowait("a.zarr/0/0/0/9")
    assert len(site.requests) == asked, "a lookup below a listed array went to the server"


def test_a_truncated_listing_is_not_believed(site: WebServer, layer: FsspecLayer) -> None:
    page = b'<html><title>Index of /dir/</title><a href="../">up</a><a href="deep/">deep/</a>'

    def broken(handler: WebHandler) -> bool:
        if handler.path != "/dir/":
            return False
        handler.send_response(200)
        handler.send_header("Content-Type", "text/html")
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.wfile.write(page)
        handler.close_connection = True
        return True

    site.fault = broken
    with pytest.raises(Transient):
        layer.stat("dir/small.json")
    site.fault = None
    wait_until(lambda: is_found(layer, "dir/small.json"), what="the whole listing")


def test_a_forbidden_file_is_there_but_cannot_be_read(site: WebServer, layer: FsspecLayer) -> None:
    site.fault = lambda handler: "small" in handler.path and status(403)(handler)
    assert "small.json" in {entry.name for entry in layer.scan("dir")}
    with pytest.raises(AccessDenied):
        layer.open("dir/small.json")
    assert layer.health().state == "ok"


def test_a_change_between_two_reads_is_noticed(site: WebServer, layer: FsspecLayer) -> None:
    announced: list[str] = []
    layer.subscribe(announced.append)
    for change in ("rewritten", "shorter", "gone"):
        file = layer.open("big.bin")
        assert file.read(ByteRange(0, 10)) == BIG[:10]
        path = site.root / "big.bin"
        if change == "gone":
            path.unlink()
        else:
            path.write_bytes(BIG[::-1] if change == "rewritten" else BIG[:8_500_000])
        announced.clear()
        with pytest.raises(Stale):
            file.read(ByteRange(3 << 20, 4 << 20))
        assert "big.bin" in announced
        if change != "gone":
            with contextlib.closing(layer.open("big.bin")) as again:
                assert again.read(ByteRange(0, 10**8)) == path.read_bytes()
            path.write_bytes(BIG)
            layer.refresh()
    with pytest.raises(NotFound):
        layer.open("big.bin")


def test_a_change_without_an_etag_is_noticed_by_time_and_size(site: WebServer) -> None:
    site.etags = False
    layer = FsspecLayer("lab", site.url)
    layer.connect()
    file = layer.open("big.bin")
    (site.root / "big.bin").write_bytes(BIG[::-1])
    os.utime(site.root / "big.bin", (1_600_000_000, 1_600_000_000))
    with pytest.raises(Stale):
        file.read(ByteRange(0, 10))
    layer.close()


def test_a_change_of_size_alone_is_noticed(site: WebServer) -> None:
    site.etags = False
    small = site.root / "dir/small.json"
    os.utime(small, (1_600_000_000, 1_600_000_000))
    layer = FsspecLayer("lab", site.url)
    layer.connect()
    file = layer.open("dir/small.json")
    small.write_bytes(SMALL + b"more")
    os.utime(small, (1_600_000_000, 1_600_000_000))
    with pytest.raises(Stale):
        file.read(ByteRange(0, 10))
    layer.close()


def test_an_answer_that_just_ends_is_no_answer(site: WebServer, layer: FsspecLayer) -> None:
    small, big = layer.open("dir/small.json"), layer.open("big.bin")
    site.lengths = False  # the end of the connection is the end of the body
    site.fault = cut
    for file, span in ((small, ByteRange(0, 100)), (big, ByteRange(5 << 20, 6 << 20))):
        with pytest.raises(Unavailable, match="bytes came"):
            file.read(span)


def test_sequential_reads_ask_for_whole_blocks(site: WebServer, layer: FsspecLayer) -> None:
    with contextlib.closing(layer.open("big.bin")) as file:
        asked = len(site.requests)
        step = 128 << 10
        parts = [file.read(ByteRange(i, i + step)) for i in range(0, len(BIG), step)]
    assert b"".join(parts) == BIG
    assert len(site.requests) - asked == len(BIG) >> 20
    with contextlib.closing(layer.open("dir/small.json")) as file, ThreadPoolExecutor(16) as pool:
        asked = len(site.requests)
        spans = [ByteRange(i, i + 10) for i in range(100)]
        assert list(pool.map(file.read, spans)) == [SMALL[s.start : s.stop] for s in spans]
        assert file.read_nowait(ByteRange(5, 7)) == SMALL[5:7]
        assert len(site.requests) - asked == 1


def test_a_hundred_askers_make_one_request(site: WebServer) -> None:
    layer = FsspecLayer("lab", site.url, timeout_s=10)
    layer.connect()
    site.requests.clear()

    def slow(handler: WebHandler) -> bool:
        if handler.path == "/dir/":
            time.sleep(0.5)
        return False

    site.fault = slow
    with ThreadPoolExecutor(100) as pool:
        assert len(set(pool.map(lambda _: len(layer.scan("dir")), range(100)))) == 1
    assert site.requests.count("GET /dir/") == 1
    assert site.requests.count("HEAD /dir/small.json") == 1
    layer.close()

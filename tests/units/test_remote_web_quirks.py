"""What web servers do and file systems do not: no ranges, no lengths, no listings, other pages."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from copickfs.errors import AccessDenied, ConfigError, NotFound, Transient, Unavailable
from copickfs.layers.remote import FsspecLayer
from copickfs.model import ByteRange
from tests.units.conftest import BIG, CHUNK, SMALL

if TYPE_CHECKING:
    from tests.webserver import WebHandler, WebServer


@pytest.fixture
def site(web_site: WebServer) -> WebServer:
    return web_site


@pytest.fixture
def layer(web_layer: FsspecLayer) -> FsspecLayer:
    return web_layer


def test_a_server_without_ranges_is_read_as_a_whole_or_not_at_all(site: WebServer) -> None:
    site.ranges = False
    with (site.root / "huge.bin").open("wb") as huge:
        huge.truncate(20 << 30)
    layer = FsspecLayer("lab", site.url, timeout_s=5)
    layer.connect()
    with contextlib.closing(layer.open("big.bin")) as file:
        assert file.read(ByteRange(4_000_000, 4_000_100)) == BIG[4_000_000:4_000_100]
        asked = len(site.requests)
        assert file.read(ByteRange(100, 200)) == BIG[100:200]
        assert len(site.requests) == asked
    before = layer.statistics().bytes_read
    with (
        contextlib.closing(layer.open("huge.bin")) as file,
        pytest.raises(OSError, match="cannot send a part"),
    ):
        file.read(ByteRange(10 << 30, (10 << 30) + 10))
    assert layer.statistics().bytes_read == before
    assert layer.health().state == "ok"
    layer.close()


def test_a_range_that_is_not_the_one_asked_for_is_refused(site: WebServer, layer: FsspecLayer) -> None:
    def elsewhere(handler: WebHandler) -> bool:
        if handler.headers.get("Range", "").startswith("bytes=3"):
            handler.headers.replace_header("Range", "bytes=0-1048575")
        return False

    site.fault = elsewhere
    with contextlib.closing(layer.open("big.bin")) as file, pytest.raises(Unavailable, match="another range"):
        file.read(ByteRange(3 << 20, (3 << 20) + 5))


def test_files_without_a_length_are_not_guessed_at(site: WebServer) -> None:
    site.lengths = site.ranges = False
    layer = FsspecLayer("lab", site.url)
    layer.connect()
    assert layer.stat("big.bin").mode & 0o777 == 0
    with pytest.raises(AccessDenied):
        layer.open("big.bin")
    site.ranges = True  # a range tells the length
    layer.refresh()
    assert layer.stat("big.bin").size_bytes == len(BIG)
    layer.close()


def test_a_server_without_listings_says_what_works(site: WebServer, caplog: pytest.LogCaptureFixture) -> None:
    site.listing = ""
    layer = FsspecLayer("lab", site.url, timeout_s=5)
    layer.connect()
    assert "no directory listings" in caplog.text
    assert layer.stat("dir/small.json").size_bytes == len(SMALL)
    with contextlib.closing(layer.open("big.bin")) as file:
        assert file.read(ByteRange(0, 10)) == BIG[:10]
    assert layer.stat("dir").is_dir
    with pytest.raises(AccessDenied):
        layer.scan("")
    asked = len(site.requests)
    for _ in range(5):
        with pytest.raises(NotFound):
            layer.stat("dir/absent")
    assert len(site.requests) - asked <= 3, "a negative answer is not remembered"
    with pytest.raises(AccessDenied):
        layer.stat("a.zarr/0/.zarray")
    site.stop()
    with pytest.raises(Transient):
        layer.stat("dir/other")
    layer.close()


@pytest.mark.parametrize("listing", ["html", "json"])
def test_a_server_that_does_not_list_dot_names(site: WebServer, listing: str) -> None:
    site.dot_names = False
    site.listing = listing
    (site.root / "dir/.meta").write_bytes(b"meta")
    (site.root / "a.zarr/.zgroup").write_bytes(b"{}")
    layer = FsspecLayer("lab", site.url, timeout_s=5)
    layer.connect()
    assert {e.name for e in layer.scan("a.zarr")} == {"0", ".zgroup"}
    assert layer.stat("a.zarr/0/.zarray").size_bytes == len(CHUNK)
    assert layer.stat("dir/.meta").size_bytes == 4
    asked = len(site.requests)
    for path in ("a.zarr/0/0/0/0", "a.zarr/0/0/0/1", "a.zarr/0/.zarray", "a.zarr/.zgroup", "dir/.meta"):
        layer.stat_nowait(path)
    for path in ("a.zarr/.zattrs", "a.zarr/0/.zattrs", "a.zarr/0/0/0/2", "a.zarr/0/0/.zgroup"):
        with pytest.raises(NotFound):
            layer.stat_nowait(path)
    assert len(site.requests) == asked
    for _ in range(3):
        with pytest.raises(NotFound):
            layer.stat("dir/.absent")
    assert len(site.requests) <= asked + 2
    layer.close()


def test_a_page_is_no_listing(site: WebServer, layer: FsspecLayer) -> None:
    page = b'<html><title>Our lab</title><body><a href="small.json">one of our files</a></body></html>'

    def home_page(handler: WebHandler) -> bool:
        if handler.path != "/dir/":
            return False
        handler.reply(200, page, Content_Type="text/html")
        return True

    site.fault = home_page
    with pytest.raises(AccessDenied):
        layer.scan("dir")
    assert layer.stat("dir/small.json").size_bytes == len(SMALL)
    assert layer.stat("dir/deep").is_dir


@pytest.mark.parametrize(
    ("root", "message"), [("absent/", "no such directory"), ("big.bin", "not a directory")]
)
def test_a_root_that_cannot_work_is_refused(site: WebServer, root: str, message: str) -> None:
    layer = FsspecLayer("lab", site.url + root)
    if root == "big.bin":
        site.fault = lambda handler: handler.path == "/big.bin/" and redirect(handler)
    with pytest.raises(ConfigError, match=message):
        layer.connect()
    layer.close()


def test_an_argument_that_the_library_does_not_know_is_refused(site: WebServer) -> None:
    """It takes them all at first, and stumbles over this one with the first request."""
    layer = FsspecLayer("lab", site.url, fs_args={"no_such_option": 1})
    with pytest.raises(ConfigError, match="'no_such_option' in 'fs_args' is not known") as caught:
        layer.connect()
    assert "layer lab" not in str(caught.value)
    layer.close()


def redirect(handler: WebHandler) -> bool:
    handler.reply(301, Location="/big.bin")
    return True


def test_a_root_that_vanishes_is_an_outage(site: WebServer, layer: FsspecLayer) -> None:
    layer.scan("dir")
    site.root.rename(site.root.parent / "unmounted")
    site.root.mkdir()
    site.root.rmdir()
    layer.refresh()
    with pytest.raises(Transient):
        layer.scan("dir/deep")
    assert layer.stat("dir/small.json").size_bytes == len(SMALL), "stale beats wrong"


@pytest.mark.parametrize(
    ("fs_args", "environment", "reader"),
    [
        ({}, {}, "object_store"),
        ({"headers": {"X-Lab": "1"}}, {}, "object_store"),
        ({"client_kwargs": {"trust_env": False}}, {}, "aiohttp"),
        ({}, {"http_proxy": "http://127.0.0.1:1"}, "aiohttp"),
    ],
)
def test_contents_are_asked_for_with_the_session_of_the_listings_if_that_is_a_special_one(
    site: WebServer,
    monkeypatch: pytest.MonkeyPatch,
    fs_args: dict[str, Any],
    environment: dict[str, str],
    reader: str,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    agents: list[str] = []

    def note(handler: WebHandler) -> bool:
        if handler.command == "GET" and "big" in handler.path:
            agents.append(handler.headers["User-Agent"])
            assert handler.headers["Accept-Encoding"] == "identity"
            assert handler.headers.get("X-Lab") == fs_args.get("headers", {}).get("X-Lab")
        return False

    site.fault = note
    with contextlib.closing(FsspecLayer("lab", site.url, fs_args=fs_args, timeout_s=5)) as layer:
        layer.connect()
        with contextlib.closing(layer.open("big.bin")) as file:
            assert file.read(ByteRange(1 << 20, 3 << 20)) == BIG[1 << 20 : 3 << 20]
    assert agents
    assert all(reader in agent.lower() for agent in agents)


def test_a_server_that_tells_no_length_of_a_part_is_read_by_aiohttp_from_then_on(site: WebServer) -> None:
    with contextlib.closing(FsspecLayer("lab", site.url, timeout_s=5)) as layer:
        layer.connect()
        assert layer.stat("dir/small.json").size_bytes == len(SMALL)
        site.lengths = False
        asked = len(site.requests)
        for _ in range(2):
            with contextlib.closing(layer.open("dir/small.json")) as file:
                assert file.read(ByteRange(0, len(SMALL))) == SMALL
        assert len(site.requests) - asked <= 3

"""Object stores that fail: what was not said by the store is an outage, and no outage is an absence."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from copickfs.errors import (
    AccessDenied,
    ConfigError,
    DeadlineExceeded,
    NotADirectory,
    NotFound,
    Stale,
    Transient,
)
from copickfs.layers.remote import FsspecLayer
from copickfs.layers.sources import RangesIgnored
from copickfs.model import ByteRange
from tests.sandbox import wait_until
from tests.servers import free_port
from tests.storeserver import STAMPS, Answer, StoreServer, error, listing, reply
from tests.units.conftest import own_threads

if TYPE_CHECKING:
    from collections.abc import Iterator

DATA = b"1234"
HTML = reply("200 OK", b"<html><body>Please log in</body></html>", "Content-Type: text/html\r\n")


class Faulty:
    """A store with ``r/dir/x``, and answers in the place of its own."""

    def __init__(self) -> None:
        self.listing: bytes | Answer | None = None
        self.head: bytes | Answer | None = None
        self.get: bytes | Answer | None = None

    def __call__(self, method: str, address: str, _body: bytes) -> bytes | Answer:
        if "list-type=2" in address:
            return self.own(address) if self.listing is None else self.listing
        if method == "HEAD":
            return reply("404 Not Found") if self.head is None else self.head
        return reply("200 OK", DATA, STAMPS) if self.get is None else self.get

    @staticmethod
    def own(address: str) -> bytes:
        if "prefix=r%2Fdir%2F" in address:
            return listing("r/dir/x")
        return listing(prefixes=("r/dir/",)) if "delimiter" in address else listing("r/dir/x")


@pytest.fixture
def faulty() -> Faulty:
    return Faulty()


@pytest.fixture
def server(faulty: Faulty) -> Iterator[StoreServer]:
    with StoreServer(faulty) as opened:
        yield opened


def unconnected(port: int, timeout_s: float = 1) -> contextlib.closing[FsspecLayer]:
    args = {"endpoint_url": f"http://127.0.0.1:{port}", "key": "reader-4711", "secret": "open-sesame-4711"}
    return contextlib.closing(FsspecLayer("lab", "s3://bucket/r", fs_args=args, timeout_s=timeout_s))


@pytest.fixture
def layer(server: StoreServer) -> Iterator[FsspecLayer]:
    with unconnected(server.port) as opened:
        opened.connect()
        yield opened
    wait_until(lambda: not own_threads(), what="the end of the layer's threads")


OUTAGES: dict[str, bytes | Answer] = {
    "500": error("500 Internal Server Error", "InternalError"),
    "503": reply("503 Slow Down", b"<Error><Code>SlowDown</Code></Error>", "Retry-After: 1\r\n"),
    "429": reply("429 Too Many Requests", b"", "Retry-After: 1\r\n"),
    "html": HTML,
    "error in 200": error("200 OK", "InternalError"),
    "garbage": b"SSH-2.0-OpenSSH\r\n",
    "nothing": b"",
    "hang": Answer(b"", "hang"),
    "redirect": reply("302 Found", b"", "Location: http://127.0.0.1:1/login\r\n"),
    "no bucket": error("404 Not Found", "NoSuchBucket"),
    "404 of a proxy": reply("404 Not Found", b"<html>nginx</html>"),
    "expired": error("400 Bad Request", "ExpiredToken"),
}


@pytest.mark.parametrize("fault", OUTAGES, ids=str)
def test_a_listing_that_is_none_is_an_outage(faulty: Faulty, layer: FsspecLayer, fault: str) -> None:
    layer.scan("")
    faulty.listing = OUTAGES[fault]
    faulty.head = HTML if fault in ("html", "error in 200") else None
    for method in (layer.scan, lambda path: layer.stat(f"{path}/x")):
        with pytest.raises(Transient) as caught:
            method("dir")
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 300
    assert layer.statistics().errors > 0
    faulty.listing = faulty.head = None
    wait_until(lambda: listed(layer), what="the layer")


def listed(layer: FsspecLayer) -> bool:
    try:
        return [entry.name for entry in layer.scan("dir")] == ["x"]
    except Transient:
        return False


def test_a_page_that_is_none_is_no_end(faulty: Faulty, server: StoreServer) -> None:
    pages: list[bytes] = []
    first = listing(*(f"r/dir/{number:04}" for number in range(1_000)), token="more")  # noqa: S106 - where the next page begins
    faulty_own = faulty.own

    def own(address: str) -> bytes:
        if "prefix=r%2Fdir%2F" not in address:
            return faulty_own(address)
        return pages.pop(0) if "continuation-token" in address else first

    faulty.own = own  # type: ignore[method-assign]
    with unconnected(server.port) as layer:
        layer.connect()
        pages[:] = [HTML, listing("r/dir/1000")] * 20
        with pytest.raises(Transient, match="differ"):
            layer._connection.scan("dir")


BODIES: dict[str, bytes | Answer] = {
    "500": error("500 Internal Server Error", "InternalError"),
    "html": HTML,
    "short": reply("200 OK", DATA[:2], STAMPS, length=4),
    "shorter than listed": reply("200 OK", DATA[:3], STAMPS),
    "reset": Answer(reply("200 OK", DATA[:2], STAMPS, length=4), "reset"),
    "hang": Answer(reply("200 OK", DATA[:2], STAMPS, length=4), "hang"),
    "no length": b"HTTP/1.1 200 OK\r\nConnection: close\r\n" + STAMPS.encode() + b"\r\n" + DATA[:2],
}


@pytest.mark.parametrize("fault", BODIES, ids=str)
def test_a_body_that_is_not_whole_is_never_given_out(faulty: Faulty, layer: FsspecLayer, fault: str) -> None:
    with contextlib.closing(layer.open("dir/x")) as file:
        faulty.get = BODIES[fault]
        began_s = time.monotonic()
        with pytest.raises((Transient, Stale)):
            file.read(ByteRange(0, 10))
        assert time.monotonic() - began_s < 5
        faulty.get = None
        wait_until(lambda: got(file) == DATA, what="the file")


def got(file: Any) -> bytes:
    try:
        return bytes(file.read(ByteRange(0, 10)))
    except (Transient, Stale):
        return b""


@pytest.mark.parametrize(
    "answer",
    [
        error("412 Precondition Failed", "PreconditionFailed"),
        error("416 Range Not Satisfiable", "InvalidRange"),
        error("404 Not Found", "NoSuchKey"),
        reply("200 OK", DATA, STAMPS.replace('"1"', '"2"')),
        reply("200 OK", DATA * 2, STAMPS.replace('"1"', '"2"')),
    ],
    ids=["412", "416", "404", "another ETag", "another length"],
)
def test_another_version_is_stale(faulty: Faulty, layer: FsspecLayer, answer: bytes) -> None:
    with contextlib.closing(layer.open("dir/x")) as file:
        faulty.get = answer
        with pytest.raises(Stale):
            file.read(ByteRange(0, 10))


def test_the_same_version_of_another_length_is_none(faulty: Faulty, layer: FsspecLayer) -> None:
    """Nor is it another one, whose error readers of zarr would take for zeros: it is waited for."""
    with contextlib.closing(layer.open("dir/x")) as file:
        faulty.get = reply("200 OK", DATA * 2, STAMPS)
        with pytest.raises(Transient):
            file.read(ByteRange(0, 10))
        faulty.get = None
        assert got(file) == DATA


class Etagged:
    """A store of one object, whose ETag is a digest of 32 digits, and of bodies one after the other."""

    def __init__(self, etag: str, *bodies: bytes) -> None:
        self.etag = etag
        self.bodies = list(bodies)
        self.gets = 0

    def __call__(self, _method: str, address: str, _body: bytes) -> bytes:
        if "list-type=2" in address:
            return listing("r/x", etag=self.etag)
        self.gets += 1
        body = self.bodies.pop(0) if len(self.bodies) > 1 else self.bodies[0]
        return reply("200 OK", body, STAMPS.replace('"1"', f'"{self.etag}"'))


MD5 = hashlib.md5(DATA, usedforsecurity=False).hexdigest()
DAMAGED = (b"1235", b"1236", b"1237")


@contextlib.contextmanager
def etagged(etag: str, *bodies: bytes) -> Iterator[tuple[FsspecLayer, Etagged]]:
    store = Etagged(etag, *bodies)
    with StoreServer(store) as server, unconnected(server.port) as layer:
        layer.connect()
        yield layer, store


def test_a_damaged_body_is_fetched_again(caplog: pytest.LogCaptureFixture) -> None:
    with etagged(MD5, DAMAGED[0], DATA, DATA) as (layer, store), contextlib.closing(layer.open("x")) as file:
        assert file.read(ByteRange(0, 10)) == DATA
        assert store.gets == 2
    assert [r.getMessage()[:1] for r in caplog.records if r.levelname == "WARNING"] == ["x"]


def test_bodies_that_are_damaged_each_time_are_an_outage() -> None:
    with (
        etagged(MD5, *DAMAGED) as (layer, _),
        contextlib.closing(layer.open("x")) as file,
        pytest.raises(Transient, match="ETag"),
    ):
        file.read(ByteRange(0, 10))


def test_an_etag_that_is_no_digest_is_found_out_once(caplog: pytest.LogCaptureFixture) -> None:
    """As those of encrypted objects, which look the same."""
    with etagged("0" * 32, DATA) as (layer, store):
        for expected in (2, 3):
            layer._pieces.cache.memory.clear()
            with contextlib.closing(layer.open("x")) as file:
                assert file.read(ByteRange(0, 10)) == DATA
            assert store.gets == expected
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_an_etag_of_parts_is_compared_with_nothing() -> None:
    with etagged(f"{'0' * 32}-2", DATA) as (layer, store), contextlib.closing(layer.open("x")) as file:
        assert file.read(ByteRange(0, 10)) == DATA
        assert store.gets == 1


def test_a_server_that_sends_whole_objects_only_is_known_as_one(layer: FsspecLayer) -> None:
    found = layer.found("dir/x")
    with pytest.raises(RangesIgnored):
        layer._connection.read("dir/x", ByteRange(0, 2), found)
    assert layer.health().state == "ok"


def test_what_is_denied_is_denied(faulty: Faulty, layer: FsspecLayer) -> None:
    with contextlib.closing(layer.open("dir/x")) as file:
        faulty.get = error("403 Forbidden", "AccessDenied")
        with pytest.raises(AccessDenied):
            file.read(ByteRange(0, 10))
    assert layer.health().state == "ok"
    faulty.listing = error("403 Forbidden", "AccessDenied")
    with pytest.raises(AccessDenied):
        layer._connection.scan("dir")
    faulty.listing, faulty.head = None, error("403 Forbidden", "AccessDenied")
    assert layer._connection.info("dir").kind == "d"


def test_an_empty_listing_is_believed_if_there_is_no_object(faulty: Faulty, layer: FsspecLayer) -> None:
    faulty.listing = listing()
    with pytest.raises(NotFound):
        layer._connection.scan("dir")
    faulty.head = reply("200 OK", b"", STAMPS)
    with pytest.raises(NotADirectory):
        layer._connection.scan("dir")


REFUSALS: dict[str, tuple[bytes, str]] = {
    "key": (error("403 Forbidden", "InvalidAccessKeyId", "no such key"), "refuses the credentials"),
    "signature": (error("403 Forbidden", "SignatureDoesNotMatch"), "refuses the credentials"),
    "token": (error("400 Bad Request", "ExpiredToken", "it has expired"), "it has expired"),
    "login": (reply("401 Unauthorized"), "refuses the credentials"),
    "bucket": (error("404 Not Found", "NoSuchBucket"), "no such bucket"),
    "region": (reply("301 Moved Permanently", b"<Error><Code>PermanentRedirect</Code></Error>"), "region"),
    "denied": (error("403 Forbidden", "AccessDenied"), "no permission"),
}


@pytest.mark.parametrize("refusal", REFUSALS, ids=str)
def test_a_configuration_that_is_refused_is_told_at_once(
    faulty: Faulty, server: StoreServer, refusal: str
) -> None:
    faulty.listing, told = REFUSALS[refusal]
    with unconnected(server.port, timeout_s=5) as layer:
        with pytest.raises(ConfigError, match=told) as caught:
            layer.connect()
        assert len(server.requests) <= 2
        text = str(caught.value)
        assert "\n" not in text
        assert "4711" not in text
        assert "s3://bucket/r" in text


def test_a_server_that_is_not_there_is_an_outage_that_says_which_and_why() -> None:
    port = free_port()
    told = rf"^layer lab: s3://bucket/r at http://127\.0\.0\.1:{port}: .*Connection refused"
    with unconnected(port) as layer, pytest.raises(Transient, match=told):
        layer.connect()


def test_a_server_that_says_nothing_is_given_up(server: StoreServer, faulty: Faulty) -> None:
    faulty.listing = Answer(b"", "hang")
    with unconnected(server.port) as layer:
        began_s = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            layer.connect()
        assert time.monotonic() - began_s < 5
    wait_until(lambda: not own_threads(), what="the end of the layer's threads")


def test_a_server_that_accepts_nothing_is_given_up() -> None:
    deaf = socket.create_server(("127.0.0.1", 0), backlog=0)
    with deaf, unconnected(deaf.getsockname()[1]) as layer, pytest.raises(Transient):
        layer.connect()
    wait_until(lambda: not own_threads(), what="the end of the layer's threads")


def test_a_slow_line_that_makes_progress_is_no_silence(faulty: Faulty, layer: FsspecLayer) -> None:
    data = bytes(range(256)) * (6 << 10)
    faulty.listing = listing("r/dir/x", size=len(data))
    faulty.get = Answer(reply("200 OK", data, STAMPS), pause_s=0.4)
    layer.scan("")
    with contextlib.closing(layer.open("dir/x")) as file:
        began_s = time.monotonic()
        assert file.read(ByteRange(0, len(data))) == data
        assert time.monotonic() - began_s > 2


def test_a_long_listing_is_no_silence(faulty: Faulty, server: StoreServer) -> None:
    def page(address: str) -> Answer:
        token = "" if "continuation-token=3" in address else "3" if "continuation-token=2" in address else "2"
        keys = (f"r/dir/{address[-6:-1]}{number}" for number in range(10))
        return Answer(listing(*keys, token=token), pause_s=0.08)

    with unconnected(server.port) as layer:
        layer.connect()
        faulty.own = page  # type: ignore[method-assign, assignment]
        began_s = time.monotonic()
        assert layer._connection.scan("dir")
        assert time.monotonic() - began_s > 1.2

"""Arrays on a web server that lists nothing: which chunks there are follows from their metadata."""

from __future__ import annotations

import contextlib
import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr

from copickfs.errors import AccessDenied, NotFound, Transient
from copickfs.layers.remote import FsspecLayer
from tests.webserver import WebServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.webserver import WebHandler

WHOLE = [f"{z}/{y}/{x}" for z in range(2) for y in range(2) for x in range(3)]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[WebServer]:
    (tmp_path / "served").mkdir()
    with WebServer(tmp_path / "served") as server:
        server.listing = ""
        yield server


@contextlib.contextmanager
def connected(site: WebServer) -> Iterator[FsspecLayer]:
    with contextlib.closing(FsspecLayer("lab", site.url, timeout_s=2)) as layer:
        layer.connect()
        yield layer


def write_array(site: WebServer, separator: str, *, missing: str = "") -> None:
    array = zarr.open(
        str(site.root / "t.zarr/0"), mode="w", shape=(4, 4, 6), chunks=(2, 2, 2), dtype="u1",
        dimension_separator=separator, compressor=None, fill_value=0,
    )  # fmt: skip
    array[:] = np.arange(96, dtype="u1").reshape(4, 4, 6) + 1
    if missing:
        (site.root / "t.zarr/0" / missing.replace("/", separator)).unlink()


@pytest.mark.parametrize("separator", [".", "/"])
def test_chunks_follow_from_the_metadata(site: WebServer, separator: str) -> None:
    write_array(site, separator, missing="1/0/2")
    with connected(site) as layer:
        assert layer.stat("t.zarr/0/.zarray").size_bytes > 0
        asked = len(site.requests)
        for key in WHOLE:
            path = f"t.zarr/0/{key.replace('/', separator)}"
            if key == "1/0/2":
                with pytest.raises(NotFound):
                    layer.stat_nowait(path)
            else:
                assert layer.stat_nowait(path).size_bytes == 8
        top = {"1", "0"} if separator == "/" else {key.replace("/", ".") for key in WHOLE} - {"1.0.2"}
        assert {entry.name for entry in layer.scan_nowait("t.zarr/0")} == {".zarray", *top}
        assert len(site.requests) == asked, "a lookup in an array cost a request"


V3: dict[str, Any] = {
    "zarr_format": 3, "node_type": "array", "shape": [3, 5], "data_type": "uint8", "fill_value": 0,
    "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2, 2]}}, "codecs": [],
}  # fmt: skip


@pytest.mark.parametrize(
    ("encoding", "chunk"),
    [
        ({"name": "default"}, "c/1/2"),
        ({"name": "default", "configuration": {"separator": "."}}, "c.1.2"),
        ({"name": "v2"}, "1.2"),
        ({"name": "v2", "configuration": {"separator": "/"}}, "1/2"),
    ],
)
def test_chunks_of_version_3(site: WebServer, encoding: dict[str, Any], chunk: str) -> None:
    file = site.root / "t.zarr" / chunk
    file.parent.mkdir(parents=True)
    file.write_bytes(b"1234")
    (site.root / "t.zarr/zarr.json").write_text(json.dumps({**V3, "chunk_key_encoding": encoding}))
    with connected(site) as layer:
        assert layer.stat(f"t.zarr/{chunk}").size_bytes == 4
        with pytest.raises(NotFound):
            layer.stat_nowait(f"t.zarr/{chunk.replace('1', '0')}")


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"shape": [4], "chunks": [0]}',
        b'{"shape": [4], "chunks": [1, 2]}',
        b'{"shape": ["4"], "chunks": [1]}',
        b'{"shape": [1000000000, 1000000000], "chunks": [1, 1]}',
        b'{"shape": [-4], "chunks": [2]}',
    ],
)
def test_what_is_no_metadata_is_refused(site: WebServer, document: bytes) -> None:
    (site.root / "t.zarr").mkdir()
    (site.root / "t.zarr/.zarray").write_bytes(document)
    with connected(site) as layer, pytest.raises(AccessDenied):
        layer.stat("t.zarr/.zarray")


def answers(status: int, at: str) -> Callable[[WebHandler], bool]:
    def fault(handler: WebHandler) -> bool:
        if at in handler.path:
            handler.reply(status)
            return True
        return False

    return fault


def test_an_outage_while_chunks_are_asked_for_is_no_absence(site: WebServer) -> None:
    write_array(site, ".")
    with connected(site) as layer:
        site.fault = answers(HTTPStatus.INTERNAL_SERVER_ERROR, "/1.1.1")
        with pytest.raises(Transient):
            layer.stat("t.zarr/0/.zarray")
        site.fault = None
        assert layer.stat("t.zarr/0/1.1.1").size_bytes == 8


def test_a_chunk_that_is_refused_is_not_absent(site: WebServer) -> None:
    write_array(site, ".")
    site.fault = answers(HTTPStatus.FORBIDDEN, "/1.1.1")
    with connected(site) as layer:
        assert layer.stat("t.zarr/0/1.1.1").mode & 0o777 == 0
        with pytest.raises(AccessDenied):
            layer.open("t.zarr/0/1.1.1")

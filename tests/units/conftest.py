"""A small tree behind a web server, and a layer that shows it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from copickfs.layers.remote import FsspecLayer
from tests.sandbox import wait_until
from tests.webserver import WebServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BIG = bytes(range(256)) * (36 << 10)  # 9 MiB: read in blocks
SMALL = b"small contents" * 100
CHUNK = b"chunk" * 50


@pytest.fixture
def web_site(tmp_path: Path) -> Iterator[WebServer]:
    root = tmp_path / "site"
    (root / "dir/deep").mkdir(parents=True)
    (root / "big.bin").write_bytes(BIG)
    (root / "dir/small.json").write_bytes(SMALL)
    for name in (".zarray", "0/0/0", "0/0/1"):
        (root / "a.zarr/0" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "a.zarr/0" / name).write_bytes(CHUNK)
    with WebServer(root) as server:
        yield server


@pytest.fixture
def web_layer(web_site: WebServer) -> Iterator[FsspecLayer]:
    opened = FsspecLayer("lab", web_site.url, timeout_s=2, ttl_s=0.2)
    opened.connect()
    yield opened
    opened.close()
    wait_until(lambda: not own_threads(), what="the end of the layer's threads")


def own_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("copickfs")]

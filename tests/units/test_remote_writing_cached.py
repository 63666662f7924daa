"""What is written to a remote layer and sent behind stays in the cache."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import pytest

from copickfs.config.schema import CacheConfig
from copickfs.layers.cachelayer import CacheLayer
from copickfs.layers.writable import Owner
from copickfs.model import ByteRange
from tests.objectstore import ObjectStore
from tests.remotes import Remote
from tests.sandbox import wait_until
from tests.units.conftest import own_threads

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from copickfs.layers.remotewrite import WritableFsspecLayer


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[Remote]:
    with ObjectStore() as store:
        root = store.url.removeprefix("s3://")
        yield Remote(store.url, store.fs_args, tmp_path / "journals", store, store.client(), root)
    wait_until(lambda: not own_threads(), what="the end of the layer's threads")


@contextlib.contextmanager
def cached(remote: Remote, root: Path, *, propagate: bool) -> Iterator[WritableFsspecLayer]:
    cache = CacheLayer(CacheConfig(layer_name="kept", root=str(root), min_free_bytes=0))
    cache.connect()
    with contextlib.closing(cache), remote.layer(propagate=propagate, cache=cache) as layer:
        yield layer


def write(layer: WritableFsspecLayer, path: str, data: bytes) -> None:
    with contextlib.closing(layer.create(path, 0o644, Owner(0, 0), whole=True)) as file:
        file.write(0, data)
        file.flush()


def read(layer: WritableFsspecLayer, path: str, size_bytes: int) -> bytes:
    with contextlib.closing(layer.open(path)) as file:
        return file.read(ByteRange(0, size_bytes))


@pytest.mark.parametrize("size_bytes", [3_000, 9 << 20])
def test_what_was_sent_behind_is_read_without_a_request(
    remote: Remote, tmp_path: Path, size_bytes: int
) -> None:
    data = os.urandom(size_bytes)
    with cached(remote, tmp_path / "cache", propagate=True) as layer:
        write(layer, "notes.bin", data)
        assert layer.flush_pending(30)
        assert remote.files() == {"notes.bin": data}
    with cached(remote, tmp_path / "cache", propagate=True) as layer:
        assert layer.stat("notes.bin").size_bytes == size_bytes
        before = layer.statistics()
        assert read(layer, "notes.bin", size_bytes) == data
        assert layer.statistics().requests == before.requests
        assert layer.statistics().bytes_read == 0


def test_what_somebody_else_has_put_there_since_is_read_anew(remote: Remote, tmp_path: Path) -> None:
    with cached(remote, tmp_path / "cache", propagate=True) as layer:
        write(layer, "notes.bin", b"mine")
        assert layer.flush_pending(30)
        remote.put("notes.bin", b"hers")
        layer.refresh()
        assert read(layer, "notes.bin", 4) == b"hers"

"""Layers on object stores: how often they ask, and what they make of keys."""

from __future__ import annotations

import contextlib
import errno
import sys
from typing import TYPE_CHECKING

import pytest

from copickfs.errors import ConfigError, NotFound, Stale
from copickfs.layers.remote import FsspecLayer
from copickfs.model import ByteRange
from tests.objectstore import ObjectStore
from tests.sandbox import wait_until
from tests.units.conftest import own_threads

if TYPE_CHECKING:
    from collections.abc import Iterator

BIG = bytes(range(256)) * (36 << 10)


@pytest.fixture(scope="module")
def server() -> Iterator[ObjectStore]:
    with ObjectStore() as opened:
        yield opened


@pytest.fixture
def store(server: ObjectStore) -> Iterator[ObjectStore]:
    """A server with an empty bucket."""
    yield server
    client = server.client()
    client.rm(server.bucket, recursive=True)
    client.mkdir(server.bucket)


@contextlib.contextmanager
def layer_of(store: ObjectStore) -> Iterator[FsspecLayer]:
    with contextlib.closing(FsspecLayer("lab", store.url, fs_args=store.fs_args, timeout_s=10)) as layer:
        layer.connect()
        yield layer
    wait_until(lambda: not own_threads(), what="the end of the layer's threads")


def read(layer: FsspecLayer, path: str) -> bytes:
    with contextlib.closing(layer.open(path)) as file:
        return bytes(file.read(ByteRange(0, 1 << 30)))


def test_an_array_is_listed_by_pages_and_a_chunk_is_read_by_one_request(store: ObjectStore) -> None:
    store.fill({".zarray": b""})
    store.fill({f"a.zarr/0/{z}/{y}": b"chunk" for z in range(25) for y in range(100)})
    store.fill({"a.zarr/0/.zarray": b"{}"})
    with layer_of(store) as layer:
        layer.scan("a.zarr")
        before = layer.statistics().requests
        with store.recorded() as requests:
            assert layer.stat("a.zarr/0/7/99").size_bytes == 5
        assert len(requests) == 1 + 3, requests  # the array's own directory, and 2,501 keys below it
        assert layer.statistics().requests - before == len(requests)
        before = layer.statistics().requests
        with store.recorded() as requests:
            for path in ("a.zarr/0/7/99", "a.zarr/0/24/0"):
                assert read(layer, path) == b"chunk"
            with pytest.raises(NotFound):
                layer.stat("a.zarr/0/25/0")
        assert [request.partition(" ")[0] for request in requests] == ["GET", "GET"]
        assert layer.statistics().requests - before == 2


def test_a_directory_is_listed_by_pages(store: ObjectStore) -> None:
    store.fill({f"many/{number}": b"x" for number in range(2_500)})
    with layer_of(store) as layer:
        layer.scan("")
        before = layer.statistics().requests
        with store.recorded() as requests:
            assert len(layer.scan("many")) == 2_500
        assert len(requests) == 3
        assert layer.statistics().requests - before == 3


def test_a_listing_that_ends_with_a_full_page_is_asked_for_twice(store: ObjectStore) -> None:
    store.fill({f"many/{number}": b"x" for number in range(1_000)})
    with layer_of(store) as layer:
        layer.scan("")
        with store.recorded() as requests:
            assert len(layer.scan("many")) == 1_000
        assert len(requests) == 2


def test_a_range_is_one_request_that_names_the_version(store: ObjectStore) -> None:
    store.fill({"big": BIG})
    with layer_of(store) as layer, contextlib.closing(layer.open("big")) as file:
        with store.recorded() as requests:
            assert file.read(ByteRange((1 << 20) + 5, 2 << 20)) == BIG[(1 << 20) + 5 : 2 << 20]
        assert len(requests) == 1
        store.fill({"big": BIG[::-1]})
        with pytest.raises(Stale):
            file.read(ByteRange(4 << 20, 5 << 20))
        store.client().rm_file(f"{store.bucket}/project/big")
        with pytest.raises(Stale):
            file.read(ByteRange(5 << 20, 6 << 20))


NAMES = (
    "with space", "ä", "%41", "%2F", "a+b", "#x", "q?z", "p&q=<>", "back\\slash", "~`^{}|[]\"*:@=$!,';",
    "n" * 255, "日本語🔬", ".hidden", "...",
)  # fmt: skip


def test_a_key_is_a_name_as_it_is(store: ObjectStore) -> None:
    store.fill({f"dir/{name}": name.encode() for name in NAMES})
    store.fill({f"dir {name[:100]}/x": b"x" for name in NAMES})
    with layer_of(store) as layer:
        assert {entry.name for entry in layer.scan("dir")} == set(NAMES)
        for name in NAMES:
            assert read(layer, f"dir/{name}") == name.encode()
            assert read(layer, f"dir {name[:100]}/x") == b"x"


ODD = {"ok": b"ok", "/lead": b"", "./x": b"", "../y": b"", "in//side": b"", "inner/z": b"z"}


def test_keys_that_are_no_paths_hide_no_others(store: ObjectStore, caplog: pytest.LogCaptureFixture) -> None:
    store.fill({f"dir/{key}": data for key, data in ODD.items()})
    store.fill(
        {f"s.zarr/0/{key}": data for key, data in {".zarray": b"{}", "0/1": b"1", "0//2": b""}.items()}
    )
    with layer_of(store) as layer:
        assert {entry.name for entry in layer.scan("dir")} == {"ok", "in", "inner"}
        assert {entry.name for entry in layer.scan("dir/in")} == set()
        assert read(layer, "dir/inner/z") == b"z"
        assert {entry.name for entry in layer.scan("s.zarr/0")} == {".zarray", "0"}
        assert read(layer, "s.zarr/0/0/1") == b"1"
    assert all("cannot be shown" in record.getMessage() for record in caplog.records)


def test_without_fsspecs_package_a_key_that_is_no_path_is_named(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.fill({"dir/ok": b"ok", "dir//x": b"", "other/y": b"y"})
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
    with layer_of(store) as layer:
        with pytest.raises(OSError, match=r"dir//.*install s3fs") as caught:
            layer.scan("dir")
        assert caught.value.errno == errno.EILSEQ
        assert read(layer, "other/y") == b"y"
        assert layer.health().state == "ok"


def test_marks_of_directories_are_directories(store: ObjectStore) -> None:
    marks = ("made/", "made/inner/", "full/", "s.zarr/0/empty/", "s.zarr/0/full/")
    store.fill(dict.fromkeys(marks, b""))
    store.fill({"full/x": b"x", "s.zarr/0/.zarray": b"{}", "s.zarr/0/full/x": b"x", "s.zarr/0/none": b""})
    with layer_of(store) as layer:
        kinds = {entry.name: entry.is_dir for entry in layer.scan("")}
        assert kinds == {"made": True, "full": True, "s.zarr": True}
        assert [(entry.name, entry.is_dir) for entry in layer.scan("made")] == [("inner", True)]
        assert layer.scan("made/inner") == []
        assert [entry.name for entry in layer.scan("full")] == ["x"]
        kinds = {entry.name: entry.is_dir for entry in layer.scan("s.zarr/0")}
        assert kinds == {".zarray": False, "empty": True, "full": True, "none": False}
        assert layer.scan("s.zarr/0/empty") == []
        assert [entry.name for entry in layer.scan("s.zarr/0/full")] == ["x"]


def test_what_is_an_object_and_a_directory_is_a_directory(store: ObjectStore) -> None:
    store.fill(
        {
            "both": b"object",
            "both/x": b"x",
            "s.zarr/0/.zarray": b"{}",
            "s.zarr/0/1": b"",
            "s.zarr/0/1/2": b"2",
        }
    )
    with layer_of(store) as layer:
        assert layer.stat("both").is_dir
        assert read(layer, "both/x") == b"x"
        assert layer.stat("s.zarr/0/1").is_dir
        assert read(layer, "s.zarr/0/1/2") == b"2"


def test_a_bucket_may_be_the_root(store: ObjectStore) -> None:
    store.fill({"top": b"top"})
    for url in (f"s3://{store.bucket}", f"s3a://{store.bucket}/"):
        with contextlib.closing(FsspecLayer("lab", url, fs_args=store.fs_args, timeout_s=10)) as layer:
            layer.connect()
            assert read(layer, "project/top") == b"top"


def test_an_empty_bucket_is_an_empty_root(store: ObjectStore) -> None:
    with contextlib.closing(FsspecLayer("lab", f"s3://{store.bucket}", fs_args=store.fs_args)) as layer:
        layer.connect()
        assert layer.scan("") == []


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("s3://{bucket}/absent", "no such directory"),
        ("s3://{bucket}/file", "not a directory"),
        ("s3://no-such-bucket/x", "no such bucket"),
        ("s3:///x", "names no bucket"),
        ("s3://{bucket}/a//b", "correct 'root'"),
    ],
)
def test_a_root_that_cannot_be_one_is_told(store: ObjectStore, url: str, told: str) -> None:
    store.client().pipe_file(f"{store.bucket}/file", b"x")
    url = url.format(bucket=store.bucket)
    with contextlib.closing(FsspecLayer("lab", url, fs_args=store.fs_args, timeout_s=5)) as layer:
        with pytest.raises(ConfigError, match=told) as caught:
            layer.connect()
        assert "\n" not in str(caught.value)


def test_a_bucket_that_goes_away_is_an_outage(store: ObjectStore) -> None:
    store.fill({"dir/x": b"x"})
    with layer_of(store) as layer:
        layer.scan("")
        store.client().rm(store.bucket, recursive=True)
        for path in ("dir", "dir/x"):
            with pytest.raises(ConnectionError):
                layer._connection.scan(path)
        store.client().mkdir(store.bucket)

"""Writing to object stores: on a condition where the store knows one, in parts where a file is large."""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from copickfs.errors import Transient
from copickfs.layers.connection import Connection
from copickfs.layers.sources.store_writing import PART_BYTES, WHOLE_BYTES, StoreWriting
from copickfs.layers.sources.writing import Changed, Upload, Version
from tests.objectstore import ObjectStore
from tests.storeserver import STAMPS, Answer, StoreServer, error, listing, reply

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from copickfs.layers.sources import Found

LARGE = WHOLE_BYTES + PART_BYTES + 17


@pytest.fixture(scope="module")
def server() -> Iterator[ObjectStore]:
    with ObjectStore() as opened:
        yield opened


@pytest.fixture
def store(server: ObjectStore) -> ObjectStore:
    client = server.client()
    client.rm(server.bucket, recursive=True)
    client.mkdir(server.bucket)
    return server


@contextlib.contextmanager
def connection_to(url: str, fs_args: dict[str, object], timeout_s: float = 5) -> Iterator[Connection]:
    with contextlib.closing(Connection("lab", url, fs_args, timeout_s)) as connection:
        yield connection


@pytest.fixture
def connection(store: ObjectStore) -> Iterator[Connection]:
    with connection_to(store.url, store.fs_args) as opened:
        yield opened


def upload(tmp_path: Path, data: bytes, *accepted: Version) -> Upload:
    file = tmp_path / "upload"
    file.write_bytes(data)
    return Upload(str(file), len(data), "token", accepted)


def put(connection: Connection, path: str, sent: Upload) -> Found:
    return connection.change(path, lambda writing, attempt, _again: writing.put(path, sent, attempt))


def methods(requests: list[str]) -> list[str]:
    return [request.partition(" ")[0] for request in requests]


@pytest.mark.parametrize("size", [0, 5, WHOLE_BYTES, LARGE])
def test_a_file_is_sent_whole(connection: Connection, store: ObjectStore, tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    found = put(connection, "dir/x", upload(tmp_path, data))
    assert found == connection.info("dir/x") == connection.scan("dir")[0]
    assert store.client().cat_file(f"{store.bucket}/project/dir/x") == data
    newer = put(connection, "dir/x", upload(tmp_path, data + b"more", Version.of(found)))
    assert newer.etag != found.etag
    assert store.client().cat_file(f"{store.bucket}/project/dir/x") == data + b"more"


def test_requests_of_an_upload_are_counted(
    connection: Connection, store: ObjectStore, tmp_path: Path
) -> None:
    for size in (5, LARGE):
        before = connection.statistics().requests
        with store.recorded() as requests:
            put(connection, f"of {size}", upload(tmp_path, bytes(size)))
        assert connection.statistics().requests - before == len(requests), requests


def interrupt(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put another version in the way between the next look at a file and the change of it."""
    ask = StoreWriting._ask

    def interrupted(writing: StoreWriting, method: str, path: str, *args: object, **options: object) -> Any:
        store.fill({path: b"theirs"})
        monkeypatch.setattr(StoreWriting, "_ask", ask)
        return ask(writing, method, path, *args, **options)

    monkeypatch.setattr(StoreWriting, "_ask", interrupted)


@pytest.mark.parametrize("is_new", [True, False], ids=["new", "replaced"])
def test_a_version_that_came_in_between_is_not_replaced(
    connection: Connection, store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_new: bool
) -> None:
    accepted: tuple[Version, ...] = ()
    if not is_new:
        store.fill({"x": b"before"})
        accepted = (Version.of(connection.info("x")),)
    interrupt(store, monkeypatch)
    with pytest.raises(Changed) as caught:
        put(connection, "x", upload(tmp_path, b"ours", *accepted))
    assert caught.value.found == connection.info("x")
    assert store.client().cat_file(f"{store.bucket}/project/x") == b"theirs"


def test_what_may_not_be_replaced_is_not(connection: Connection, store: ObjectStore, tmp_path: Path) -> None:
    store.fill({"x": b"theirs", "dir/y": b"y"})
    other = connection.info("x")._replace(etag='"other"')
    for path in ("x", "dir"):
        for size in (3, LARGE):
            with pytest.raises(Changed):
                put(connection, path, upload(tmp_path, bytes(size), Version.of(other)))
    assert store.client().cat_file(f"{store.bucket}/project/x") == b"theirs"


def test_one_of_many_makes_a_new_file(store: ObjectStore, tmp_path: Path) -> None:
    landed: list[int] = []

    def write(number: int) -> None:
        (tmp_path / str(number)).mkdir()
        with connection_to(store.url, store.fs_args) as connection, contextlib.suppress(Changed):
            put(connection, "x", upload(tmp_path / str(number), str(number).encode()))
            landed.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(landed) == 1
    assert store.client().cat_file(f"{store.bucket}/project/x") == str(landed[0]).encode()


DONE = reply("200 OK", b"", STAMPS)
FAULTS: dict[str, tuple[str, bytes | Answer]] = {
    "part": ("PUT /bucket/r/x?partNumber=2", error("503 Slow Down", "SlowDown")),
    "reset": ("PUT /bucket/r/x?partNumber=3", Answer(b"", "reset")),
    "complete": ("POST /bucket/r/x?uploadId", error("500 Oh", "InternalError")),
    "error in 200": ("POST /bucket/r/x?uploadId", error("200 OK", "InternalError")),
}


def parts(fault: str, method: str, address: str) -> bytes | Answer:
    """What a store says that takes uploads in parts, but for one fault."""
    where, answer = FAULTS[fault]
    if f"{method} {address}".startswith(where):
        return answer
    if method == "HEAD":
        return reply("404 Not Found")
    if method == "POST":
        return reply("200 OK", b"<X><UploadId>up1</UploadId></X>")
    return listing() if "list-type=2" in address else DONE


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_an_upload_that_breaks_off_leaves_no_parts(tmp_path: Path, fault: str) -> None:
    with StoreServer(lambda method, address, _: parts(fault, method, address)) as server:
        args = {"endpoint_url": f"http://127.0.0.1:{server.port}", "key": "k-4711", "secret": "s-4711"}
        with connection_to("s3://bucket/r", args, timeout_s=1) as connection, pytest.raises(Transient):
            put(connection, "x", upload(tmp_path, bytes(LARGE)))
        begun = server.requests.count("POST /bucket/r/x?uploads=")
        assert begun > 0
        assert server.requests.count("DELETE /bucket/r/x?uploadId=up1") == begun


def test_no_part_is_left_by_an_upload(connection: Connection, store: ObjectStore, tmp_path: Path) -> None:
    put(connection, "x", upload(tmp_path, bytes(LARGE)))
    client = boto3.client(
        "s3", endpoint_url=store.fs_args["endpoint_url"], region_name="us-east-1",
        aws_access_key_id="k", aws_secret_access_key="s",  # noqa: S106
    )  # fmt: skip
    assert "Uploads" not in client.list_multipart_uploads(Bucket=store.bucket)


def test_a_store_that_knows_no_conditions_is_asked_without_them(tmp_path: Path) -> None:
    objects: dict[str, bytes] = {}

    def answer(method: str, address: str, body: bytes) -> bytes:
        if method == "PUT":
            if "if-none-match" in server.heads[-1]:
                return error("501 Not Implemented", "NotImplemented")
            objects[address] = body
        if method == "HEAD" and address in objects:
            return reply("200 OK", b"", STAMPS, length=len(objects[address]))
        if "list-type=2" in address:
            return listing()
        return reply("404 Not Found") if method == "HEAD" else reply("200 OK", b"", STAMPS)

    with StoreServer(answer) as server:
        args = {"endpoint_url": f"http://127.0.0.1:{server.port}", "key": "k-4711", "secret": "s-4711"}
        with connection_to("s3://bucket/r", args) as connection:
            for name in ("x", "y"):
                put(connection, name, upload(tmp_path, b"data"))
    assert objects == {"/bucket/r/x": b"data", "/bucket/r/y": b"data"}
    puts = [head for head in server.heads if head.startswith("put")]
    assert ["if-none-match" in head for head in puts][-2:] == [False, False], "it was asked again"
    assert "if-none-match" in puts[0]


def test_a_slow_line_may_take_its_time(tmp_path: Path) -> None:
    def answer(method: str, address: str, _body: bytes) -> bytes | Answer:
        if method == "PUT":
            answer_there.append(address)
            return Answer(reply("200 OK", b"", STAMPS), pause_s=0.25)
        if "list-type=2" in address:
            return listing()
        return reply("200 OK", b"", STAMPS, length=1 << 20) if answer_there else reply("404 Not Found")

    answer_there: list[str] = []
    with StoreServer(answer) as server:
        args = {"endpoint_url": f"http://127.0.0.1:{server.port}", "key": "k-4711", "secret": "s-4711"}
        with connection_to("s3://bucket/r", args, timeout_s=1) as connection:
            assert put(connection, "x", upload(tmp_path, bytes(1 << 20))).size_bytes == 1 << 20
    assert len(answer_there) == 1


def test_a_copy_that_is_not_whole_removes_nothing() -> None:
    def answer(method: str, address: str, _body: bytes) -> bytes:
        if method == "HEAD":
            return reply("200 OK", b"", STAMPS, length=9 if address.endswith("/old") else 3)
        return reply("200 OK", b"<CopyObjectResult><ETag>&quot;1&quot;</ETag></CopyObjectResult>", STAMPS)

    with StoreServer(answer) as server:
        args = {"endpoint_url": f"http://127.0.0.1:{server.port}", "key": "k-4711", "secret": "s-4711"}
        refused = pytest.raises(Transient, match="not as long")
        with connection_to("s3://bucket/r", args, timeout_s=1) as connection, refused:
            connection.change("old", lambda writing, attempt, _: writing.rename("old", "new", attempt))
        assert not [request for request in server.requests if request.startswith("DELETE")]

"""What ``fs_args`` and the environment mean for an object store."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import obstore
import pytest
from obstore.store import S3Store

from copickfs.errors import ConfigError, Unavailable
from copickfs.layers.remote import FsspecLayer
from copickfs.layers.sources import Counters, store_aws
from copickfs.layers.sources.store_client import StoreClient
from copickfs.layers.sources.store_options import Place, place_of
from tests.objectstore import ObjectStore
from tests.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ENDPOINT = {"endpoint_url": "https://minio.example.org:9000"}


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An environment and a home without settings of a store."""
    import os

    for name in list(os.environ):
        if name.startswith(("AWS_", "AZURE_", "GOOGLE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def store_of(url: str, fs_args: dict[str, Any]) -> Any:
    return place_of(url, fs_args, 7.0).make(5.0)


def config_of(url: str, fs_args: dict[str, Any]) -> dict[str, Any]:
    return dict(store_of(url, fs_args).config)


S3_CASES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (
        {"key": "k", "secret": "s", "token": "t"},
        {"access_key_id": "k", "secret_access_key": "s", "session_token": "t"},
    ),
    ({"access_key_id": "k", "secret_access_key": "s"}, {"access_key_id": "k", "secret_access_key": "s"}),
    (
        {"client_kwargs": {"aws_access_key_id": "k", "aws_secret_access_key": "s"}},
        {"access_key_id": "k", "secret_access_key": "s"},
    ),
    ({"anon": True}, {"skip_signature": "true"}),
    ({"client_kwargs": {"region_name": "eu-west-1"}}, {"region": "eu-west-1"}),
    ({"region": "eu-west-1"}, {"region": "eu-west-1"}),
    ({}, {"virtual_hosted_style_request": "false", "endpoint": "https://minio.example.org:9000"}),
    (
        {"config_kwargs": {"s3": {"addressing_style": "virtual"}}},
        {"virtual_hosted_style_request": "true", "endpoint": "https://bucket.minio.example.org:9000"},
    ),
    ({"requester_pays": True}, {"request_payer": "true"}),
    ({"use_ssl": False}, {"endpoint": "http://minio.example.org:9000"}),
    ({"s3_additional_kwargs": {"ServerSideEncryption": "AES256"}}, {"server_side_encryption": "AES256"}),
    ({"default_block_size": 1 << 20, "use_listings_cache": False, "config_kwargs": {"retries": {}}}, {}),
    ({"unsigned_payload": True}, {"unsigned_payload": "true"}),
]


@pytest.mark.parametrize(("fs_args", "config"), S3_CASES)
def test_options_of_s3fs(fs_args: dict[str, Any], config: dict[str, Any]) -> None:
    told = {key: str(value).lower() if isinstance(value, bool) else value
            for key, value in config_of("s3://bucket/x", {**ENDPOINT, **fs_args}).items()}  # fmt: skip
    assert {key: told.get(key) for key in config} == config
    if "use_ssl" not in fs_args:
        assert not (store_of("s3://bucket/x", {**ENDPOINT, **fs_args}).client_options or {}).get("allow_http")


def test_amazon_is_asked_by_the_name_of_the_bucket() -> None:
    region = {"client_kwargs": {"region_name": "eu-west-1"}}
    assert config_of("s3://bucket/x", region)["virtual_hosted_style_request"] == "true"
    assert config_of("s3://bucket.with.dots/x", region)["virtual_hosted_style_request"] == "false"


@pytest.mark.parametrize(
    ("fs_args", "named"),
    [
        ({"acces_key": "k"}, "acces_key"),
        ({"client_kwargs": {"region": "x"}}, "client_kwargs.region"),
        ({"client_kwargs": "eu-west-1"}, "client_kwargs"),
        (
            {"config_kwargs": {"s3": {"use_accelerate_endpoint": True}}},
            "config_kwargs.s3.use_accelerate_endpoint",
        ),
        ({"config_kwargs": {"s3": {"addressing_style": "odd"}}}, "config_kwargs.s3.addressing_style"),
        ({"config_kwargs": {"connect_timeout": "soon"}}, "config_kwargs.connect_timeout"),
        ({"s3_additional_kwargs": {"ACL": "private"}}, "s3_additional_kwargs.ACL"),
        ({"profile": "absent"}, "absent"),
        ({"client_kwargs": {"verify": "/no/such/file"}}, "/no/such/file"),
        ({"endpoint_url": "no address at all"}, "endpoint_url"),
        ({"key": 5}, "'key' in 'fs_args', or where it comes from, must be text"),
        ({"secret": ["secret-4711"]}, "'secret' in 'fs_args', or where it comes from, must be text"),
        ({"anon": "maybe"}, "'anon' in 'fs_args', or where it comes from, must be true or false"),
        ({"sekret": "secret-4711"}, "'sekret' in 'fs_args' is not known"),
        ({"key": "key-4711\n"}, "'key' in 'fs_args', or where it comes from, has a line end"),
        ({"secret": "secret-4711\r"}, "'secret' in 'fs_args', or where it comes from, has a line end"),
        ({"token": "\tt-4711"}, "'token' in 'fs_args', or where it comes from, has a line end or tab"),
    ],
)
def test_an_option_that_is_not_understood_is_named(fs_args: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        store_of("s3://bucket/x", {**ENDPOINT, "key": "key-4711", "secret": "secret-4711", **fs_args})
    text = str(caught.value)
    assert named in text
    assert "\n" not in text
    assert "4711" not in text


@pytest.mark.parametrize(
    "url", ["s3://bucket//x", "s3://bucket/x//y", "s3://bucket/x/../y", "gs://bucket//x"]
)
def test_a_root_that_is_no_path_to_an_object_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"'root' has '//'"):
        store_of(url, {"token": "anon"} if url.startswith("gs") else ENDPOINT)


@pytest.mark.parametrize("variable", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"])
def test_a_line_end_in_the_environment_is_told(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key-4711")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-4711")
    monkeypatch.setenv(variable, "text-4711\n")
    with pytest.raises(ConfigError) as caught:
        store_of("s3://bucket/x", ENDPOINT)
    assert str(caught.value) == f"the environment variable {variable} has a line end or tab in it"


def test_a_panic_of_the_library_is_an_outage() -> None:
    """Which it has for what no header can carry, and which is none of Python's exceptions."""
    options = {"access_key_id": "a", "secret_access_key": "b", "session_token": "t\n", "region": "r"}

    def make(_silence_s: float) -> S3Store:
        config: Any = {**options, "endpoint": "http://127.0.0.1:1"}
        return S3Store("b", config=config, client_options={"allow_http": True})

    client = StoreClient(Place(make, "", 1_000, "s3fs"), Counters(), 1.0)
    with pytest.raises(Unavailable, match=r"^obstore has failed: .*InvalidHeaderValue$"):
        client.head("x")
    with pytest.raises(Unavailable, match=r"^obstore has failed: .*InvalidHeaderValue$"):
        list(client.pieces(client.ask(obstore.list, "x"), "x"))


def test_time_limits_are_those_of_the_layer_or_given() -> None:
    options = store_of("s3://bucket/x", ENDPOINT).client_options
    assert seconds(options["connect_timeout"]) == 7
    assert seconds(options["read_timeout"]) == 5
    given = {**ENDPOINT, "config_kwargs": {"connect_timeout": 2, "read_timeout": 3}}
    options = store_of("s3://bucket/x", given).client_options
    assert (seconds(options["connect_timeout"]), seconds(options["read_timeout"])) == (2, 3)


def seconds(value: Any) -> float:
    return value.total_seconds() if isinstance(value, dt.timedelta) else float(str(value).rstrip("s"))


def aws_files(home: Path) -> None:
    (home / ".aws").mkdir()
    (home / ".aws/credentials").write_text(
        "[default]\naws_access_key_id = default-key\naws_secret_access_key = default-secret\n"
        "[lab]\naws_access_key_id=lab-key\naws_secret_access_key=lab%secret\naws_session_token=lab-token\n"
    )
    (home / ".aws/config").write_text(
        "[default]\nregion = eu-north-1\n[profile lab]\nregion = eu-west-3\ns3 =\n  max_queue_size = 7\n"
        "endpoint_url = https://lab.example.org\n[profile sso]\nsso_session = x\n"
    )


def test_credentials_are_found_where_those_of_aws_are(
    nothing_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws_files(nothing_set)
    found = config_of("s3://bucket/x", ENDPOINT)
    assert (found["access_key_id"], found["region"]) == ("default-key", "eu-north-1")
    found = config_of("s3://bucket/x", {"profile": "lab"})
    assert (found["access_key_id"], found["secret_access_key"]) == ("lab-key", "lab%secret")
    assert (found["session_token"], found["region"]) == ("lab-token", "eu-west-3")
    assert found["endpoint"] == "https://lab.example.org"
    assert config_of("s3://bucket/x", {"profile": "lab", **ENDPOINT})["endpoint"] == ENDPOINT["endpoint_url"]
    found = config_of("s3://bucket/x", {"profile": "lab", "key": "own", "secret": "own-secret"})
    assert (found["access_key_id"], found["secret_access_key"]) == ("own", "own-secret")
    assert "access_key_id" not in config_of("s3://bucket/x", {"profile": "lab", "anon": True})
    monkeypatch.setenv("AWS_PROFILE", "lab")
    assert config_of("s3://bucket/x", {})["access_key_id"] == "lab-key"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "environment-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "environment-secret")
    assert "access_key_id" not in config_of("s3://bucket/x", ENDPOINT), "obstore takes them"
    assert config_of("s3://bucket/x", {"profile": "lab"})["access_key_id"] == "lab-key"


def test_a_profile_of_no_use_is_told(nothing_set: Path) -> None:
    aws_files(nothing_set)
    with pytest.raises(ConfigError, match="sso_session"):
        config_of("s3://bucket/x", {"profile": "sso", **ENDPOINT})
    (nothing_set / ".aws/config").write_text("no section\n")
    with pytest.raises(ConfigError, match=r"\.aws/config"):
        config_of("s3://bucket/x", ENDPOINT)


def test_the_endpoint_may_be_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with ObjectStore() as store:
        store.fill({"top": b"top"})
        monkeypatch.setenv("AWS_ENDPOINT_URL", store.fs_args["endpoint_url"])
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        for fs_args in ({}, {"anon": True}):
            with contextlib.closing(FsspecLayer("lab", store.url, fs_args=fs_args, timeout_s=5)) as layer:
                layer.connect()
                assert [entry.name for entry in layer.scan("")] == ["top"]


_REGIONS = {"/here": (200, "us-east-1"), "/there": (301, "ap-south-1"), "/closed": (403, "eu-west-2")}


class Amazon(BaseHTTPRequestHandler):
    """Says in which region a bucket is, as Amazon does to everybody."""

    def do_HEAD(self) -> None:
        status, region = {
            "/here": (200, "us-east-1"),
            "/there": (301, "ap-south-1"),
            "/closed": (403, "eu-west-2"),
        }.get(self.path, (404, ""))
        self.send_response(status)
        if region:
            self.send_header("x-amz-bucket-region", region)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing to standard error."""


@pytest.fixture
def amazon(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Amazon) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        monkeypatch.setattr(store_aws, "AWS_URL", f"http://127.0.0.1:{server.server_address[1]}")
        yield
        server.shutdown()
        thread.join()


@pytest.mark.usefixtures("amazon")
def test_a_bucket_of_amazon_tells_its_region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "sa-east-1")  # where this machine is, and no bucket
    for bucket, region in (("here", "us-east-1"), ("there", "ap-south-1"), ("closed", "eu-west-2")):
        assert config_of(f"s3://{bucket}/x", {"anon": True})["region"] == region
    given = {"anon": True, "client_kwargs": {"region_name": "eu-south-1"}}
    assert config_of("s3://there/x", given)["region"] == "eu-south-1"
    with pytest.raises(ConfigError, match="no such bucket"):
        config_of("s3://absent/x", {"anon": True})


def test_a_region_that_cannot_be_had_is_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_aws, "AWS_URL", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(Unavailable, match="region"):
        place_of("s3://bucket/x", {"anon": True}, 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(store_aws, "AWS_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(Unavailable, match="region"):
            place_of("s3://bucket/x", {"anon": True}, 0.3)


KEY_FILE = {"type": "service_account", "client_email": "x@y", "private_key": "none", "private_key_id": "1"}


def test_options_of_gcsfs(tmp_path: Path) -> None:
    assert config_of("gs://bucket/x", {"token": "anon"})["skip_signature"]
    assert (
        config_of("gcs://bucket/x", {"token": "anon", "endpoint_url": "https://gcs.example.org"})["base_url"]
        == "https://gcs.example.org"
    )
    store = store_of("gs://bucket/x", {"token": "anon", "requester_pays": True, "project": "lab"})
    assert "x-goog-user-project" in store.client_options["default_headers"]
    file = tmp_path / "key.json"
    file.write_text(json.dumps(KEY_FILE))
    with pytest.raises(ConfigError):  # it is read, and its key is none
        config_of("gs://bucket/x", {"token": str(file)})
    for fs_args, named in (
        ({"token": "/no/such/file"}, "token"),
        ({"token": "anon", "requester_pays": True}, "project"),
        ({"token": "anon", "tokens": 1}, "tokens"),
    ):
        with pytest.raises(ConfigError, match=named):
            config_of("gs://bucket/x", fs_args)


AZURE_KEY = "a2V5LTQ3MTE="
CONNECTION = (
    f"DefaultEndpointsProtocol=https;AccountName=lab;AccountKey={AZURE_KEY};EndpointSuffix=core.example.org"
)
AZURE_CASES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("az://box/x", {"account_name": "lab", "account_key": AZURE_KEY}, {"account_name": "lab"}),
    ("abfss://box@lab.dfs.core.windows.net/x", {"account_key": AZURE_KEY}, {"account_name": "lab"}),
    ("abfs://box/x", {"account_name": "lab", "sas_token": "?sv=1&sig=2"}, {"sas_key": "sv=1&sig=2"}),
    ("az://box/x", {"account_name": "lab", "credential": "sv=1&sig=2"}, {"sas_key": "sv=1&sig=2"}),
    ("az://box/x", {"account_name": "lab", "credential": AZURE_KEY}, {"account_key": AZURE_KEY}),
    ("az://box/x", {"account_name": "lab"}, {"skip_signature": "true"}),
    ("az://box/x", {"account_name": "lab", "anon": True}, {"skip_signature": "true"}),
    (
        "az://box/x",
        {"account_name": "lab", "tenant_id": "t", "client_id": "c", "client_secret": "s"},
        {"tenant_id": "t", "client_id": "c", "client_secret": "s"},
    ),
    ("az://box/x", {"connection_string": CONNECTION}, {"endpoint": "https://lab.blob.core.example.org"}),
    (
        "az://box/x",
        {"account_name": "lab", "sas_token": "sig=1", "account_host": "h.example.org"},
        {"endpoint": "https://h.example.org"},
    ),
]


@pytest.mark.parametrize(("url", "fs_args", "config"), AZURE_CASES)
def test_options_of_adlfs(url: str, fs_args: dict[str, Any], config: dict[str, Any]) -> None:
    found = config_of(url, fs_args)
    told = {key: str(value).lower() if isinstance(value, bool) else value for key, value in found.items()}
    assert {key: told.get(key) for key in config} == config
    assert ("skip_signature" in told) == ("skip_signature" in config)


@pytest.mark.parametrize(
    ("fs_args", "named"),
    [
        ({}, "Account"),
        ({"account_name": "lab", "key": "x"}, "key"),
        ({"connection_string": "x"}, "connection_string"),
    ],
)
def test_options_for_azure_that_are_not_understood_are_named(fs_args: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        config_of("az://box/x", fs_args)

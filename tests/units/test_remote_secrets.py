"""No password, token or key reaches a message, a log or a status."""

from __future__ import annotations

import logging
import traceback
from typing import TYPE_CHECKING, Any

import pytest

from copickfs.errors import ConfigError, CopickfsError, Transient
from copickfs.layers.remote import FsspecLayer
from copickfs.layers.sources.redaction import Redactor, shown_url
from tests.servers import SftpServer, free_port
from tests.webserver import WebHandler, WebServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRET = "s3cr3t/p@ss word"  # noqa: S105 - what must not be seen
IN_URL = "s3cr3t%2Fp%40ss%20word"
TOKEN = "tok-0123456789abcdef"  # noqa: S105
FORMS = ("s3cr3t", "p@ss", "p%40ss", TOKEN, "czNjcjN0")


def assert_clean(text: str) -> None:
    for form in FORMS:
        assert form not in text, f"{form!r} in {text!r}"


@pytest.fixture(autouse=True)
def everything_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.INFO)
    yield
    for record in caplog.records:
        assert_clean(f"{record.getMessage()} {vars(record)}")


def complaints(layer: FsspecLayer) -> str:
    """All that a layer says when it is connected and asked, with tracebacks."""
    said = [layer.location(""), layer.location("a/b"), repr(layer.health())]
    for call in (
        layer.connect,
        lambda: layer.scan("x"),
        lambda: layer.stat("y/z"),
        lambda: layer.open("top"),
    ):
        try:
            call()
        except (CopickfsError, OSError) as error:
            said += [str(error), repr(error), *traceback.format_exception(error)]
    said.append(repr(layer.health()))
    layer.close()
    return "\n".join(said)


CASES: list[tuple[str, dict[str, Any]]] = [
    ("ssh://user:{secret}@127.0.0.1:{port}/data", {}),
    ("ssh://127.0.0.1:{port}/data", {"username": "user", "password": SECRET}),
    ("http://user:{secret}@127.0.0.1:{port}/data", {}),
    ("http://127.0.0.1:{port}/data?token=" + TOKEN, {"headers": {"Authorization": f"Bearer {TOKEN}"}}),
    ("s3://bucket/prefix", {"key": TOKEN, "secret": SECRET, "endpoint_url": "http://127.0.0.1:{port}"}),
    ("memory://x", {"nonsense": SECRET}),
    ("nonsense://user:{secret}@host/", {}),
]


@pytest.mark.parametrize(("url", "fs_args"), CASES, ids=lambda v: v if isinstance(v, str) else "")
def test_nothing_is_said_about_secrets_when_nobody_answers(url: str, fs_args: dict[str, Any]) -> None:
    port = free_port()
    args = {k: v.format(port=port) if k == "endpoint_url" else v for k, v in fs_args.items()}
    url = url.format(secret=IN_URL, port=port)
    assert_clean(complaints(FsspecLayer("lab", url, fs_args=args, timeout_s=1)))


def test_nothing_is_said_about_secrets_when_they_are_refused(tmp_path: Path) -> None:
    with SftpServer(tmp_path) as server:
        url = server.url.replace("ssh://", f"ssh://user:{IN_URL}@")
        said = complaints(FsspecLayer("lab", url, timeout_s=5))
    assert "credentials" in said
    assert_clean(said)


@pytest.mark.parametrize("answer", [401, 403, 500])
def test_a_server_that_echoes_the_secret(tmp_path: Path, answer: int) -> None:
    with WebServer(tmp_path) as site:
        site.fault = lambda handler: echo(handler, answer)
        url = site.url.replace("http://", f"http://user:{IN_URL}@") + f"?sig={TOKEN}"
        said = complaints(FsspecLayer("lab", url, timeout_s=1))
        assert any(TOKEN in request for request in site.requests), "the query was not sent"
    assert_clean(said)


def echo(handler: WebHandler, answer: int) -> bool:
    handler.reply(answer, f"no entry for {SECRET} with {handler.path}".encode())
    return True


def test_login_by_url_works_and_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "top").write_bytes(b"top")
    with WebServer(tmp_path) as site:
        wanted = "Basic dXNlcjpzM2NyM3QvcEBzcyB3b3Jk"
        site.fault = lambda handler: handler.headers.get("Authorization") != wanted and refuse(handler)
        layer = FsspecLayer("lab", site.url.replace("http://", f"http://user:{IN_URL}@"), timeout_s=5)
        layer.connect()
        assert layer.stat("top").size_bytes == 3
        assert layer.location("top") == f"{site.url}top"
        layer.close()
        with pytest.raises(ConfigError, match="401"):
            FsspecLayer("lab", site.url, timeout_s=5).connect()


def refuse(handler: WebHandler) -> bool:
    handler.reply(401)
    return True


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("ssh://u:p@host:22/a", "ssh://host:22/a"),
        ("ssh://u@host/a?b#c", "ssh://host/a?b#c"),
        ("https://u:p@host/a?sig=1#f", "https://host/a"),
        ("smb://dom;u:p@host/share/x", "smb://host/share/x"),
        ("s3://bucket/key", "s3://bucket/key"),
        ("simplecache::ssh://u:p@host/a", "simplecache::ssh://host/a"),
    ],
)
def test_a_shown_url_has_no_user(url: str, shown: str) -> None:
    assert shown_url(url) == shown


def test_messages_are_one_line_of_bounded_length() -> None:
    redact = Redactor("ssh://host/", {"client_keys": ["/home/x/.ssh/id_secret"], "port": 22, "anon": True})
    assert redact("a\n  b\tc") == "a b c"
    assert len(redact("x" * 10_000)) < 500
    assert redact("cannot read /home/x/.ssh/id_secret") == "cannot read ***"
    assert redact("True 22") == "True 22"


def test_an_outage_says_whose_it_is(tmp_path: Path) -> None:
    with WebServer(tmp_path) as site:
        layer = FsspecLayer("lab", site.url, timeout_s=1)
        layer.connect()
        site.stop()
        with pytest.raises(Transient, match=r"layer lab: .*Connect"):
            layer._connection.scan("x")
        layer.close()

"""Asking a daemon for something, by its socket."""

from __future__ import annotations

import errno
import json
import os
import socket
import stat
import threading
from typing import TYPE_CHECKING, Any

import pytest

from copickfs.daemon.channel import FAREWELL, Caller, Channel, address_of
from copickfs.errors import MountError, NotFound
from tests.sandbox import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def refuse(_question: dict[str, Any], _caller: Caller) -> dict[str, Any]:
    raise MountError("not today")


def fail(_question: dict[str, Any], _caller: Caller) -> dict[str, Any]:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a name")


def miss(_question: dict[str, Any], _caller: Caller) -> dict[str, Any]:
    raise NotFound("no such store")


def break_down(_question: dict[str, Any], _caller: Caller) -> dict[str, Any]:
    raise ZeroDivisionError("planted")


class Endpoint:
    """A channel in a directory whose path is longer than a socket's may be."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / ("d" * 100) / "7.sock"
        self.file.parent.mkdir()
        self.hung_up = threading.Event()
        handlers = {
            "echo": lambda question, _caller: {"heard": question["text"]},
            "wait": self.wait,
            "refuse": refuse,
            "fail": fail,
            "miss": miss,
            "break": break_down,
        }
        self.channel = Channel(self.file, handlers)

    def wait(self, _question: dict[str, Any], caller: Caller) -> dict[str, Any]:
        wait_until(lambda: not caller.is_waiting())
        self.hung_up.set()
        return {}

    def connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(10)
        try:
            with address_of(self.file) as address:
                connection.connect(address)
        except OSError:
            connection.close()
            raise
        return connection

    def ask(self, line: bytes) -> dict[str, Any]:
        with self.connect() as connection, connection.makefile("rb") as answers:
            connection.sendall(line + b"\n")
            return dict(json.loads(answers.readline()))


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[Endpoint]:
    made = Endpoint(tmp_path)
    yield made
    made.channel.close({})
    wait_until(lambda: not [t for t in threading.enumerate() if t.name.startswith("copickfs-")])


def test_a_question_is_answered(endpoint: Endpoint) -> None:
    text = "a \udcff b"
    assert endpoint.ask(json.dumps({"ask": "echo", "text": text}).encode()) == {"answer": {"heard": text}}


def test_only_its_user_can_reach_it(endpoint: Endpoint) -> None:
    assert stat.S_IMODE(endpoint.file.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("refuse", "not today"),
        ("miss", "no such store"),
        ("fail", "No space left on device"),
        ("nonsense", "does not know what 'nonsense' means"),
    ],
)
def test_a_fault_is_one_line(endpoint: Endpoint, name: str, said: str) -> None:
    answer = endpoint.ask(json.dumps({"ask": name}).encode())
    assert said in answer["error"]
    assert "\n" not in answer["error"]


def test_a_defect_is_logged_and_the_channel_lives_on(
    endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    assert "ZeroDivisionError: planted" in endpoint.ask(b'{"ask": "break"}')["error"]
    assert "ZeroDivisionError" in caplog.text
    assert "answer" in endpoint.ask(b'{"ask": "echo", "text": ""}')


@pytest.mark.parametrize("line", [b"", b"nonsense", b"[]", b"7", b"\xff\xfe"])
def test_nonsense_is_no_question(endpoint: Endpoint, line: bytes) -> None:
    assert "no question" in endpoint.ask(line)["error"]


def test_who_hangs_up_is_waited_for_no_longer(endpoint: Endpoint) -> None:
    with endpoint.connect() as connection:
        connection.sendall(b'{"ask": "wait"}\n')
    assert endpoint.hung_up.wait(10)


def test_one_that_takes_long_keeps_nobody_waiting(endpoint: Endpoint) -> None:
    with endpoint.connect() as connection:
        connection.sendall(b'{"ask": "wait"}\n')
        assert "answer" in endpoint.ask(b'{"ask": "echo", "text": ""}')
        assert not endpoint.hung_up.is_set()
    assert endpoint.hung_up.wait(10)


def test_a_farewell_is_said_at_the_end(endpoint: Endpoint) -> None:
    with endpoint.connect() as connection, connection.makefile("rb") as answers:
        connection.sendall(json.dumps({"ask": FAREWELL}).encode() + b"\n")
        assert "answer" in endpoint.ask(b'{"ask": "echo", "text": ""}')
        wait_until(lambda: endpoint.channel._leaving)
        endpoint.channel.close({"pending": 3})
        assert json.loads(answers.readline()) == {"answer": {"pending": 3}}
    with pytest.raises(ConnectionRefusedError):
        endpoint.connect()

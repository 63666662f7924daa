"""Azure's object store, where its emulator is installed."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import obstore
import pytest

from copickfs.errors import ConfigError, NotFound
from copickfs.layers.connection import Connection
from copickfs.layers.sources.store_writing import WHOLE_BYTES
from copickfs.layers.sources.writing import Changed, Version
from copickfs.layers.writable import Owner
from tests.azurite import KEY, Azurite
from tests.units.test_remote_store_writing import put, upload

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    with Azurite(tmp_path_factory.mktemp("azurite")) as opened:
        yield opened


@pytest.fixture
def connection(server: Azurite) -> Iterator[Connection]:
    with contextlib.closing(Connection("lab", server.url, server.fs_args, 5)) as opened:
        yield opened


@pytest.mark.parametrize("size", [0, 5, WHOLE_BYTES + 17])
def test_a_file_is_sent_whole_and_replaced(
    connection: Connection, server: Azurite, tmp_path: Path, size: int
) -> None:
    data, path = os.urandom(size), f"sent/{size} ä"
    found = put(connection, path, upload(tmp_path, data))
    assert found == connection.info(path)
    newer = put(connection, path, upload(tmp_path, data + b"more", Version.of(found)))
    assert bytes(obstore.get(server.client(), f"project/{path}").bytes()) == data + b"more"
    with pytest.raises(Changed) as caught:
        put(connection, path, upload(tmp_path, b"late", Version.of(found)))
    assert caught.value.found == newer


def test_what_is_listed_has_the_version_that_is_read(connection: Connection, server: Azurite) -> None:
    server.fill({"listed/x": b"data"})
    (found,) = connection.scan("listed")
    assert found == connection.info("listed/x")


def test_a_layer_is_written(server: Azurite, tmp_path: Path) -> None:
    from copickfs.layers.remotewrite import WritableFsspecLayer

    url = f"{server.url}/written"
    layer = WritableFsspecLayer(
        "lab", url, fs_args=server.fs_args, journal_directory=str(tmp_path), timeout_s=5
    )
    with contextlib.closing(layer):
        layer.connect()
        layer.mkdir("dir", 0o755, Owner(0, 0))
        with contextlib.closing(layer.create("dir/x", 0o644, Owner(0, 0), whole=True)) as file:
            file.write(0, b"data")
            file.flush()
        layer.rename("dir", "moved")
        assert [entry.name for entry in layer.scan("moved")] == ["x"]
        layer.unlink("moved/x")
        assert layer.scan("moved") == []
        layer.rmdir("moved")
        with pytest.raises(NotFound):
            layer.stat("moved")


def test_a_root_that_cannot_be_one_is_told(server: Azurite) -> None:
    other = server.fs_args["connection_string"].replace(KEY[:4], "AAAA")
    cases = (
        (server.url.replace("box", "no-box"), server.fs_args, "no such bucket or container"),
        (
            server.url,
            {"connection_string": other},
            "no permission|refuses",
        ),
    )
    for url, fs_args, told in cases:
        with contextlib.closing(Connection("lab", url, fs_args, 5)) as connection:
            with pytest.raises(ConfigError, match=told) as caught:
                connection.connect()
            assert KEY[10:20] not in str(caught.value)

"""Files that change at a remote source while they are read through the mount."""

from __future__ import annotations

import errno
import json
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.mounted.test_outage import stacked
from tests.sandbox import wait_until
from tests.servers import SftpServer
from tests.webserver import WebServer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Mounter

PICKS = "ExperimentRuns/TS_1/Picks/lab_1_ribosome.json"


@pytest.fixture(params=[SftpServer, WebServer])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    root = tmp_path / "far"
    (root / PICKS).parent.mkdir(parents=True)
    (tmp_path / "mine").mkdir()
    return request.param(root)


def write(path: Path, version: int) -> None:
    """A new version under the same name, as careful programs write: whole, and with a time of its own."""
    fresh = path.with_name("fresh")
    fresh.write_text(json.dumps({"version": version, "points": [version] * 2000 * (1 + version % 3)}))
    os.utime(fresh, (1_700_000_000 + version, 1_700_000_000 + version))
    fresh.rename(path)


def read(path: Path) -> dict[str, Any] | None:
    """The picks, None if they changed at that moment; anything but a whole version fails the test."""
    try:
        text = path.read_text()
    except OSError as error:
        if error.errno in (errno.ESTALE, errno.EIO):
            return None
        raise
    picks: dict[str, Any] = json.loads(text)
    assert set(picks["points"]) == {picks["version"]}
    return picks


def letters(path: Path) -> set[int]:
    """The different bytes of a file; none while it cannot be read."""
    try:
        return set(path.read_bytes())
    except OSError:
        return set()


def test_a_new_version_is_seen_whole(server: SftpServer | WebServer, mount: Mounter, tmp_path: Path) -> None:
    source = tmp_path / "far" / PICKS
    write(source, 0)
    mount.expect_warning("far")
    with server:
        point = mount(stacked(server, tmp_path / "mine", ttl=0.2))
        picks = read(point / PICKS)
        assert picks is not None
        assert picks["version"] == 0
        for version in range(1, 8):
            write(source, version)
            newest = wait_until(
                lambda version=version: (p := read(point / PICKS)) and p["version"] == version and p,
                15,
                f"version {version}",
            )
            assert len(newest["points"]) == 2000 * (1 + version % 3)
        source.unlink()
        wait_until(lambda: not (point / PICKS).exists(), 15, "the file to be gone")
        mount.umount(point)


def test_a_file_that_changes_while_it_is_open_is_no_mixture(
    server: SftpServer | WebServer, mount: Mounter, tmp_path: Path
) -> None:
    source = tmp_path / "far" / "map.mrc"
    source.write_bytes(b"a" * (12 << 20))
    os.utime(source, (1_700_000_000, 1_700_000_000))
    mount.expect_warning("far")
    with server:
        point = mount(stacked(server, tmp_path / "mine", ttl=60))
        with (point / "map.mrc").open("rb", buffering=0) as file:
            assert file.read(1 << 20) == b"a" * (1 << 20)
            source.write_bytes(b"b" * (12 << 20))
            rest: list[bytes] = []
            with pytest.raises(OSError, match=r"Stale|Input/output"):
                rest.extend(iter(lambda: file.read(1 << 20), b""))
            assert set(b"".join(rest)) <= set(b"a"), "bytes of two versions in one open file"
        wait_until(lambda: letters(point / "map.mrc") == set(b"b"), 15, "the new version")
        mount.umount(point)


CHUNKS = {"0/0/0": 0, "0/0/1": 1, "0/1/0": 2}
SMALL_CHUNK, LARGE_CHUNK = 2_000, 12 << 20


def write_store(far: Path, version: int, sizes: dict[str, int]) -> None:
    """An array of plain chunks, each full of its version; every version has a time of its own."""
    array = far / "Objects" / "map.zarr"
    array.mkdir(parents=True, exist_ok=True)
    document = {"zarr_format": 2, "shape": [1, 2, 2], "chunks": [1, 1, 1], "dtype": "|u1", "order": "C"}
    document |= {"compressor": None, "fill_value": 0, "filters": None, "dimension_separator": "/"}
    for name, data in {
        ".zarray": json.dumps(document).encode(),
        **{name: bytes([version]) * size for name, size in sizes.items()},
    }.items():
        path = array / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.utime(path, (1_700_000_000 + version, 1_700_000_000 + version))


@pytest.mark.parametrize("other", [-600, 0, 600])
def test_a_chunk_that_was_replaced_since_it_was_listed_is_read_anew(
    server: SftpServer | WebServer, mount: Mounter, tmp_path: Path, other: int
) -> None:
    """zarr would take an error for a chunk of zeros; the listing is believed for a minute."""
    write_store(tmp_path / "far", 1, dict.fromkeys(CHUNKS, SMALL_CHUNK))
    with server:
        point = mount(stacked(server, tmp_path / "mine", ttl=60))
        store = point / "Objects" / "map.zarr"
        before = [(store / name).stat().st_size for name in CHUNKS]
        assert before == [SMALL_CHUNK] * len(CHUNKS)
        write_store(tmp_path / "far", 2, dict.fromkeys(CHUNKS, SMALL_CHUNK + other))
        for name in CHUNKS:
            with (store / name).open("rb") as file:
                assert file.read() == b"\2" * (SMALL_CHUNK + other)
                assert os.fstat(file.fileno()).st_size == SMALL_CHUNK + other
        mount.umount(point)


@pytest.mark.parametrize("other", [0, 3 << 20])
def test_a_large_chunk_that_nobody_has_read_of_is_read_anew(
    server: SftpServer | WebServer, mount: Mounter, tmp_path: Path, other: int
) -> None:
    """Four wait for it while its server is away, and another version is there when it is back."""
    write_store(tmp_path / "far", 1, {"0/0/0": LARGE_CHUNK})
    mount.expect_warning("layer far is down")
    found: list[set[int] | int] = []
    with server:
        point = mount(stacked(server, tmp_path / "mine", ttl=60))
        chunk = point / "Objects" / "map.zarr" / "0/0/0"
        assert chunk.stat().st_size == LARGE_CHUNK
        server.stop()

        def read_whole() -> None:
            data = chunk.read_bytes()
            found.extend((set(data), len(data)))

        readers = [threading.Thread(target=read_whole) for _ in range(4)]
        for reader in readers:
            reader.start()
        wait_until(lambda: mount.status(point)["waiting_reads"], 20, "a read that waits")
        wait_until(lambda: mount.status(point)["open_files"] == len(readers), 20, "all to be opened")
        write_store(tmp_path / "far", 2, {"0/0/0": LARGE_CHUNK + other})
        server.start()
        for reader in readers:
            reader.join(60)
        assert found == [{2}, LARGE_CHUNK + other] * len(readers)
        mount.umount(point)

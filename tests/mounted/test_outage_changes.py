"""Files that change at a remote source while they are read through the mount."""

from __future__ import annotations

import errno
import json
import os
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

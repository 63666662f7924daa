"""Reading a long directory: the same by several threads, and never on the event loop from a disk."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from copickfs.errors import WouldBlock
from copickfs.layers import localscan
from copickfs.layers.local import LocalLayer
from copickfs.layers.localscan import statuses

if TYPE_CHECKING:
    from pathlib import Path

NAMES = 700


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "runs"
    made.mkdir()
    for number in range(NAMES):
        (made / f"TS_{number:04d}").write_bytes(b"x" * number)
    (made / "dangling").symlink_to("nowhere")
    return made


@pytest.fixture
def cold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every attribute seems to come from the disk."""
    monkeypatch.setattr(localscan, "_COLD_S", -1.0)


@pytest.fixture
def warm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(localscan, "_COLD_S", 1e9)


def read(directory: Path, limit: int | None = None) -> list[tuple[str, os.stat_result] | None]:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        return list(statuses(descriptor, limit))
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("state", ["cold", "warm"])
def test_everything_is_there_once(
    directory: Path, state: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    request.getfixturevalue(state)
    ahead: list[int] = []
    real = localscan._read_ahead
    monkeypatch.setattr(localscan, "_read_ahead", lambda items: (ahead.append(len(items)), real(items)))
    found = [item for item in read(directory) if item is not None]
    assert dict(found) == {name: os.lstat(directory / name) for name in os.listdir(directory)}
    assert len(found) == NAMES + 1
    assert ahead == ([NAMES + 1] if state == "cold" else [])
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("copickfs-scan")]


@pytest.mark.usefixtures("cold")
def test_what_has_gone_meanwhile_is_passed_over(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = localscan._read_ahead

    def late(items: list[os.DirEntry[str]]) -> None:
        for name in ("TS_0500", "TS_0699"):
            (directory / name).unlink()
        real(items)

    monkeypatch.setattr(localscan, "_read_ahead", late)
    names = {item[0] for item in read(directory) if item is not None}
    assert names == set(os.listdir(directory)) | ({"TS_0500", "TS_0699"} & names)
    assert len(names) >= NAMES - 1


@pytest.mark.usefixtures("warm")
def test_a_caller_that_must_not_wait_does_not(directory: Path) -> None:
    assert read(directory, NAMES) == [None]
    assert len(read(directory, NAMES + 1)) == NAMES + 1


@pytest.mark.usefixtures("cold")
def test_a_long_directory_on_the_disk_is_left_to_a_thread(directory: Path) -> None:
    assert read(directory, 10 * NAMES) == [None]
    layer = LocalLayer("lab", directory.parent)
    layer.connect()
    with pytest.raises(WouldBlock):
        layer.scan_nowait("runs")
    assert len(layer.scan("runs")) == NAMES + 1
    layer.close()


@pytest.mark.usefixtures("cold")
def test_a_short_one_is_read_at_once(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    assert [item[0] for item in read(tmp_path, 10) if item is not None] == ["a"]

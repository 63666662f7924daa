"""Changes that are sent behind to a remote layer with a cache: their journal is in its directory."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.mounted.stores import cached
from tests.mounted.test_offline import Ear
from tests.objectstore import ObjectStore
from tests.sandbox import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Mounter
    from tests.sandbox import Run, Sandbox

PICKS = "ExperimentRuns/TS_1/Picks"
DATA = {f"{PICKS}/me_{number}_ribosome.json": b'{"points": [%d]}' % number for number in range(5)}


@pytest.fixture
def store() -> Iterator[ObjectStore]:
    with ObjectStore() as opened:
        opened.fill({f"{PICKS}/lab_1_ribosome.json": b"{}"})
        yield opened


def behind(config: dict[str, Any]) -> dict[str, Any]:
    """The same, written behind."""
    config["layer_configs"]["lab"]["read_only"] = False
    return {**config, "default_write_layer": "lab", "write_strategy": "cache_and_propagate"}


def uncached(config: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key != "cache_config"}


def write(point: Path) -> None:
    for path, data in DATA.items():
        (point / path).write_bytes(data)


def sent(store: ObjectStore) -> dict[str, bytes]:
    return {path: data for path, data in store.objects().items() if path in DATA}


def pending(mount: Mounter, point: Path) -> int:
    (layer,) = [layer for layer in mount.status(point)["layers"] if layer["name"] == "lab"]
    return int(layer["pending_entries"])


def journals(directory: Path) -> list[Path]:
    """Files in journals below a directory, but for the locks."""
    return [path for path in directory.rglob("*") if path.is_file() and path.name != "lock"]


def old_place(sandbox: Sandbox) -> Path:
    return Path(sandbox.env["XDG_STATE_HOME"]) / "copickfs" / "journal"


def new_place(tmp_path: Path) -> Path:
    return tmp_path / "cache" / ".copickfs" / "journal"


def test_what_was_acknowledged_is_sent_after_a_kill(
    store: ObjectStore, mount: Mounter, copickfs: Run, sandbox: Sandbox, tmp_path: Path
) -> None:
    mount.expect_warning("layer lab")
    config = behind(cached(store, tmp_path))
    point = mount(config)
    os.listdir(point / PICKS)
    store.stop()
    write(point)
    assert pending(mount, point) == len(DATA)
    assert len(journals(new_place(tmp_path))) >= len(DATA)
    assert not journals(old_place(sandbox))
    os.kill(mount.pid(point), signal.SIGKILL)
    assert sent(store) == {}
    store.start()
    mount(config, mountpoint=point)
    assert copickfs("flush", point, "--timeout", "30", check=True)
    assert sent(store) == DATA
    assert {path: (point / path).read_bytes() for path in DATA} == DATA
    wait_until(lambda: not journals(new_place(tmp_path)), what="the journal to be empty")


def test_a_journal_at_the_old_place_is_gone_on_with(
    store: ObjectStore, mount: Mounter, copickfs: Run, sandbox: Sandbox, tmp_path: Path
) -> None:
    mount.expect_warning("layer lab")
    config = behind(cached(store, tmp_path))
    point = mount(uncached(config))
    os.listdir(point / PICKS)
    store.stop()
    write(point)
    mount.umount(point)
    assert journals(old_place(sandbox))
    mount(config, "-o", "degraded", mountpoint=point)
    assert pending(mount, point) == len(DATA)
    assert {path: (point / path).read_bytes() for path in DATA} == DATA
    more = f"{PICKS}/more.json"
    (point / more).write_bytes(b"{}")
    assert not journals(new_place(tmp_path))
    store.start()
    assert copickfs("flush", point, "--timeout", "30", check=True)
    assert sent(store) == DATA
    assert store.objects()[more] == b"{}"
    mount.umount(point)
    assert not journals(old_place(sandbox))


def test_what_is_written_offline_is_sent_at_the_next_mount(
    store: ObjectStore, mount: Mounter, copickfs: Run, tmp_path: Path
) -> None:
    config = behind(cached(store, tmp_path))
    point = mount(config)
    os.listdir(point / PICKS)
    mount.umount(point)
    store.stop()
    with Ear(store.port) as ear:
        mount(config, "--offline", mountpoint=point)
        write(point)
        assert {path: (point / path).read_bytes() for path in DATA} == DATA
        assert len(os.listdir(point / PICKS)) == len(DATA) + 1
        assert pending(mount, point) == len(DATA)
        told = copickfs("umount", point, check=True).stderr
        assert f"{len(DATA)} changes" in told
        mount(config, "--offline", mountpoint=point)
        assert {path: (point / path).read_bytes() for path in DATA} == DATA
        mount.umount(point)
        assert ear.calls == 0
    store.start()
    mount(config, mountpoint=point)
    assert copickfs("flush", point, "--timeout", "30", check=True)
    assert sent(store) == DATA

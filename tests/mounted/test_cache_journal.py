"""Changes that are sent behind to a layer with a cache: their journal is not in what may be thrown away."""

from __future__ import annotations

import json
import os
import shutil
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


def place(sandbox: Sandbox) -> Path:
    return Path(sandbox.env["XDG_STATE_HOME"]) / "copickfs" / "journal"


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
    assert len(journals(place(sandbox))) >= len(DATA)
    os.kill(mount.pid(point), signal.SIGKILL)
    assert sent(store) == {}
    shutil.rmtree(tmp_path / "cache")
    store.start()
    mount(config, mountpoint=point)
    assert copickfs("flush", point, "--timeout", "30", check=True)
    assert sent(store) == DATA
    assert {path: (point / path).read_bytes() for path in DATA} == DATA
    wait_until(lambda: not journals(place(sandbox)), what="the journal to be empty")


def test_what_waits_is_sent_whatever_becomes_of_the_cache(
    store: ObjectStore, mount: Mounter, copickfs: Run, sandbox: Sandbox, tmp_path: Path
) -> None:
    mount.expect_warning("layer lab")
    config = behind(cached(store, tmp_path))
    point = mount(config)
    os.listdir(point / PICKS)
    store.stop()
    write(point)
    mount.umount(point)
    other = {**config, "cache_config": {**config["cache_config"], "root": str(tmp_path / "other")}}
    for changed in (uncached(config), other, config):
        mount(changed, "-o", "degraded", mountpoint=point)
        assert pending(mount, point) == len(DATA)
        assert {path: (point / path).read_bytes() for path in DATA} == DATA
        if "cache_config" in changed:
            shutil.rmtree(changed["cache_config"]["root"])  # under the mount
            assert pending(mount, point) == len(DATA)
            assert {path: (point / path).read_bytes() for path in DATA} == DATA
        mount.umount(point)
    store.start()
    mount(other, mountpoint=point)
    shutil.rmtree(tmp_path / "other")
    assert copickfs("flush", point, "--timeout", "30", check=True)
    assert sent(store) == DATA
    mount.umount(point)
    assert not journals(place(sandbox))


def test_a_cache_that_cannot_be_used_keeps_nobody_from_writing(
    store: ObjectStore, mount: Mounter, copickfs: Run, tmp_path: Path
) -> None:
    mount.expect_warning("the cache")
    config = behind(cached(store, tmp_path))
    config["cache_config"]["root"] = "/proc/cache"
    point = mount(config)
    write(point)
    assert copickfs("flush", point, "--timeout", "30", check=True)
    assert sent(store) == DATA


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


def test_changes_that_wait_under_another_spelling_are_told_of(
    store: ObjectStore, mount: Mounter, copickfs: Run, sandbox: Sandbox, tmp_path: Path
) -> None:
    mount.expect_warning("not sent by this mount")
    config = behind(cached(store, tmp_path))
    point = mount(config)
    os.listdir(point / PICKS)
    mount.umount(point)
    mount(config, "--offline", mountpoint=point)
    write(point)
    assert "not sent" not in copickfs("status").stdout, "this mount has them"
    mount.umount(point)
    (journal,) = place(sandbox).iterdir()

    def respelt(root: str, endpoint: str) -> dict[str, Any]:
        lab = config["layer_configs"]["lab"]
        fs_args = {**lab["fs_args"], "endpoint_url": endpoint}
        return {**config, "layer_configs": {"lab": {**lab, "root": root, "fs_args": fs_args}}}

    endpoint = store.fs_args["endpoint_url"]
    mount(respelt(store.url, endpoint.replace("127.0.0.1", "localhost")), mountpoint=point)
    words = f"{len(DATA)} changes wait for {store.url} at {endpoint} in {journal}: mount a configuration"
    assert f"not sent by this mount: {words}" in mount.log()
    assert words in copickfs("status", point).stdout
    assert words in copickfs("flush", point, check=True).stderr
    (told,) = json.loads(copickfs("status", "--json").stdout)["journals"]
    assert (told["directory"], told["entries"]) == (str(journal), len(DATA))
    assert store.fs_args["secret"] not in mount.log() + str(told)
    mount.umount(point)
    assert words in copickfs("status").stdout
    same = respelt(store.url.replace("s3://", "s3a://") + "/", endpoint + "/")
    mount(same, mountpoint=point)
    assert copickfs("flush", point, "--timeout", "30", check=True).stderr == ""
    assert sent(store) == DATA

"""Readers of every kind, beside each other, over servers and lines that fail in every way.

What a reader gets is what the source has; what it cannot get is an error or is waited for, and never an
absence; what is in the cache afterwards is sound; and nobody has been asked to change anything.

By default all faults come together, for a short time; ``pytest -m soak`` has each alone, and long runs.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import random
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pytest
import zarr

from copickfs.cache import Disk
from tests import faultproxy, model
from tests.faultproxy import FaultProxy
from tests.grids import in_short
from tests.mounted.stores import STORE, cached, tomogram
from tests.objectstore import ObjectStore
from tests.sandbox import wait_until
from tests.webserver import WebServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Mounter

    Fault = Callable[[faultproxy.Answer], bool]

CHECKOUT = Path(__file__).parent.parent.parent
PICKS = "ExperimentRuns/TS_1/Picks"
SECONDS = 2.0
SOAK_SECONDS = 40.0
KINDS = ("chunks", "parts", "picks", "arrays")
MRC_BYTES = 40 << 20
SMALL_MRC_BYTES = 12 << 20

GROUPS: dict[str, tuple[Fault, ...]] = {
    "500": (faultproxy.server_error,),
    "503": (faultproxy.slow_down,),
    "hang": (faultproxy.hang,),
    "reset": (faultproxy.reset,),
    "cut": (faultproxy.cut,),
    "too long": (faultproxy.too_long,),
}
ON_OBJECTS: dict[str, tuple[Fault, ...]] = {
    "too short": (faultproxy.too_short,),
    "flipped": (faultproxy.flipped,),
    "damaged": (faultproxy.too_short, faultproxy.flipped),
    "denied": (faultproxy.denied,),
}
SHORT = ("all", "damaged", "denied")
LOUD = {"EIO", "ETIMEDOUT", "ESTALE", "GroupNotFoundError", "ContainsArrayError", "KeyError"}
"""Errors that say that something could not be had. The last are zarr's, where it cannot read a document."""


@pytest.fixture(params=[SECONDS, pytest.param(SOAK_SECONDS, marks=pytest.mark.soak)], ids=["short", "soak"])
def seconds(request: pytest.FixtureRequest) -> float:
    return float(request.param)


@pytest.fixture
def store() -> Iterator[ObjectStore]:
    with ObjectStore() as opened:
        yield opened


def project(root: Path) -> dict[str, bytes]:
    """A tomogram of 64 chunks, picks and a large file; its objects."""
    voxels = np.random.default_rng(5).random((64, 64, 64), dtype=np.float32) + 1
    group = zarr.open_group(str(root / STORE), mode="w")
    group.create_dataset("0", data=voxels, chunks=(16,) * 3, fill_value=0, dimension_separator="/")
    chance = random.Random(5)
    (root / PICKS).mkdir(parents=True)
    for number in range(60):
        (root / PICKS / f"me_{number}_ribosome.json").write_text(json.dumps([chance.random()] * 50))
    (root / "map.mrc").write_bytes(chance.randbytes(MRC_BYTES))
    return objects_of(root)


def changing_project(root: Path) -> dict[str, bytes]:
    """The same, but each file that changes is full of a byte."""
    array = root / STORE / "0"
    array.mkdir(parents=True)
    document = {"zarr_format": 2, "shape": [64] * 3, "chunks": [16] * 3, "dtype": "|u1", "order": "C"}
    document |= {"compressor": None, "fill_value": 0, "filters": None, "dimension_separator": "/"}
    (array / ".zarray").write_text(json.dumps(document))
    (array.parent / ".zgroup").write_text('{"zarr_format": 2}')
    (root / PICKS).mkdir(parents=True)
    names = [f"{PICKS}/me_{number}_ribosome.json" for number in range(10)]
    chunks = [f"{STORE}/0/{z}/{y}/{x}" for z in range(4) for y in range(4) for x in range(4)]
    for name, size in {**dict.fromkeys(names, 3_000), **dict.fromkeys(chunks, 4_096)}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"\1" * size)
    (root / "map.mrc").write_bytes(b"\1" * SMALL_MRC_BYTES)
    return objects_of(root)


def objects_of(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def small_cache(config: dict[str, Any]) -> dict[str, Any]:
    """So small that the source is asked again and again."""
    config["cache_config"] |= {"max_size_bytes": 12 << 20, "memory_bytes": 16 << 20, "prefetch": True}
    config["layer_configs"]["lab"] |= {"ttl": 1, "timeout": 2}
    return config


def read_all_the_time(
    point: Path, source: Path, seconds: float, kinds: tuple[str, ...] = KINDS, *, is_changing: bool = False
) -> dict[str, Any]:
    """Several processes that read, until they end: what they have met together."""
    readers = []
    for seed, kind in enumerate([*kinds, "chunks", "parts"]):
        reader = subprocess.Popen(
            [sys.executable, "-m", "tests.faultload"],
            cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        told = {"point": str(point), "source": str(source), "store": STORE, "seconds": seconds}
        told |= {"kind": kind, "seed": seed, "is_changing": is_changing}
        assert reader.stdin
        reader.stdin.write(json.dumps(told) + "\n")
        reader.stdin.flush()
        readers.append((kind, reader))
    met: dict[str, Any] = {"reads": dict.fromkeys(kinds, 0), "errors": {}, "wrong": []}
    try:
        for kind, reader in readers:
            told = json.loads(reader.communicate(timeout=seconds + 60)[0])
            met["reads"][kind] += told["reads"]
            met["wrong"] += told["wrong"]
            for name, count in told["errors"].items():
                met["errors"][name] = met["errors"].get(name, 0) + count
    finally:
        for _, reader in readers:
            reader.kill()
            reader.communicate()
    return met


def assert_cache_is_sound(directory: Path) -> None:
    disk = Disk(directory / "cache", 1 << 30)
    try:
        sound, damaged, strays = disk.verify()
    finally:
        disk.close()
    assert sound
    assert (damaged, strays) == (0, 0)


def assert_right(met: dict[str, Any], loud: set[str] = LOUD) -> None:
    assert not met["wrong"]
    assert set(met["errors"]) <= loud
    assert all(met["reads"].values()), met


class Proxied:
    """An object store behind a proxy: what a configuration needs of it."""

    def __init__(self, store: ObjectStore, proxy: FaultProxy) -> None:
        self.url = store.url
        self.fs_args = {**store.fs_args, "endpoint_url": f"http://127.0.0.1:{proxy.port}"}


@pytest.mark.parametrize("group", in_short([*GROUPS, *ON_OBJECTS, "refuse", "all"], *SHORT))
def test_an_object_store_over_a_line_that_fails(
    store: ObjectStore, mount: Mounter, tmp_path: Path, group: str, seconds: float
) -> None:
    objects = project(tmp_path / "source")
    store.fill(objects)
    mount.expect_warning("layer lab|with other bytes than its ETag says")
    with FaultProxy(store.port) as proxy, contextlib.ExitStack() as during:
        point = mount(small_cache(cached(Proxied(store, proxy), tmp_path)))
        subprocess.run(["find", point], stdout=subprocess.DEVNULL, check=True)  # all is listed once
        if group in GROUPS:
            proxy.sometimes(*GROUPS[group], share=0.1 if group == "hang" else 0.3)
        elif group in ON_OBJECTS:
            # Nothing tells that a listing has come damaged, nor a part of an object.
            proxy.sometimes(*ON_OBJECTS[group], of=lambda asked: asked.is_contents and not asked.is_part)
        elif group == "refuse":
            during.enter_context(proxy.refusing_now_and_then(1.0, 0.5))
        else:
            proxy.sometimes(*(fault for faults in GROUPS.values() for fault in faults))
            during.enter_context(proxy.refusing_now_and_then(1.5, 0.5))
        # zarr's FSStore takes every error of a chunk for "all zeros", and a refusal is one.
        kinds = tuple(kind for kind in KINDS if group != "denied" or kind != "arrays")
        met = read_all_the_time(point, tmp_path / "source", seconds, kinds)
        during.close()
        proxy.choose = lambda _request: None
        assert proxy.faults, "nothing has failed"
        assert_right(met, LOUD | {"EACCES"} if group == "denied" else LOUD)
        mount.umount(point)
        assert {request.method for request in proxy.requests} <= {"GET", "HEAD"}
    assert store.objects() == objects
    assert_cache_is_sound(tmp_path)


class Changes:
    """Somebody who replaces objects, one after the other, each version full of a byte of its own."""

    def __init__(self, store: ObjectStore, objects: dict[str, bytes]) -> None:
        self._store = store
        self._small = [key for key in objects if set(objects[key]) == {1} and not key.endswith(".mrc")]
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._replace, daemon=True)
        self.objects = dict(objects)

    def _replace(self) -> None:
        for number in itertools.count():
            if self._ended.wait(0.03):
                return
            key = "map.mrc" if number % 25 == 0 else random.choice(self._small)
            before = self.objects[key]
            self.objects[key] = bytes([before[0] % 255 + 1]) * len(before)
            self._store.fill({key: self.objects[key]})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


@pytest.mark.parametrize("share", in_short([0, 0.2], 0.2), ids=["a good line", "a bad line"])
def test_objects_that_are_replaced_are_never_mixed(
    store: ObjectStore, mount: Mounter, tmp_path: Path, share: float, seconds: float
) -> None:
    objects = changing_project(tmp_path / "source")
    store.fill(objects)
    mount.expect_warning("layer lab|with other bytes than its ETag says")
    with FaultProxy(store.port) as proxy:
        point = mount(small_cache(cached(Proxied(store, proxy), tmp_path, ttl=1)))
        subprocess.run(["find", point], stdout=subprocess.DEVNULL, check=True)
        proxy.sometimes(faultproxy.reset, faultproxy.server_error, share=share)
        with Changes(store, objects) as changes:
            met = read_all_the_time(point, tmp_path / "source", seconds, is_changing=True)
        proxy.choose = lambda _request: None
        assert_right(met)
        assert changes.objects != objects
        for key, data in changes.objects.items():
            wait_until(lambda key=key, data=data: read(point / key) == data, 20, f"the last version of {key}")
        mount.umount(point)
    assert_cache_is_sound(tmp_path)


def read(path: Path) -> bytes | None:
    """The contents, None while they change."""
    try:
        return path.read_bytes()
    except OSError as error:
        if error.errno == errno.ENOENT:
            raise
        return None


def test_a_web_server_over_a_line_that_fails(mount: Mounter, tmp_path: Path, seconds: float) -> None:
    project(tmp_path / "source")
    before = model.hash_tree(tmp_path / "source")
    mount.expect_warning("layer lab")
    with WebServer(tmp_path / "source") as server, FaultProxy(server.port) as proxy:
        server.listing = "json"
        at = SimpleNamespace(url=f"http://127.0.0.1:{proxy.port}/", fs_args={})
        point = mount(small_cache(cached(at, tmp_path)))
        subprocess.run(["find", point], stdout=subprocess.DEVNULL, check=True)
        proxy.sometimes(*(fault for group, faults in GROUPS.items() if group != "hang" for fault in faults))
        with proxy.refusing_now_and_then(1.5, 0.5):
            met = read_all_the_time(point, tmp_path / "source", seconds)
        proxy.choose = lambda _request: None
        assert_right(met)
        mount.umount(point)
        assert {request.method for request in proxy.requests} <= {"GET", "HEAD"}
    assert model.hash_tree(tmp_path / "source") == before
    assert_cache_is_sound(tmp_path)


def test_copick_reads_right_data_cold_while_every_third_request_fails(
    store: ObjectStore, mount: Mounter, tmp_path: Path
) -> None:
    import copick

    voxels, objects = tomogram(tmp_path / "source", (4, 4, 4))
    store.fill(objects)
    mount.expect_warning("layer lab")
    numbers = itertools.count(1)
    faults = itertools.cycle((faultproxy.server_error, faultproxy.reset))
    with FaultProxy(store.port) as proxy:
        proxy.choose = lambda _request: next(faults) if next(numbers) % 3 == 0 else None
        point = mount(cached(Proxied(store, proxy), tmp_path))
        root = copick.from_file(str(point / "copick_config.json"))
        (found,) = root.get_run("TS_1").get_voxel_spacing(10.0).get_tomograms("wbp")
        assert np.array_equal(zarr.open(found.zarr(), mode="r")["0"][:], voxels)
        assert proxy.faults >= 64 / 3
        proxy.choose = lambda _request: None
        mount.umount(point)
    assert_cache_is_sound(tmp_path)

"""A cache whose disk is full, read-only or gone: reads go on, it is told, and later it is used again."""

from __future__ import annotations

import contextlib
import re
import subprocess
from typing import TYPE_CHECKING

import numpy as np
import pytest
import zarr

from tests.mounted.stores import STORE, cached, tomogram
from tests.objectstore import ObjectStore
from tests.sandbox import needs_root, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Mounter, Sandbox

pytestmark = needs_root

WARNED = r"WARNING copickfs\.\S+: the cache .* cannot be used"
DISK_BYTES = 16 << 20


@pytest.fixture
def store() -> Iterator[ObjectStore]:
    with ObjectStore() as opened:
        yield opened


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system."""
    point = tmp_path / "disk"
    point.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", point], check=True)
    yield point
    subprocess.run(["umount", "-l", point], check=True)


@pytest.fixture
def mount(mount: Mounter, sandbox: Sandbox) -> Mounter:
    """A mount whose cache is looked at again soon."""
    sandbox.program = "tests.mounted.short_rest"
    return mount


def fill(disk: Path) -> None:
    with contextlib.suppress(OSError), (disk / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)


def empty(disk: Path) -> None:
    (disk / "filler").unlink()


def remount(disk: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", disk], check=True)


def take_away(disk: Path) -> None:
    (disk / "cache").rename(disk / "elsewhere")
    (disk / "cache").write_text("a file")


def bring_back(disk: Path) -> None:
    (disk / "cache").unlink()
    (disk / "elsewhere").rename(disk / "cache")


FROM_THE_START = {
    "full": (fill, empty),
    "read-only": (lambda disk: remount(disk, "ro"), lambda disk: remount(disk, "rw")),
}
IN_USE = {"full": (fill, empty), "gone": (take_away, bring_back)}


class Reading:
    """A mount over a store, with a cache on a disk."""

    def __init__(self, store: ObjectStore, disk: Path, mount: Mounter, tmp_path: Path) -> None:
        self.voxels, self.objects = tomogram(tmp_path / "local", (8, 4, 4))
        store.fill(self.objects)
        self.config = cached(store, tmp_path, ttl=600)
        self.config["cache_config"]["root"] = str(disk / "cache")
        self._mount = mount
        self.point = tmp_path

    def mount(self) -> None:
        self.point = self._mount(self.config)

    def planes(self, first: int, last: int) -> None:
        """Read some chunks, and compare."""
        array = zarr.open_group(str(self.point / STORE), mode="r")["0"]
        assert np.array_equal(array[8 * first : 8 * last], self.voxels[8 * first : 8 * last])

    def chunk(self, number: int) -> None:
        """Read one that nobody has read before."""
        key = f"{STORE}/0/7/{number // 4}/{number % 4}"
        assert (self.point / key).read_bytes() == self.objects[key]

    def cache(self) -> dict[str, object]:
        return dict(self._mount.status(self.point)["cache"])

    def warnings(self) -> list[str]:
        return [line for line in self._mount.log().splitlines() if re.search(WARNED, line)]


@pytest.fixture
def reading(store: ObjectStore, disk: Path, mount: Mounter, tmp_path: Path) -> Reading:
    return Reading(store, disk, mount, tmp_path)


def is_used_again(reading: Reading) -> None:
    """Whatever is read from some moment on is kept."""
    before = int(str(reading.cache()["stored"]))
    numbers = iter(range(16))

    def is_kept() -> bool:
        reading.chunk(next(numbers, 0))
        return int(str(reading.cache()["stored"])) > before and not reading.cache()["message"]

    wait_until(is_kept, 20, "the cache to be used again")


@pytest.mark.parametrize("case", FROM_THE_START)
def test_from_the_start(reading: Reading, disk: Path, mount: Mounter, case: str) -> None:
    mount.expect_warning(WARNED)
    spoil, mend = FROM_THE_START[case]
    spoil(disk)
    reading.mount()
    reading.planes(0, 3)
    reading.planes(0, 3)
    wait_until(lambda: reading.cache()["message"], what="the status to tell")
    assert len(reading.warnings()) == 1, reading.warnings()
    mend(disk)
    is_used_again(reading)
    assert len(reading.warnings()) == 1, reading.warnings()


@pytest.mark.parametrize("case", IN_USE)
def test_in_use(reading: Reading, disk: Path, mount: Mounter, case: str) -> None:
    mount.expect_warning(WARNED)
    reading.mount()
    reading.planes(0, 2)
    wait_until(lambda: reading.cache()["stored"], what="something in the cache")
    spoil, mend = IN_USE[case]
    spoil(disk)
    reading.planes(1, 6)
    reading.planes(0, 6)
    if case == "gone":
        wait_until(lambda: (reading.planes(6, 7), reading.cache()["message"])[1], 20, "the status to tell")
    assert len(reading.warnings()) <= 1, reading.warnings()
    mend(disk)
    is_used_again(reading)

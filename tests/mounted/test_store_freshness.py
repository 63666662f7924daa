"""Objects that are replaced behind a mount with a cache: the old version as a whole, then the new one."""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING

import pytest

from tests.mounted.stores import STORE, asked, cached
from tests.objectstore import ObjectStore
from tests.sandbox import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Mounter

LARGE, CHUNK = "map.mrc", f"{STORE}/0/1/1/1"
SIZES = {LARGE: 12 << 20, CHUNK: 4_096}
TTL_S = 1.0
ARRAY = b"""{"zarr_format": 2, "shape": [8, 8, 8], "chunks": [2, 2, 2], "dtype": "|u1", "order": "C",
"compressor": null, "fill_value": 0, "filters": null, "dimension_separator": "/"}"""


@pytest.fixture
def store() -> Iterator[ObjectStore]:
    with ObjectStore() as opened:
        opened.fill({f"{STORE}/.zgroup": b'{"zarr_format": 2}', f"{STORE}/0/.zarray": ARRAY})
        replace(opened, 1)
        yield opened


def replace(store: ObjectStore, version: int) -> None:
    store.fill({key: bytes([version]) * size for key, size in SIZES.items()})


def versions(path: Path) -> set[int]:
    """Which bytes a file has, past the pages of the kernel; none while it cannot be read."""
    try:
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            data = file.read()
    except OSError as error:
        if error.errno != errno.ESTALE:
            raise
        return set()
    assert len(data) in SIZES.values()
    return set(data)


@pytest.mark.parametrize("key", SIZES)
def test_a_new_version_is_read_after_the_ttl_and_never_mixed(
    store: ObjectStore, mount: Mounter, tmp_path: Path, key: str
) -> None:
    point = mount(cached(store, tmp_path, ttl=TTL_S))
    for version in (1, 2, 3):
        replace(store, version)
        seen: list[set[int]] = []

        def is_new(version: int = version, seen: list[set[int]] = seen) -> bool:
            seen.append(versions(point / key))
            return seen[-1] == {version}

        wait_until(is_new, 20, f"version {version}")
        assert all(one <= {version - 1} for one in seen[:-1]), seen
        wait_until(lambda: not mount.status(point)["cache"]["waiting_bytes"], what="the disk")


def test_an_open_reader_keeps_its_version_or_is_told(
    store: ObjectStore, mount: Mounter, tmp_path: Path
) -> None:
    point = mount(cached(store, tmp_path, ttl=TTL_S))
    with (point / LARGE).open("rb", buffering=0) as file:
        assert set(os.pread(file.fileno(), 1 << 20, 0)) == {1}
        replace(store, 2)
        wait_until(lambda: versions(point / LARGE) == {2}, 20, "the new version")
        for offset in range(0, SIZES[LARGE], 1 << 20):
            try:
                assert set(os.pread(file.fileno(), 1 << 20, offset)) == {1}
            except OSError as error:
                assert error.errno == errno.ESTALE  # noqa: PT017 - no other error, and perhaps none
    assert versions(point / LARGE) == {2}


def test_what_never_changes_is_never_asked_for_again(
    store: ObjectStore, mount: Mounter, tmp_path: Path
) -> None:
    point = mount(cached(store, tmp_path, ttl=TTL_S, immutable=True))
    assert [versions(point / key) for key in SIZES] == [{1}] * 2
    replace(store, 2)
    time.sleep(2 * TTL_S)
    with store.recorded() as requests:
        assert [versions(point / key) for key in SIZES] == [{1}] * 2
        assert sorted(os.listdir(point / STORE / "0" / "1")) == ["1"]
        assert not asked(requests)

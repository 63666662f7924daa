"""A remote layer that answers nothing, which is worse than one that refuses: every call to it hangs."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.mounted.test_outage import LOCAL_LIMIT_S, READ_CHUNK, RUN, project, stacked
from tests.sandbox import wait_until
from tests.servers import SftpServer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Mounter, Sandbox

READERS = 100
METADATA_LIMIT_S = 35.0
"""The deadline of a lookup, and some air."""


def local_work(point: Path, mine: Path) -> None:
    """Reads, lookups and listings that concern the local layer alone, or what is remembered."""
    began = time.monotonic()
    assert (point / "big.bin").read_bytes() == (mine / "big.bin").read_bytes()
    for index in range(20):
        assert (point / "notes" / f"{index}.txt").read_text() == str(index)
    assert len(os.listdir(point / "notes")) == 20
    with pytest.raises(FileNotFoundError):
        (point / RUN / "wbp.zarr" / "0" / "7" / "7" / "7").stat()
    (point / RUN / "wbp.zarr" / "0" / "0" / "0" / "0").stat()
    assert time.monotonic() - began < LOCAL_LIMIT_S


def test_readers_of_a_layer_that_hangs_slow_nobody_down(
    mount: Mounter, sandbox: Sandbox, tmp_path: Path
) -> None:
    (tmp_path / "far").mkdir()
    project(tmp_path / "far", (40, 40, 32))
    mine = tmp_path / "mine"
    (mine / "notes").mkdir(parents=True)
    (mine / "big.bin").write_bytes(os.urandom(4 << 20))
    for index in range(20):
        (mine / "notes" / f"{index}.txt").write_text(str(index))
    mount.expect_warning("far")
    with SftpServer(tmp_path / "far") as server:
        point = mount(stacked(server, mine))
        array = point / RUN / "wbp.zarr" / "0"
        chunks = [array / str(z) / str(y) / str(x) for z in range(5) for y in range(5) for x in range(4)]
        for chunk in chunks:
            chunk.stat()
        local_work(point, mine)
        server.freeze()
        readers = [sandbox.start([sys.executable, "-c", READ_CHUNK, chunk], text=False) for chunk in chunks]
        try:
            wait_until(lambda: mount.status(point)["waiting_reads"] >= READERS, 60, "the reads to wait")
            for _ in range(5):
                local_work(point, mine)
                time.sleep(0.5)
            assert all(reader.poll() is None for reader in readers)
            server.thaw()
            for reader, chunk in zip(readers, chunks, strict=True):
                out, _ = reader.communicate(timeout=90)
                assert out == (tmp_path / "far" / chunk.relative_to(point)).read_bytes()[:1]
        finally:
            server.thaw()
            for reader in readers:
                reader.kill()
                reader.communicate()
        mount.umount(point)


def test_a_lookup_that_needs_the_layer_ends_and_is_no_absence(mount: Mounter, tmp_path: Path) -> None:
    (tmp_path / "far" / "Objects").mkdir(parents=True)
    (tmp_path / "far" / "Objects" / "ribosome.txt").write_text("there")
    (tmp_path / "mine").mkdir()
    mount.expect_warning("far")
    with SftpServer(tmp_path / "far") as server:
        point = mount(stacked(server, tmp_path / "mine"))
        server.freeze()
        try:
            for call in (os.stat, os.listdir, open):
                path = point / "Objects" if call is os.listdir else point / "Objects" / "ribosome.txt"
                began = time.monotonic()
                with pytest.raises(OSError, match=r"Input/output error|timed out") as caught:
                    call(path)
                assert not isinstance(caught.value, FileNotFoundError)
                assert time.monotonic() - began < METADATA_LIMIT_S
            mount.umount(point)
        finally:
            server.thaw()


def test_unmounting_by_force_while_readers_hang(mount: Mounter, sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    project(tmp_path / "far")
    (tmp_path / "mine").mkdir()
    mount.expect_warning("far|ending")
    with SftpServer(tmp_path / "far") as server:
        point = mount(stacked(server, tmp_path / "mine"))
        chunks = [point / RUN / "wbp.zarr" / "0" / "0" / "0" / str(x) for x in range(3)]
        for chunk in chunks:
            chunk.stat()
        server.freeze()
        readers = [
            sandbox.start([sys.executable, "-c", READ_CHUNK, chunk], text=False)
            for chunk in chunks
            for _ in "abcd"
        ]
        try:
            wait_until(lambda: mount.status(point)["waiting_reads"] >= len(chunks), 30, "the reads to wait")
            mount.umount(point, "--force")
            for reader in readers:
                assert reader.wait(20) != 0
        finally:
            server.thaw()
            for reader in readers:
                reader.kill()
                reader.communicate()

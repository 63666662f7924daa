"""What a user asks of a mount that is written: ``materialize``, ``flush``, ``status``, ``umount``."""

from __future__ import annotations

import os
import re
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.mounted.conftest import put
from tests.mounted.test_lifecycle import make_stale
from tests.mounted.test_lifecycle_mountpoints import refused
from tests.sandbox import state_of, wait_until
from tests.servers import PASSWORD, SftpServer
from tests.writing import assert_same_tree, partial_stores

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Mounter
    from tests.sandbox import Run, Sandbox
    from tests.writing import WritableStack

RUN = "ExperimentRuns/TS_1/VoxelSpacing10.000"
STORE = f"{RUN}/wbp.zarr"
OTHER = f"{RUN}/denoised.zarr"


def make_stores(layer: Path) -> None:
    for store in (STORE, OTHER):
        put(layer / store / ".zgroup", b'{"zarr_format": 2}')
        put(layer / store / "0" / ".zarray", b'{"zarr_format": 2, "shape": [4]}')
        for number in range(4):
            put(layer / store / "0" / str(number), b"old" * 100)


@pytest.fixture
def partial(writable: WritableStack) -> WritableStack:
    """Two lower stores of which one chunk each was written, and that are not completed by themselves."""
    make_stores(writable.lower[0])
    writable.mount(complete_below_bytes=0)
    for store in (STORE, OTHER):
        (writable.point / store / "0" / "2").write_bytes(b"new")
    assert len(partial_stores(writable.mine)) == 2
    return writable


def test_materialize_a_store(partial: WritableStack, copickfs: Run) -> None:
    done = copickfs("materialize", partial.point / STORE)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{partial.point / STORE}: 5 files copied\n"
    assert_same_tree(partial.point / STORE, partial.mine / STORE)
    assert (partial.mine / STORE / "0" / "2").read_bytes() == b"new"
    assert [path.name for path in partial_stores(partial.mine)] == ["denoised.zarr"]
    again = copickfs("materialize", partial.point / STORE)
    assert again.stdout.endswith(": nothing had to be copied\n")


def test_materialize_all_below_a_directory(partial: WritableStack, copickfs: Run) -> None:
    done = copickfs("materialize", partial.point / STORE, partial.point)
    assert done.stdout.splitlines() == [
        f"{partial.point / STORE}: 5 files copied", f"{partial.point}: 5 files copied",
    ]  # fmt: skip
    assert partial_stores(partial.mine) == []


def test_materialize_by_a_relative_path(partial: WritableStack, copickfs: Run) -> None:
    done = copickfs("materialize", "wbp.zarr", cwd=partial.point / RUN)
    assert done.stdout == "wbp.zarr: 5 files copied\n"


def test_what_cannot_be_materialized(partial: WritableStack, copickfs: Run, tmp_path: Path) -> None:
    refused(copickfs("materialize", tmp_path), tmp_path, "is in no mount of copickfs")
    refused(copickfs("materialize", partial.point / "none"), partial.point / "none", "there is no such file")
    partial.remount("--read-only", complete_below_bytes=0)
    refused(copickfs("materialize", partial.point), partial.point, "read-only")


def test_a_daemon_that_cannot_be_asked(partial: WritableStack, copickfs: Run, mount: Mounter) -> None:
    make_stale(mount, partial.point)
    for command in ("materialize", "flush"):
        refused(copickfs(command, partial.point), partial.point, "is dead", "copickfs status")
    partial.mount(point=partial.point, complete_below_bytes=0)
    assert copickfs("materialize", partial.point).stdout.endswith(": 10 files copied\n")


def test_a_daemon_that_does_not_answer(partial: WritableStack, copickfs: Run, mount: Mounter) -> None:
    pid = mount.pid(partial.point)
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: state_of(pid) == "T")
    try:
        refused(copickfs("flush", partial.point, "--timeout", "0.1"), partial.point, "does not answer")
    finally:
        os.kill(pid, signal.SIGCONT)


def test_only_its_user_may_ask(partial: WritableStack, ordinary_user: Sandbox) -> None:
    os.chmod(partial.point.parent, 0o755)  # noqa: S103 -- as far as the mount point
    for command in ("materialize", "flush"):
        refused(ordinary_user.run(command, partial.point), "another user's")


def test_flush_of_what_is_local(writable: WritableStack, copickfs: Run) -> None:
    writable.mount()
    (writable.point / "file").write_bytes(b"data")
    done = copickfs("flush", writable.point)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    refused(copickfs("flush", writable.point / "ExperimentRuns"), "lies inside of")
    refused(copickfs("flush", writable.mine), "is not mounted")


def test_status_of_a_mount_that_is_written(writable: WritableStack, copickfs: Run, mount: Mounter) -> None:
    writable.mount()
    (writable.point / "file").write_bytes(b"x" * 70_000)
    entry = mount.status(writable.point)
    assert (entry["writable"], entry["write_layer"], entry["write_strategy"]) == (True, "mine", "default")
    assert entry["bytes_written"] == 70_000
    shown = copickfs("status", writable.point).stdout
    assert "68.4 KiB written" in shown
    assert "writes         to layer mine" in shown
    assert "pending" not in shown
    assert "copickfs_written_bytes_total 70000.0" in (writable.point / ".copickfs" / "metrics").read_text()
    writable.remount("--read-only")
    entry = mount.status(writable.point)
    assert (entry["writable"], entry["write_layer"]) == (False, None)
    assert "writes         refused" in copickfs("status", writable.point).stdout


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SftpServer]:
    """An SFTP server for an empty directory."""
    (tmp_path / "far").mkdir()
    with SftpServer(tmp_path / "far") as made:
        yield made


def far(server: SftpServer, **fields: Any) -> dict[str, Any]:
    """A configuration whose only layer is the server's, and is written behind."""
    layer = {"config_type": "filesystem", "root": server.url, "fs_args": server.fs_args, "timeout": 2}
    return {
        "config_type": "multilayer",
        "layers": ["far"],
        "layer_configs": {"far": layer},
        "default_write_layer": "far",
        "write_strategy": "cache_and_propagate",
        **fields,
    }


def test_what_is_pending_is_shown_kept_and_sent(server: SftpServer, mount: Mounter, copickfs: Run) -> None:
    mount.expect_warning("layer far is down")
    point = mount(far(server))
    os.makedirs(point / "ExperimentRuns")
    assert copickfs("flush", point).returncode == 0
    server.stop()
    (point / "ExperimentRuns" / "notes.txt").write_bytes(b"x" * 5000)

    def layer() -> dict[str, Any]:
        (found,) = mount.status(point)["layers"]
        return dict(found)

    wait_until(lambda: layer()["pending_error"], 30)
    assert (layer()["pending_entries"], layer()["pending_bytes"]) == (1, 5000)
    assert layer()["pending_oldest_s"] > 0
    shown = copickfs("status", point).stdout
    assert "pending        1 change (4.9 KiB) for layer far, the oldest for" in shown
    assert "last error: " in shown
    assert 'copickfs_layer_pending{layer="far"} 1.0' in (point / ".copickfs" / "metrics").read_text()
    refused(copickfs("flush", point, "--timeout", "1"), point, "still to be sent", "1 change", "layer far")

    done = copickfs("umount", point)
    assert done.returncode == 0
    assert "still to be sent: 1 change (5000 bytes) for layer far" in done.stderr
    assert "kept and sent at the next mount" in done.stderr
    assert not (server.root / "ExperimentRuns" / "notes.txt").exists()

    server.start()
    mount(far(server), mountpoint=point)
    assert copickfs("flush", point, "--timeout", "30").returncode == 0
    assert (server.root / "ExperimentRuns" / "notes.txt").read_bytes() == b"x" * 5000
    assert copickfs("umount", point).stderr == ""
    assert PASSWORD not in mount.log() + shown + done.stderr


def test_a_job_says_what_is_pending_at_its_end(server: SftpServer, mount: Mounter, copickfs: Run) -> None:
    mount.expect_warning("layer far is down")
    config = mount.config_file(far(server))
    point = mount._sandbox.directory / "job"
    # The server is gone before anything can be sent.
    program = f"kill -9 {server.pid}; echo data > {point}/notes.txt; exit 3"
    done = copickfs("run", config, point, "--", "sh", "-c", program)
    assert done.returncode == 3
    assert re.search(r"still to be sent: \d changes? \(5 bytes\) for layer far", done.stderr)
    server.stop()
    server.start()
    done = copickfs("run", config, point, "--", *mount._sandbox.command("flush", point))
    assert (done.returncode, done.stderr) == (0, "")
    assert (server.root / "notes.txt").read_bytes() == b"data\n"

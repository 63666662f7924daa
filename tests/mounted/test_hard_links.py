"""Symbolic links in layers: which are followed, which are shown, and what is never lent to others."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import tempfile
import threading
from typing import TYPE_CHECKING

import pytest

from tests.mounted.conftest import put

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.mounted.conftest import Stack
    from tests.sandbox import Sandbox


def entries(directory: Path) -> set[str]:
    return set(os.listdir(directory))


def test_run_directory_kept_elsewhere_merges(stack: Stack, tmp_path: Path) -> None:
    put(tmp_path / "big disk/TS_009/Picks/a_1_b.json", b"elsewhere")
    put(stack.low / "ExperimentRuns/TS_009/Picks/c_1_d.json", b"low")
    (stack.top / "ExperimentRuns").mkdir()
    (stack.top / "ExperimentRuns/TS_009").symlink_to(tmp_path / "big disk/TS_009")
    mountpoint = stack.mount()
    run = mountpoint / "ExperimentRuns/TS_009"
    assert run.is_dir()
    assert not run.is_symlink()
    assert entries(run / "Picks") == {"a_1_b.json", "c_1_d.json"}
    assert (run / "Picks/a_1_b.json").read_bytes() == b"elsewhere"
    assert not stack.wrong()


def test_linked_file_and_linked_store(stack: Stack, tmp_path: Path) -> None:
    put(tmp_path / "data/volume.mrc", b"volume")
    put(tmp_path / "data/tomo.zarr/.zgroup", b"{}")
    (stack.top / "link.mrc").symlink_to(tmp_path / "data/volume.mrc")
    (stack.top / "wbp.zarr").symlink_to("../../data/tomo.zarr")
    put(stack.low / "wbp.zarr/.zattrs", b"hidden")
    mountpoint = stack.mount()
    assert (mountpoint / "link.mrc").read_bytes() == b"volume"
    assert not (mountpoint / "link.mrc").is_symlink()
    assert entries(mountpoint / "wbp.zarr") == {".zgroup"}
    assert not stack.wrong()


def test_chain_of_links_is_followed(stack: Stack) -> None:
    put(stack.top / "real/file", b"found")
    (stack.top / "one").symlink_to("real")
    (stack.top / "two").symlink_to("one")
    (stack.top / "three").symlink_to("two/file")
    mountpoint = stack.mount()
    assert (mountpoint / "two/file").read_bytes() == b"found"
    assert (mountpoint / "three").read_bytes() == b"found"
    assert not stack.wrong()


def test_dangling_link_is_shown_as_a_link(stack: Stack) -> None:
    (stack.top / "dangling").symlink_to("no/such thing ü")
    put(stack.low / "dangling", b"hidden by the link")
    put(stack.low / "fine", b"fine")
    mountpoint = stack.mount()
    link = mountpoint / "dangling"
    assert link.is_symlink()
    assert os.readlink(link) == "no/such thing ü"
    assert os.lstat(link).st_size == len(os.fsencode("no/such thing ü"))
    with pytest.raises(FileNotFoundError):
        link.read_bytes()
    assert not stack.wrong()


def test_dangling_link_hides_a_directory_below(stack: Stack) -> None:
    (stack.top / "run").mkdir()
    (stack.middle / "run").symlink_to("gone")
    put(stack.low / "run/file")
    mountpoint = stack.mount()
    assert entries(mountpoint / "run") == set()
    assert not (mountpoint / "run/file").exists()
    assert not stack.wrong()


def test_link_to_itself_is_shown_as_a_link(stack: Stack) -> None:
    (stack.top / "self").symlink_to("self")
    mountpoint = stack.mount()
    assert os.readlink(mountpoint / "self") == "self"
    with pytest.raises(OSError, match="symbolic links") as caught:
        (mountpoint / "self").stat()
    assert caught.value.errno == errno.ELOOP


@pytest.mark.parametrize("target", [".", "..", "../..", "../../a", "/the layer"])
def test_link_back_up_is_shown_so_that_walks_end(stack: Stack, target: str) -> None:
    put(stack.top / "a/b/file")
    (stack.top / "a/b/loop").symlink_to(stack.top if target == "/the layer" else target)
    mountpoint = stack.mount()
    assert (mountpoint / "a/b/loop").is_symlink()
    walked = subprocess.run(
        ["find", mountpoint, "-name", "file"], capture_output=True, check=True, timeout=20
    )
    assert walked.stdout.count(b"\n") == 1
    assert not stack.wrong()


def test_two_links_into_each_other_end(stack: Stack) -> None:
    put(stack.top / "a/in a")
    put(stack.top / "b/in b")
    (stack.top / "a/to b").symlink_to("../b")
    (stack.top / "b/to a").symlink_to("../a")
    mountpoint = stack.mount()
    assert (mountpoint / "a/to b/in b").read_bytes() == b"x"
    assert (mountpoint / "a/to b/to a").is_symlink()
    assert not stack.wrong()


def test_shown_link_of_a_lower_layer_lends_nothing_to_a_directory_above(stack: Stack) -> None:
    """The link ends the merge, so no name that it would lead to may be found through it."""
    put(stack.top / "dir/own")
    put(stack.middle / "secret")
    (stack.middle / "dir").symlink_to(".")
    put(stack.low / "dir/low")
    mountpoint = stack.mount()
    assert entries(mountpoint / "dir") == {"own"}
    for hidden in ("secret", "dir", "dir/secret", "low"):
        assert not os.path.lexists(mountpoint / "dir" / hidden), hidden


def test_link_out_of_the_root_is_refused_when_others_are_served(stack: Stack, tmp_path: Path) -> None:
    put(tmp_path / "outside/file", b"not for others")
    put(stack.top / "both/own")
    put(stack.low / "kept/inside", b"fine")
    (stack.low / "out").symlink_to(tmp_path / "outside")
    (stack.low / "out-file").symlink_to("../../outside/file")
    (stack.low / "both").symlink_to(tmp_path / "outside")
    (stack.low / "in").symlink_to("kept")
    mountpoint = stack.mount("--allow-other")
    for link in ("out", "out-file"):
        assert (mountpoint / link).is_symlink()
        with pytest.raises(PermissionError):
            (mountpoint / link).read_bytes()
        with pytest.raises(PermissionError):
            os.readlink(mountpoint / link)
    assert entries(mountpoint / "both") == {"own"}
    assert not os.path.lexists(mountpoint / "both/file")
    assert (mountpoint / "in/inside").read_bytes() == b"fine"


def test_link_out_of_the_root_is_followed_for_oneself(stack: Stack, tmp_path: Path) -> None:
    put(tmp_path / "outside/file", b"mine anyway")
    (stack.low / "out").symlink_to(tmp_path / "outside")
    assert (stack.mount() / "out/file").read_bytes() == b"mine anyway"


def test_many_links_to_one_directory(stack: Stack) -> None:
    put(stack.top / "real/file", b"shared")
    for number in range(50):
        (stack.top / f"link{number}").symlink_to("real")
    mountpoint = stack.mount()
    assert all((mountpoint / f"link{number}/file").read_bytes() == b"shared" for number in range(50))
    assert not stack.wrong()


@pytest.mark.parametrize("target", ["mnt0", "mnt0/run", "mnt0/run/file", "mnt0/no/such", "alias/run"])
def test_link_into_the_mount_itself_does_not_stop_the_daemon(
    stack: Stack, sandbox: Sandbox, target: str
) -> None:
    """The daemon would wait for its own answer. Such a link is shown, and everything else goes on."""
    put(stack.low / "run/file", b"still readable")
    mountpoint = stack.directory / "mnt0"  # where `mount` will mount
    (stack.directory / "alias").symlink_to(mountpoint)
    (stack.low / "back").symlink_to(stack.directory / target)
    assert stack.mount() == mountpoint
    with freed_when_stuck(mountpoint, limit_s=15):
        listed = sandbox.finish(["ls", "-l", mountpoint], timeout=30)
        assert "back -> " in listed.stdout
        assert sandbox.finish(["cat", mountpoint / "run/file"], timeout=30).stdout == "still readable"


@contextlib.contextmanager
def freed_when_stuck(mountpoint: Path, limit_s: float) -> Iterator[None]:
    """Abort the connection after ``limit_s``: whoever waits in it cannot even be killed."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
        mounts = [line.split() for line in table]
    (device,) = (fields[2].partition(":")[2] for fields in mounts if fields[4] == str(mountpoint))

    def abort() -> None:
        with tempfile.TemporaryDirectory() as control:
            subprocess.run(["mount", "-t", "fusectl", "none", control], check=True)
            with contextlib.suppress(OSError), open(f"{control}/{device}/abort", "w") as file:
                file.write("1")
            subprocess.run(["umount", control], check=True)

    timer = threading.Timer(limit_s, abort)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()

"""Layers full of broken, odd and dangerous things: they list and read, and the mount lives on."""

from __future__ import annotations

import errno
import functools
import json
import os
import random
import socket
import stat
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import zarr

from tests import model
from tests.mounted.conftest import put

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.mounted.conftest import Stack
    from tests.sandbox import Sandbox

STORE = "ExperimentRuns/TS_001/VoxelSpacing10.000/wbp.zarr"


@pytest.fixture
def hostile(stack: Stack) -> Iterator[Stack]:
    """A stack with one good file, which must still be readable at the end, quickly."""
    put(stack.top / "good/file", b"good")
    yield stack
    began = time.monotonic()
    assert (stack.mountpoint / "good/file").read_bytes() == b"good"
    assert "good" in stack.listing()
    assert time.monotonic() - began < 5


def test_broken_json_is_given_as_it_is(hostile: Stack) -> None:
    broken = [b"", b"{", b'{"points": [', b"\xff\xfe\x00", b"null", b"[" * 100_000, b'{"points": NaN}']
    for number, data in enumerate(broken):
        put(hostile.low / f"ExperimentRuns/TS/Picks/{number}_1_x.json", data)
    mountpoint = hostile.mount()
    for number, data in enumerate(broken):
        assert (mountpoint / f"ExperimentRuns/TS/Picks/{number}_1_x.json").read_bytes() == data


def test_truncated_and_empty_chunks_are_not_made_up(hostile: Stack) -> None:
    group = zarr.open_group(str(hostile.low / STORE), mode="w")
    group.create_dataset("0", data=np.random.default_rng(0).random((32, 32, 32), "f4"), chunks=(16, 32, 32))
    first, second = (hostile.low / STORE / "0" / name for name in ("0.0.0", "1.0.0"))
    os.truncate(first, first.stat().st_size // 2)
    os.truncate(second, 0)
    array = zarr.open_group(str(hostile.mount() / STORE), mode="r")["0"]
    for part in (slice(0, 16), slice(16, 32)):
        with pytest.raises(RuntimeError, match="blosc"):
            array[part]


def test_broken_metadata_is_given_as_it_is(hostile: Stack) -> None:
    for name, data in ((".zarray", b"{not json"), (".zattrs", b""), (".zgroup", b'{"zarr_format": 99}')):
        put(hostile.low / STORE / name, data)
    put(hostile.low / STORE / "0/.zarray", json.dumps({"shape": [-1], "chunks": "x" * 10_000}).encode())
    mountpoint = hostile.mount()
    assert (mountpoint / STORE / ".zarray").read_bytes() == b"{not json"
    assert not hostile.wrong()


@pytest.fixture
def special(hostile: Stack) -> Stack:
    """FIFOs, sockets, devices, and links to such things, mounted."""
    os.mkfifo(hostile.low / "fifo")
    os.mkfifo(put(hostile.low / "s.zarr/.zgroup").parent / "0.0.0")
    with socket.socket(socket.AF_UNIX) as made, tempfile.TemporaryDirectory() as short:
        made.bind(f"{short}/socket")
        os.rename(f"{short}/socket", hostile.low / "socket")
    if os.geteuid() == 0:
        os.mknod(hostile.low / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        os.mknod(hostile.low / "disk", stat.S_IFBLK | 0o600, os.makedev(259, 999))
    for name, target in (
        ("to zero", "/dev/zero"),
        ("to fifo", "fifo"),
        ("to fuse", "/dev/fuse"),
        ("to memory", "/proc/self/mem"),
        ("to tty", "/dev/tty"),
    ):
        (hostile.low / name).symlink_to(target)
    hostile.mount()
    return hostile


def test_special_files_list_with_their_kind(special: Stack) -> None:
    for path, node in model.merge(special.roots).items():
        found = os.lstat(special.mountpoint / path)
        assert stat.S_IFMT(found.st_mode) == stat.S_IFMT(
            os.stat(node.source, follow_symlinks=node.followed).st_mode
        )
    assert special.listing("s.zarr") == {".zgroup", "0.0.0"}


def test_reading_a_special_file_harms_nobody(special: Stack, sandbox: Sandbox) -> None:
    """It may fail, be empty, or wait like any FIFO; the daemon answers others meanwhile."""
    paths = ["fifo", "s.zarr/0.0.0", "socket", "to zero", "to fifo", "to fuse", "to memory", "to tty"]
    paths += ["null", "disk"] if os.geteuid() == 0 else []
    for path in paths:
        assert os.path.lexists(special.low / path)
        command = ["head", "-c", "1000", special.mountpoint / path]
        with sandbox.start(command, text=False) as reader:
            try:
                for _ in range(20):
                    assert (special.mountpoint / "good/file").read_bytes() == b"good"
                    time.sleep(0.01)
            finally:
                reader.kill()
            output, _ = reader.communicate(timeout=20)
        assert len(output) <= 1000, path
        assert special.listing() >= {"good", "fifo", "socket"}, path


def test_10_000_entries_in_one_directory(hostile: Stack) -> None:
    for root in (hostile.top, hostile.low):
        (root / "ExperimentRuns").mkdir()
    for number in range(10_000):
        (hostile.roots[number % 2 * 2] / "ExperimentRuns" / f"TS_{number:05}").mkdir()
    mountpoint = hostile.mount()
    wanted = {f"TS_{number:05}" for number in range(10_000)}
    for _ in range(2):
        assert hostile.listing("ExperimentRuns") == wanted
        with os.scandir(mountpoint / "ExperimentRuns") as entries:
            assert {entry.name for entry in entries if entry.is_dir(follow_symlinks=False)} == wanted
    assert not (mountpoint / "ExperimentRuns/TS_10000").exists()


def test_paths_as_deep_as_the_system_allows(hostile: Stack) -> None:
    """And deeper: reached step by step, the whole path is longer than any one call may be given."""
    depth, name = 40, "d" * 200

    def descend(root: Path, *, make: bool) -> int:
        here = os.open(root, os.O_RDONLY)
        for _ in range(depth):
            above = here
            try:
                if make:
                    os.mkdir(name, dir_fd=above)
                here = os.open(name, os.O_RDONLY, dir_fd=above)
            finally:
                os.close(above)
        return here

    bottom = descend(hostile.low, make=True)
    with os.fdopen(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=bottom), "wb") as file:
        file.write(b"at the bottom")
    os.close(bottom)
    mountpoint = hostile.mount_unrecorded()
    near = "/".join([name] * 18)
    assert hostile.listing(near) == {name}
    # Where the daemon's own calls can no longer go it must say so, and live on.
    try:
        bottom = descend(mountpoint, make=False)
    except OSError as error:
        assert error.errno == errno.ENAMETOOLONG  # noqa: PT017 -- success is an answer as well
    else:
        with os.fdopen(os.open("file", os.O_RDONLY, dir_fd=bottom), "rb") as file:
            assert file.read() == b"at the bottom"
        os.close(bottom)


def test_many_levels_of_short_names(hostile: Stack) -> None:
    path = "/".join("abcdefghij" * 30)
    put(hostile.low / path / "file", b"deep")
    mountpoint = hostile.mount()
    assert (mountpoint / path / "file").read_bytes() == b"deep"
    assert sum(1 for _ in os.walk(mountpoint / "a")) == 300


def test_random_garbage_tree(hostile: Stack) -> None:
    """Names and contents of random bytes, in random places of the copick layout."""
    draw = random.Random(0)
    places = ["", "ExperimentRuns", "ExperimentRuns/TS", "ExperimentRuns/TS/Picks", STORE, "Objects/x.zarr/0"]
    for root in hostile.roots:
        for place in places:
            (root / place).mkdir(parents=True, exist_ok=True)
        for _ in range(150):
            raw = draw.randbytes(draw.randrange(1, 60)).replace(b"/", b"_").replace(b"\0", b"_")
            if raw in (b".", b".."):
                continue
            path = os.path.join(os.fsencode(root), draw.choice(places).encode(), raw)
            if draw.random() < 0.2:
                os.mkdir(path)
            elif draw.random() < 0.1:
                os.symlink(draw.randbytes(10).replace(b"\0", b"_") or b"x", path)
            else:
                with open(path, "wb") as file:
                    file.write(draw.randbytes(draw.randrange(3_000)))
    hostile.mount()
    assert not hostile.wrong()


def boil(root: Path, seed: int, stop: threading.Event) -> None:
    """Make, remove and rename things in ``root``, and change their kind, until told to stop."""
    draw = random.Random(seed)
    while not stop.is_set():
        path = root / draw.choice("abc") / draw.choice("xyz")
        target = draw.choice(("..", "x", "nowhere", "../a"))
        changes = (
            functools.partial(put, path, draw.randbytes(5_000)),
            path.unlink,
            functools.partial(path.mkdir, parents=True),
            path.rmdir,
            functools.partial(path.symlink_to, target),
            functools.partial(path.parent.rename, root / draw.choice("abc")),
        )
        try:
            draw.choice(changes)()
        except OSError:
            stop.wait(0.001)


def walk(root: Path, faults: list[OSError], stop: threading.Event) -> None:
    """Walk and read until told to stop; what is not there any more, or is something else, is no fault."""
    expected = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ESTALE}
    while not stop.is_set():
        for directory, _, files in os.walk(root):
            for name in files:
                try:
                    with open(os.path.join(directory, name), "rb") as file:
                        file.read()
                except OSError as error:
                    if error.errno not in expected:
                        faults.append(error)


def test_layer_that_boils(hostile: Stack) -> None:
    """Things come, go, and change their kind as fast as they can while many readers walk and read."""
    hostile.mount()
    root = hostile.low / "boil"
    root.mkdir()
    stop = threading.Event()
    faults: list[OSError] = []
    threads = [threading.Thread(target=boil, args=(root, seed, stop)) for seed in range(2)]
    walked = hostile.mountpoint / "boil"
    threads += [threading.Thread(target=walk, args=(walked, faults, stop)) for _ in range(6)]
    with hostile.changing():
        for thread in threads:
            thread.start()
        stop.wait(4)
        stop.set()
        for thread in threads:
            thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    assert not faults
    deadline = time.monotonic() + 2
    while hostile.wrong() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not hostile.wrong()


def test_commands_remove_no_file_that_is_not_their_own(copickfs: Callable[..., object]) -> None:
    """A directory that merely looks like the place for state files may be somebody's project."""
    with tempfile.TemporaryDirectory(prefix="copickfs-") as directory:
        config = put(Path(directory) / "config.json", b"{}")
        numbered = put(Path(directory) / "1234.json", b"{}")
        copickfs("status")
        copickfs("umount", directory)
        assert config.exists()
        assert numbered.exists()

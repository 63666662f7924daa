"""A write layer that is full, becomes read-only, or is not there: errors are right, nothing is lost."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
from typing import TYPE_CHECKING

import numpy as np
import pytest
import zarr

from tests import model, torn
from tests.mounted.conftest import put
from tests.mounted.test_hard_attributes import WRITES
from tests.posix.calls import RENAME_EXCHANGE, contents, fails, renameat2
from tests.sandbox import needs_root, wait_until
from tests.writing import WritableStack, leftovers, partial_stores

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import Mounter

RUN = "ExperimentRuns/TS_001"
PICKS = f"{RUN}/Picks/user_1_ribosome.json"
STORE = f"{RUN}/VoxelSpacing10.000/wbp.zarr"
CHUNK = f"{STORE}/0/0/0/0"
SPACE = "20m"
MIB = 1 << 20
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


@pytest.fixture
def small(tmp_path: Path, mount: Mounter) -> Iterator[WritableStack]:
    """A write layer on a file system of 20 MB, over one with picks and a store of 30 MiB."""
    mine = tmp_path / "small"
    mine.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SPACE}", "copickfs-test", mine], check=True)
    stack = WritableStack(mount, mine, [tmp_path / "lab"])
    try:
        put(stack.lower[0] / PICKS, json.dumps(torn.picks_document(0)).encode())
        put(stack.lower[0] / RUN / ".meta", b"meta")
        put(stack.lower[0] / "notes/large.bin", os.urandom(30 * MIB))
        group = zarr.group(
            zarr.storage.FSStore(str(stack.lower[0] / STORE), auto_mkdir=True, dimension_separator="/")
        )
        shape = (30, 512, 1024)
        array = group.create_dataset("0", shape=shape, chunks=(1, 512, 1024), dtype="u2", compressor=None)
        array[...] = 1
        stack.mount()
        yield stack
        stack.assert_lower_unchanged()
        stack.assert_nothing_left()
        stack.umount()
    finally:
        subprocess.run(["umount", "-l", mine], check=True)


def fill(stack: WritableStack, leave_bytes: int = 0) -> Path:
    """Leave no more room in the write layer than this; the file that takes it."""
    path = stack.mine / "ballast"
    with open(path, "wb") as file:
        free = os.statvfs(stack.mine)
        file.write(bytes(max(0, free.f_bavail * free.f_frsize - leave_bytes)))
    return path


def write(path: Path, data: bytes) -> None:
    """Write and close, with system calls, so that each error is that of one of them."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        while data:
            data = data[os.write(fd, data) :]
    finally:
        os.close(fd)


@needs_root
@pytest.mark.parametrize("path", [PICKS, CHUNK, "notes/new.bin"])
def test_full_disk(small: WritableStack, path: str) -> None:
    """The writer is told, whoever reads sees the old version, and with room it works again."""
    target = small.point / path
    target.parent.mkdir(parents=True, exist_ok=True)
    before = contents(target) if target.exists() else None
    ballast = fill(small, 64 * 1024)
    for _ in range(3):
        with fails(*NO_ROOM):
            write(target, b"x" * (2 * MIB))
    if path == "notes/new.bin":
        assert os.stat(target).st_size < 2 * MIB, "a plain file has what there was room for"
        target.unlink()
    else:
        assert contents(target) == before
    wait_until(lambda: not leftovers(small.mine), what="the end of what did not fit")
    assert os.statvfs(small.point).f_bavail == os.statvfs(small.mine).f_bavail
    ballast.unlink()
    write(target, b"y" * (2 * MIB))
    assert contents(target) == b"y" * (2 * MIB)


@needs_root
def test_full_disk_and_a_second_version(small: WritableStack) -> None:
    """The version that is replaced is the write layer's own."""
    document = json.dumps(torn.picks_document(1)).encode()
    write(small.point / PICKS, document)
    ballast = fill(small, 16 * 1024)
    for _ in range(3):
        with fails(*NO_ROOM):
            write(small.point / PICKS, json.dumps(torn.picks_document(2)).encode())
        for root in (small.point, small.mine):
            assert torn.version_of_picks((root / PICKS).read_bytes()) == 1
    ballast.unlink()
    write(small.point / PICKS, json.dumps(torn.picks_document(2)).encode())
    for root in (small.point, small.mine):
        assert torn.version_of_picks((root / PICKS).read_bytes()) == 2


@needs_root
def test_full_disk_and_every_other_operation(small: WritableStack) -> None:
    """No inode and no block is left: what makes something new fails, what removes works."""
    write(small.point / "notes/own.txt", b"data")
    ballast = fill(small)
    with fails(*NO_ROOM):
        os.truncate(small.point / "notes/large.bin", 25 * MIB)
    assert os.stat(small.point / "notes/large.bin").st_size == 30 * MIB
    with fails(*NO_ROOM):
        os.close(os.open(small.point / "notes/large.bin", os.O_WRONLY | os.O_APPEND))
    with fails(*NO_ROOM):
        os.rename(small.point / "notes/large.bin", small.point / "notes/renamed.bin")
    assert sorted(os.listdir(small.point / "notes")) == ["large.bin", "own.txt"]
    os.rename(small.point / "notes/own.txt", small.point / "notes/other.txt")
    os.unlink(small.point / "notes/other.txt")
    ballast.unlink()
    assert model.digest(str(small.point / "notes/large.bin")) == model.digest(
        str(small.lower[0] / "notes/large.bin")
    )


@needs_root
def test_store_larger_than_the_disk_is_written_in_part(small: WritableStack) -> None:
    """Only the chunks that are touched need room; completing it fails and leaves all as it was."""
    array = zarr.open_group(str(small.point / STORE), mode="r+")["0"]
    for index in (0, 7, 29):
        array[index] = 42
    for index in range(30):
        assert int(array[index, 0, 0]) == (42 if index in (0, 7, 29) else 1)
    assert not (small.mine / STORE).exists(), "half a store is not to be seen by copick"
    assert partial_stores(small.mine)
    small.mounter.expect_warning("No space left on device")
    small.mounter.expect_warning("partial cop")
    fill(small, MIB // 2)
    with pytest.raises(OSError, match="No space left"):
        array[5] = 42
    assert {int(value) for value in np.asarray(array[:, 0, 0])} == {1, 42}
    assert int(array[5, 0, 0]) == 1


@needs_root
def test_write_layer_becomes_read_only(small: WritableStack) -> None:
    write(small.point / PICKS, json.dumps(torn.picks_document(1)).encode())
    write(small.point / "notes/own.txt", b"data")
    before = shown(small.point)
    subprocess.run(["mount", "-o", "remount,ro", small.mine], check=True)
    small.mounter.expect_warning("[Rr]ead-only file system")
    try:
        for name, call in changes(small.point).items():
            with fails(errno.EROFS):
                call()
            assert shown(small.point) == before, name
    finally:
        subprocess.run(["mount", "-o", "remount,rw", small.mine], check=True)
    write(small.point / PICKS, json.dumps(torn.picks_document(2)).encode())
    write(small.point / "notes/own.txt", b"more data")
    assert torn.version_of_picks((small.mine / PICKS).read_bytes()) == 2
    assert contents(small.point / "notes/own.txt") == b"more data"


@needs_root
def test_write_layer_becomes_read_only_while_a_file_is_written(small: WritableStack) -> None:
    """The data cannot be published: close says so, and the old version stays."""
    document = json.dumps(torn.picks_document(1)).encode()
    fd = os.open(small.point / PICKS, os.O_WRONLY | os.O_TRUNC)
    os.write(fd, document)
    done = subprocess.run(["mount", "-o", "remount,ro", small.mine], check=False, capture_output=True)
    try:
        if done.returncode:
            os.close(fd)  # the kernel does not do it while a file is open for writing
            return
        small.mounter.expect_warning("[Rr]ead-only file system")
        with fails(errno.EROFS):
            os.close(fd)
        assert torn.version_of_picks((small.point / PICKS).read_bytes()) == 0
    finally:
        subprocess.run(["mount", "-o", "remount,rw", small.mine], check=True)


def shown(root: Path) -> dict[str, model.Shape]:
    """All that is in a mount. The time of its root changes with what copickfs itself keeps there."""
    return {path: shape for path, shape in model.snapshot(root).items() if path}


def changes(root: Path) -> dict[str, Callable[[], object]]:
    """One of every operation that changes something, on files of both layers."""
    notes = root / "notes"
    return {
        "create": lambda: os.open(notes / "new", os.O_WRONLY | os.O_CREAT),
        "create picks": lambda: write(root / RUN / "Picks/user_2_new.json", b"{}"),
        "picks": lambda: write(root / PICKS, b"{}"),
        "chunk": lambda: write(root / CHUNK, b"x"),
        "append": lambda: os.open(notes / "own.txt", os.O_WRONLY | os.O_APPEND),
        "truncate": lambda: os.truncate(notes / "large.bin", 0),
        "mkdir": lambda: os.mkdir(notes / "new"),
        "unlink": lambda: os.unlink(notes / "own.txt"),
        "unlink lower": lambda: os.unlink(notes / "large.bin"),
        "rename": lambda: os.rename(notes / "own.txt", notes / "new"),
        "rename lower": lambda: os.rename(notes / "large.bin", notes / "new"),
        "exchange": lambda: renameat2(notes / "own.txt", notes / "large.bin", RENAME_EXCHANGE),
        "link": lambda: os.link(notes / "own.txt", notes / "new"),
        "symlink": lambda: os.symlink("x", notes / "new"),
        "mkfifo": lambda: os.mkfifo(notes / "new"),
        "mknod": lambda: os.mknod(notes / "new", stat.S_IFREG | 0o600),
        "chmod": lambda: os.chmod(notes / "own.txt", 0o600),
        "chown": lambda: os.chown(notes / "own.txt", 1, 1),
        "utime": lambda: os.utime(notes / "own.txt", ns=(1, 1)),
        "setxattr": lambda: os.setxattr(notes / "own.txt", "user.x", b"1"),
        "rmdir lower": lambda: (
            os.rmdir(root / "empty") if (root / "empty").exists() else os.mkdir(root / "empty")
        ),
    }


@pytest.mark.parametrize("how", ["--read-only", "no write layer"])
def test_every_operation_answers_erofs(
    tmp_path: Path, mount: Mounter, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    stack = WritableStack(mount, tmp_path / "mine", [tmp_path / "lab"])
    for root in (stack.mine, stack.lower[0]):
        put(root / PICKS, b"[]")
        put(root / CHUNK, b"x")
        put(root / "dir/inner")
    put(stack.mine / "notes/own.txt", b"data")
    put(stack.lower[0] / "notes/large.bin", b"data")
    put(stack.lower[0] / "file", b"as it was")
    (stack.lower[0] / "dir/empty").mkdir()
    (stack.mine / "empty").mkdir()
    before = model.hash_tree(stack.mine)
    if how == "--read-only":
        stack.mount("--read-only")
    else:
        stack.mount(default_write_layer=None)
    monkeypatch.chdir(tmp_path)
    shown = model.snapshot(stack.point)
    calls = {
        **changes(stack.point),
        **{name: lambda call=call: call(stack.point) for name, call in WRITES.items()},
    }
    answers = {}
    for name, call in calls.items():
        try:
            call()
        except OSError as error:
            answers[name] = errno.errorcode[error.errno or 0]
        else:
            answers[name] = "done"
    os.chdir(tmp_path)
    assert answers == dict.fromkeys(calls, "EROFS")
    assert model.snapshot(stack.point) == shown
    assert model.hash_tree(stack.mine) == before
    stack.assert_lower_unchanged()
    assert os.statvfs(stack.point).f_flag & os.ST_RDONLY

"""Changes that other programs make to a layer's directory are seen in the mount within a second.

Before each change the old state is looked at and read, so that the kernel has it all in its caches.
"""

from __future__ import annotations

import contextlib
import errno
import json
import mmap
import os
import shutil
import stat
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
import zarr

from tests.mounted.conftest import put
from tests.sandbox import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.mounted.conftest import Stack

SEEN_WITHIN_S = 5.0  # a second is promised; the rest is for a busy machine
PICKS = "ExperimentRuns/TS_001/Picks/user_1_ribosome.json"
STORE = "ExperimentRuns/TS_001/VoxelSpacing10.000/wbp.zarr"


@pytest.fixture
def project(stack: Stack) -> Stack:
    """A mounted stack with one run, everything in it known to the kernel."""
    put(stack.low / PICKS, b'{"points": []}')
    put(stack.low / "ExperimentRuns/TS_001/.meta", b"meta")
    (stack.top / "ExperimentRuns").mkdir()
    group = zarr.open_group(str(stack.low / STORE), mode="w")
    group.create_dataset("0", data=np.ones((64, 64, 64), "f4"), chunks=(32, 64, 64), compressor=None)
    stack.mount()
    assert not stack.wrong()
    assert not stack.wrong()
    return stack


def seen(project: Stack, change: Callable[[], object], condition: Callable[[], object] | None = None) -> None:
    """Make a change and wait until the mount shows it, and nothing else than the model says."""

    def holds() -> object:
        try:
            return condition is None or condition()
        except OSError:  # a name that the kernel still knew is gone
            return False

    with project.changing():
        change()
    wait_until(holds, SEEN_WITHIN_S, "the change")
    wait_until(lambda: not wrong(project), SEEN_WITHIN_S, "the whole change")


def wrong(project: Stack) -> list[str]:
    try:
        return project.wrong()
    except OSError as error:  # a name that was known a moment ago
        return [repr(error)]


def test_new_run(project: Stack) -> None:
    new = project.mountpoint / "ExperimentRuns/TS_002/Picks/a_1_b.json"
    assert not new.exists()
    assert not new.parent.parent.exists()
    seen(project, lambda: put(project.top / "ExperimentRuns/TS_002/Picks/a_1_b.json", b"{}"), new.exists)
    assert new.read_bytes() == b"{}"


def test_new_file_in_a_directory_that_was_not_there(project: Stack) -> None:
    mesh = "ExperimentRuns/TS_001/Meshes/a_1_b.glb"
    assert not (project.mountpoint / mesh).exists()
    seen(project, lambda: put(project.low / mesh), (project.mountpoint / mesh).exists)


def test_removed_picks(project: Stack) -> None:
    path = project.mountpoint / PICKS
    seen(project, (project.low / PICKS).unlink, lambda: not path.exists())
    assert project.listing(os.path.dirname(PICKS)) == set()


def test_removed_run(project: Stack) -> None:
    run = "ExperimentRuns/TS_001"
    seen(project, lambda: shutil.rmtree(project.low / run), lambda: not (project.mountpoint / run).exists())


def test_picks_rewritten_in_place(project: Stack) -> None:
    path = project.mountpoint / PICKS
    text = json.dumps({"points": [1] * 1_000}).encode()
    seen(project, lambda: (project.low / PICKS).write_bytes(text), lambda: path.read_bytes() == text)


def test_picks_rewritten_with_the_same_length(project: Stack) -> None:
    """Also when the file's time is put back: nothing but its change time tells."""
    path, source = project.mountpoint / PICKS, project.low / PICKS
    before = source.stat()

    def rewrite() -> None:
        source.write_bytes(b'{"points": 01}')
        os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert path.read_bytes() == b'{"points": []}'
    seen(project, rewrite, lambda: path.read_bytes() == b'{"points": 01}')
    assert path.stat().st_mtime_ns == before.st_mtime_ns


def test_replaced_file(project: Stack) -> None:
    path = project.mountpoint / PICKS
    aside = put(project.directory / "aside", b"another file")
    seen(project, lambda: aside.rename(project.low / PICKS), lambda: path.read_bytes() == b"another file")


def test_rewritten_chunk(project: Stack) -> None:
    array = zarr.open_group(str(project.mountpoint / STORE), mode="r")["0"]
    assert (array[:] == 1).all()

    def rewrite() -> None:
        zarr.open_group(str(project.low / STORE), mode="r+")["0"][:] = 2

    seen(project, rewrite, lambda: bool((array[:] == 2).all()))


def test_removed_chunk_and_new_chunk(project: Stack) -> None:
    array = zarr.open_group(str(project.mountpoint / STORE), mode="r")["0"]
    chunk = project.low / STORE / "0/1.0.0"
    data = chunk.read_bytes()
    seen(project, chunk.unlink, lambda: bool((array[32:] == 0).all()))
    seen(project, lambda: chunk.write_bytes(data), lambda: bool((array[:] == 1).all()))


def test_mapped_file_is_rewritten_in_place(project: Stack) -> None:
    with project.changing():
        source = put(project.low / "volume.mrc", b"a" * 300_000)
    path = project.mountpoint / "volume.mrc"
    wait_until(path.exists, SEEN_WITHIN_S, "the new file")
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ) as mapped:
        assert mapped[:] == b"a" * 300_000
        with open(source, "r+b") as writer:
            writer.write(b"b" * 300_000)
        with project.changing():
            wait_until(lambda: mapped[:] == b"b" * 300_000, SEEN_WITHIN_S, "the change in the mapping")
        assert path.read_bytes() == b"b" * 300_000


def test_renamed_run(project: Stack) -> None:
    runs = project.low / "ExperimentRuns"
    path = project.mountpoint / "ExperimentRuns"
    seen(project, lambda: (runs / "TS_001").rename(runs / "TS_renamed"), (path / "TS_renamed").exists)
    assert project.listing("ExperimentRuns") == {"TS_renamed"}
    # What happens under the new name is seen as well, and the old one can come back.
    picks = "TS_renamed/Picks/user_1_ribosome.json"
    seen(
        project,
        lambda: (runs / picks).write_bytes(b"renamed"),
        lambda: (path / picks).read_bytes() == b"renamed",
    )
    seen(
        project, lambda: put(runs / "TS_001/Picks/new_1_x.json"), (path / "TS_001/Picks/new_1_x.json").exists
    )


def test_two_runs_swapped(project: Stack) -> None:
    runs = project.low / "ExperimentRuns"
    seen(project, lambda: put(runs / "TS_002/Picks/only in 2_1_x.json", b"2"))

    def swap() -> None:
        (runs / "TS_001").rename(runs / "aside")
        (runs / "TS_002").rename(runs / "TS_001")
        (runs / "aside").rename(runs / "TS_002")

    seen(project, swap)
    assert project.listing("ExperimentRuns/TS_001/Picks") == {"only in 2_1_x.json"}


def test_chmod(project: Stack) -> None:
    path = project.mountpoint / PICKS
    seen(
        project,
        lambda: (project.low / PICKS).chmod(0o600),
        lambda: path.stat().st_mode & 0o777 == 0o600,
    )


def test_higher_layer_comes_to_shadow_and_goes(project: Stack) -> None:
    path = project.mountpoint / PICKS
    assert path.read_bytes() == b'{"points": []}'
    seen(project, lambda: put(project.top / PICKS, b"on top"), lambda: path.read_bytes() == b"on top")
    seen(project, (project.top / PICKS).unlink, lambda: path.read_bytes() == b'{"points": []}')


def test_store_of_a_higher_layer_takes_over_and_gives_back(project: Stack) -> None:
    where = str(project.mountpoint / STORE)
    assert zarr.open_group(where, mode="r")["0"].shape == (64, 64, 64)

    def cover() -> None:
        group = zarr.open_group(str(project.top / STORE), mode="w")
        group.create_dataset("0", data=np.full((8, 8, 8), 7, "f4"), chunks=(4, 4, 4))

    seen(project, cover)
    found = zarr.open_group(where, mode="r")["0"]
    assert (found.shape, found.chunks) == ((8, 8, 8), (4, 4, 4))
    assert (found[:] == 7).all()
    seen(project, lambda: shutil.rmtree(project.top / STORE))
    found = zarr.open_group(where, mode="r")["0"]
    assert found.shape == (64, 64, 64)
    assert (found[:] == 1).all()


def test_file_becomes_a_directory_and_back(project: Stack) -> None:
    thing = project.low / "thing"
    seen(project, lambda: put(thing, b"a file"))

    def to_directory() -> None:
        thing.unlink()
        put(thing / "inner", b"inside")

    def to_file() -> None:
        shutil.rmtree(thing)
        put(thing, b"a file again")

    seen(project, to_directory)
    assert (project.mountpoint / "thing/inner").read_bytes() == b"inside"
    seen(project, to_file)
    assert (project.mountpoint / "thing").read_bytes() == b"a file again"


def test_change_behind_a_followed_link(project: Stack, tmp_path: Path) -> None:
    elsewhere = put(tmp_path / "elsewhere/Picks/a_1_b.json", b"old").parent.parent
    run = project.mountpoint / "ExperimentRuns/TS_linked"
    seen(project, lambda: (project.low / "ExperimentRuns/TS_linked").symlink_to(elsewhere), run.is_dir)
    assert (run / "Picks/a_1_b.json").read_bytes() == b"old"
    seen(
        project,
        lambda: (elsewhere / "Picks/a_1_b.json").write_bytes(b"new and longer"),
        lambda: (run / "Picks/a_1_b.json").read_bytes() == b"new and longer",
    )
    seen(project, lambda: put(elsewhere / "Picks/c_1_d.json"), (run / "Picks/c_1_d.json").exists)


def test_change_through_another_name_of_the_file(stack: Stack) -> None:
    """A hard link outside of the layer: no watched directory has the name that is written to."""
    os.link(put(stack.low / PICKS, b"old"), stack.directory / "other name")
    path = stack.mount() / PICKS
    assert path.read_bytes() == b"old"
    seen(
        stack,
        lambda: (stack.directory / "other name").write_bytes(b"through the other name"),
        lambda: path.read_bytes() == b"through the other name",
    )


def test_a_link_is_stale_when_a_file_takes_its_place(stack: Stack) -> None:
    """An inode that changes its type would answer EIO from then on."""
    source = stack.low / "notes"
    source.symlink_to("nowhere")
    notes = stack.mount() / "notes"
    descriptor = os.open(notes, os.O_PATH | os.O_NOFOLLOW)
    try:
        assert stat.S_ISLNK(os.fstat(descriptor).st_mode)
        with stack.changing():
            source.unlink()
            source.write_bytes(b"a file by now")
        seen(stack, lambda: None, lambda: notes.is_file() and notes.read_bytes() == b"a file by now")

        def answer() -> int:
            try:
                os.fstat(descriptor)
            except OSError as error:
                return error.errno or 0
            return 0  # the kernel has the attributes of the link still

        wait_until(answer, 10, "the kernel's question")
        assert answer() == errno.ESTALE
    finally:
        os.close(descriptor)
    assert notes.read_bytes() == b"a file by now"


def test_one_of_three_names_of_a_file_is_removed(stack: Stack) -> None:
    """The inode is known by the name that was looked up first: the others are opened as before."""
    source = put(stack.low / "notes/a", b"three names")
    for name in ("b", "c"):
        os.link(source, stack.low / "notes" / name)
    notes = stack.mount("--read-only") / "notes"
    numbers = {(notes / name).stat().st_ino for name in ("a", "b", "c")}
    assert len(numbers) == 1
    source.unlink()
    assert (notes / "b").read_bytes() == b"three names"
    (stack.low / "notes/b").unlink()
    assert (notes / "c").read_bytes() == b"three names"
    seen(stack, lambda: None, lambda: os.listdir(notes) == ["c"])
    assert not (notes / "a").exists()
    assert not (notes / "b").exists()


def test_many_new_runs_at_once(project: Stack) -> None:
    def write() -> None:
        for number in range(200):
            put(project.low / f"ExperimentRuns/NEW_{number:03}/Picks/a_1_b.json", str(number).encode())

    seen(project, write)
    assert len(project.listing("ExperimentRuns")) == 201


def test_steady_changes_do_not_fall_behind(project: Stack) -> None:
    """A file rewritten all the time is never older than the promise."""
    source, path = project.low / "counter", project.mountpoint / "counter"
    with project.changing():
        put(source, b"0")
        wait_until(path.exists, SEEN_WITHIN_S, "the new file")
        written: dict[int, float] = {0: time.monotonic()}
        for value in range(1, 150):
            put(project.low / ".aside", str(value).encode()).rename(source)
            written[value] = time.monotonic()
            found = int(path.read_bytes())
            overwritten = written.get(found + 1, time.monotonic())
            assert time.monotonic() - overwritten < SEEN_WITHIN_S
            time.sleep(0.01)
        wait_until(lambda: path.read_bytes() == b"149", SEEN_WITHIN_S, "the last value")


def test_what_changes_while_a_directory_is_read_is_not_kept_as_it_was(stack: Stack) -> None:
    """The kernel asks for a long listing in pieces; the later ones are older than the news."""
    for index in range(3_000):
        put(stack.low / "many" / f"{index:04}.json", b"x")
    many = stack.mount() / "many"
    with os.scandir(many) as entries:
        seen = [next(entries) for _ in range(5)]
        changed = sorted({f"{index:04}.json" for index in range(3_000)} - {entry.name for entry in seen})[
            ::60
        ]
        with stack.changing():
            for position, name in enumerate(changed):
                if position % 2:
                    (stack.low / "many" / name).unlink()
                else:
                    put(stack.low / "many" / name, b"longer")
        time.sleep(1)
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                entry.stat()

    def as_it_is() -> bool:
        sizes = [(many / name).stat().st_size if (many / name).exists() else None for name in changed]
        return sizes == [None if position % 2 else 6 for position in range(len(changed))]

    wait_until(as_it_is, SEEN_WITHIN_S, "the state on the disk")

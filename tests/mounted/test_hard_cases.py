"""The hard cases of merging and naming, each built by hand and looked at through a mount."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import numpy as np
import pytest
import zarr

from tests.mounted.conftest import put

if TYPE_CHECKING:
    from pathlib import Path

    from tests.mounted.conftest import Stack

WBP = "ExperimentRuns/TS_001/VoxelSpacing10.000/wbp.zarr"


def test_array_with_other_chunks_never_mixes(stack: Stack) -> None:
    upper = np.arange(20**3, dtype="f4").reshape(20, 20, 20) + 1
    lower = -np.ones((64, 64, 64), "f4")
    for root, data, chunks in ((stack.top, upper, (8, 8, 8)), (stack.low, lower, (16, 16, 16))):
        group = zarr.open_group(str(root / WBP), mode="w")
        group.create_dataset("0", data=data, chunks=chunks, dimension_separator="/")
    # A chunk that is not there is the fill value; the lower array has one of that name.
    (stack.top / WBP / "0/1/1/1").unlink()
    upper[8:16, 8:16, 8:16] = 0
    mountpoint = stack.mount()
    found = zarr.open_group(str(mountpoint / WBP), mode="r")["0"]
    assert found.chunks == (8, 8, 8)
    np.testing.assert_array_equal(found[:], upper)
    assert not (mountpoint / WBP / "0/1/1/1").exists()
    assert not (mountpoint / WBP / "0/3").exists()
    assert stack.listing(f"{WBP}/0") == {".zarray", "0", "1", "2"}


def test_empty_store_hides_a_full_one(stack: Stack) -> None:
    (stack.top / "s.zarr").mkdir()
    put(stack.low / "s.zarr/.zgroup")
    stack.mount()
    assert stack.listing("s.zarr") == set()
    assert not (stack.mountpoint / "s.zarr/.zgroup").exists()


def test_store_in_a_store_belongs_to_the_outer_one(stack: Stack) -> None:
    put(stack.top / "a.zarr/x")
    put(stack.low / "a.zarr/b.zarr/y")
    stack.mount()
    assert not stack.wrong()
    assert not (stack.mountpoint / "a.zarr/b.zarr").exists()


def test_file_called_zarr_is_a_file(stack: Stack) -> None:
    put(stack.top / "x.zarr", b"a file")
    put(stack.low / "x.zarr/.zgroup")
    put(stack.middle / "y.zarr/.zgroup", b"{}")
    put(stack.low / "y.zarr", b"a file")
    stack.mount()
    assert (stack.mountpoint / "x.zarr").read_bytes() == b"a file"
    assert stack.listing("y.zarr") == {".zgroup"}
    with pytest.raises(NotADirectoryError):
        (stack.mountpoint / "x.zarr/.zgroup").stat()
    assert not stack.wrong()


def test_file_hides_directories_below_it(stack: Stack) -> None:
    put(stack.top / "thing", b"top file")
    put(stack.middle / "thing/middle")
    put(stack.low / "thing/low")
    stack.mount()
    assert (stack.mountpoint / "thing").read_bytes() == b"top file"
    with pytest.raises(NotADirectoryError):
        (stack.mountpoint / "thing/low").stat()


def test_file_between_directories_ends_the_merge(stack: Stack) -> None:
    put(stack.top / "thing/from top")
    put(stack.middle / "thing", b"a file in between")
    put(stack.low / "thing/from low")
    put(stack.low / "thing/deep/er/still")
    stack.mount()
    assert stack.listing("thing") == {"from top"}
    for hidden in ("from low", "deep", "deep/er", "deep/er/still"):
        assert not (stack.mountpoint / "thing" / hidden).exists()
    assert not stack.wrong()


def test_directory_hides_a_file(stack: Stack) -> None:
    (stack.top / "thing").mkdir()
    put(stack.low / "thing", b"hidden")
    stack.mount()
    assert stack.listing("thing") == set()


def test_container_between_a_store_and_nothing(stack: Stack) -> None:
    """A directory is a store by its name alone, so both are stores and the higher one counts."""
    put(stack.middle / "s.zarr/notes.txt")
    put(stack.low / "s.zarr/.zgroup")
    stack.mount()
    assert stack.listing("s.zarr") == {"notes.txt"}


def test_run_that_only_a_low_layer_has(stack: Stack) -> None:
    put(stack.low / "ExperimentRuns/TS_low/Picks/a_1_b.json", b"{}")
    put(stack.top / "ExperimentRuns/TS_top/.meta", b"meta")
    stack.mount()
    assert stack.listing("ExperimentRuns") == {"TS_low", "TS_top"}
    assert (stack.mountpoint / "ExperimentRuns/TS_low/Picks/a_1_b.json").read_bytes() == b"{}"


def test_empty_directories_merge(stack: Stack) -> None:
    (stack.top / "only top").mkdir()
    (stack.low / "only low/er").mkdir(parents=True)
    (stack.top / "both").mkdir()
    put(stack.low / "both/file")
    stack.mount()
    assert stack.listing() == {"only top", "only low", "both", "copick_config.json"}
    assert stack.listing("both") == {"file"}
    assert not stack.wrong()


def test_empty_layers_make_an_empty_mount(stack: Stack) -> None:
    stack.mount()
    assert stack.listing() == {"copick_config.json"}


def test_hidden_files_are_shown_but_the_reserved_ones(stack: Stack) -> None:
    put(stack.top / ".hidden/.more")
    put(stack.low / ".hidden/.less")
    for reserved in (".copickfs", ".copickfs-work/x", "run/.copickfs.whiteout"):
        put(stack.low / reserved)
    put(stack.top / ".copick", b"not reserved")
    stack.mount()
    assert stack.listing() == {".hidden", ".copick", "run", "copick_config.json"}
    assert stack.listing(".hidden") == {".more", ".less"}
    assert stack.listing("run") == set()
    assert not (stack.mountpoint / "run/.copickfs.whiteout").exists()
    assert not (stack.mountpoint / ".copickfs-work").exists()
    assert (stack.mountpoint / ".copickfs/status.json").is_file()


def test_configuration_at_the_root_is_the_generated_one(stack: Stack) -> None:
    put(stack.top / "copick_config.json", b"from a layer")
    put(stack.low / "run/copick_config.json", b"an ordinary file")
    stack.mount()
    assert b"overlay_root" in (stack.mountpoint / "copick_config.json").read_bytes()
    assert os.listdir(stack.mountpoint).count("copick_config.json") == 1
    assert (stack.mountpoint / "run/copick_config.json").read_bytes() == b"an ordinary file"


ODD_NAMES = [
    b"with space",
    b" leading and trailing ",
    "ünïcode".encode(),
    "u\u0308nicode decomposed".encode(),
    "日本語の名前".encode(),
    b"TS_001[1]",
    b"*?{a,b}",
    b"-rf",
    b"~",
    b"back\\slash",
    b"quote'\"`$(x)",
    b"new\nline",
    b"tab\tand\x07bell\x1b[31m",
    b"trailing.",
    b"...",
    b"%2e%2e",
    b"not utf-8 \xff\xfe",
    b"\xed\xa0\x80 a lone surrogate",
    b"n" * 255,
    ("ü" * 127).encode() + b"n",
    b"x" * 250 + b".zarr",
]


@pytest.mark.parametrize("where", ["file", "directory"])
def test_odd_names_list_and_read(stack: Stack, where: str) -> None:
    roots = [os.fsencode(root) for root in (stack.top, stack.low)]
    for number, name in enumerate(ODD_NAMES):
        path = os.path.join(roots[number % 2], name)
        if where == "directory":
            os.mkdir(path)
            path = os.path.join(path, name)
        with open(path, "wb") as file:
            file.write(name)
    mountpoint = os.fsencode(stack.mount())
    assert set(os.listdir(mountpoint)) == {*ODD_NAMES, b"copick_config.json"}
    for name in ODD_NAMES:
        inner = name if where == "file" else os.path.join(name, name)
        with open(os.path.join(mountpoint, inner), "rb") as file:
            assert file.read() == name
    assert not stack.wrong()


def test_too_long_a_name_is_refused_by_name(stack: Stack) -> None:
    mountpoint = stack.mount()
    with pytest.raises(OSError, match="too long") as caught:
        os.stat(mountpoint / ("n" * 256))
    assert caught.value.errno == errno.ENAMETOOLONG


def test_dot_and_dot_dot(stack: Stack) -> None:
    put(stack.low / "a/b/c")
    mountpoint = stack.mount()
    assert (mountpoint / "a/b/../b/./c").read_bytes() == b"x"
    assert os.stat(mountpoint / "a/b/..").st_ino == os.stat(mountpoint / "a").st_ino
    assert os.stat(mountpoint / "a/..").st_ino == os.stat(mountpoint).st_ino


def test_layers_that_lie_in_each_other(tmp_path: Path, stack: Stack) -> None:
    """The low layer's directory is seen in the top one, too: two paths to the same files, no more."""
    stack.roots[2] = stack.low = stack.top / "inner"
    put(stack.low / "file", b"once")
    stack.mount()
    assert stack.listing() == {"inner", "file", "copick_config.json"}
    assert (stack.mountpoint / "inner/file").read_bytes() == b"once"
    assert not stack.wrong()
    assert tmp_path.is_dir()


def test_directory_of_ten_thousand_is_listed_whole_while_it_changes(stack: Stack) -> None:
    """What was there all the time is listed exactly once, whatever comes and goes meanwhile."""
    names = {f"stays-{i}" for i in range(5_000)}
    (stack.top / "big").mkdir()
    (stack.low / "big").mkdir()
    for number, name in enumerate(sorted(names)):
        (stack.roots[number % 2 * 2] / "big" / name).touch()
    for number in range(1_000):
        (stack.low / "big" / f"goes-{number}").touch()
    stack.mount()
    with stack.changing(), os.scandir(stack.mountpoint / "big") as entries:
        found = [next(entries).name for _ in range(10)]
        for number in range(1_000):
            (stack.low / "big" / f"goes-{number}").unlink()
            (stack.top / "big" / f"comes-{number}").touch()
        found += [entry.name for entry in entries]
    assert len(found) == len(set(found))
    assert names <= set(found)

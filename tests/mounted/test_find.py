"""What `copickfs find` and `copickfs search` print, and what they say of mistakes."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests import model
from tests.mounted.conftest import put
from tests.sandbox import needs_root

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Mounter
    from tests.mounted.conftest import Demo, Stack
    from tests.sandbox import Sandbox

    Command = Callable[..., subprocess.CompletedProcess[str]]

PICKS = b'{"points": []}'
RUN = "ExperimentRuns/TS_001"


@pytest.fixture
def config(stack: Stack, mount: Mounter) -> Path:
    """A configuration of the layers top, middle and low."""
    return mount.config_file(model.configuration(stack.roots, [root.name for root in stack.roots]))


def test_a_row_in_a_pipe_is_a_line(stack: Stack, config: Path, copickfs: Command) -> None:
    name = "u" * 150 + "_" + "s" * 50 + "_" + "o" * 40 + ".json"
    paths = [f"ExperimentRuns/{number}{'r' * 240}/Picks/{name}" for number in range(5)]
    for path in paths:
        put(stack.low / path, PICKS)
    lines = copickfs("find", config, "--type", "picks").stdout.splitlines()
    rows = [line for line in lines if "/Picks/" in line]
    assert len(lines) == len(rows) + 4, "an empty line, the headings, a rule, and an empty line"
    assert min(map(len, rows)) > 1_000
    assert all(path in row for path, row in zip(paths, rows, strict=True))


def test_only_what_is_of_an_entitys_kind_is_a_layers(stack: Stack, config: Path, copickfs: Command) -> None:
    picks, store = f"{RUN}/Picks/u_1_x.json", f"{RUN}/VoxelSpacing10.000/t.zarr"
    put(stack.top / picks, PICKS)
    put(stack.top / store / ".zgroup")
    put(stack.middle / picks / "a directory")
    put(stack.middle / store, b"a file")
    put(stack.low / picks, PICKS)
    put(stack.low / store / ".zgroup")
    shadowed = f"{RUN}/Picks/hidden_1_x.json"
    put(stack.middle / shadowed / "a directory")
    put(stack.low / shadowed, PICKS)
    for _ in range(2):  # without an index, then with one
        found = json.loads(copickfs("find", config, "--json").stdout)
        assert [each["layers"] for each in found["picks"] + found["tomograms"]] == [["top", "low"]] * 2
        assert copickfs("find", config, "--layer", "middle", "--type", "picks", "--paths").stdout == ""
        copickfs("index", config)


@pytest.mark.parametrize("size", ["20A", "20,0", "nan", "inf", "-inf", "1e999", ""])
def test_what_is_no_voxel_size(demo: Demo, copickfs: Command, size: str) -> None:
    assert_mistake(copickfs("find", demo.config, f"--voxel-size={size}"), f"{size!r} is no voxel size")


@pytest.mark.parametrize("size", ["10", "10.0", "10.000", "1e1", "1*", "10.???", "[12]0.000"])
def test_what_is_a_voxel_size(stack: Stack, config: Path, copickfs: Command, size: str) -> None:
    store = f"{RUN}/VoxelSpacing10.000/t.zarr"
    put(stack.low / store / ".zgroup")
    done = copickfs("find", config, "--voxel-size", size, "--type", "tomograms", "--paths")
    assert (done.returncode, done.stdout) == (0, f"{store}\n")


def test_mistakes_in_options_are_one_line(demo: Demo, mount: Mounter, copickfs: Command) -> None:
    for target in (demo.config, mount(demo.config)):
        there_are = "there are: mine, lab"
        assert_mistake(copickfs("find", target, "--layer", "typo"), f"'typo' is no layer; {there_are}")
        assert_mistake(copickfs("find", target, "--layer", "x*"), f"'x*' is no layer; {there_are}")
        assert copickfs("find", target, "--layer", "m[a-z]ne").returncode == 0
    find = ["find", demo.config]
    assert_mistake(copickfs(*find, "--type", "cats"), "'cats' is no kind of entities; there are: objects,")
    assert_mistake(copickfs("search", demo.config, "x", "--type", "cats"), "'cats' is no kind of entities")
    assert_mistake(
        copickfs(*find, "--segmentation-type", "binry"),
        "'binry' is no type of segmentations; there are: binary, multilabel, instance, panoptic",
    )
    assert_mistake(copickfs(*find, "--json", "--paths"), "cannot be had together")


def assert_mistake(done: subprocess.CompletedProcess[str], message: str) -> None:
    assert done.returncode == 2
    assert message in done.stderr
    assert (len(done.stderr.splitlines()), done.stdout) == (1, "")


def test_segmentations_by_their_type(stack: Stack, config: Path, copickfs: Command) -> None:
    stores = [
        f"{RUN}/Segmentations/10.000_u_1_x.zarr",
        f"{RUN}/Segmentations/10.000_u_1_x-multilabel.zarr",
        f"{RUN}/PanopticSegmentations/10.000_u_1_x.zarr",
    ]
    for store in stores:
        put(stack.low / store / ".zgroup")
    for kind, found in [("binary", stores[:1]), ("multilabel", stores[1:2]), ("panoptic", stores[2:])]:
        done = copickfs("find", config, "--segmentation-type", kind, "--paths")
        assert done.stdout.splitlines() == found
    assert len(copickfs("find", config, "--segmentation-type", "*a*", "--paths").stdout.splitlines()) == 3


def test_paths_and_nothing_else(stack: Stack, sandbox: Sandbox) -> None:
    names = [f"a {'b' * 200}_1_ribosome.json", "line\nfeed_1_ribosome.json", "\udce9_1_ribosome.json"]
    for name in names:
        put(stack.low / RUN / "Picks" / name, PICKS)
    mountpoint = stack.mount()
    expected = {os.fsencode(mountpoint / RUN / "Picks" / name) for name in names}

    def asked(*words: str) -> subprocess.CompletedProcess[bytes]:
        command = sandbox.command(words[0], mountpoint, *words[1:])
        return subprocess.run(command, env=sandbox.env, capture_output=True, check=True)

    for words in (["find", "--object", "ribosome"], ["search", "ribosome"]):
        assert set(asked(*words, "-0").stdout.split(b"\0")) == expected | {b""}
        assert set(asked(*words, "--paths").stdout.splitlines()) == {
            line for path in expected for line in path.splitlines()
        }
    counted = subprocess.run(
        ["xargs", "-0", "cat", "--"], input=asked("find", "--type", "picks", "--null").stdout,
        capture_output=True, check=True,
    )  # fmt: skip
    assert counted.stdout == PICKS * len(names)
    nothing = asked("find", "--user", "nobody", "--paths")
    assert nothing.stdout == b""


@needs_root
def test_an_index_that_cannot_be_written_says_what_helps(
    stack: Stack, mount: Mounter, copickfs: Command, tmp_path: Path
) -> None:
    put(stack.low / RUN / "Picks/u_1_x.json", PICKS)
    place = tmp_path / "place"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(place)], check=True)
    try:
        more: dict[str, Any] = {"db_config": {"config_type": "sqlite_db", "db_path": str(place / "index.db")}}
        config = mount.config_file({**model.configuration(stack.roots, ["top", "middle", "low"]), **more})
        done = copickfs("find", config, "--paths")
        assert (done.returncode, len(done.stdout.splitlines())) == (0, 2)
        (line,) = done.stderr.splitlines()
        assert "Read-only file system; make it writable, or name another file by 'db_path'" in line
        assert line.endswith("so all layers are gone through")
        assert copickfs("index", config).returncode == 1
    finally:
        subprocess.run(["umount", str(place)], check=True)

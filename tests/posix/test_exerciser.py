"""Random operations with a model of the contents, alone and four processes at a time.

On ext4 first, so that the exerciser itself is right, then on the mount: on new files and on files of the
layer below, of the plain class and of the class that is published whole. ``pytest -m soak`` does 100,000
operations, and as many with each of ten more seeds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests import model
from tests.grids import in_short, soak
from tests.mounted.conftest import put
from tests.posix.exerciser import Exerciser, WrongBytes

if TYPE_CHECKING:
    from collections.abc import Callable

PROGRAM = Path(__file__).with_name("exerciser.py")
OPERATIONS = 2_500
SOAK_OPERATIONS = 12_500
SEEDS = [(11, OPERATIONS), *(soak(seed, SOAK_OPERATIONS) for seed in (11, *range(100, 200, 10)))]
LIMIT_S = 100
RUN = "ExperimentRuns/TS_001"
FILES = {
    "fresh plain": "notes/fresh.bin",
    "lower plain": "notes/lower.bin",
    "fresh picks": f"{RUN}/Picks/user_1_fresh.json",
    "lower chunk": f"{RUN}/VoxelSpacing10.000/wbp.zarr/0/0/0/0",
}
ALWAYS_MAPPED = ("fresh plain", "lower plain")


def start(path: Path, seed: int, operations: int) -> subprocess.Popen[str]:
    command = [sys.executable, PROGRAM, path, "--operations", str(operations), "--seed", str(seed)]
    return subprocess.Popen(
        [str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(process: subprocess.Popen[str]) -> dict[str, int]:
    try:
        output, errors = process.communicate(timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    assert process.returncode == 0, errors
    done: dict[str, int] = json.loads(output)
    return done


def check(done: dict[str, int], kind: str, operations: int) -> None:
    refused = done.pop("maps refused", 0)
    assert sum(done.values()) == operations
    assert not refused or kind not in ALWAYS_MAPPED, f"{refused} maps were refused"


def test_on_the_disk(tmp_path: Path) -> None:
    """The exerciser finds no fault in a plain file, new or not."""
    old = put(tmp_path / "old", b"x" * 100_000)
    for path in (tmp_path / "new", old):
        check(finish(start(path, 1, 3_000)), "fresh plain", 3_000)


def test_it_finds_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "file"
    exerciser = Exerciser(str(path), 3, 100_000)
    while not exerciser.model:
        exerciser.write()
    exerciser.whole()
    for damaged in (bytes(len(exerciser.model)), exerciser.model[:-1], exerciser.model + b"x"):
        path.write_bytes(damaged)
        with pytest.raises(WrongBytes):
            exerciser.whole()
    os.close(exerciser.fd)


class Layers:
    """Two layers, mounted, with a file of each kind in the right one."""

    def __init__(self, directory: Path, mount: Callable[..., Path]) -> None:
        mine, self.lab = directory / "mine", directory / "lab"
        mine.mkdir()
        put(self.lab / FILES["lower plain"], b"x" * 100_000)
        put(self.lab / f"{RUN}/.meta", b"meta")
        store = self.lab / FILES["lower chunk"]
        put(store, b"y" * 200_000)
        array = {
            "zarr_format": 2,
            "shape": [64, 64, 64],
            "chunks": [64, 64, 64],
            "dtype": "<f4",
            "order": "C",
        }
        array |= {"compressor": None, "fill_value": 0, "filters": None, "dimension_separator": "/"}
        put(store.parents[2] / ".zarray", json.dumps(array).encode())
        put(store.parents[3] / ".zgroup", b'{"zarr_format": 2}')
        self._before = model.hash_tree(self.lab)
        self.point = mount(model.configuration([mine, self.lab], ["mine", "lab"]))

    def path(self, kind: str) -> Path:
        """Where the file of a kind is, or will be."""
        path = self.point / FILES[kind]
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def assert_lower_unchanged(self) -> None:
        """The layer below is as it was."""
        assert model.hash_tree(self.lab) == self._before


@pytest.fixture
def layers(tmp_path: Path, mount: Any) -> Any:
    """Two mounted layers; the lower one must stay as it is."""
    made = Layers(tmp_path, mount)
    yield made
    made.assert_lower_unchanged()


@pytest.mark.parametrize("operations", in_short([OPERATIONS, SOAK_OPERATIONS], OPERATIONS))
@pytest.mark.parametrize("kind", FILES)
def test_alone(layers: Layers, kind: str, operations: int) -> None:
    check(finish(start(layers.path(kind), 7, operations)), kind, operations)


@pytest.mark.parametrize(("seed", "operations"), SEEDS)
def test_four_at_a_time(layers: Layers, seed: int, operations: int) -> None:
    running = {kind: start(layers.path(kind), seed + number, operations) for number, kind in enumerate(FILES)}
    for kind, process in running.items():
        check(finish(process), kind, operations)

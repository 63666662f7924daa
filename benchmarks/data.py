"""The trees that are mounted: two layers that overlap, laid out as copick writes them.

The lower layer holds nearly everything. The upper one adds names to every tenth run and shadows a few
of its files and one of its stores with the same sizes, so that every peer does the same work whichever
layer it takes a file from.
"""

from __future__ import annotations

import json
import os
import random
from dataclasses import dataclass, field
from itertools import islice, product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIB = 1 << 20
RUNS = "ExperimentRuns"
SPACING = "VoxelSpacing10.000"
TOMOGRAMS = ("wbp", "denoised")
SEGMENTATIONS = ("10.000_lab_1_membrane", "10.000_lab_1_ribosome-multilabel")
OWN_SEGMENTATION = "10.000_me_1_membrane"
PROBED = (".zmetadata", "zarr.json", "c", *(str(number) for number in range(3, 12)))
"""Names that zarr readers ask for in stores and arrays and that are in neither layer: metadata, chunks."""

PICKS_BYTES = 3000
SMALL_CHUNK_BYTES = 4096
OVERLAP_EVERY = 10
SEED = 20


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is made. ``chunk_total_bytes`` is written once for each size of chunk."""

    runs: int
    picks_per_run: int
    opens: int
    chunk_total_bytes: int


FULL = Scale(runs=100, picks_per_run=150, opens=10_000, chunk_total_bytes=1024 * MIB)
QUICK = Scale(runs=40, picks_per_run=50, opens=1_000, chunk_total_bytes=64 * MIB)


@dataclass(frozen=True, slots=True)
class Layers:
    """The two directories that are merged, the upper one first."""

    upper: str
    lower: str


@dataclass(slots=True)
class Tree:
    """A pair of layers and what is in them. All paths are relative to the merged root.

    Attributes:
        layers: The two directories.
        lower_entries: Entries at and below ``ExperimentRuns`` in the lower layer.
        merged_entries: The same in the merge of both.
        files: Lists of files to read, by the name of the work that reads them; all are in the lower layer.
        missing: Names that are in neither layer, in directories that are in the lower one.
    """

    layers: Layers
    lower_entries: int = 0
    merged_entries: int = 0
    files: dict[str, list[str]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)


class Builder:
    """Writes one layer and remembers every entry it has made, parents included."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.entries: set[str] = set()

    def write(self, path: str, content: bytes) -> str:
        """Write the file at ``path``, making its parents, and return ``path``."""
        parent = path.rpartition("/")[0]
        if parent not in self.entries:
            os.makedirs(self.root / parent, exist_ok=True)  # noqa: PTH103 -- 40,000 calls
            while parent and parent not in self.entries:
                self.entries.add(parent)
                parent = parent.rpartition("/")[0]
        (self.root / path).write_bytes(content)
        self.entries.add(path)
        return path


def make_project(root: Path, scale: Scale) -> Tree:
    """Make the two layers of a project in ``root`` and say what is in them."""
    layers = Layers(upper=str(root / "upper"), lower=str(root / "lower"))
    lower, upper = Builder(root / "lower"), Builder(root / "upper")
    tree = Tree(layers)
    picks: list[str] = []
    for number in range(scale.runs):
        run = f"{RUNS}/TS_{number:04d}"
        picks += _lower_run(lower, run, scale)
        tree.missing += [f"{path}/{name}" for path in _probed_directories(run) for name in PROBED]
        if number % OVERLAP_EVERY == 0:
            _upper_run(upper, run)
    # Whole directories of picks in their order, as copick reads a run's picks one after the other.
    tree.files["picks"] = picks[: scale.opens]
    noise = random.Random(SEED).randbytes(33 * MIB)
    for chunk_mib in (1, 32):
        count = max(1, scale.chunk_total_bytes // (chunk_mib * MIB))
        tree.files[f"chunks-{chunk_mib}"] = list(_chunked_store(lower, chunk_mib, count, noise))
    tree.lower_entries = len(lower.entries)
    tree.merged_entries = len(lower.entries | upper.entries)
    return tree


def make_many_entries(root: Path, entries: int, per_run: int = 1000) -> Tree:
    """Make a lower layer of ``entries`` empty files and directories, and an upper one beside it.

    A run is a directory with ``Picks`` and the files in it, ``per_run`` entries together.
    """
    layers = Layers(upper=str(root / "upper"), lower=str(root / "lower"))
    runs = max(1, entries // per_run)
    for number in range(runs):
        directory = root / "lower" / RUNS / f"TS_{number:04d}" / "Picks"
        directory.mkdir(parents=True)
        for index in range(per_run - 2):
            os.mknod(f"{directory}/lab_{index}_ribosome.json")
    overlapping = range(0, runs, max(1, runs // 10))
    for number in overlapping:
        directory = root / "upper" / RUNS / f"TS_{number:04d}" / "Picks"
        directory.mkdir(parents=True)
        os.mknod(directory / "me_1_ribosome.json")
    lower_entries = runs * per_run + 1
    return Tree(layers, lower_entries, lower_entries + len(overlapping))


def _lower_run(layer: Builder, run: str, scale: Scale) -> list[str]:
    """Write one run of the lower layer; return its picks files."""
    layer.write(f"{run}/.meta", b"meta")
    layer.write(f"{run}/{SPACING}/.meta", b"meta")
    for name in TOMOGRAMS:
        _small_store(layer, f"{run}/{SPACING}/{name}.zarr", levels=3)
    for name in SEGMENTATIONS:
        _small_store(layer, f"{run}/Segmentations/{name}.zarr", levels=1)
    document = _picks_document(run)
    return [
        layer.write(f"{run}/Picks/lab_{number}_ribosome.json", document)
        for number in range(scale.picks_per_run)
    ]


def _upper_run(layer: Builder, run: str) -> None:
    """Write what the upper layer has of one run: own picks, shadowing picks, an own and a shadowing store."""
    document = _picks_document(run)
    for number in range(10):
        layer.write(f"{run}/Picks/me_{number}_ribosome.json", document)
        layer.write(f"{run}/Picks/lab_{number}_ribosome.json", document)
    _small_store(layer, f"{run}/Segmentations/{OWN_SEGMENTATION}.zarr", levels=1)
    _small_store(layer, f"{run}/Segmentations/{SEGMENTATIONS[0]}.zarr", levels=1)


def _probed_directories(run: str) -> Iterator[str]:
    """Stores and arrays of one run of the lower layer."""
    for store in (
        *(f"{run}/{SPACING}/{name}.zarr" for name in TOMOGRAMS),
        *(f"{run}/Segmentations/{name}.zarr" for name in SEGMENTATIONS),
    ):
        yield store
        yield f"{store}/0"


def _small_store(layer: Builder, store: str, levels: int) -> None:
    """Write a store whose arrays have one small chunk each."""
    layer.write(f"{store}/.zgroup", b'{"zarr_format": 2}')
    for level in range(levels):
        layer.write(f"{store}/{level}/.zarray", zarray(256, 256))
        layer.write(f"{store}/{level}/0/0/0", bytes(SMALL_CHUNK_BYTES))
    layer.write(f"{store}/.zattrs", b'{"multiscales": []}')


def _chunked_store(layer: Builder, chunk_mib: int, count: int, noise: bytes) -> Iterator[str]:
    """Write a store of ``count`` incompressible chunks; yield the path of each."""
    store = f"{RUNS}/chunks-{chunk_mib}MiB/{SPACING}/wbp.zarr"
    layer.write(f"{store}/.zgroup", b'{"zarr_format": 2}')
    layer.write(f"{store}/0/.zarray", zarray(2048, 64 if chunk_mib == 1 else 256))
    size = chunk_mib * MIB
    for number, (z, y, x) in enumerate(islice(product(range(count), range(8), range(8)), count)):
        start = number * 4096 % (len(noise) - size + 1)
        yield layer.write(f"{store}/0/{z}/{y}/{x}", noise[start : start + size])


def zarray(shape: int, chunk: int) -> bytes:
    """The metadata of a cubic array."""
    document = {
        "zarr_format": 2,
        "shape": [shape] * 3,
        "chunks": [chunk] * 3,
        "dtype": "<f4",
        "compressor": None,
        "fill_value": 0,
        "filters": None,
        "order": "C",
        "dimension_separator": "/",
    }
    return json.dumps(document).encode()


def _picks_document(run: str) -> bytes:
    """A picks file of ``PICKS_BYTES`` bytes."""
    points = [{"location": {"x": 10.5 * i, "y": 11.25 * i, "z": 12.0 * i}, "score": 0.5} for i in range(30)]
    document = {"run_name": run, "pickable_object_name": "ribosome", "unit": "angstrom", "points": points}
    return json.dumps(document).encode().ljust(PICKS_BYTES)

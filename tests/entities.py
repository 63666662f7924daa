"""Trees with entities in them, and records of these in a dictionary."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

from copickfs import MemoryLayer
from copickfs.errors import Unavailable
from copickfs.indexing.crawl import Crawler
from copickfs.indexing.records import OUTSIDE
from copickfs.layers.local import LocalLayer
from copickfs.paths import split
from copickfs.view import View

if TYPE_CHECKING:
    from collections.abc import Sequence

    from copickfs.entities import EntityRecord
    from copickfs.layers.base import LayerFile
    from copickfs.model import Entry

Kept = tuple[str, dict[str, "EntityRecord"]]


def picks(points: int) -> bytes:
    return json.dumps({"points": [{"location": {"x": 0, "y": 0, "z": 0}}] * points}).encode()


def array(*shape: int) -> bytes:
    return json.dumps({"zarr_format": 2, "shape": shape, "chunks": shape, "dtype": "|u1"}).encode()


def attributes(voxel_size: float) -> bytes:
    scale = [{"type": "scale", "scale": [voxel_size] * 3}]
    datasets = [{"path": "0", "coordinateTransformations": scale}]
    return json.dumps({"multiscales": [{"datasets": datasets, "axes": ["z", "y", "x"]}]}).encode()


def run_files(run: str, tomogram: str = "wbp") -> dict[str, bytes]:
    """A run with one entity of most kinds."""
    inside = f"ExperimentRuns/{run}"
    volume = f"{inside}/VoxelSpacing10.000/{tomogram}.zarr"
    return {
        f"{volume}/.zattrs": attributes(10.0),
        f"{volume}/0/.zarray": array(4, 5, 6),
        f"{volume}/0/0/0/0": b"chunk",
        f"{inside}/Segmentations/10.000_u_s_membrane.zarr/.zarray": array(4, 5, 6),
        f"{inside}/Picks/u_s_ribosome.json": picks(3),
        f"{inside}/Picks/notes.txt": b"no entity",
        f"{inside}/Filaments/u_s_actin.json": json.dumps({"filaments": []}).encode(),
        f"{inside}/Meshes/u_s_membrane.glb": b"glTF",
    }


def project(runs: Sequence[str] = ("A", "B")) -> dict[str, bytes]:
    files = {"Objects/ribosome.zarr/.zarray": array(2, 2, 2)}
    for run in runs:
        files |= run_files(run)
    return files


class DictRecords:
    """Records as the crawler's protocol has them.

    Attributes:
        kept: Stamp and records of each directory.
        calls: Names of the calls that change anything.
        fails_after: That many of them until the next fails, as if the process had been killed.
    """

    def __init__(self) -> None:
        self.kept: dict[str, Kept] = {}
        self.seen: dict[str, int] = {}
        self.scan = 0
        self.is_scanning = self.is_full = False
        self.calls: list[str] = []
        self.fails_after = -1
        self.lock = threading.RLock()

    def _count(self, call: str) -> None:
        if self.fails_after == 0:
            raise KeyboardInterrupt
        self.fails_after -= 1
        self.calls.append(call)

    def begin(self, *, full: bool) -> tuple[int, bool]:
        with self.lock:
            if not self.is_scanning or full > self.is_full:
                self.scan += 1
                self.is_scanning, self.is_full = True, full
            return self.scan, self.is_full

    def done(self, scan: int) -> set[str]:
        with self.lock:
            return {directory for directory, seen in self.seen.items() if seen == scan}

    def known(self, directory: str) -> Kept:
        with self.lock:
            return self.kept.get(directory, ("", {}))

    def directories_with(self, layer: str) -> list[str]:
        with self.lock:
            return [
                directory
                for directory, (_stamp, records) in self.kept.items()
                if any(layer in record.layers for record in records.values())
            ]

    def replace(self, scan: int, batch: Sequence[tuple[str, str, Sequence[EntityRecord]]]) -> None:
        with self.lock:
            self._count("replace")
            for directory, stamp, records in batch:
                assert stamp
                assert all(split(record.identity.path)[0] == directory for record in records)
                self.kept[directory] = stamp, {split(r.identity.path)[1]: r for r in records}
                self.seen[directory] = scan if scan != OUTSIDE else self.seen.get(directory, self.scan)

    def touch(self, scan: int, directories: Sequence[str]) -> None:
        with self.lock:
            self._count("touch")
            assert scan != OUTSIDE
            self.seen.update((directory, scan) for directory in directories if directory in self.kept)

    def remove_below(self, directory: str) -> None:
        with self.lock:
            self._count("remove_below")
            for known in [d for d in self.kept if d == directory or d.startswith(directory + "/")]:
                del self.kept[known], self.seen[known]

    def finish(self, scan: int) -> None:
        with self.lock:
            self._count("finish")
            self.is_scanning = False
            for known in [directory for directory, seen in self.seen.items() if seen != scan]:
                del self.kept[known], self.seen[known]

    def all(self) -> dict[str, EntityRecord]:
        """Every record, by path."""
        return {r.identity.path: r for _stamp, records in self.kept.values() for r in records.values()}

    def layers(self) -> dict[str, tuple[str, ...]]:
        return {path: record.layers for path, record in self.all().items()}


def fresh(view: View) -> dict[str, Kept]:
    """What is kept by a crawler that knew nothing."""
    records = DictRecords()
    assert Crawler(view, records).crawl().is_whole
    return records.kept


class _Watched:
    """Half of a layer: counts what it is asked, and can be out of reach.

    Attributes:
        opened: The paths that were opened.
        scanned: The directories that were listed.
        refused: By directory, what listing it raises.
        is_down: Everything raises `Unavailable`.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.opened: list[str] = []
        self.scanned: list[str] = []
        self.refused: dict[str, Exception] = {}
        self.is_down = False

    def stat(self, path: str) -> Entry:
        self._check(path)
        return super().stat(path)  # type: ignore[misc]

    def scan(self, path: str, *limit: int) -> list[Entry]:
        self._check(path)
        self.scanned.append(path)
        return super().scan(path, *limit)  # type: ignore[misc]

    def open(self, path: str) -> LayerFile:
        self._check(path)
        self.opened.append(path)
        return super().open(path)  # type: ignore[misc]

    def stat_nowait(self, path: str) -> Entry:
        self._check(path)
        return super().stat_nowait(path)  # type: ignore[misc]

    def _check(self, path: str) -> None:
        if self.is_down:
            raise Unavailable("out of reach")
        if path in self.refused:
            raise self.refused[path]


class WatchedMemory(_Watched, MemoryLayer):
    """See `_Watched`. Announces every directory that it makes, as the contract has it."""

    def put_directory(self, path: str) -> None:
        parts = path.split("/") if path else []
        for depth in range(1, len(parts) + 1):
            directory = "/".join(parts[:depth])
            if directory not in self._nodes or depth == len(parts):
                super().put_directory(directory)


class WatchedLocal(_Watched, LocalLayer):
    """See `_Watched`."""


class Crawled:
    """Layers of memory, called a, b, ..., the highest first; their view, its records and a crawler."""

    def __init__(self, *layers: dict[str, bytes]) -> None:
        self.layers = [WatchedMemory(name, 9, files) for name, files in zip("abc", layers, strict=False)]
        self.view = View(self.layers)
        self.records = DictRecords()
        self.crawler = Crawler(self.view, self.records)

    def assert_right(self) -> None:
        assert self.records.kept == fresh(self.view)

    def forget_calls(self) -> None:
        self.records.calls.clear()
        for layer in self.layers:
            layer.opened.clear()
            layer.scanned.clear()

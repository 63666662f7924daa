"""The files of the archive: valid for copick, as small as they can be, and made by few system calls."""

from __future__ import annotations

import functools
import json
import os
import random
import struct
from typing import TYPE_CHECKING

from benchmarks.archiveplan import MAX_POINTS, MIN_POINTS, RUNS, points_in
from copickfs.entities import EntityType

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.archiveplan import Item

STORES = (EntityType.OBJECT, EntityType.TOMOGRAM, EntityType.FEATURE, EntityType.SEGMENTATION)
MAP_ANGSTROM = 10.0
POINT_SETS = 20
"""Different sets of points of each length; more would only take longer."""

_META = b"meta"
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


class LayerWriter:
    """Writes one layer, run by run. Names are resolved from the run's directory: long paths cost time.

    Attributes:
        files: How many have been written.
        directories: How many have been made.
    """

    def __init__(self, root: Path) -> None:
        self.files = self.directories = 0
        self._layer = root.name
        self._root_fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        self._runs_fd = os.open(root / RUNS, os.O_RDONLY | os.O_DIRECTORY)

    def close(self) -> None:
        """Let go of the directories."""
        os.close(self._runs_fd)
        os.close(self._root_fd)

    def write_maps(self, items: list[Item]) -> None:
        """Write the density maps that this layer has."""
        self._write_items(self._root_fd, "", items)

    def write_run(self, items: list[Item]) -> None:
        """Write what this layer has of a run; nothing if that is not even the run."""
        run = items[0].identity.run
        if self._layer not in items[0].layers:
            return
        self._mkdir(run, self._runs_fd)
        run_fd = os.open(run, os.O_RDONLY | os.O_DIRECTORY, dir_fd=self._runs_fd)
        try:
            self._write_file(".meta", _META, run_fd)
            self._write_items(run_fd, f"{RUNS}/{run}/", items[1:])
        finally:
            os.close(run_fd)

    def _write_items(self, base_fd: int, base: str, items: list[Item]) -> None:
        parents: set[str] = set()
        for item in items:
            if self._layer not in item.layers:
                continue
            path = item.identity.path.removeprefix(base)
            parent = path.rpartition("/")[0]
            if parent and parent not in parents:
                parents.add(parent)
                self._mkdir(parent, base_fd)
            self._write_item(item, path, base_fd)

    def _write_item(self, item: Item, path: str, base_fd: int) -> None:
        kind = item.identity.type
        if kind in STORES:
            self._mkdir(path, base_fd)
            self._mkdir(f"{path}/0", base_fd)
            for name, content in store_of(item):
                self._write_file(f"{path}/{name}", content, base_fd)
        elif kind is EntityType.VOXEL_SPACING:
            self._mkdir(path, base_fd)
            self._write_file(f"{path}/.meta", _META, base_fd)
        elif kind is EntityType.PICKS:
            self._write_file(path, picks_of(item, points_in(item, self._layer)), base_fd)
        elif kind is EntityType.FILAMENT:
            self._write_file(path, filaments_of(item), base_fd)
        else:
            self._write_file(path, triangle(), base_fd)

    def _mkdir(self, path: str, base_fd: int) -> None:
        try:
            os.mkdir(path, 0o755, dir_fd=base_fd)
        except FileExistsError:  # a spacing's directory is made for whichever of its volumes comes first
            return
        self.directories += 1

    def _write_file(self, path: str, content: bytes, base_fd: int) -> None:
        descriptor = os.open(path, _NEW, 0o644, dir_fd=base_fd)
        try:
            os.write(descriptor, content)
        finally:
            os.close(descriptor)
        self.files += 1


def picks_of(item: Item, points: int) -> bytes:
    """A picks file with so many points. Without transformations: copick takes the identity."""
    variant = len(item.identity.path) % POINT_SETS
    return _made_by(item) + b'"points": ' + _points(points, variant) + b"}"


def filaments_of(item: Item) -> bytes:
    """One filament of three control points."""
    line = [[100.0, 200.0, 300.0], [150.0, 220.0, 310.0], [200.0, 240.0, 320.0]]
    return _made_by(item) + f'"filaments": [{{"instance_id": 1, "points": {line}}}]}}'.encode()


def store_of(item: Item) -> tuple[tuple[str, bytes], ...]:
    """Names and contents of the files of a store; no chunk is ever written, so all voxels are zero."""
    return _store(item.shape, item.dtype, item.identity.voxel_size or MAP_ANGSTROM)


@functools.cache
def triangle() -> bytes:
    """A binary glTF file with one triangle."""
    corners = struct.pack("<9f", 0, 0, 0, 100, 0, 0, 0, 100, 0)
    indices = struct.pack("<3H2x", 0, 1, 2)
    document = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3",
             "min": [0, 0, 0], "max": [100, 100, 0]},
            {"bufferView": 1, "componentType": 5123, "count": 3, "type": "SCALAR"},
        ],
        "bufferViews": [
            {"buffer": 0, "byteOffset": 0, "byteLength": len(corners)},
            {"buffer": 0, "byteOffset": len(corners), "byteLength": 6},
        ],
        "buffers": [{"byteLength": len(corners) + len(indices)}],
    }  # fmt: skip
    text = json.dumps(document).encode()
    text = text.ljust(-(-len(text) // 4) * 4)
    body = struct.pack("<II", len(text), 0x4E4F534A) + text
    body += struct.pack("<II", len(corners) + len(indices), 0x004E4942) + corners + indices
    return struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body


def _made_by(item: Item) -> bytes:
    """The head of a file of picks or filaments, up to where its points come."""
    identity = item.identity
    document = (
        f'{{"pickable_object_name": "{identity.object}", "user_id": "{identity.user}", '
        f'"session_id": "{identity.session}", "run_name": "{identity.run}", "unit": "angstrom", '
    )
    return document.encode()


@functools.cache
def _points(count: int, variant: int) -> bytes:
    assert MIN_POINTS <= count <= MAX_POINTS
    draw = random.Random(count * POINT_SETS + variant)
    points = [
        {"location": {axis: round(draw.uniform(0, 2000), 1) for axis in "xyz"}, "score": 0.5}
        for _ in range(count)
    ]
    return json.dumps(points).encode()


@functools.cache
def _store(shape: tuple[int, ...], dtype: str, size: float) -> tuple[tuple[str, bytes], ...]:
    """An OME-Zarr 0.4 store of one level, as copick writes it."""
    space = [{"name": axis, "type": "space", "unit": "angstrom"} for axis in "zyx"]
    channel = [{"name": "c", "type": "channel"}] * (len(shape) - 3)
    scale = [1.0] * (len(shape) - 3) + [size] * 3
    labels = {"copick": {"channels": ["label", "instance"], "segmentation_type": "panoptic"}}
    level = {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": scale}]}
    multiscale = {
        "axes": channel + space,
        "datasets": [level],
        "metadata": labels if channel else {},
        "name": "/",
        "version": "0.4",
    }
    array = {
        "zarr_format": 2,
        "shape": shape,
        "chunks": [1] * (len(shape) - 3) + [256] * 3,
        "dtype": dtype,
        "compressor": {"blocksize": 0, "clevel": 5, "cname": "lz4", "id": "blosc", "shuffle": 1},
        "fill_value": 0,
        "filters": None,
        "order": "C",
        "dimension_separator": "/",
    }
    return (
        (".zgroup", b'{"zarr_format": 2}'),
        ("0/.zarray", json.dumps(array).encode()),
        (".zattrs", json.dumps({"multiscales": [multiscale]}).encode()),
    )

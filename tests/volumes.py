"""Stores of volumes in memory, what a renderer makes of them, and what mrcfile would write."""

from __future__ import annotations

import json
import tempfile
import warnings
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mrcfile
import numpy as np

from copickfs import MemoryLayer
from copickfs.entities import identify
from copickfs.errors import Unavailable
from copickfs.model import ByteRange
from copickfs.view import View
from copickfs.virtual.project import Project
from copickfs.virtual.sources import Source
from tests.viewfacts import NoFacts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from copickfs.layers.base import LayerFile
    from copickfs.model import Entry
    from copickfs.virtual.rendering import Contents
    from copickfs.virtual.volumes.renderer import MrcRenderer
    from tests.arrays import Files

RUN = "ExperimentRuns/TS_1"
WBP = f"{RUN}/VoxelSpacing10.000/wbp.zarr"
HEADER_BYTES = 1024


class Lab(MemoryLayer):
    """A layer that counts what is opened, and is out of reach when it is told to be.

    Attributes:
        opened: How often each path was opened.
        down: What is out of reach: paths that end so.
        before: Called with the path before a file is opened.
    """

    def __init__(self, files: Mapping[str, bytes]) -> None:
        super().__init__("lab", 1, files)
        self.opened: Counter[str] = Counter()
        self.down: tuple[str, ...] = ()
        self.before: Callable[[str], object] = lambda _path: None

    def stat(self, path: str) -> Entry:
        self._reach(path)
        return super().stat(path)

    def open(self, path: str) -> LayerFile:
        self.before(path)
        self._reach(path)
        self.opened[path] += 1
        return super().open(path)

    stat_nowait = stat
    open_nowait = open

    def chunks(self, store: str = WBP) -> Counter[str]:
        """The files of chunks that were opened."""
        return Counter(
            {
                path: count
                for path, count in self.opened.items()
                if path.startswith(store) and not path.rpartition("/")[2].startswith((".z", "zarr.json"))
            }
        )

    def _reach(self, path: str) -> None:
        if self.down and path.endswith(self.down):
            raise Unavailable(f"lab is down: {path}")


def stored(
    levels: Sequence[Files],
    scales: Sequence[Sequence[float]] | None = None,
    *,
    path: str = WBP,
    translations: Sequence[Sequence[float]] | None = None,
    unit: str = "angstrom",
) -> dict[str, bytes]:
    """The files of a store of format 2, with levels as `tests.arrays.written_2` gives them."""
    files = {f"{path}/.zgroup": b'{"zarr_format": 2}'}
    datasets: list[dict[str, Any]] = []
    for number, level in enumerate(levels):
        files |= {f"{path}/{number}/{name}": data for name, data in level.items()}
        changes = [] if scales is None else [{"type": "scale", "scale": list(scales[number])}]
        if translations is not None:
            changes.append({"type": "translation", "translation": list(translations[number])})
        datasets.append({"path": str(number), "coordinateTransformations": changes})
    dimensions = len(json.loads(levels[0][".zarray"])["shape"])
    axes = [{"name": name, "type": "space", "unit": unit} for name in "zyx"]
    axes = [{"name": "c", "type": "channel"}][: dimensions - 3] + axes
    document = {"multiscales": [{"version": "0.4", "axes": axes, "datasets": datasets}]}
    return files | {f"{path}/.zattrs": json.dumps(document).encode()}


def project_of(layer: MemoryLayer) -> Project:
    view = View((layer,))
    return Project(view, NoFacts(view), {})


def source_of(project: Project, path: str = WBP) -> Source:
    return Source(project, identify(path, is_dir=True))


def opened(renderer: MrcRenderer, project: Project, name: str = "wbp.mrc", path: str = WBP) -> Contents:
    return renderer.open(source_of(project, path), name)


def read(contents: Contents, start: int = 0, stop: int = 1 << 40) -> bytes:
    return bytes(contents.read(ByteRange(start, stop)))


def voxels(contents: Contents, values: np.ndarray[Any, Any], *planes: int) -> np.ndarray[Any, Any]:
    """Planes of a volume as its file has them."""
    start, stop = planes or (0, values.shape[0])
    plane_bytes = values[0].nbytes
    data = read(contents, HEADER_BYTES + start * plane_bytes, HEADER_BYTES + stop * plane_bytes)
    return np.frombuffer(data, values.dtype).reshape(stop - start, *values.shape[1:])


def whole(renderer: MrcRenderer, project: Project, name: str = "wbp.mrc", path: str = WBP) -> bytes:
    """All bytes of a file, as many as were promised."""
    contents = opened(renderer, project, name, path)
    try:
        data = read(contents)
    finally:
        contents.close()
    assert len(data) == renderer.size_bytes(source_of(project, path), name)
    return data


def by_mrcfile(
    values: np.ndarray[Any, Any],
    voxel_size: Sequence[float],
    origin: Sequence[float] = (0.0, 0.0, 0.0),
    *,
    like: bytes,
) -> bytes:
    """The file that mrcfile writes of a volume, with the label and the statistics of another file.

    Args:
        values: ``(z, y, x)``.
        voxel_size: Of a voxel, x, y, z.
        origin: Of the first voxel, x, y, z.
        like: The other file.
    """
    theirs = np.frombuffer(like[:HEADER_BYTES], mrcfile.dtypes.HEADER_DTYPE)[0]
    with tempfile.TemporaryDirectory() as directory, warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # values that are not finite
        path = Path(directory) / "volume.mrc"
        with mrcfile.new(path) as mrc:
            mrc.set_data(values.astype(values.dtype.newbyteorder("<")))
            mrc.voxel_size = tuple(voxel_size)
            mrc.header.origin = tuple(origin)
            for field in ("dmin", "dmax", "dmean", "rms", "label", "nlabl"):
                mrc.header[field] = theirs[field]
        return path.read_bytes()

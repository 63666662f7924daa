"""Which files there are of a store: one for each level of its pyramid, and of each channel.

``wbp.mrc`` is the finest level. A lower one is named by how much larger its voxels are,
``wbp_bin2.mrc``, where that is a whole number and the same in all directions, else by its number,
``wbp_level1.mrc``; so is one whose name another level has. Arrays with more than three axes have one file
for each index of the axes before the last three: ``wbp_edges_features_c0.mrc``,
``wbp_edges_features_bin2_c0.mrc``; an axis of one is not named. The channels of a panoptic segmentation are
called ``_label`` and ``_instance``, as in ``copick.util.segmentation.PANOPTIC_CHANNELS``.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from copickfs.arrays import levels_of, pyramid
from copickfs.entities import EntityType
from copickfs.errors import Unreadable
from copickfs.virtual.volumes.header import HEADER_BYTES, MAX_EXTENT
from copickfs.virtual.volumes.voxels import type_in_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from copickfs.arrays import Level
    from copickfs.virtual.sources import Source

SUFFIX = ".mrc"
PANOPTIC_CHANNELS = ("label", "instance")

_SPACE = 3
_NEARLY = 0.01
"""By so much the ratio of two sizes may be off a whole number."""

_MAX_LEADS = 4096
_MAX_BYTES = 2**63 - 1


class Plan(NamedTuple):
    """One file.

    Attributes:
        name: Its name.
        level: The array that it is made of.
        number: The number of that level, 0 for the finest.
        lead: The indices in the axes before the last three.
        dtype: Type of its voxels.
        voxel_size_angstrom: ``(z, y, x)``; zeros if it is not known.
    """

    name: str
    level: Level
    number: int
    lead: tuple[int, ...]
    dtype: np.dtype[Any]
    voxel_size_angstrom: tuple[float, float, float]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Its extent, ``(z, y, x)``."""
        z, y, x = self.level.shape[-_SPACE:]
        return z, y, x

    @property
    def size_bytes(self) -> int:
        """Its length."""
        z, y, x = self.shape
        return HEADER_BYTES + z * y * x * self.dtype.itemsize


def plans(source: Source) -> dict[str, Plan]:
    """The files that can be made of a store, by what is known of it, or else by its metadata; by their names.

    Raises:
        Unreadable: None can be made; the message says why.
        NotFound: The store is not there.
        Transient: Its layer is out of reach.
    """
    levels = levels_of(source.known().get("pyramid"))
    if levels is None:
        levels = pyramid(source.read)
    files: dict[str, Plan] = {}
    reason: Unreadable | None = None
    names = _level_names(levels)
    for number, level in enumerate(levels):
        try:
            dtype = _checked(level, source)
        except Unreadable as error:
            reason = reason or error
            continue
        size = _voxel_size(level, levels[0], source)
        for lead, channel in _leads(level, source):
            name = f"{source.stem}{names[number]}{channel}{SUFFIX}"
            files.setdefault(name, Plan(name, level, number, lead, dtype, size))
    if not files:
        raise reason or Unreadable(f"{source.path}: has no array")
    return files


def _checked(level: Level, source: Source) -> np.dtype[Any]:
    """The type of voxels in the file of a level, if there can be one."""
    where = f"{source.path}/{level.path}" if level.path else source.path
    shape = level.shape[-_SPACE:]
    if len(shape) < _SPACE:
        raise Unreadable(f"{where}: has {len(shape)} axes, a volume has three")
    if not set(level.axes[-_SPACE:]).isdisjoint(("c", "t")):
        raise Unreadable(f"{where}: its axes are {level.axes}, and the last three have to be in space")
    if not all(0 < n <= MAX_EXTENT for n in shape):
        raise Unreadable(f"{where}: an MRC file cannot have the extent {shape}")
    if not 0 < int(np.prod(level.shape[:-_SPACE], dtype=np.float64)) <= _MAX_LEADS:
        raise Unreadable(f"{where}: has {level.shape[:-_SPACE]} channels, which are too many")
    try:
        dtype = type_in_file(level.dtype, labels=_has_labels(source))
    except Unreadable as error:
        raise Unreadable(f"{where}: {error}") from None
    if HEADER_BYTES + math.prod(shape) * dtype.itemsize > _MAX_BYTES:
        raise Unreadable(f"{where}: a file of the extent {shape} would be longer than any can be")
    return dtype


def _has_labels(source: Source) -> bool:
    return source.identity is not None and source.identity.type is EntityType.SEGMENTATION


def _leads(level: Level, source: Source) -> Iterator[tuple[tuple[int, ...], str]]:
    """The indices before the axes in space, and what the names of their files have for them."""
    extents = level.shape[:-_SPACE]
    is_panoptic = (
        source.identity is not None
        and source.identity.segmentation_type == "panoptic"
        and extents == (len(PANOPTIC_CHANNELS),)
    )
    for lead in itertools.product(*(range(extent) for extent in extents)):
        if is_panoptic:
            yield lead, f"_{PANOPTIC_CHANNELS[lead[0]]}"
            continue
        parts = zip(level.axes, lead, extents, strict=False)
        yield lead, "".join(f"_{_word(axis)}{index}" for axis, index, extent in parts if extent > 1)


def _word(axis: str) -> str:
    """The name of an axis, if it can be a part of a file's name."""
    return axis if axis.isascii() and axis.isalnum() else "c"


def _level_names(levels: Sequence[Level]) -> list[str]:
    names = [""]
    for number, level in enumerate(levels[1:], 1):
        factor = _factor(level, levels[0])
        name = f"_bin{factor}" if factor is not None else f"_level{number}"
        names.append(name if name not in names else f"_level{number}")
    return names


def _factor(level: Level, finest: Level) -> int | None:
    """How many times larger its voxels are than those of the finest level; None if that is no one number."""
    if level.scale_angstrom is not None and finest.scale_angstrom is not None:
        ratios = [a / b for a, b in zip(level.scale_angstrom, finest.scale_angstrom, strict=True)]
        factor = round(ratios[0])
        is_whole = all(abs(ratio - factor) <= _NEARLY * factor for ratio in ratios)
        return factor if is_whole and factor > 1 else None
    ours, theirs = level.shape[-_SPACE:], finest.shape[-_SPACE:]
    if len(ours) < _SPACE or len(theirs) < _SPACE or not all((*ours, *theirs)):
        return None
    factor = round(max(b / a for a, b in zip(ours, theirs, strict=True)))
    halved = all(a in (max(1, b // factor), -(-b // factor)) for a, b in zip(ours, theirs, strict=True))
    return factor if factor > 1 and halved else None


def _voxel_size(level: Level, finest: Level, source: Source) -> tuple[float, float, float]:
    if level.scale_angstrom is not None:
        return level.scale_angstrom
    ours, theirs = level.shape[-_SPACE:], finest.shape[-_SPACE:]
    known = finest.scale_angstrom
    if known is None:
        size = source.identity.voxel_size if source.identity is not None else None
        known = (size or 0.0,) * 3
    z, y, x = (size * b / a for size, a, b in zip(known, ours, theirs, strict=True))
    return z, y, x

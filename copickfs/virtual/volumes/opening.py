"""The volumes that are in use, and those that were a moment ago."""

from __future__ import annotations

import functools
import math
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from copickfs.arrays import Volume, array_metadata
from copickfs.errors import Stale
from copickfs.paths import join
from copickfs.virtual.volumes.chunkfiles import ChunkFiles, Documents
from copickfs.virtual.volumes.decoding import Decoder
from copickfs.virtual.volumes.volume import SharedVolume

if TYPE_CHECKING:
    from collections.abc import Iterator

    from copickfs.arrays import ArrayMetadata
    from copickfs.errors import Unreadable
    from copickfs.virtual.sources import Source
    from copickfs.virtual.volumes.plans import Plan
    from copickfs.virtual.volumes.refusals import Refusals
    from copickfs.virtual.volumes.sharing import Sharing

_MAX_IDLE = 256
"""So many volumes are remembered that nobody has open."""


class Volumes:
    """One `SharedVolume` for each version of an array's metadata, for all who open it. Thread-safe.

    Args:
        sharing: What they share.
        refusals: Told what no file can be made of.
    """

    def __init__(self, sharing: Sharing, refusals: Refusals) -> None:
        self._sharing = sharing
        self._refusals = refusals
        self._lock = threading.Lock()
        self._volumes: OrderedDict[tuple[int, str], SharedVolume] = OrderedDict()

    def take(self, source: Source, plan: Plan) -> SharedVolume:
        """The volume that a file is made of; give it back with `release`.

        Raises:
            Unreadable: The array's metadata is not sound, or its chunks cannot be decoded.
            Stale: The array is another than the one that the plan was made for.
            Transient: A layer is out of reach.
        """
        documents = Documents(source)
        metadata = array_metadata(documents, plan.level.path)
        if metadata.shape != plan.level.shape:
            raise Stale(f"{source.path}: is another array than it was")
        key = id(source.project.tree), name_of(source, plan)
        with self._lock:
            volume = self._volumes.get(key)
            if volume is None or volume.files.digest != documents.digest:
                if volume is not None and not volume.users:
                    self._sharing.tiles.drop(volume.number)
                volume = self._volumes[key] = self._new(source, plan, documents, metadata)
            self._volumes.move_to_end(key)
            volume.users += 1
        return volume

    def share(self, volume: SharedVolume) -> SharedVolume:
        """A volume that is taken already, once more."""
        with self._lock:
            volume.users += 1
        return volume

    def release(self, volume: SharedVolume) -> None:
        """Whoever has taken it does not need it any more."""
        with self._lock:
            volume.users -= 1
            if not volume.users:
                volume.estimate, volume.statistics = volume.statistics or volume.estimate, None
                if volume not in self._volumes.values():
                    self._sharing.tiles.drop(volume.number)  # another version has taken its place
            self._drop_idle()

    def forget(self, path: str) -> None:
        """Something has changed at ``path`` of the tree, or anything (``""``)."""
        with self._lock:
            for (_tree, name), volume in self._volumes.items():
                if not path or name.startswith(path) or path.startswith(volume.files.store):
                    volume.forget()

    def close(self) -> None:
        """Forget all."""
        with self._lock:
            self._volumes.clear()

    def _new(self, source: Source, plan: Plan, documents: Documents, metadata: ArrayMetadata) -> SharedVolume:
        name, facts = name_of(source, plan), source.project.facts
        files = ChunkFiles(source.project.tree, source.path, documents, _Objects(metadata, plan.lead))
        looked_at = {inner: version for inner, (version, _digest) in documents.seen.items()}

        def refused(inner: str, version: str, error: Unreadable) -> None:
            self._refusals.add(name, {**looked_at, inner: version}, error)

        return SharedVolume(
            Decoder(name, Volume(metadata, files.open, plan.lead), files),
            plan.dtype,
            sharing=self._sharing,
            keep=functools.partial(facts.keep_statistics, name),
            on_refused=refused,
        )

    def _drop_idle(self) -> None:
        idle = [key for key, volume in self._volumes.items() if not volume.users]
        for key in idle[: max(0, len(idle) - _MAX_IDLE)]:
            self._sharing.tiles.drop(self._volumes.pop(key).number)


def name_of(source: Source, plan: Plan) -> str:
    """What the volume of a file is known by: the path of its array in the tree, and the channel of it."""
    name = join(source.path, plan.level.path) if plan.level.path else source.path
    return f"{name}{list(plan.lead)}" if plan.lead else name


class _Objects:
    """The paths in the store of all files that have voxels of a volume, made one by one."""

    def __init__(self, metadata: ArrayMetadata, lead: tuple[int, ...]) -> None:
        self._metadata = metadata
        self._first = tuple(i // n for i, n in zip(lead, metadata.grid_chunks, strict=False))
        extents = zip(metadata.shape[len(lead) :], metadata.grid_chunks[len(lead) :], strict=True)
        self._grid = [-(-extent // chunk) for extent, chunk in extents]

    def __len__(self) -> int:
        return math.prod(self._grid)

    def __iter__(self) -> Iterator[str]:
        z, y, x = self._grid
        places = ((i, j, k) for i in range(z) for j in range(y) for k in range(x))
        return (self._metadata.object_of((*self._first, *place)) for place in places)

    def __contains__(self, path: object) -> bool:
        return any(path == each for each in self)

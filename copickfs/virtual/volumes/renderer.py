"""The renderer ``mrc``: MRC files of tomograms, features, segmentations and object maps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from copickfs.entities import EntityType
from copickfs.errors import NotFound, Unreadable
from copickfs.virtual.rendering import Renderer
from copickfs.virtual.volumes import statistics
from copickfs.virtual.volumes.contents import MrcContents
from copickfs.virtual.volumes.opening import Volumes, name_of
from copickfs.virtual.volumes.plans import SUFFIX, plans
from copickfs.virtual.volumes.refusals import Refusals
from copickfs.virtual.volumes.sharing import Sharing

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from copickfs.virtual.project import Limits, Statistics
    from copickfs.virtual.sources import Source
    from copickfs.virtual.volumes.plans import Plan
    from copickfs.virtual.volumes.volume import SharedVolume

MEMORY_BYTES = 256 << 20
"""Decoded voxels take no more memory, if nothing else is said."""

SPILL_BYTES = 8 << 30
"""The temporary file is no longer, if nothing else is said."""


class MrcRenderer(Renderer):
    """Makes MRC files; the names are those of `copickfs.virtual.volumes.plans`. Thread-safe.

    Args:
        memory_bytes: Decoded voxels of all volumes together take no more memory.
        spill_directory: Where a temporary file is made for those that would be decoded once per plane
            otherwise; None for the system's own directory of such files.
        spill_bytes: That file is no longer; 0 for none.
    """

    makes_of: ClassVar[Collection[EntityType | None]] = (
        EntityType.TOMOGRAM,
        EntityType.OBJECT,
        EntityType.SEGMENTATION,
        EntityType.FEATURE,
    )
    suffix: ClassVar[str] = SUFFIX

    def __init__(
        self,
        memory_bytes: int = MEMORY_BYTES,
        spill_directory: Path | None = None,
        spill_bytes: int = SPILL_BYTES,
    ) -> None:
        self._refusals = Refusals()
        self._share(memory_bytes, spill_directory, spill_bytes)

    def configure(self, limits: Limits) -> None:
        """See `Renderer.configure`."""
        directory = Path(limits.spill_directory) if limits.spill_directory else None
        self._share(limits.memory_bytes, directory, limits.spill_bytes, limits.floor_bytes)

    def files(self, source: Source) -> list[str]:
        """See `Renderer.files`. Reads metadata at most.

        Raises:
            Unreadable: No file can be made of this type, or this number of axes.
        """
        planned = plans(source)
        return [
            name for name, plan in planned.items() if not self._refusals.has(name_of(source, plan), source)
        ]

    def size_bytes(self, source: Source, name: str) -> int:
        """See `Renderer.size_bytes`. Reads metadata at most."""
        return self._plan(source, plans(source), name).size_bytes

    def open(self, source: Source, name: str) -> MrcContents:
        """See `Renderer.open`."""
        planned = plans(source)
        plan = self._plan(source, planned, name)
        volume = self._volumes.take(source, plan)
        try:
            coarsest = self._take_coarsest(source, planned, plan, volume)
        except BaseException:
            self._volumes.release(volume)
            raise
        return MrcContents(plan, volume, coarsest, source.project.facts, self._sharing, self._volumes.release)

    def compute_statistics(
        self, source: Source, is_stopped: Callable[[], bool] = lambda: False
    ) -> dict[str, Statistics]:
        """Compute the exact statistics of all files of a source that are not known, and keep them.

        One tile at a time is in memory.

        Args:
            source: A store.
            is_stopped: Asked before each tile; True ends it.

        Returns:
            Those that are known by now, by the names of the files.

        Raises:
            Unreadable: No file can be made of the store, a chunk is broken, or there are too many; the
                statistics of other files of the store are kept all the same.
            Transient: A layer is out of reach.
        """
        found: dict[str, Statistics] = {}
        refused: Unreadable | None = None
        for name, plan in plans(source).items():
            try:
                exact = self._compute(source, plan, is_stopped)
            except Unreadable as error:
                refused = refused or error
            else:
                found |= {} if exact is None else {name: exact}
        if refused is not None:
            raise refused
        return found

    def _compute(self, source: Source, plan: Plan, is_stopped: Callable[[], bool]) -> Statistics | None:
        volume = self._volumes.take(source, plan)
        try:
            return statistics.known(volume, source.project.facts) or statistics.computed(volume, is_stopped)
        finally:
            self._volumes.release(volume)

    def forget(self, path: str) -> None:
        """Something has changed at ``path`` of the project, or anything (``""``); from any thread."""
        self._volumes.forget(path)

    def close(self) -> None:
        """End all threads, and remove the temporary file. Idempotent, never raises."""
        self._volumes.close()
        self._sharing.close()

    def _share(
        self, memory_bytes: int, spill_directory: Path | None, spill_bytes: int, floor_bytes: int = 0
    ) -> None:
        self._sharing = Sharing(memory_bytes, spill_directory, spill_bytes, floor_bytes)
        self._volumes = Volumes(self._sharing, self._refusals)

    def _plan(self, source: Source, planned: dict[str, Plan], name: str) -> Plan:
        plan = planned.get(name)
        if plan is None or self._refusals.has(name_of(source, plan), source):
            raise NotFound(f"{name} of {source.path}")
        return plan

    def _take_coarsest(
        self, source: Source, planned: dict[str, Plan], plan: Plan, volume: SharedVolume
    ) -> SharedVolume:
        """The coarsest level that has the channel of a plan, and of which there may be a file."""
        same = [each for each in planned.values() if each.lead == plan.lead]
        coarsest = max(same, key=lambda each: each.number)
        if coarsest.number > plan.number:
            try:
                return self._volumes.take(source, coarsest)
            except Unreadable:
                pass  # whoever opens its own file is told why
        return self._volumes.share(volume)


def compute_statistics(
    source: Source, is_stopped: Callable[[], bool] = lambda: False
) -> dict[str, Statistics]:
    """See `MrcRenderer.compute_statistics`; for a process that reads no volumes otherwise."""
    renderer = MrcRenderer(memory_bytes=0, spill_bytes=0)
    try:
        return renderer.compute_statistics(source, is_stopped)
    finally:
        renderer.close()

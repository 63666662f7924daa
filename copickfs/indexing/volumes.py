"""Computing what all voxels of volumes come to, so that the headers of their files are exact."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from copickfs.entities import STORES
from copickfs.errors import CopickfsError
from copickfs.indexing.facts import ProjectFacts
from copickfs.virtual.project import Project
from copickfs.virtual.sources import Source
from copickfs.virtual.volumes.renderer import compute_statistics

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from copickfs.indexing.catalog import Catalog


class Computed(NamedTuple):
    """What has been computed.

    Attributes:
        files: Files whose headers are exact now.
        failed: Stores of which that is not known: paths, and why.
    """

    files: int
    failed: list[tuple[str, str]]


def compute(
    catalog: Catalog, stop: threading.Event, progress: Callable[[int, int], None] | None = None
) -> Computed:
    """Compute the statistics of every volume that lacks them, and keep them in the index.

    Every voxel is read that has changed since. What is done is kept, if it is stopped.

    Args:
        catalog: The index, and the tree.
        stop: Set to end early.
        progress: Called with the number of stores, and of those that are done.
    """
    project = Project(catalog.view, ProjectFacts(catalog), {})
    whole = Source(project, None)
    stores = [source for kind in sorted(STORES) for source in whole.entities(kind)]
    files, failed = 0, []
    for done, source in enumerate(stores):
        if stop.is_set():
            break
        if progress is not None:
            progress(len(stores), done)
        try:
            files += len(compute_statistics(source, stop.is_set))
        except (CopickfsError, OSError) as error:
            failed.append((source.path, str(error)))
    return Computed(files, failed)

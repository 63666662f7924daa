"""Finding the objects of `tests.projects.Project` that tests are about."""

from __future__ import annotations

from typing import Any

RUN, SIZE = "TS_001", 10.0


def picks_of(root: Any, session: str = "1", run: str = RUN) -> Any:
    (found,) = root.get_run(run).get_picks(object_name="ribosome", session_id=session)
    return found


def tomogram_of(root: Any) -> Any:
    (found,) = root.get_run(RUN).get_voxel_spacing(SIZE).tomograms
    return found


def segmentation_of(root: Any, name: str = "membrane", **types: bool) -> Any:
    (found,) = root.get_run(RUN).get_segmentations(name=name, **types)
    return found

"""What a Python program does with a project, in a process of its own.

``python -m benchmarks.apiworker FACE CONFIG RUNS``: FACE is ``copick``, ``copickfs`` or ``zarr``, CONFIG a
configuration (for ``zarr`` a directory), RUNS how many runs are looked at in turn for their picks. Prints a
JSON object of seconds.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

from benchmarks.apidata import OBJECT, REGION, TOMOGRAM_RUN, TOMOGRAM_STORE, USER, VOXEL_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> None:
    face, config, runs = sys.argv[1], sys.argv[2], int(sys.argv[3])
    times: dict[str, Any] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        began_s = time.perf_counter()
        result = work()
        times[name] = time.perf_counter() - began_s
        return result

    if face == "zarr":
        _bare(config, timed)
    else:
        _project(face, config, runs, timed, times)
    print(json.dumps(times))


def _bare(directory: str, timed: Callable[[str, Callable[[], Any]], Any]) -> None:
    import zarr

    array = timed("tomogram", lambda: zarr.open(f"{directory}/{TOMOGRAM_STORE}", mode="r")["0"])
    timed("region", lambda: array[REGION, REGION, REGION])
    timed("volume", lambda: array[:])


def _project(
    face: str,
    config: str,
    runs: int,
    timed: Callable[[str, Callable[[], Any]], Any],
    times: dict[str, Any],
) -> None:
    import copick
    import copick.impl.cryoet_data_portal
    import copick.impl.mlcroissant

    import copickfs.api

    open_ = copickfs.from_file if face == "copickfs" else copick.from_file

    def opened() -> Any:
        root = open_(config)
        return root, root.runs

    root, found = timed("open", opened)
    times["runs"] = len(found)
    picks = timed("picks", lambda: [each for run in found[:runs] for each in run.picks])
    times["sample"], times["picks_found"] = len(found[:runs]), len(picks)
    if face == "copickfs" and root.layer_manager.db_layer.is_indexed:
        find = timed("find", lambda: root.find_objects(type="picks", object=OBJECT, user=USER)["picks"])
        times["found"] = len(find)
    elif face == "copick":  # which has listed them by now
        timed(
            "find",
            lambda: [each for run in open_(config).runs[:runs] for each in run.get_picks(OBJECT, USER)],
        )
    run = next(run for run in found if run.name == TOMOGRAM_RUN)
    tomogram = timed("tomogram", lambda: run.get_voxel_spacing(VOXEL_SIZE).get_tomograms("wbp")[0])
    timed("region", lambda: tomogram.numpy("0", REGION, REGION, REGION))
    timed("volume", tomogram.numpy)


if __name__ == "__main__":
    main()

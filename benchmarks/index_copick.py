"""Lists runs and picks by copick in a process of its own, for `benchmarks.index`."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path


def main() -> None:
    import copick
    from copick.impl.filesystem import CopickConfigFSSpec, CopickRootFSSpec

    told = json.loads(sys.argv[1])
    configuration = Path(told["root"]) / "copick_config.json"
    if configuration.exists():
        root = copick.from_file(str(configuration))
    else:
        root = CopickRootFSSpec(
            CopickConfigFSSpec(overlay_root=f"local://{told['root']}", pickable_objects=[])
        )
    begun_s = time.perf_counter()
    runs = root.query()
    queried_s = time.perf_counter()
    for run in runs[: told["runs"]]:
        run.get_picks()
    listed_s = time.perf_counter()
    print(json.dumps({"runs": len(runs), "query_s": queried_s - begun_s, "picks_s": listed_s - queried_s}))


if __name__ == "__main__":
    main()

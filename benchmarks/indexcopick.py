"""What copick itself takes, in a process of its own: ``indexcopick.py CONFIG RUN...``.

CONFIG is a configuration of copick, the runs are the sample. Prints a JSON object; times are in seconds.
"""

from __future__ import annotations

import json
import sys
import time


def main() -> None:
    import copick

    started = time.perf_counter()
    root = copick.from_file(sys.argv[1])
    opened = time.perf_counter()
    runs = {run.name: run for run in root.query()}
    queried = time.perf_counter()
    picks = sum(len(runs[name].get_picks()) for name in sys.argv[2:])
    listed = time.perf_counter()
    answer = {
        "open": opened - started,
        "query": queried - opened,
        "picks": listed - queried,
        "runs": len(runs),
        "found": picks,
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()

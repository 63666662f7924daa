"""What an indexing run takes from who uses the mount meanwhile.

The load, in a process of its own (``indexload.py POINT RUN...``): walk some runs to the depth of the
entities, ask for the attributes of every name, and read every picks file. Each sample has a new mount, so
that the daemon and not the kernel answers.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.archive import RUNS
from benchmarks.archiveplan import run_name
from benchmarks.foreground import serving
from benchmarks.indextools import Failed, run, seconds, worker
from benchmarks.peers import copickfs_command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.indexbench import Bench

SAMPLE_RUNS = 100
SAMPLES = 5
ALONE, BY_HAND, AS_A_MOUNT = (
    "alone",
    "during `copickfs index --full`",
    "during the same at a mount's priority",
)
STATES = {ALONE: [], BY_HAND: [[]], AS_A_MOUNT: [["nice", "-n", "19"]]}


def mount_during_a_run(bench: Bench) -> None:
    """The same load on the mount alone, and beside a run that reads everything."""
    run([*copickfs_command(), "index", str(bench.config)])
    numbers = range(bench.archive.runs)
    names = random.Random(bench.archive.seed).sample(numbers, min(SAMPLE_RUNS, len(numbers)))
    runs = [run_name(number) for number in names]
    times: dict[str, list[float]] = {state: [] for state in STATES}
    remark = ""
    for _ in range(SAMPLES):
        for state, prefixes in STATES.items():
            measured = _sample(bench, runs, prefixes)
            times[state].append(measured["seconds"])
            remark = f"{measured['names']:,} names, {measured['read']:,} files read"
    for state, values in times.items():
        ratio = f"{median(values) / median(times[ALONE]):.2f} times as long; "
        spread = f"{seconds(min(values))} to {seconds(max(values))}"
        what = f"walk, stat and read {len(runs)} runs, the mount, {state}"
        bench.rows.add(what, seconds(median(values)), f"{'' if state == ALONE else ratio}{spread}; {remark}")


def _sample(bench: Bench, runs: Sequence[str], prefixes: Sequence[Sequence[str]]) -> dict[str, float]:
    """One sample, with a run beside it for each of the ``prefixes`` of its command.

    Raises:
        Failed: The run was over before the load was.
    """
    command = [*copickfs_command(), "index", "--full", "--quiet", str(bench.config)]
    with serving(bench.config, bench.point):
        beside = [subprocess.Popen([*prefix, *command]) for prefix in prefixes]
        try:
            time.sleep(1.0)  # its start, and what the daemon does after its own
            measured = worker("indexload", bench.point, *runs)
            if any(process.poll() is not None for process in beside):
                raise Failed("the run was over before the load: the archive is too small")
        finally:
            for process in beside:
                process.wait()  # one that is interrupted is gone on with by the next
    return measured


def main() -> None:
    point = Path(sys.argv[1], RUNS)
    started = time.perf_counter()
    names = read = 0
    for name in sys.argv[2:]:
        for directory, directories, files in os.walk(point / name):
            directories[:] = [inner for inner in directories if not inner.endswith(".zarr")]
            for each in os.scandir(directory):
                each.stat()
                names += 1
            if directory.endswith("/Picks"):
                for file in files:
                    Path(directory, file).read_bytes()
                    read += 1
    print(json.dumps({"seconds": time.perf_counter() - started, "names": names, "read": read}))


if __name__ == "__main__":
    main()

"""The copick API of a stack beside copick on the same data: ``python -m benchmarks.api``.

``--runs 2000 --save`` makes the published results, which takes some minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.apidata import copick_config, stack_config, write_project
from benchmarks.machine import describe_machine, describe_packages
from benchmarks.report import save
from tests.servers import SftpServer, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

RESULTS = Path(__file__).with_name("API-RESULTS.md")
RUNS, FAR_RUNS, SAMPLE, ROUND_TRIP_MS = 200, 20, 5, 20
ABOUT = (
    "A run has two tomograms, a segmentation and five files of picks. Each figure is of a new process, "
    "without what imports take. Of copick over the line only some runs are looked at, and the figures for "
    "all picks are that of these times as many."
)
QUESTIONS = {
    "open": "open, and list the runs",
    "picks": "list all picks, run by run",
    "find": "find the picks of one object and user",
    "tomogram": "open a tomogram",
    "region": "read 64³ of 256³ voxels",
    "volume": "read all 256³ voxels",
}


def main() -> None:
    """Measure, print, and save if that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--far-runs", type=int, default=FAR_RUNS, help="runs of the project over the line")
    parser.add_argument("--sample", type=int, default=SAMPLE, help="runs that copick looks at over the line")
    parser.add_argument("--save", action="store_true", help=f"write {RESULTS.name}")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="copickfs-api-") as name:
        directory = Path(name)
        os.environ |= {f"XDG_{kind}_HOME": str(directory / kind) for kind in ("CACHE", "STATE", "CONFIG")}
        write_project(directory / "lab", chosen.runs)
        write_project(directory / "far-lab", chosen.far_runs)
        lines = [
            "# The copick API beside copick", "", ABOUT, "",
            describe_machine(directory), "", describe_packages(), "",
            *local(directory, chosen.runs), "", *latent(directory, chosen.far_runs, chosen.sample),
        ]  # fmt: skip
    text = "\n".join(lines) + "\n"
    print(text)
    if chosen.save:
        save(RESULTS, text)


def local(directory: Path, runs: int) -> list[str]:
    """Everything on a local disk, in the page cache."""
    root = directory / "lab"
    plain = copick_config(directory / "copick.json", f"local://{root}", {})
    stack = stack_config(directory / "stack.json", str(root), {})
    index(stack)
    return table(f"{runs:,} runs on a local disk", {
        "copick": worker("copick", plain, runs),
        "copickfs": worker("copickfs", stack, runs),
        "zarr on the directory": worker("zarr", root, runs),
    }, runs)  # fmt: skip


def latent(directory: Path, runs: int, sample: int) -> list[str]:
    """Everything by SFTP, whose answers take `ROUND_TRIP_MS` longer."""
    with SftpServer(directory / "far-lab") as server, line_to(server) as url:
        plain = copick_config(directory / "far-copick.json", url, server.fs_args)
        stack = stack_config(directory / "far.json", url, server.fs_args)
        first = worker("copickfs", stack, runs)
        index(stack)
        return table(f"{runs:,} runs by SFTP, {ROUND_TRIP_MS} ms for a question and its answer", {
            "copick": worker("copick", plain, sample),
            "copickfs, the first time": first,
            "copickfs, indexed and cached": worker("copickfs", stack, runs),
        }, runs)  # fmt: skip


@contextlib.contextmanager
def line_to(server: SftpServer) -> Iterator[str]:
    """A line with latency to a server: the URL of its directory by way of it."""
    port = free_port()
    arguments = [str(port), str(server.port), str(ROUND_TRIP_MS / 2)]
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.delay", *arguments])
    try:
        time.sleep(1.0)
        yield f"ssh://127.0.0.1:{port}{server.root}"
    finally:
        process.terminate()
        process.wait()


def index(config: Path) -> None:
    """Make the index of a stack."""
    subprocess.run([sys.executable, "-m", "copickfs", "index", "--quiet", str(config)], check=True)


def worker(face: str, config: Path, runs: int) -> dict[str, Any]:
    """What `benchmarks.apiworker` says."""
    command = [sys.executable, "-m", "benchmarks.apiworker", face, str(config), str(runs)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def table(title: str, measured: dict[str, dict[str, Any]], runs: int) -> list[str]:
    """A table with a row for each question."""
    for times in measured.values():
        if 0 < times.get("sample", runs) < runs:
            for question in ("picks", "find"):
                times[question] *= runs / times["sample"]
    columns = [title, *measured]
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    for question, said in QUESTIONS.items():
        cells = [seconds(times.get(question)) for times in measured.values()]
        lines.append(f"| {' | '.join([said, *cells])} |")
    return lines


def seconds(value: float | None) -> str:
    """A duration for people."""
    if value is None:
        return ""
    return (
        f"{value * 1000:.0f} ms"
        if value < 1
        else f"{value:.1f} s"
        if value < 100
        else f"{value / 60:.1f} min"
    )


if __name__ == "__main__":
    main()

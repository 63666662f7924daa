"""A large dataset of a portal, mounted, beside copick's own root: ``python -m benchmarks.portal``.

The portal is a process of its own on this machine (`tests.portal`), so what is measured is what the client
costs and how often it asks; the real portal adds its own time to each question.
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

from benchmarks.machine import describe_machine, describe_packages

if TYPE_CHECKING:
    from collections.abc import Iterator

RESULTS = Path(__file__).with_name("PORTAL-RESULTS.md")
COPICKFS = Path(sys.executable).with_name("copickfs")
RUNS = 5_000
FILES_PER_RUN = 20
MIB = 1 << 20
PICKS = ("-name", "*.zarr", "-prune", "-o", "-path", "*/Picks/*", "-print")
COPICK = """
import json, resource, sys, time
from pathlib import Path
from tests.portal.copick_root import configuration, pointed_at
told = json.loads(sys.argv[1])
with pointed_at(told["url"], told["fs_args"]["endpoint_url"]):
    from copick.impl.cryoet_data_portal import CopickConfigCDP, CopickRootCDP
    began = time.monotonic()
    options = json.loads(sys.argv[3])
    root = CopickRootCDP(CopickConfigCDP(**configuration(Path(sys.argv[2]), *told["dataset_ids"], **options)))
    runs = len(root.runs)
    print(json.dumps({"s": time.monotonic() - began, "runs": runs,
                      "bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))
"""


def main() -> None:
    """Measure, print, and save if that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--save", action="store_true", help=f"write {RESULTS.name}")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, portal(chosen.runs) as server:
        text = measured(Path(directory), server, chosen.runs)
    print(text)
    if chosen.save:
        RESULTS.write_text(text)


class Server:
    """The portal's process.

    Attributes:
        told: Where everything is.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.told: dict[str, Any] = self._line()

    def asked(self) -> dict[str, Any]:
        """How often it was asked since the last call."""
        assert self._process.stdin is not None
        self._process.stdin.write("forget\n")
        self._process.stdin.flush()
        return self._line()

    def _line(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        return dict(json.loads(self._process.stdout.readline()))


@contextlib.contextmanager
def portal(runs: int) -> Iterator[Server]:
    """A portal with one dataset."""
    command = [
        sys.executable, "-m", "tests.portal",
        "--runs", str(runs), "--files-per-run", str(FILES_PER_RUN), "--written", "1",
    ]  # fmt: skip
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            yield Server(process)
        finally:
            process.kill()


def measured(directory: Path, server: Server, runs: int) -> str:
    """The table."""
    rows = []

    def row(what: str, by: str, seconds: float, memory_bytes: float | None = None) -> None:
        counts = server.asked()
        questions = sum(counts["graphql"].values())
        memory = "" if memory_bytes is None else f"{memory_bytes / MIB:.0f}"
        rows.append(f"| {what} | {by} | {seconds:.2f} | {questions} | {counts['files']} | {memory} |")

    server.asked()
    mounted(directory, server, row)
    for what, options in (
        ("open the project, nothing stored", {"portal_cache": False}),
        ("the same, its own store filled", {"portal_cache": True, "portal_cache_dir": str(directory / "p")}),
        ("open the project again", {"portal_cache": True, "portal_cache_dir": str(directory / "p")}),
    ):
        told = copick(directory, server, options)
        row(what, "copick", told["s"], told["bytes"])
    return "\n".join(
        [
            f"# A dataset of {runs:,} runs with {runs * FILES_PER_RUN:,} annotation files",
            "",
            "`python -m benchmarks.portal --save`",
            "",
            describe_machine(directory),
            describe_packages(),
            "",
            "| what | by | s | questions to the portal | requests to its bucket | memory, MiB |",
            "|---|---|---:|---:|---:|---:|",
            *rows,
            "",
            "Memory: resident, of the daemon right after; of copick's process at most.",
            "",
        ]
    )


def mounted(directory: Path, server: Server, row: Any) -> None:
    """What a mount takes: the first one, and the second."""
    point, config = directory / "mnt", directory / "config.json"
    point.mkdir()
    (directory / "mine").mkdir()
    told = server.told
    layer = {
        "config_type": "cryoet_data_portal",
        "dataset_ids": told["dataset_ids"],
        "graphql_url": told["url"],
        "fs_args": told["fs_args"],
    }
    mine = {"config_type": "filesystem", "root": str(directory / "mine"), "priority": 1}
    stack = {
        "config_type": "multilayer",
        "layers": ["mine", "portal"],
        "layer_configs": {"mine": mine, "portal": layer},
        "default_write_layer": "mine",
        "db_config": {"db_path": str(directory / "index.db"), "auto_index": False},
    }
    config.write_text(json.dumps(stack))
    for what in ("first mount", "second mount"):
        seconds = timed(directory, COPICKFS, "mount", config, point)
        try:
            row(what, "copickfs", seconds, memory(directory, point))
            row("ls ExperimentRuns", "copickfs", timed(directory, "ls", point / "ExperimentRuns"))
            row("find, all picks", "copickfs", timed(directory, "find", point / "ExperimentRuns", *PICKS))
            if what == "first mount":
                row("copickfs index", "copickfs", timed(directory, COPICKFS, "index", "-q", config))
            row("search for a run's name", "copickfs", timed(directory, COPICKFS, "search", point, "TS_017"))
            picks = ("find", point, "--type", "picks", "--json")
            row("copickfs find, all picks", "copickfs", timed(directory, COPICKFS, *picks))
        finally:
            timed(directory, COPICKFS, "umount", point)


def timed(directory: Path, *command: object) -> float:
    """Seconds that a command takes."""
    began_s = time.monotonic()
    subprocess.run(
        [str(part) for part in command], env=environment(directory), check=True, stdout=subprocess.DEVNULL
    )
    return time.monotonic() - began_s


def memory(directory: Path, point: Path) -> float:
    """What the daemon says of itself."""
    command = [str(COPICKFS), "status", "--json", str(point)]
    told = subprocess.run(command, env=environment(directory), check=True, capture_output=True)
    return float(json.loads(told.stdout)["mounts"][0]["memory_bytes"])


def copick(directory: Path, server: Server, options: dict[str, Any]) -> dict[str, Any]:
    """What copick's own root takes."""
    overlay = directory / "overlay"
    overlay.mkdir(exist_ok=True)
    command = [sys.executable, "-c", COPICK, json.dumps(server.told), str(overlay), json.dumps(options)]
    told = subprocess.run(command, env=environment(directory), check=True, capture_output=True)
    return dict(json.loads(told.stdout.splitlines()[-1]))


def environment(directory: Path) -> dict[str, str]:
    """All that is kept is kept in the benchmark's directory."""
    own = {f"XDG_{name}_HOME": str(directory / name.lower()) for name in ("CACHE", "STATE")}
    return {**os.environ, **own}


if __name__ == "__main__":
    main()

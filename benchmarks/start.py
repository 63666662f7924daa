"""How long copickfs takes to start: its import, its command line, and a mount of the demo project."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

from benchmarks.foreground import serving
from benchmarks.mounts import PeerFailed, mounted_below, unmount
from benchmarks.peers import copickfs_command
from benchmarks.work import Figure, Sample

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

IMPORT = Figure("start.import", "`import copickfs`", "ms", higher_is_better=False)
COMMAND_LINE = Figure(
    "start.cli", "`copickfs --version`: the command line alone", "ms", higher_is_better=False
)
MOUNT = Figure("start.mount", "`copickfs mount` of the demo project returns", "ms", higher_is_better=False)
DAEMON = Figure("start.daemon", "`copickfs mount -f` of it answers", "ms", higher_is_better=False)
UMOUNT = Figure("start.umount", "`copickfs umount` of it returns", "ms", higher_is_better=False)
FIGURES = (IMPORT, COMMAND_LINE, MOUNT, DAEMON, UMOUNT)

IMPORT_PROGRAM = "import time; t = time.perf_counter(); import copickfs; print(time.perf_counter() - t)"
COMMAND_TIMEOUT_S = 120.0


def measure_start(scratch: Path, repeats: int) -> Iterator[tuple[Figure, Sample]]:
    """Yield a sample of every figure of ``FIGURES``, ``repeats`` times.

    Raises:
        PeerFailed: A command of copickfs failed.
    """
    copickfs = copickfs_command()
    demo, point = scratch / "demo", scratch / "demo-mnt"
    point.mkdir()
    _run([*copickfs, "demo", str(demo)])
    mount = [*copickfs, "mount", str(demo / "config.json"), str(point)]
    for _ in range(repeats):
        imported_s = float(_run([sys.executable, "-c", IMPORT_PROGRAM])[1])
        yield IMPORT, Sample(imported_s * 1000)
        yield COMMAND_LINE, Sample(_run([*copickfs, "--version"])[0] * 1000)
        try:
            yield MOUNT, Sample(_run(mount)[0] * 1000)
            if str(point) not in mounted_below(point):
                raise PeerFailed("`copickfs mount` returned 0 and nothing is mounted")
            yield UMOUNT, Sample(_run([*copickfs, "umount", str(point)])[0] * 1000)
        finally:
            unmount(point, fuse=True)
        with serving(demo / "config.json", point, "ExperimentRuns") as ready_s:
            yield DAEMON, Sample(ready_s * 1000)


def _run(command: list[str]) -> tuple[float, str]:
    """Run a command to its end; return its time in seconds and its output."""
    started = time.perf_counter()
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=COMMAND_TIMEOUT_S)
    except subprocess.CalledProcessError as error:
        words = (error.stderr or "").strip().splitlines() or ["no message"]
        raise PeerFailed(f"{command[-1]}: {words[-1]}") from error
    except subprocess.TimeoutExpired as error:
        raise PeerFailed(f"no end after {COMMAND_TIMEOUT_S:.0f} s") from error
    return time.perf_counter() - started, done.stdout

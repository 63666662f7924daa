"""Tomograms as MRC files in a mount, beside zarr and copick's export: ``python -m benchmarks.views``.

Everything that is compared is measured in one run, one after the other, each in a process of its own; what is
read through a mount is read through a fresh one, unless it says ``again``. Nothing is dropped from the page
cache: chunks are in memory, as what is measured is not the disk. The speed of zarr is measured before and
after; shares are of the mean of both.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.machine import describe_machine, describe_packages, load_average
from benchmarks.peers import copickfs_command
from benchmarks.remotedata import BUCKET, PREFIX
from benchmarks.remotemount import Line, RemoteMount
from benchmarks.viewsdata import Tomograms, make_tomograms

if TYPE_CHECKING:
    from collections.abc import Iterator

RESULTS = Path(__file__).with_name("VIEWS-RESULTS.md")
CODECS = ("lz4", "zstd", "zlib")
KIB, MIB = 1 << 10, 1 << 20
DELAY_MS = 10.0
"""Of each way, so that an answer takes twice as long."""

AT_RANDOM = "0.8,0.3,0.5,0.1,0.9,0.6,0.2,0.7"
HEAD = "| what | s | MB/s | of zarr | MB/s of processors | MiB of memory |\n|---|---|---|---|---|---|"


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement; ``cpu_s`` and ``memory_bytes`` are those of the daemon, or without it the process."""

    what: str
    bytes: int
    s: float
    cpu_s: float
    memory_bytes: int

    def line(self, zarr_bytes_per_s: float) -> str:
        """As a line of a table."""
        speed = self.bytes / self.s
        share = f"{speed / zarr_bytes_per_s:.0%}" if zarr_bytes_per_s else ""
        processors = f"{self.bytes / 1e6 / self.cpu_s:.0f}" if self.cpu_s else ""
        return (
            f"| {self.what} | {self.s:.3f} | {speed / 1e6:.0f} | {share} | {processors} |"
            f" {self.memory_bytes >> 20} |"
        )


def main() -> None:
    """Measure, print, and save if that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=1024, help="voxels along y and x, and z of the large one")
    parser.add_argument("--planes", type=int, default=256, help="of the tomogram that is read through")
    parser.add_argument("--chunk", type=int, default=256, help="voxels along each axis of a chunk")
    parser.add_argument("--codecs", nargs="+", choices=CODECS, default=["zstd", "lz4"])
    parser.add_argument("--directory", type=Path, help="on a disk with room for the tomograms")
    parser.add_argument("--save", action="store_true", help=f"write {RESULTS.name}")
    chosen = parser.parse_args()
    lines = []
    with tempfile.TemporaryDirectory(dir=chosen.directory) as directory:
        for line in measured(Path(directory), chosen):
            print(line, flush=True)
            lines.append(line)
    if chosen.save:
        RESULTS.write_text("\n".join(lines) + "\n")


def measured(directory: Path, chosen: argparse.Namespace) -> Iterator[str]:
    """The report, line by line."""
    yield f"# Tomograms of {chosen.size} x {chosen.size} float32 voxels as MRC files in a mount\n"
    yield f"{describe_machine(directory)}\n\n{describe_packages()}\n"
    yield f"Load average at the start {load_average():.1f}.\n"
    for codec in chosen.codecs:
        scratch = directory / codec
        made = make_tomograms(scratch / "served", chosen.size, chosen.planes, chosen.chunk, codec)
        bench = Bench(made, scratch)
        rows = [*bench.whole()]
        speeds = [row.bytes / row.s for row in rows if row.what == ZARR]
        yield f"## {codec}, chunks of {chosen.chunk}^3: all of {made.flat} planes\n\n{HEAD}"
        yield from (row.line(sum(speeds) / len(speeds)) for row in rows)
        yield f"\n## {codec}: planes, of {made.tall} if nothing else is said\n\n{HEAD}"
        yield from (row.line(0) for row in bench.planes())
        yield ""


ZARR = "zarr, a chunk in each of as many threads as cores"


class Bench:
    """Measures of one pair of tomograms.

    Args:
        made: The tomograms.
        scratch: A directory for mounts and files.
    """

    def __init__(self, made: Tomograms, scratch: Path) -> None:
        self._made = made
        self._scratch = scratch
        self._mounts = 0

    def whole(self) -> Iterator[Row]:
        """Of the flat tomogram, read through."""
        made, store = self._made, str(self._made.store("flat"))
        yield run(ZARR, "by_zarr_in_threads", store)
        yield run("zarr, a layer of chunks at a time", "by_zarr", store)
        for step in (MIB, 128 * KIB):
            with self.mounted() as mount:
                yield mount.run(f"the view in steps of {step >> 10} KiB", "in_steps", "flat", step)
                yield mount.run("again", "in_steps", "flat", step)
        with self.mounted() as mount:
            yield mount.run("the view by mrcfile.mmap", "mapped", "flat")
        yield run("the renderer without a mount, 1024 KiB", "rendered", str(made.root), MIB)
        yield run(ZARR, "by_zarr_in_threads", store)
        file = self._scratch / "export.mrc"
        yield run("copick's export to a file", "exported", str(made.copick_config()), file)
        yield run("that file on the disk in steps of 1024 KiB", "in_steps", str(file), MIB)
        with self.served() as mount:
            yield mount.run(
                f"the view over {2 * DELAY_MS:.0f} ms in steps of 1024 KiB", "in_steps", "flat", MIB
            )

    def planes(self) -> Iterator[Row]:
        """Of the tall tomogram; the first with the header, as a viewer asks for it."""
        with self.mounted() as mount:
            yield mount.run("the first plane, fresh mount without an index", "planes", "tall", "0")
            yield mount.run("8 planes at random, same mount", "planes", "tall", AT_RANDOM)
        with self.mounted(indexed=True) as mount:
            yield mount.run("the first plane, fresh mount with an index", "planes", "tall", "0")
        with self.served() as mount:
            yield mount.run(f"the first plane over {2 * DELAY_MS:.0f} ms", "planes", "tall", "0")
            yield mount.run(f"8 planes at random over {2 * DELAY_MS:.0f} ms", "planes", "tall", AT_RANDOM)
        file = self._scratch / "export.mrc"
        yield run(f"the first plane of copick's export of {self._made.flat} planes", "planes", str(file), "0")

    @contextlib.contextmanager
    def mounted(self, *, indexed: bool = False) -> Iterator[Mounted]:
        """A fresh mount of the project."""
        with self._mounted({"root": str(self._made.root)}, indexed=indexed) as mount:
            yield mount

    @contextlib.contextmanager
    def served(self) -> Iterator[Mounted]:
        """A fresh mount of the project on a server, with an empty cache."""
        with Line(self._made.served, DELAY_MS) as line:
            where = {"endpoint_url": line.endpoint, "anon": True}
            with self._mounted({"root": f"s3://{BUCKET}/{PREFIX}", "fs_args": where}, indexed=False) as mount:
                yield mount

    @contextlib.contextmanager
    def _mounted(self, layer: dict[str, Any], *, indexed: bool) -> Iterator[Mounted]:
        self._mounts += 1
        kept = self._scratch / f"mount-{self._mounts}"
        kept.mkdir()
        document = {
            "config_type": "multilayer", "name": "views", "layers": ["lab"],
            "layer_configs": {"lab": {"config_type": "filesystem", "read_only": True, **layer}},
        }  # fmt: skip
        if indexed:
            document["db_config"] = {"db_path": str(kept / "index.db")}
        if "fs_args" in layer:
            document["cache_config"] = {"root": str(kept / "cache")}
        config = kept / "config.json"
        config.write_text(json.dumps(document))
        if indexed:
            subprocess.run([*copickfs_command(), "index", "-q", str(config)], check=True)
        point = kept / "mnt"
        with RemoteMount([*copickfs_command(), "mount", "-f", str(config), str(point)], point) as mount:
            list(point.iterdir())  # it answers
            yield Mounted(mount, point, self._made)


@dataclass(frozen=True, slots=True)
class Mounted:
    """A mount that is up."""

    mount: RemoteMount
    point: Path
    made: Tomograms

    def run(self, what: str, work: str, tomogram: str, argument: object = "") -> Row:
        """Measure a work on the view of a tomogram, and the daemon with it."""
        cpu_s = self.mount.cpu_s()
        row = run(what, work, str(self.point / self.made.view(tomogram)), argument)
        return Row(what, row.bytes, row.s, self.mount.cpu_s() - cpu_s, self.mount.peak_bytes())


def run(what: str, work: str, path: str, argument: object = "") -> Row:
    """Measure a work in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.viewsworker", work, path, str(argument)]
    told = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    return Row(what, told["bytes"], told["s"], told["cpu_s"], told["memory_bytes"])


if __name__ == "__main__":
    main()

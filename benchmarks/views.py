"""A tomogram as an MRC file, read by range, beside decoding it with zarr: ``python -m benchmarks.views``.

What is measured is the renderer by itself, without a mount: how fast it gives what the kernel will ask for.
Each measurement is made in a process of its own, whose memory is told with it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.machine import describe_machine, describe_packages, load_average
from copickfs.daemon.heap import suit_chunks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RESULTS = Path(__file__).with_name("VIEWS-RESULTS.md")
STORE = "ExperimentRuns/TS_001/VoxelSpacing10.000/wbp.zarr"
CODECS = ("lz4", "zstd", "zlib")
KIB = 1 << 10
LEVELS = 3
SIZE = 1024
WHERE = tuple[Path, int, int]
"""A layer, the extent of its tomogram, that of its chunks."""


def main() -> None:
    """Measure, print, and save if that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=SIZE, help="voxels along each axis of the tomogram")
    parser.add_argument("--chunk", type=int, default=256, help="voxels along each axis of its chunks")
    parser.add_argument("--codecs", nargs="+", choices=CODECS, default=list(CODECS))
    parser.add_argument(
        "--directory", type=Path, help="where the tomogram is made, on a disk with room for it"
    )
    parser.add_argument("--save", action="store_true", help=f"write {RESULTS.name}")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one is not None:
        suit_chunks()  # as the daemon does
        work, codec = chosen.one
        print(json.dumps(WORKS[work]((chosen.directory / codec, chosen.size, chosen.chunk))))
        return
    with tempfile.TemporaryDirectory(dir=chosen.directory) as directory:
        text = "\n".join(measured(Path(directory), chosen))
    print(text)
    if chosen.save:
        RESULTS.write_text(text + "\n")


def measured(directory: Path, chosen: argparse.Namespace) -> Iterator[str]:
    """The report, line by line."""
    yield f"# A tomogram of {chosen.size}^3 float32 voxels in chunks of {chosen.chunk}^3\n"
    yield f"{describe_machine(directory)}\n\n{describe_packages()}\n"
    yield f"Load average at the start {load_average():.1f}.\n"
    yield "| codec | what | s | MB/s | MB/s of processors | MiB of memory |\n|---|---|---|---|---|---|"
    for codec in chosen.codecs:
        write(directory / codec, chosen.size, chosen.chunk, codec)
        for work in WORKS:
            command = [
                sys.executable, "-m", "benchmarks.views", "--directory", str(directory),
                "--size", str(chosen.size), "--chunk", str(chosen.chunk), "--one", work, codec,
            ]  # fmt: skip
            told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            rates = [f"{told['bytes'] / 1e6 / told[each]:.0f}" for each in ("s", "cpu_s")]
            memory = told["memory_bytes"] >> 20
            yield f"| {codec} | {work} | {told['s']:.3f} | {' | '.join(rates)} | {memory} |"


def write(directory: Path, size: int, chunk: int, codec: str) -> None:
    """A layer with one tomogram: noise that compresses about as well as a tomogram does."""
    import numcodecs
    import zarr

    compressor = numcodecs.Zlib(1) if codec == "zlib" else numcodecs.Blosc(codec, 5, numcodecs.Blosc.SHUFFLE)
    noise = (np.random.default_rng(0).standard_normal((chunk, size, size)) * 20).astype("i2").astype("f4")
    group = zarr.open_group(str(directory / STORE), mode="w")
    datasets = []
    for level in range(LEVELS):
        extent = size >> level
        array = group.create_dataset(
            str(level), shape=(extent,) * 3, chunks=(chunk,) * 3, dtype="f4", compressor=compressor,
            dimension_separator="/",
        )  # fmt: skip
        for z in range(0, extent, chunk):
            array[z : z + chunk] = noise[: extent - z, :extent, :extent]
        scale = {"type": "scale", "scale": [10.0 * 2**level] * 3}
        datasets.append({"path": str(level), "coordinateTransformations": [scale]})
    axes = [{"name": axis, "type": "space", "unit": "angstrom"} for axis in "zyx"]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]


def by_zarr(where: WHERE) -> dict[str, Any]:
    """All of the array, a slab of chunks at a time, each chunk in one of as many threads as processors."""
    import numcodecs
    import zarr

    directory, size, chunk = where
    numcodecs.blosc.set_nthreads(1)
    array = zarr.open(str(directory / STORE), mode="r")["0"]
    corners = [
        (z, y, x) for z in range(0, size, chunk) for y in range(0, size, chunk) for x in range(0, size, chunk)
    ]

    def go() -> int:
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            return sum(
                pool.map(lambda at: int(array[tuple(slice(n, n + chunk) for n in at)].nbytes), corners)
            )

    return timed(go)


def in_steps(step: int) -> Callable[[WHERE], dict[str, Any]]:
    """All of the file, as many bytes at a time."""

    def work(where: WHERE) -> dict[str, Any]:
        read, size_bytes = opened(where[0])
        return timed(lambda: sum(len(read(start, start + step)) for start in range(0, size_bytes, step)))

    return work


def planes(*shares: float) -> Callable[[WHERE], dict[str, Any]]:
    """Planes at these shares of the height; the first after the header, as a viewer does it."""

    def work(where: WHERE) -> dict[str, Any]:
        directory, size, _chunk = where
        plane_bytes = size * size * 4

        def go() -> int:
            read, _size_bytes = opened(directory)
            found = len(read(0, 1024))
            for share in shares:
                start = 1024 + int(share * size) * plane_bytes
                found += len(read(start, start + plane_bytes))
            return found

        return timed(go)

    return work


def opened(directory: Path) -> tuple[Callable[[int, int], Any], int]:
    """Opens the file; what reads of it, and its length."""
    from copickfs.entities import identify
    from copickfs.layers.local import LocalLayer
    from copickfs.model import ByteRange
    from copickfs.view import View
    from copickfs.virtual.sources import Project, Source
    from copickfs.virtual.volumes.renderer import MrcRenderer
    from tests.viewfacts import NoFacts

    layer = LocalLayer("lab", directory)
    layer.connect()
    view = View((layer,))
    source = Source(Project(view, NoFacts(view), {}), identify(STORE, is_dir=True))
    renderer = MrcRenderer()
    contents = renderer.open(source, "wbp.mrc")
    return lambda start, stop: contents.read(ByteRange(start, stop)), renderer.size_bytes(source, "wbp.mrc")


def timed(work: Callable[[], int]) -> dict[str, Any]:
    """How long it takes to do something that gives a number of bytes."""
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    found = work()
    s, cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
    # Not ru_maxrss, which begins with that of the process that started this one.
    peak = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    return {"bytes": found, "s": s, "cpu_s": cpu_s, "memory_bytes": int(peak[1]) * KIB if peak else 0}


WORKS: dict[str, Callable[[WHERE], dict[str, Any]]] = {
    "zarr": by_zarr,
    "header and first plane": planes(0.0),
    "header and 4 planes": planes(0.0, 0.8, 0.3, 0.5),
    "128 KiB steps": in_steps(128 * KIB),
    "1 MiB steps": in_steps(1024 * KIB),
}


if __name__ == "__main__":
    main()

"""What is measured of volumes, in a process of its own: ``benchmarks.viewsworker WORK PATH [ARGUMENT]``.

Prints a JSON object with ``bytes``, ``s`` and ``cpu_s``, and for what runs in this process ``memory_bytes``.
Imports are not timed, as whoever looks at volumes has made them.
"""

from __future__ import annotations

import itertools
import json
import mmap
import os
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

HEADER_BYTES = 1024


def by_zarr_in_threads(store: str, _argument: str) -> Callable[[], int]:
    """All of the array, each chunk in one of as many threads as there are processors."""
    import numcodecs
    import zarr

    numcodecs.blosc.set_nthreads(1)
    array = zarr.open(store, mode="r")["0"]
    corners = itertools.product(*(range(0, n, m) for n, m in zip(array.shape, array.chunks, strict=True)))

    def chunk(corner: tuple[int, ...]) -> int:
        box = tuple(slice(at, at + size) for at, size in zip(corner, array.chunks, strict=True))
        return int(array[box].nbytes)

    def work() -> int:
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            return sum(pool.map(chunk, corners))

    return work


def by_zarr(store: str, _argument: str) -> Callable[[], int]:
    """All of the array, a layer of chunks at a time, as a user would."""
    import zarr

    array = zarr.open(store, mode="r")["0"]
    depth = array.chunks[0]
    return lambda: sum(int(array[z : z + depth].nbytes) for z in range(0, array.shape[0], depth))


def in_steps(path: str, argument: str) -> Callable[[], int]:
    """All of a file, ``argument`` bytes at a time."""
    buffer = bytearray(int(argument))

    def work() -> int:
        total = 0
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 -- no Path for each
            while got := file.readinto(buffer):
                total += got
        return total

    return work


def mapped(path: str, _argument: str) -> Callable[[], int]:
    """All planes of a mapped file, one after the other."""
    import mrcfile

    def work() -> int:
        with mrcfile.mmap(path, mode="r") as file:
            assert file.data is not None
            return sum(np.array(plane).nbytes for plane in file.data)

    return work


def planes(path: str, argument: str) -> Callable[[], int]:
    """The header, and planes of a mapped file at these shares of its height: ``argument`` is ``0,0.5``."""
    shares = [float(share) for share in argument.split(",")]

    def work() -> int:
        with Path(path).open("rb") as file:
            columns, rows, height = (int(n) for n in np.frombuffer(file.read(HEADER_BYTES)[:12], "<i4"))
            plane_bytes = columns * rows * 4
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as pages:
                starts = [HEADER_BYTES + int(share * height) * plane_bytes for share in shares]
                return sum(len(pages[start : start + plane_bytes]) for start in starts)

    return work


def exported(config: str, argument: str) -> Callable[[], int]:
    """What users do today: copick's export of a tomogram to the file ``argument``."""
    import copick
    from copick.ops.export import export_tomogram

    tomogram = copick.from_file(config).get_run("flat").voxel_spacings[0].tomograms[0]

    def work() -> int:
        export_tomogram(tomogram, argument, "mrc")
        return Path(argument).stat().st_size

    return work


def rendered(root: str, argument: str) -> Callable[[], int]:
    """All of the file as the renderer gives it, without a mount, ``argument`` bytes at a time."""
    from copickfs.daemon.heap import suit_chunks
    from copickfs.entities import identify
    from copickfs.layers.local import LocalLayer
    from copickfs.model import ByteRange
    from copickfs.view import View
    from copickfs.virtual.project import Project
    from copickfs.virtual.sources import Source
    from copickfs.virtual.volumes.renderer import MrcRenderer
    from tests.viewfacts import NoFacts

    suit_chunks()  # as the daemon does
    layer = LocalLayer("lab", Path(root))
    layer.connect()
    view = View((layer,))
    store = next((Path(root) / "ExperimentRuns/flat").glob("*/*.zarr")).relative_to(root)
    source = Source(Project(view, NoFacts(view), {}), identify(str(store), is_dir=True))
    renderer, step = MrcRenderer(), int(argument)
    contents, size_bytes = renderer.open(source, "wbp.mrc"), renderer.size_bytes(source, "wbp.mrc")
    spans = [ByteRange(start, min(start + step, size_bytes)) for start in range(0, size_bytes, step)]
    return lambda: sum(len(contents.read(span)) for span in spans)


WORKS: dict[str, Callable[[str, str], Callable[[], int]]] = {
    work.__name__: work
    for work in (by_zarr_in_threads, by_zarr, in_steps, mapped, planes, exported, rendered)
}


def main() -> None:
    work = WORKS[sys.argv[1]](sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else "")
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    found = work()
    s, cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
    # Not ru_maxrss, which begins with that of the process that started this one.
    peak = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    memory_bytes: Any = int(peak[1]) << 10 if peak else 0
    print(json.dumps({"bytes": found, "s": s, "cpu_s": cpu_s, "memory_bytes": memory_bytes}))


if __name__ == "__main__":
    main()

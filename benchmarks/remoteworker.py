"""The measured work on a project behind a line, run as a program of its own.

``remoteworker.py JOB``: JOB is a JSON object of the fields of `Job`. Prints one with ``seconds``,
``count`` (what was listed), and ``digests`` (of each layer of chunks that was read). Imports are not timed;
opening the array is, and so are the checksums, which take a tenth of a second for 1 GiB.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import multiprocessing
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import xxhash
import zarr

READY_TIMEOUT_S = 60.0
OBSTORE_THREADS = 16


@dataclasses.dataclass(frozen=True)
class Job:
    """What to do.

    Attributes:
        work: ``list`` or ``read``.
        way: ``mount``, ``copick`` (by fsspec), or ``obstore``.
        place: The mount's directory, copick's configuration, or the endpoint.
        array: Path of the array in the project.
        first: First layer of chunks to read.
        stop: One after the last.
        readers: Processes that read, each an equal part of the layers.
        bucket: For obstore.
        prefix: For obstore.
    """

    work: str
    way: str
    place: str
    array: str
    first: int
    stop: int
    readers: int
    bucket: str
    prefix: str


def count_listed(job: Job) -> int:
    """List the project; how much there was."""
    if job.way == "mount":
        command = ["find", f"{job.place}/ExperimentRuns", "-maxdepth", "3"]
        return subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.count(b"\n")
    if job.way == "obstore":
        import obstore

        return sum(len(page) for page in obstore.list(_store(job), job.prefix))
    found = 0
    for run in _project(job).runs:
        found += 1 + len(run.picks)
        found += sum(1 + len(spacing.tomograms) for spacing in run.voxel_spacings)
    return found


def opened(job: Job) -> Any:
    """The array, by copick over fsspec or as a directory."""
    if job.way == "mount":
        return zarr.open_array(f"{job.place}/{job.array}", mode="r")
    _, run, spacing, store, level = job.array.split("/")
    voxel_size = float(spacing.removeprefix("VoxelSpacing"))
    found = _project(job).get_run(run).get_voxel_spacing(voxel_size)
    tomogram = found.get_tomogram(store.removesuffix(".zarr"))
    return zarr.open_group(tomogram.zarr(), mode="r")[level]


def read_objects(job: Job) -> list[str]:
    """Get all objects of the layers, by several threads of obstore; the checksum of each layer."""
    import obstore

    store = _store(job)
    prefix = f"{job.prefix}/{job.array}"
    array = json.loads(bytes(obstore.get(store, f"{prefix}/.zarray").bytes()))
    _, rows, columns = (size // chunk for size, chunk in zip(array["shape"], array["chunks"], strict=True))

    def get(key: tuple[int, int, int]) -> bytes:
        z, y, x = key
        return xxhash.xxh3_64_digest(obstore.get(store, f"{prefix}/{z}/{y}/{x}").bytes())

    keys = itertools.product(range(job.first, job.stop), range(rows), range(columns))
    with ThreadPoolExecutor(OBSTORE_THREADS) as pool:
        objects = list(pool.map(get, keys))
    size = rows * columns
    return [
        xxhash.xxh3_64_hexdigest(b"".join(objects[at : at + size])) for at in range(0, len(objects), size)
    ]


def read_array(job: Job) -> list[str]:
    """Read one layer after the other through zarr, into the same memory; the checksum of each."""
    array = opened(job)
    depth = array.chunks[0]
    voxels = np.empty((depth, *array.shape[1:]), array.dtype)
    digests = []
    for z in range(job.first, job.stop):
        array.get_basic_selection(slice(z * depth, (z + 1) * depth), out=voxels)
        digests.append(xxhash.xxh3_64_hexdigest(voxels))
    return digests


def read(job: Job) -> tuple[float, float, list[str]]:
    """Read the layers; when it began and ended, and the checksum of each layer."""
    began = time.perf_counter()
    digests = read_objects(job) if job.way == "obstore" else read_array(job)
    return began, time.perf_counter(), digests


def read_in_processes(job: Job) -> tuple[float, list[str]]:
    """Several processes at once, an equal part each."""
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(job.readers), context.SimpleQueue()
    share = (job.stop - job.first) // job.readers
    processes = []
    for number in range(job.readers):
        first = job.first + number * share
        part = dataclasses.replace(job, first=first, stop=first + share)
        processes.append(context.Process(target=_reader, args=(part, barrier, results)))
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise SystemExit("a reader failed")
    parts = sorted((results.get() for _ in processes), key=lambda part: part[0])
    seconds = max(part[2] for part in parts) - min(part[1] for part in parts)
    return seconds, [digest for part in parts for digest in part[3]]


def _reader(job: Job, barrier: Any, results: Any) -> None:
    barrier.wait(READY_TIMEOUT_S)
    results.put((job.first, *read(job)))


def _project(job: Job) -> Any:
    import copick

    return copick.from_file(job.place)


def _store(job: Job) -> Any:
    from obstore.store import S3Store

    config = {"endpoint": job.place, "region": "us-east-1", "skip_signature": True}
    return S3Store(job.bucket, config=config, client_options={"allow_http": True})


def main() -> None:
    job = Job(**json.loads(sys.argv[1]))
    if job.way == "copick":
        import copick  # noqa: F401 - not timed
        import s3fs  # noqa: F401
    if job.way == "obstore":
        import obstore  # noqa: F401
    count, digests = 0, []
    if job.work == "list":
        began = time.perf_counter()
        count = count_listed(job)
        seconds = time.perf_counter() - began
    elif job.readers > 1:
        seconds, digests = read_in_processes(job)
    else:
        began, ended, digests = read(job)
        seconds = ended - began
    print(json.dumps({"seconds": seconds, "count": count, "digests": digests}))


if __name__ == "__main__":
    main()

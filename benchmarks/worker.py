"""The measured work, run as a program of its own so that nothing is remembered in Python between samples.

``worker.py WORK ROOT LIST READERS`` does one work below ROOT and prints a JSON object with ``seconds``,
``operations`` and ``bytes``. LIST names a file with one path a line, relative to ROOT, which the works that
take files read. Only the work is timed, not the start of the interpreter. It uses the standard library alone.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.synchronize import Barrier

Counts = tuple[int, int]
"""Operations done, bytes read."""


def find(root: str) -> tuple[float, Counts]:
    """Walk as ``find`` does: it reads a directory to its end, then stats every entry, at the speed of C."""
    with tempfile.TemporaryFile() as output:
        started = time.perf_counter()
        subprocess.run(["find", root, "-printf", "%s %T@\n"], stdout=output, check=True)
        seconds = time.perf_counter() - started
        output.seek(0)
        lines = sum(block.count(b"\n") for block in iter(lambda: output.read(1 << 20), b""))
    return seconds, (lines, 0)


def scan(root: str, _paths: list[str]) -> Counts:
    """Walk as Python programs do: stat every entry while the directory is being read."""
    entries = 1
    waiting = [root]
    while waiting:
        with os.scandir(waiting.pop()) as directory:
            for entry in directory:
                entry.stat(follow_symlinks=False)
                entries += 1
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
    return entries, 0


def read_files(root: str, paths: list[str]) -> Counts:
    """Open, read whole and close each file, as zarr and copick do."""
    total = 0
    prefix = root + "/"
    for path in paths:
        with open(prefix + path, "rb") as file:  # noqa: PTH123 -- what zarr calls
            total += len(file.read())
    return len(paths), total


def stat_missing(root: str, paths: list[str]) -> Counts:
    """Ask for names that do not exist; a name that does is an error."""
    prefix = root + "/"
    for path in paths:
        try:
            os.stat(prefix + path)  # noqa: PTH116 -- a Path for each name would cost more than the call
        except FileNotFoundError:
            continue
        raise SystemExit(f"{path} exists and should not")
    return len(paths), 0


def timed(work: Callable[[str, list[str]], Counts], root: str, paths: list[str]) -> tuple[float, Counts]:
    """Do the work in this process."""
    started = time.perf_counter()
    counts = work(root, paths)
    return time.perf_counter() - started, counts


def timed_in_processes(root: str, paths: list[str], readers: int) -> tuple[float, Counts]:
    """Read the files with several processes at once, each taking every ``readers``-th of them."""
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(readers)
    results: Any = context.SimpleQueue()
    processes = [
        context.Process(target=_reader, args=(root, paths[number::readers], barrier, results))
        for number in range(readers)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise SystemExit("a reader failed")
    spans = [results.get() for _ in processes]
    seconds = max(span[1] for span in spans) - min(span[0] for span in spans)
    return seconds, (sum(span[2] for span in spans), sum(span[3] for span in spans))


def _reader(root: str, paths: list[str], barrier: Barrier, results: Any) -> None:
    barrier.wait()
    started = time.perf_counter()
    operations, total = read_files(root, paths)
    results.put((started, time.perf_counter(), operations, total))


def main() -> None:
    work, root, listing, readers = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
    paths = Path(listing).read_text().splitlines() if listing else []
    if work == "find":
        seconds, (operations, total) = find(root)
    elif work == "scan":
        seconds, (operations, total) = timed(scan, root, paths)
    elif work == "missing":
        seconds, (operations, total) = timed(stat_missing, root, paths)
    elif readers > 1:
        seconds, (operations, total) = timed_in_processes(root, paths, readers)
    else:
        seconds, (operations, total) = timed(read_files, root, paths)
    print(json.dumps({"seconds": seconds, "operations": operations, "bytes": total}))


if __name__ == "__main__":
    main()

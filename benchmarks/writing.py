"""The works that write: what each finds in the layers, what it does, and how that is checked.

Every sample has an upper layer of its own; the lower one is shared and must be as it was afterwards. Where
a work changes what the lower layer has, ``bare`` finds a copy of that in its directory.
"""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.data import MIB, PICKS_BYTES, RUNS, SPACING, Builder, Layers, Tree, zarray
from benchmarks.mounts import Mount, PeerFailed, remove
from benchmarks.work import Figure, Sample
from benchmarks.write_worker import OLD, contents
from benchmarks.writers import copies_up

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.data import Scale
    from benchmarks.mounts import Measured
    from benchmarks.peers import Peer

WORKER = Path(__file__).with_name("write_worker.py")
LOWER_RUN = f"{RUNS}/TS_0000/{SPACING}"
OWN_RUN = f"{RUNS}/TS_0001/{SPACING}"
CHUNKS, MANY, LARGE = "wbp.zarr", "many.zarr", "large.zarr"
MANY_FILES = 1000
SMALL_BYTES = 4096
LARGE_CHUNK_BYTES = 32 * MIB
_LANDED_LIMIT_S = 60.0

Snapshot = dict[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Job:
    """What one work is told to do at one scale.

    Attributes:
        program: What the worker does; ``check-<program>`` checks it.
        paths: The worker's list.
        size: Bytes of each file, or files of each directory: see `benchmarks.write_worker`.
        found: Files that the layer holds before, by path, with their sizes.
        kept: Some of them that are to be the same afterwards, of ``kept_bytes`` each.
        landed: The upper layer itself is checked, too.
    """

    program: str
    paths: list[str]
    size: int
    found: dict[str, int] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    kept_bytes: int = MIB
    landed: bool = True


@dataclass(frozen=True, slots=True)
class WriteWork:
    """One kind of work that writes.

    Attributes:
        name: Name for ``--only``, and the key of its figure.
        title: What it is, in words.
        unit: Unit of its figure: ``files/s``, ``MiB/s`` or ``ms``.
        own: It changes what the upper layer has, or makes new things; else what only the lower layer has.
        repeats: Samples taken of each peer.
    """

    name: str
    title: str
    unit: str
    own: bool = True
    repeats: int = 3

    @property
    def figure(self) -> Figure:
        """Its figure."""
        return Figure(self.name, self.title, self.unit, higher_is_better=self.unit != "ms")

    def suits(self, peer: Peer) -> bool:
        """True if the peer can do it at all."""
        return self.own or copies_up(peer.name)

    def job(self, scale: Scale) -> Job:
        """What is to be done."""
        run = OWN_RUN if self.own else LOWER_RUN
        chunks = _chunks(run, scale)
        if self.name == "write-picks":
            paths = [f"{RUNS}/TS_9999/Picks/me_{number}_ribosome.json" for number in range(1000)]
            return Job("write", paths, PICKS_BYTES)
        if self.name == "write-tomogram":
            return Job("tomogram", ["TS_9998"], scale.chunk_total_bytes)
        if self.name.startswith("rewrite"):
            chunks = chunks[: 256 if self.own else 64]
            return Job("write", chunks, MIB, dict.fromkeys(chunks, MIB), landed=self.own)
        if self.name.startswith("delete"):
            return Job("delete", [f"{run}/{MANY}"], MANY_FILES, _many(run), landed=self.own)
        if self.name == "copy-up":
            return Job("write", chunks[:1], MIB, dict.fromkeys(chunks, MIB), chunks[1:9], landed=False)
        return Job("patch", list(_large(run)), LARGE_CHUNK_BYTES, _large(run), landed=False)


WRITE_WORKS = (
    WriteWork("write-picks", "create and write 1,000 picks files of 3 kB", "files/s"),
    WriteWork("write-tomogram", "write a tomogram by copick", "MiB/s"),
    WriteWork("rewrite", "rewrite 1 MiB chunks of an own store", "MiB/s"),
    WriteWork("rewrite-lower", "rewrite 1 MiB chunks of a lower store", "MiB/s", own=False),
    WriteWork("delete", "delete an own store of 1,000 chunks", "files/s"),
    WriteWork("delete-lower", "delete a lower store of 1,000 chunks", "files/s", own=False),
    WriteWork("copy-up", "write one 1 MiB chunk of a large lower store", "ms", own=False, repeats=5),
    WriteWork("patch", "change 4 kB of a 32 MiB chunk of a lower store", "ms", own=False, repeats=5),
)


class WriteBench:
    """The lower layer, and samples of the works over it.

    Args:
        scratch: An empty directory.
        scale: How much is written.
    """

    def __init__(self, scratch: Path, scale: Scale) -> None:
        self._scratch = scratch
        self._scale = scale
        self._lower = scratch / "lower"
        chunks = dict.fromkeys(_chunks(LOWER_RUN, scale), MIB)
        _write_old(self._lower, {**chunks, **_many(LOWER_RUN), **_large(LOWER_RUN)})
        self._before = _snapshot(self._lower)
        self._count = 0

    def warm(self) -> None:
        """Read the lower layer, so that no peer pays for what the next one finds in memory."""
        for path in self._before:
            Path(path).read_bytes()

    def sample(self, work: WriteWork, peer: Peer) -> Iterator[tuple[Figure, Sample]]:
        """Mount, write, check and unmount; the figure's sample.

        Raises:
            PeerFailed: The peer failed, or what was written is not there.
        """
        job = work.job(self._scale)
        self._count += 1
        directory = self._scratch / f"sample-{self._count}"
        upper = directory / "upper"
        (upper / RUNS).mkdir(parents=True)
        try:
            bare = peer.kind == "bare"
            if work.own or bare:
                _write_old(upper, job.found)
            subprocess.run(["sync", "-f", str(directory)], check=True)
            tree = Tree(Layers(str(upper), str(upper if bare else self._lower)))
            with Mount(peer, tree, directory) as mount:
                measured = mount.run_worker(job.program, job.paths, job.size, WORKER)
                cpu_us = measured.daemon_cpu_s / measured.operations * 1e6 if peer.kind == "fuse" else None
                _check(mount, job, upper)
            if _snapshot(self._lower) != self._before:
                raise PeerFailed("has changed the lower layer")
            yield work.figure, Sample(_value(work, measured), cpu_us)
        finally:
            remove(directory)


def _check(mount: Mount, job: Job, upper: Path) -> None:
    """What was written is in the mount, and before long in the upper layer itself; the rest is as it was."""
    mount.run_worker(f"check-{job.program}", job.paths, job.size, WORKER)
    if job.kept:
        mount.run_worker("check-old", job.kept, job.kept_bytes, WORKER)
    deadline_s = time.monotonic() + _LANDED_LIMIT_S
    while job.landed:
        try:
            mount.run_worker(f"check-{job.program}", job.paths, job.size, WORKER, root=upper)
        except PeerFailed:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.5)
        else:
            return


def _value(work: WriteWork, measured: Measured) -> float:
    if work.unit == "ms":
        return measured.seconds / measured.operations * 1000
    if work.unit == "MiB/s":
        return measured.bytes_done / measured.seconds / MIB
    return measured.operations / measured.seconds


def _chunks(run: str, scale: Scale) -> list[str]:
    return [f"{run}/{CHUNKS}/0/{number}/0/0" for number in range(scale.chunk_total_bytes // MIB)]


def _many(run: str) -> dict[str, int]:
    names = (f"{run}/{MANY}/0/{number // 10}/{number % 10}/0" for number in range(MANY_FILES))
    return dict.fromkeys(names, SMALL_BYTES)


def _large(run: str) -> dict[str, int]:
    return {f"{run}/{LARGE}/0/0/0/0": LARGE_CHUNK_BYTES}


def _write_old(root: Path, files: dict[str, int]) -> None:
    """Write files with their old contents, and what makes their directories stores."""
    builder = Builder(root)
    for path, size in files.items():
        builder.write(path, contents(path, OLD, size))
    for array in {path[: path.index(".zarr/0/") + len(".zarr/0")] for path in files}:
        builder.write(f"{array}/.zarray", zarray(2048, 64))
        builder.write(f"{array.removesuffix('/0')}/.zgroup", b'{"zarr_format": 2}')


def _snapshot(root: Path) -> Snapshot:
    found = {}
    for directory, _, names in os.walk(root):
        for name in names:
            path = f"{directory}/{name}"
            status = os.lstat(path)
            found[path] = status.st_size, status.st_mtime_ns
    return found

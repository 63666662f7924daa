"""The works: what is done on every peer, and the figure each gives.

Every sample starts with a new mount, so that ``first`` finds nothing of it in the kernel; ``again`` is the
same work on the same mount. The layers' own directories and pages are in the kernel's caches by then, except
in the works ``*-disk``, before which every cache of the machine is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.mounts import PeerFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.data import Tree
    from benchmarks.mounts import Measured, Mount

FIRST, AGAIN = "first", "again"
WALKS = ("find", "scan")


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the tables: what is measured, and in which unit.

    Attributes:
        key: Name that no other figure has.
        title: What it is, in words.
        unit: Unit of the values.
        higher_is_better: False for times and memory.
    """

    key: str
    title: str
    unit: str
    higher_is_better: bool = True


@dataclass(frozen=True, slots=True)
class Sample:
    """One measured value of a figure; the daemon's CPU time for each operation where it is known."""

    value: float
    cpu_us: float | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """One kind of work.

    Attributes:
        name: Name for ``--only``, and the start of its figures' keys.
        program: What the worker is told to do.
        title: What it is, in words.
        files: Which list of files of the tree it reads; empty for a walk.
        readers: Processes that read at once.
        repeats: Samples taken of each peer.
        from_disk: Every cache of the machine is dropped before it; it is done once on a mount.
    """

    name: str
    program: str
    title: str
    files: str = ""
    readers: int = 1
    repeats: int = 5
    from_disk: bool = False

    @property
    def figures(self) -> tuple[Figure, ...]:
        """The figures it gives, in the order in which :meth:`run` yields their samples."""
        unit = {"find": "k entries/s", "scan": "k entries/s", "missing": "k names/s", "read": "files/s"}[
            self.program
        ]
        if self.files.startswith("chunks"):
            unit = "MiB/s"
        if self.from_disk:
            return (Figure(self.name, f"{self.title}, from disk", unit),)
        return tuple(
            Figure(f"{self.name}.{phase}", f"{self.title}, {phase}", unit) for phase in (FIRST, AGAIN)
        )

    def run(self, mount: Mount) -> Iterator[tuple[Figure, Sample]]:
        """Do the work on a mount, once for each figure.

        Raises:
            PeerFailed: The peer failed, or did not show what the layers hold.
        """
        for figure in self.figures:
            measured = mount.run_worker(self.program, self.paths(mount.tree), self.readers)
            check_walk(self, mount, measured)
            cpu_us = measured.daemon_cpu_s / measured.operations * 1e6
            yield figure, Sample(_value(figure, measured), cpu_us if mount.peer.kind == "fuse" else None)

    def paths(self, tree: Tree) -> list[str]:
        """The paths that the worker is given."""
        if not self.reads_paths:
            return []
        return tree.files[self.files] if self.files else tree.missing

    @property
    def reads_paths(self) -> bool:
        """False for the works that walk the tree."""
        return self.program not in WALKS


def check_walk(work: Work, mount: Mount, measured: Measured) -> None:
    """Raise unless a walk has seen exactly the entries that are there."""
    tree = mount.tree
    expected = tree.lower_entries if mount.peer.kind == "bare" else tree.merged_entries
    if not work.reads_paths and measured.operations != expected:
        raise PeerFailed(f"shows {measured.operations} entries of {expected}")


def _value(figure: Figure, measured: Measured) -> float:
    if figure.unit == "MiB/s":
        return measured.bytes_done / measured.seconds / (1 << 20)
    scale = 1000 if figure.unit.startswith("k ") else 1
    return measured.operations / measured.seconds / scale


WALK = Work("walk", "find", "walk with stat (find)")
WORKS = (
    WALK,
    Work("scan", "scan", "walk with stat (os.scandir)"),
    Work("open", "read", "open, read, close 3 kB JSON", files="picks"),
    Work("negative", "missing", "stat of missing names"),
    Work("read-1", "read", "read 1 MiB chunks, 1 reader", files="chunks-1", repeats=3),
    Work("read-1-by-4", "read", "read 1 MiB chunks, 4 readers", files="chunks-1", readers=4, repeats=3),
    Work("read-32", "read", "read 32 MiB chunks, 1 reader", files="chunks-32", repeats=3),
    Work("read-32-by-4", "read", "read 32 MiB chunks, 4 readers", files="chunks-32", readers=4, repeats=3),
)
DISK_WORKS = (
    Work("walk-disk", "find", "walk with stat (find)", repeats=3, from_disk=True),
    Work("read-1-disk", "read", "read 1 MiB chunks, 1 reader", files="chunks-1", repeats=3, from_disk=True),
    Work(
        "read-32-disk", "read", "read 32 MiB chunks, 1 reader", files="chunks-32", repeats=3, from_disk=True
    ),
)

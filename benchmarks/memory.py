"""A daemon's memory after a walk of very many entries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.work import WALK, Figure, Sample, check_walk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.mounts import Mount

MIB = 1 << 20

SPEED = Figure("memory.walk", "walk of the many entries, first", "k entries/s")
PER_INODE = Figure(
    "memory.inode", "daemon memory for each entry walked (anonymous)", "bytes", higher_is_better=False
)
BEFORE = Figure("memory.before", "daemon memory before (PSS)", "MiB", higher_is_better=False)
AFTER = Figure("memory.after", "daemon memory after (PSS)", "MiB", higher_is_better=False)
RESIDENT = Figure("memory.rss", "daemon memory after (RSS)", "MiB", higher_is_better=False)
FIGURES = (SPEED, PER_INODE, BEFORE, AFTER, RESIDENT)


def measure_memory(mount: Mount) -> Iterator[tuple[Figure, Sample]]:
    """Walk the tree once and yield the speed, and for a daemon what it has grown by.

    The kernel holds all the entries while it is measured, so the daemon may forget none of them: the growth
    of its anonymous memory divided by the entries is what an inode costs.

    Raises:
        PeerFailed: The peer failed, or did not show every entry.
    """
    # One answer before the walk, so that what is made once (threads, buffers) is not counted to the entries.
    mount.run_worker("missing", ["ExperimentRuns/none/.zmetadata"])
    before = mount.memory()
    walked = mount.run_worker(WALK.program, [])
    check_walk(WALK, mount, walked)
    cpu_us = walked.daemon_cpu_s / walked.operations * 1e6 if before else None
    yield SPEED, Sample(walked.operations / walked.seconds / 1000, cpu_us)
    after = mount.memory()
    if before is None or after is None:
        return
    growth = after.anonymous_bytes - before.anonymous_bytes
    yield PER_INODE, Sample(growth / walked.operations)
    yield BEFORE, Sample(before.pss_bytes / MIB)
    yield AFTER, Sample(after.pss_bytes / MIB)
    yield RESIDENT, Sample(after.rss_bytes / MIB)

"""A daemon of copickfs in the foreground, and the time until it answers."""

from __future__ import annotations

import contextlib
import subprocess
import time
from typing import TYPE_CHECKING

from benchmarks.mounts import POLL_S, READY_TIMEOUT_S, STOP_TIMEOUT_S, PeerFailed, mounted_below, unmount
from benchmarks.peers import copickfs_command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def serving(config: Path, point: Path, listed: str = "") -> Iterator[float]:
    """Mount a configuration for the time of a ``with`` block.

    Args:
        config: Its path.
        point: The mount point, made if it is not there.
        listed: What is listed in the mount before it counts as answering.

    Yields:
        Time, in seconds, from the start of the daemon until ``listed`` was listed.

    Raises:
        PeerFailed: It did not come up.
    """
    point.mkdir(exist_ok=True)
    log = point.with_name(f"{point.name}.log")
    started = time.perf_counter()
    with log.open("wb") as stream:
        daemon = subprocess.Popen(
            [*copickfs_command(), "mount", "-f", str(config), str(point)], stdout=stream, stderr=stream
        )
    try:
        while str(point) not in mounted_below(point):
            if daemon.poll() is not None or time.perf_counter() - started > READY_TIMEOUT_S:
                said = log.read_text(errors="replace").strip() or "`copickfs mount -f` did not mount"
                raise PeerFailed(said.splitlines()[-1])
            time.sleep(POLL_S)
        if subprocess.run(["ls", str(point / listed)], stdout=subprocess.DEVNULL, check=False).returncode:
            raise PeerFailed(f"{listed or 'its root'} of the mount cannot be listed")
        yield time.perf_counter() - started
    finally:
        unmount(point, fuse=True)
        with contextlib.suppress(subprocess.TimeoutExpired):
            daemon.wait(STOP_TIMEOUT_S)
        if daemon.poll() is None:
            daemon.kill()
            daemon.wait()

"""The works on a project behind a line, and the figures that each gives."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import tempfile
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.mounts import PeerFailed
from benchmarks.remotedata import ARRAY, BUCKET, PREFIX
from benchmarks.remotemount import RemoteMount, run_job
from benchmarks.remotepeers import RemotePeer, Served, write_copick_config
from benchmarks.session import DROP_CACHES
from benchmarks.work import Figure, Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.remotemount import Line

    Samples = Iterator[tuple[Figure, Sample]]

MIB, GIB = 1 << 20, 1 << 30
READERS = 4
NARROW_MBIT_PER_S = 1000


def _lower(key: str, title: str, unit: str) -> Figure:
    return Figure(key, title, unit, higher_is_better=False)


LIST = _lower("list.first", "list the project (`find -maxdepth 3`), nothing known", "ms")
MOUNT_REQUESTS = _lower("list.mount.requests", "mount a project that is not known yet", "requests")
LIST_REQUESTS = _lower("list.first.requests", "... requests", "requests")
RELIST = _lower("list.again", "list the project after a remount", "ms")
REMOUNT_REQUESTS = _lower("list.remount.requests", "mount it again", "requests")
RELIST_REQUESTS = _lower("list.again.requests", "... requests", "requests")
COLD = Figure("read.cold", "read the tomogram, cold, 1 reader", "MiB/s")
COLD_REQUESTS = _lower("read.cold.requests", "... requests", "requests")
COLD_CPU = _lower("read.cold.cpu", "... CPU of the daemon", "s/GiB")
COLD_PEAK = _lower("read.cold.peak", "... most memory of the daemon", "MiB")
WARM = Figure("read.warm", "read it again on the same mount", "MiB/s")
REMOUNT = Figure("read.remount", "read it after a remount, kernel's caches dropped", "MiB/s")
REMOUNT_CPU = _lower("read.remount.cpu", "... CPU of the daemon", "s/GiB")
NARROW = Figure("read.narrow", f"read the tomogram, cold, over {NARROW_MBIT_PER_S // 1000} Gbit/s", "MiB/s")
FOUR = Figure("read.four", f"read the tomogram, cold, {READERS} readers", "MiB/s")
PLANE = _lower("read.plane", "read one layer of chunks, cold", "ms")


@dataclasses.dataclass(slots=True)
class Bench:
    """What the works are done on.

    Attributes:
        served: The project and its address.
        line: Counts requests.
        narrow: Another one, of less bandwidth.
        scratch: Where mounts and caches are made.
    """

    served: Served
    line: Line
    narrow: Line
    scratch: Path

    @contextmanager
    def fresh(self) -> Iterator[Path]:
        """A directory for a mount point and a cache, removed afterwards."""
        directory = Path(tempfile.mkdtemp(dir=self.scratch))
        (directory / "cache").mkdir()
        try:
            yield directory
        finally:
            shutil.rmtree(directory / "cache", ignore_errors=True)

    def mounted(self, peer: RemotePeer, directory: Path) -> Any:
        """A context in which a peer is mounted; None in it for one that is not to be."""
        if peer.command is None:
            return nullcontext()
        point = directory / "mnt"
        return RemoteMount(peer.command(self.served, point, directory / "cache"), point)

    def run(self, peer: RemotePeer, directory: Path, mount: RemoteMount | None, **job: Any) -> dict[str, Any]:
        """Do a job; everything that was read is compared with what was written. Raises `PeerFailed`."""
        places = {"mount": directory / "mnt", "copick": directory / "copick.json"}
        if peer.way == "copick":
            write_copick_config(self.served, places["copick"])
        place = str(places.get(peer.way, self.served.endpoint))
        project = self.served.project
        whole = {"first": 0, "stop": project.layers, "readers": 1, "array": ARRAY}
        job = {"way": peer.way, "place": place, "bucket": BUCKET, "prefix": PREFIX, **whole, **job}
        done = run_job(job, mount)
        if job["work"] == "list" and done["count"] != project.listed[peer.way]:
            raise PeerFailed(f"lists {done['count']} of {project.listed[peer.way]}")
        kind = peer.way == "obstore"
        expected = [both[kind] for both in project.digests[job["first"] : job["stop"]]]
        if job["work"] == "read" and done["digests"] != expected:
            raise PeerFailed("has read something else than what is there")
        return done

    def drop_caches(self, directory: Path) -> None:
        """Drop the kernel's caches, where that is permitted, but for what the server reads."""
        try:
            subprocess.run(["sync", "-f", str(directory)], check=True)
            DROP_CACHES.write_text("3")
        except OSError:
            return
        self.warm()

    def warm(self) -> None:
        """Read what the server reads."""
        for path in self.served.project.root.rglob("*"):
            if path.is_file():
                path.read_bytes()


def measure_list(bench: Bench, peer: RemotePeer) -> Samples:
    """List, and once more on a new mount with the same cache."""
    first, again = (MOUNT_REQUESTS, LIST, LIST_REQUESTS), (REMOUNT_REQUESTS, RELIST, RELIST_REQUESTS)
    with bench.fresh() as directory:
        for mounting, figure, requests in (first, again) if peer.command else (first,):
            before = bench.line.requests()
            with bench.mounted(peer, directory) as mount:
                mounted = bench.line.requests()
                if mount:
                    yield mounting, Sample(mounted - before)
                done = bench.run(peer, directory, mount, work="list")
                yield figure, Sample(done["seconds"] * 1000)
                yield requests, Sample(bench.line.requests() - mounted)


def measure_read(bench: Bench, peer: RemotePeer) -> Samples:
    """Read cold, warm, and after a remount."""
    size = bench.served.project.array_bytes
    with bench.fresh() as directory:
        with bench.mounted(peer, directory) as mount:
            before, cpu_s = bench.line.requests(), mount.cpu_s() if mount else 0.0
            done = bench.run(peer, directory, mount, work="read")
            yield COLD, Sample(size / MIB / done["seconds"])
            if peer.is_remote:
                yield COLD_REQUESTS, Sample(bench.line.requests() - before)
            if mount is None:
                return
            yield COLD_CPU, Sample((mount.cpu_s() - cpu_s) / (size / GIB))
            yield COLD_PEAK, Sample(mount.peak_bytes() / MIB)
            done = bench.run(peer, directory, mount, work="read")
            yield WARM, Sample(size / MIB / done["seconds"])
        if not peer.is_remote:
            return
        bench.drop_caches(directory)
        with bench.mounted(peer, directory) as mount:
            cpu_s = mount.cpu_s()
            done = bench.run(peer, directory, mount, work="read")
            yield REMOUNT, Sample(size / MIB / done["seconds"])
            yield REMOUNT_CPU, Sample((mount.cpu_s() - cpu_s) / (size / GIB))


def measure_narrow(bench: Bench, peer: RemotePeer) -> Samples:
    """Read cold over the line of less bandwidth."""
    served = Served(bench.served.project, bench.narrow.endpoint)
    narrow = dataclasses.replace(bench, served=served, line=bench.narrow)
    size = bench.served.project.array_bytes
    with bench.fresh() as directory, narrow.mounted(peer, directory) as mount:
        done = narrow.run(peer, directory, mount, work="read")
        yield NARROW, Sample(size / MIB / done["seconds"])


def measure_four(bench: Bench, peer: RemotePeer) -> Samples:
    """Read cold, with several readers."""
    size = bench.served.project.array_bytes
    with bench.fresh() as directory, bench.mounted(peer, directory) as mount:
        done = bench.run(peer, directory, mount, work="read", readers=READERS)
        yield FOUR, Sample(size / MIB / done["seconds"])


def measure_plane(bench: Bench, peer: RemotePeer) -> Samples:
    """Read one layer of chunks in the middle, cold."""
    middle = bench.served.project.layers // 2
    with bench.fresh() as directory, bench.mounted(peer, directory) as mount:
        done = bench.run(peer, directory, mount, work="read", first=middle, stop=middle + 1)
        yield PLANE, Sample(done["seconds"] * 1000)


REMOTE_WORKS: dict[str, Callable[[Bench, RemotePeer], Samples]] = {
    "list": measure_list,
    "read": measure_read,
    "narrow": measure_narrow,
    "four": measure_four,
    "plane": measure_plane,
}

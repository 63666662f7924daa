"""One run of the benchmark: data, samples in turn, and nothing left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import data
from benchmarks.memory import SPEED, measure_memory
from benchmarks.mounts import Mount, PeerFailed, remove
from benchmarks.peers import COPICKFS
from benchmarks.report import Results
from benchmarks.start import measure_start
from benchmarks.work import DISK_WORKS, WORKS, Figure, Sample
from benchmarks.writers import WRITERS
from benchmarks.writing import WRITE_WORKS, WriteBench

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from benchmarks.peers import Peer
    from benchmarks.work import Work
    from benchmarks.writing import WriteWork

MEMORY, START = "memory", "start"
NAMES = (*(work.name for work in (*WORKS, *DISK_WORKS, *WRITE_WORKS)), MEMORY, START)
READY = Figure("ready", "mounted and answering, from the start of the command", "ms", higher_is_better=False)
USER_DIRECTORIES = ("XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
"""Where programs keep files of their user: during a run, below the benchmark's own directory."""
DROP_CACHES = Path("/proc/sys/vm/drop_caches")


@dataclass(slots=True)
class Session:
    """The choice of what is measured, and the results as they come.

    Attributes:
        peers: What is compared.
        names: Which works are done.
        scale: Size of the project for the short works.
        entries: Entries of the tree for the memory of the daemons.
        repeats: Samples of each work; None for each work's own number.
        from_disk: Do the works too before which every cache of the machine is dropped.
        directory: Where the data goes, below a directory of its own that is removed at the end.
    """

    peers: list[Peer]
    names: Sequence[str]
    scale: data.Scale
    entries: int
    repeats: int | None
    from_disk: bool
    directory: Path | None
    results: Results = field(default_factory=Results)
    _scratch: Path = field(default_factory=Path)

    def run(self) -> None:
        """Measure everything that was asked for. Whatever happens, all is unmounted and removed."""
        with scratch_directory(self.directory) as self._scratch:
            works = [work for work in WORKS if work.name in self.names]
            works += [work for work in DISK_WORKS if self.from_disk and work.name in self.names]
            if works:
                self._short_works(works)
            writing = [work for work in WRITE_WORKS if work.name in self.names]
            if writing:
                self._writing(writing)
            if MEMORY in self.names:
                self._memory()
            if START in self.names and any(peer.name == COPICKFS for peer in self.peers):
                self._start()
        if READY in self.results.samples:
            self.results.samples[READY] = self.results.samples.pop(READY)  # to the end of the table

    def _short_works(self, works: list[Work]) -> None:
        say("making the project ...")
        root = self._scratch / "project"
        tree = data.make_project(root, self.scale)
        subprocess.run(["sync", "-f", str(root)], check=True)
        for work in works:
            for turn in range(self.repeats or work.repeats):
                if not work.from_disk:
                    self._warm(work, tree)
                for peer in self._in_turn(turn):
                    say(f"{work.name}: {peer.name} ({turn + 1}) ...")
                    self._sample(peer, tree, work.run, from_disk=work.from_disk)
        remove(root)

    def _writing(self, works: list[WriteWork]) -> None:
        say("making what is written over ...")
        root = self._scratch / "writing"
        root.mkdir()
        bench = WriteBench(root, self.scale)
        chosen = {peer.name for peer in self.peers}
        writers = [peer for peer in WRITERS if peer.name in chosen]
        for work in works:
            for turn in range(self.repeats or work.repeats):
                bench.warm()
                first = turn % max(1, len(writers))
                for peer in [*writers[first:], *writers[:first]]:
                    if work.suits(peer):
                        say(f"{work.name}: {peer.name} ({turn + 1}) ...")
                        self._write_sample(bench, work, peer)
        remove(root)

    def _write_sample(self, bench: WriteBench, work: WriteWork, peer: Peer) -> None:
        try:
            for figure, sample in bench.sample(work, peer):
                self.results.add(figure, peer.name, sample)
        except PeerFailed as error:
            self._fail(f"{peer.name}, {work.name}", error)

    def _memory(self) -> None:
        say(f"making {self.entries:,} entries ...")
        root = self._scratch / "many"
        tree = data.make_many_entries(root, self.entries)
        subprocess.run(["sync", "-f", str(root)], check=True)
        for peer in self.peers:
            say(f"{MEMORY}: {peer.name} ...")
            self._sample(peer, tree, measure_memory)
        if SPEED in self.results.samples:
            self.results.note(f"The many entries of the memory figures: {tree.merged_entries:,}.")
        remove(root)

    def _start(self) -> None:
        say(f"{START} ...")
        try:
            for figure, sample in measure_start(self._scratch, repeats=self.repeats or 7):
                self.results.add(figure, COPICKFS, sample)
        except PeerFailed as error:
            self._fail(COPICKFS, error)

    def _in_turn(self, turn: int) -> list[Peer]:
        """The peers, another one first each time."""
        first = turn % max(1, len(self.peers))
        return self.peers[first:] + self.peers[:first]

    def _warm(self, work: Work, tree: data.Tree) -> None:
        """Do the work on the layers themselves, so that no peer pays for what the next one finds cached."""
        for layer in (tree.layers.upper, tree.layers.lower):
            subprocess.run(["find", layer, "-printf", "%s"], stdout=subprocess.DEVNULL, check=True)
        for path in work.paths(tree):
            if work.program == "read":
                (Path(tree.layers.lower) / path).read_bytes()

    def _sample(
        self,
        peer: Peer,
        tree: data.Tree,
        measure: Callable[[Mount], Iterator[tuple[Figure, Sample]]],
        *,
        from_disk: bool = False,
    ) -> None:
        """Mount a peer, measure, unmount; a failure is noted, and who could not be mounted leaves the run."""
        try:
            with Mount(peer, tree, self._scratch) as mount:
                if from_disk:
                    DROP_CACHES.write_text("3")
                if peer.kind != "bare":
                    self.results.add(READY, peer.name, Sample(mount.ready_s * 1000))
                for figure, sample in measure(mount):
                    self.results.add(figure, peer.name, sample)
        except PeerFailed as error:
            self._fail(peer.name, error)
            if not mount_once_worked(self.results, peer.name):
                self.peers = [other for other in self.peers if other.name != peer.name]

    def _fail(self, peer: str, error: PeerFailed) -> None:
        text = f"{peer}: {error}".replace(str(self._scratch), "DIR")
        say(text)
        self.results.note(text)


def mount_once_worked(results: Results, peer: str) -> bool:
    """True if a peer has been mounted in this run."""
    return peer == "bare" or results.median(READY, peer) is not None


@contextmanager
def scratch_directory(parent: Path | None) -> Iterator[Path]:
    """A new directory; at the end everything mounted below it is unmounted, then it is removed."""
    directory = Path(tempfile.mkdtemp(prefix="benchmark-", dir=parent))
    try:
        for variable in USER_DIRECTORIES:
            os.environ[variable] = str(directory / variable)
            (directory / variable).mkdir(mode=0o700)
        if set(":,' \\") & set(str(directory)):
            raise SystemExit(
                f"{directory}: choose a --directory without any of : , ' \\ and space in its path"
            )
        yield directory
    finally:
        remove(directory)
        if directory.exists():
            say(f"{directory} could not be removed")


def say(text: str) -> None:
    """Tell the person who waits what goes on."""
    print(text, file=sys.stderr, flush=True)

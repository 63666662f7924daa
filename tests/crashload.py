"""A mixed load of writes that says what was acknowledged, and what may be found after a crash.

``python -m tests.crashload MOUNTPOINT WORKER CYCLE LOG`` writes without end, until the mount is gone.
Before an operation it appends a line to LOG, which lies outside of the mount, and after it (when ``close``
or ``fsync`` has returned) another. A version's bytes follow from its path and its number, so the lines are
all that `State` needs to say what must be there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RUN = "ExperimentRuns/TS_001"
LOWER_STORE = f"{RUN}/VoxelSpacing10.000/lower.zarr"
NAMES = 4
RECORD_BYTES = 64
ABSENT = -1
APPLICATION_TEMPORARY = ".partial"
_VERSIONS_A_CYCLE = 1_000_000
_LARGEST = 200_000
_STAMP_BYTES = 8


class Line(NamedTuple):
    """One line of the log."""

    kind: str
    path: str
    version: int
    done: bool


def payload(path: str, version: int) -> bytes:
    """The bytes of a version."""
    digest = hashlib.blake2b(f"{path} {version}".encode()).digest()
    size = 100 + int.from_bytes(digest[:4], "little") % _LARGEST
    return (digest * (size // len(digest) + 1))[:size]


def stamped(path: str, version: int) -> bytes:
    """A file of the layer below of which only the first bytes are written."""
    return version.to_bytes(_STAMP_BYTES, "little") + payload(path, 0)[_STAMP_BYTES:]


def record(path: str, version: int) -> bytes:
    """One record of a log file."""
    return hashlib.blake2b(f"{path} {version}".encode()).digest()[:RECORD_BYTES]


def lower_files(workers: int) -> dict[str, bytes]:
    """What the layer below has."""
    found = {f"{RUN}/.meta": b"meta", f"{LOWER_STORE}/.zgroup": b'{"zarr_format": 2}'}
    shape = {"shape": [workers, 1, NAMES], "chunks": [1, 1, 1], "dtype": "|u1", "compressor": None}
    array = {"zarr_format": 2, "order": "C", "fill_value": 0, "filters": None, "dimension_separator": "/"}
    found[f"{LOWER_STORE}/0/.zarray"] = json.dumps(array | shape).encode()
    for worker in range(workers):
        for name in range(NAMES):
            for path in (_picks(worker, name), _lower_chunk(worker, name)):
                found[path] = payload(path, 0)
        path = _in_place(worker)
        found[path] = stamped(path, 0)
    return found


def _picks(worker: int, name: int) -> str:
    return f"{RUN}/Picks/w{worker}_{name}_ribosome.json"


def _lower_chunk(worker: int, name: int) -> str:
    return f"{LOWER_STORE}/0/{worker}/0/{name}"


def _in_place(worker: int) -> str:
    return f"notes/in-place-{worker}.bin"


class Worker:
    """Writes to the files that bear its number."""

    def __init__(self, root: str, worker: int, cycle: int, log: str) -> None:
        self.root = root
        self.worker = worker
        self.version = cycle * _VERSIONS_A_CYCLE
        self.random = random.Random(f"{worker} {cycle}")
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def run(self) -> None:
        """Write until an operation fails."""
        actions: list[Callable[[], None]] = [
            self.picks, self.picks, self.new_picks, self.delete, self.lower_chunk, self.lower_chunk_by_rename,
            self.own_chunk, self.append, self.new_plain, self.save, self.in_place,
        ]  # fmt: skip
        with contextlib.suppress(OSError):
            for name in ("notes", f"{RUN}/VoxelSpacing10.000/own{self.worker}.zarr/0", f"{RUN}/Filaments"):
                os.makedirs(f"{self.root}/{name}", exist_ok=True)
            while True:
                self.version += 1
                self.random.choice(actions)()

    def picks(self) -> None:
        """As copick stores: opened with "w", written in pieces."""
        self._write_whole("whole", _picks(self.worker, self.random.randrange(NAMES)))

    def new_picks(self) -> None:
        """Another name each time."""
        path = f"{RUN}/Filaments/w{self.worker}_{self.version}_membrane.json"
        self._write_whole("whole", path)

    def own_chunk(self) -> None:
        """A chunk of a store that only the write layer has."""
        name = self.random.randrange(NAMES)
        self._write_whole("whole", f"{RUN}/VoxelSpacing10.000/own{self.worker}.zarr/0/{name}")

    def lower_chunk(self) -> None:
        """A chunk of the store below."""
        self._write_whole("whole", _lower_chunk(self.worker, self.random.randrange(NAMES)))

    def lower_chunk_by_rename(self) -> None:
        """The same, as zarr's own stores do it."""
        self._replace(_lower_chunk(self.worker, self.random.randrange(NAMES)), sync=False)

    def save(self) -> None:
        """As editors do."""
        self._replace(f"notes/save-{self.worker}.txt", sync=True)

    def new_plain(self) -> None:
        """A plain file, complete when it is closed."""
        self._write_whole("plain", f"notes/new-{self.worker}-{self.version}.bin")

    def delete(self) -> None:
        """Remove a picks file, which may be the lower layer's."""
        path = _picks(self.worker, self.random.randrange(NAMES))
        with self._acknowledged("whole", path, ABSENT), contextlib.suppress(FileNotFoundError):
            os.unlink(f"{self.root}/{path}")

    def append(self) -> None:
        """Records that are each safe when fsync returns."""
        path = f"notes/log-{self.worker}"
        fd = os.open(f"{self.root}/{path}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            for _ in range(self.random.randrange(1, 10)):
                self.version += 1
                with self._acknowledged("log", path, self.version):
                    os.write(fd, record(path, self.version))
                    os.fsync(fd)
        finally:
            os.close(fd)

    def in_place(self) -> None:
        """A few bytes of a plain file of the layer below."""
        path = _in_place(self.worker)
        with self._acknowledged("stamped", path, self.version):
            fd = os.open(f"{self.root}/{path}", os.O_WRONLY)
            try:
                os.pwrite(fd, self.version.to_bytes(_STAMP_BYTES, "little"), 0)
            finally:
                os.close(fd)

    def _write_whole(self, kind: str, path: str) -> None:
        with self._acknowledged(kind, path, self.version):
            self._write(path, payload(path, self.version))

    def _replace(self, path: str, *, sync: bool) -> None:
        with self._acknowledged("whole", path, self.version):
            temporary = f"{path}.{self.version}{APPLICATION_TEMPORARY}"
            self._write(temporary, payload(path, self.version), sync=sync)
            os.replace(f"{self.root}/{temporary}", f"{self.root}/{path}")

    def _write(self, path: str, data: bytes, *, sync: bool = False) -> None:
        fd = os.open(f"{self.root}/{path}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            for start in range(0, len(data), 40_000):
                os.write(fd, data[start : start + 40_000])
            if sync:
                os.fsync(fd)
        finally:
            os.close(fd)

    @contextlib.contextmanager
    def _acknowledged(self, kind: str, path: str, version: int) -> Iterator[None]:
        line = Line(kind, path, version, done=False)
        os.write(self._log, json.dumps(line).encode() + b"\n")
        yield
        os.write(self._log, json.dumps(line._replace(done=True)).encode() + b"\n")


class State:
    """What was in the tree after the last crash, and what may be in it after the next."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = dict(files)
        self.acknowledged = 0

    def check(self, root: Path, logs: list[Path]) -> list[str]:
        """What is wrong in ``root`` after a crash; ``logs`` were written before. Remembers what is there."""
        allowed: dict[str, list[bytes | None]] = {path: [data] for path, data in self.files.items()}
        growing: dict[str, int] = {}
        for line in (Line(*json.loads(text)) for log in logs for text in log.read_text().splitlines()):
            self.acknowledged += line.done
            states = allowed.setdefault(line.path, [None])
            if line.kind == "log":
                states[:] = [(states[0] or b"") + record(line.path, line.version)] if line.done else states
                growing[line.path] = 0 if line.done else line.version
            elif line.done:
                states[:] = [self._after(line)]
            else:
                states.append(self._after(line))
            if line.kind == "plain":
                growing[line.path] = 0 if line.done else line.version
        found = {path: data for path, data in _contents(root) if path in allowed or not _is_temporary(path)}
        problems = [f"unexpected: {path}" for path in found.keys() - allowed.keys()]
        for path, states in allowed.items():
            data = found.get(path)
            whole = data in states
            begun = bool(growing.get(path)) and self._is_part(path, growing[path], data, states)
            if not whole and not begun:
                sizes = [None if state is None else len(state) for state in states]
                problems.append(f"wrong: {path}: {None if data is None else len(data)} bytes, wanted {sizes}")
        self.files = found
        return problems

    @staticmethod
    def _after(line: Line) -> bytes | None:
        if line.version == ABSENT:
            return None
        return (
            stamped(line.path, line.version) if line.kind == "stamped" else payload(line.path, line.version)
        )

    @staticmethod
    def _is_part(path: str, version: int, data: bytes | None, states: list[bytes | None]) -> bool:
        """True for a plain file whose last write was under way: any part of it may be there."""
        before = states[0] or b""
        wanted = before + record(path, version) if path.startswith("notes/log-") else payload(path, version)
        return data is not None and data.startswith(before) and wanted.startswith(data)


def _is_temporary(path: str) -> bool:
    return path.endswith(APPLICATION_TEMPORARY)


def _contents(root: Path) -> Iterator[tuple[str, bytes]]:
    for directory, _, files in os.walk(root):
        for name in files:
            path = os.path.relpath(os.path.join(directory, name), root)
            if path != "copick_config.json":
                yield path, Path(root, path).read_bytes()


if __name__ == "__main__":
    Worker(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]).run()

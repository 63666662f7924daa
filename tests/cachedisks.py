"""What tests of the cache share: pieces whose bytes follow from their names, and a look at the directory.

``python -m tests.cachedisks`` is a process that uses a cache: it reads what to do as one JSON document from
its standard input, and says ``ready`` when it has begun.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from copickfs.cache import Disk, Piece
from copickfs.cache.place import MARK

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 1 << 20
NEVER = 1 << 40
SOURCE = "lab-1234"


def piece_of(path: str, size: int = 1000, version: str = "v", start: int = 0, whole: int = 0) -> Piece:
    """A piece; all of its object unless ``whole`` is the length of that."""
    return Piece(SOURCE, path, version, start, start + size, whole or size)


def bytes_of(piece: Piece) -> bytes:
    """What is in a piece."""
    seed = f"{piece.path!r} {piece.version} {piece.start}"
    return random.Random(seed).randbytes(min(piece.size_bytes, 64)).ljust(piece.size_bytes, b"%")


def keep(disk: Disk, *pieces: Piece) -> None:
    for piece in pieces:
        assert disk.put(piece, bytes_of(piece)), piece


def kept(disk: Disk, *pieces: Piece) -> list[Piece]:
    """Those that are there; none may be wrong."""
    found = []
    for piece in pieces:
        data = disk.get(piece)
        assert data in (None, bytes_of(piece)), piece
        if data is not None:
            found.append(piece)
    return found


def files_in(directory: Path) -> dict[str, int]:
    """Every file and its length; what comes and goes meanwhile may be missing."""
    found = {}
    for parent, _, names in os.walk(directory):
        for name in names:
            with contextlib.suppress(OSError):
                found[f"{parent}/{name}"] = os.lstat(f"{parent}/{name}").st_size
    return found


def content_of(root: Path) -> dict[str, int]:
    """The files of pieces."""
    return files_in(root / "content")


def database_of(root: Path) -> Path:
    return root / MARK / "cache.db"


def assert_tidy(root: Path) -> None:
    """Nobody uses the directory: the database and the files agree, and nothing else is there."""
    assert list((root / MARK).glob("running/*")) == []
    with contextlib.closing(sqlite3.connect(database_of(root))) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("SELECT count(*) FROM piece WHERE owner <> ''").fetchone() == (0,)
        sums = connection.execute("SELECT charge_bytes, pinned_bytes FROM used").fetchone()
        charges = "SELECT total(charge_bytes), total(charge_bytes * is_pinned) FROM piece"
        assert sums == tuple(map(int, connection.execute(charges).fetchone()))
        lone = "SELECT count(*) FROM object WHERE id NOT IN (SELECT object FROM piece)"
        assert connection.execute(lone).fetchone() == (0,)
        sizes = [row[0] for row in connection.execute("SELECT size_bytes FROM piece")]
    assert sorted(sizes) == sorted(content_of(root).values())
    assert sums[0] == sum(-(-size // 4096) * 4096 for size in sizes)
    disk = Disk(root, NEVER)
    assert disk.verify() == (len(sizes), 0, 0)
    disk.close()


def in_threads(count: int, work: Any) -> None:
    """Call ``work`` with the number of each thread; the first exception is raised."""
    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            work(number)
        except BaseException as error:  # noqa: BLE001 - raised below
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


class User:
    """Another process that uses a cache, as `main` says."""

    def __init__(self, **told: Any) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.cachedisks"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({**told, "root": str(told["root"])}) + "\n")
        self.process.stdin.flush()
        assert self.line() == "ready"

    def line(self) -> str:
        """The next thing that it says."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def kill(self) -> None:
        self.process.kill()
        self._end()

    def finish(self) -> str:
        """Let it come to its end; what it says last."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        last = self.line()
        assert self._end() == 0
        return last

    def _end(self) -> int:
        code = self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        return code


@contextlib.contextmanager
def small_disk(directory: Path, size: str) -> Iterator[Path]:
    """A file system of its own, of which the system knows at any moment what all files in it take."""
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(directory)], check=True)
    try:
        yield directory
    finally:
        if subprocess.run(["umount", str(directory)], check=False).returncode:
            subprocess.run(["umount", "-l", str(directory)], check=True)
            raise AssertionError("somebody still has a file there")


@contextlib.contextmanager
def sampling(disk: Path) -> Iterator[list[int]]:
    """Another process looks at what a small disk holds every millisecond; the most of it in the end."""
    user = User(root=disk, task="sample")
    peak = [0]
    try:
        yield peak
    finally:
        peak[0] = int(user.finish())


def _sample(disk: Path) -> int:
    peak = 0
    done = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), done.set()), daemon=True).start()
    while not done.wait(0.001):
        status = os.statvfs(disk)
        peak = max(peak, (status.f_blocks - status.f_bfree) * status.f_frsize)
    return peak


def _fill(disk: Disk, told: dict[str, Any]) -> int:
    """Read and write pieces in many threads; how many were wrong."""
    wrong = 0

    def work(number: int) -> None:
        nonlocal wrong
        chance = random.Random(told["seed"] * 1000 + number)
        for _ in range(told["count"]):
            size = chance.choice(told["sizes"])
            piece = piece_of(f"a/{chance.randrange(told['names'])}/{size}", size)
            data = disk.get(piece)
            if data is None:
                disk.put(piece, bytes_of(piece))
            elif data != bytes_of(piece):
                wrong += 1

    in_threads(told["threads"], work)
    return wrong


def main() -> None:
    """``sample`` what a disk holds until told to end, or ``fill`` a cache."""
    told = json.loads(sys.stdin.readline())
    print("ready", flush=True)  # noqa: T201
    if told["task"] == "sample":
        print(_sample(Path(told["root"])), flush=True)  # noqa: T201
        return
    disk = Disk(Path(told["root"]), told["limit"], told.get("floor", 0))
    wrong = _fill(disk, told)
    disk.close()
    print(json.dumps([wrong, disk.counts]), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()

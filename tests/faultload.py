"""A process that reads through a mount for a while and compares: ``python -m tests.faultload``.

Reads what it needs as one JSON document from its standard input, and writes what it has met as another.
"""

from __future__ import annotations

import errno
import json
import os
import random
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_MOST_PART_BYTES = 3 << 20
_THREADS = 4


class Reader:
    """Reads what is at ``point`` and compares it with ``source``, a local copy.

    Attributes:
        reads: Reads that were answered.
        errors: Errors of reads, by name.
        wrong: What may not be, in words.
    """

    def __init__(self, told: dict[str, Any]) -> None:
        self.point = Path(told["point"])
        self.source = Path(told["source"])
        self.store = told["store"]
        self.chance = random.Random(told["seed"])
        self.is_changing = told["is_changing"]
        self.reads = 0
        self.errors: Counter[str] = Counter()
        self.wrong: list[str] = []

    def files(self, pattern: str) -> list[Path]:
        """The files of the copy, relative to it."""
        return sorted(p.relative_to(self.source) for p in self.source.glob(pattern) if p.is_file())

    def compare(self, path: Path, data: bytes, offset: int, size_bytes: int) -> None:
        """What was read of a file from ``offset`` on."""
        if self.is_changing:  # every version is full of a byte of its own
            is_right = len(data) == size_bytes and len(set(data)) <= 1 and 0 not in data
        else:
            with (self.source / path).open("rb") as file:
                is_right = os.pread(file.fileno(), size_bytes, offset) == data
        if not is_right:
            self.wrong.append(f"{path} at {offset}: {len(data)} bytes, {sorted(set(data))[:8]}")

    def chunks(self) -> None:
        """A small file as a whole."""
        path = self.chance.choice(self._chunks())
        with (self.point / path).open("rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            size_bytes = (self.source / path).stat().st_size
            self.compare(path, file.read(), 0, size_bytes)

    def parts(self) -> None:
        """Parts of a large file, all of one version."""
        (path,) = self.files("*.mrc")
        size_bytes = (self.source / path).stat().st_size
        seen = b""
        with (self.point / path).open("rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            for _ in range(4):
                offset = self.chance.randrange(size_bytes)
                wanted = min(self.chance.randrange(1, _MOST_PART_BYTES), size_bytes - offset)
                data = b""
                while len(data) < wanted:
                    piece = os.pread(file.fileno(), wanted - len(data), offset + len(data))
                    if not piece:
                        break
                    data += piece
                self.compare(path, data, offset, wanted)
                seen += data[:1] + data[-1:]
                self.reads += 1
        if self.is_changing and len(set(seen)) > 1:
            self.wrong.append(f"{path}: versions {set(seen)} in one open file")

    def picks(self) -> None:
        """All names of a directory, and one of the files."""
        directory = next(iter(self.files("ExperimentRuns/*/Picks/*.json"))).parent
        names = os.listdir(self.point / directory)
        if sorted(names) != sorted(os.listdir(self.source / directory)):
            self.wrong.append(f"{directory}: {len(names)} names")
        name = self.chance.choice(sorted(os.listdir(self.source / directory)))
        data = (self.point / directory / name).read_bytes()
        self.compare(directory / name, data, 0, (self.source / directory / name).stat().st_size)

    def arrays(self) -> None:
        """An array, by several threads, as copick has it read."""
        import numpy as np
        import zarr

        expected = zarr.open_group(str(self.source / self.store), mode="r")["0"]
        group = zarr.open_group(zarr.storage.FSStore(str(self.point / self.store), mode="r"), mode="r")
        array = group["0"]
        planes = [self.chance.randrange(array.shape[0]) for _ in range(_THREADS)]
        with ThreadPoolExecutor(_THREADS) as pool:
            for plane, data in zip(planes, pool.map(lambda plane: array[plane], planes), strict=True):
                # In one that changes, an error of a chunk would read as zeros.
                is_right = data.all() if self.is_changing else np.array_equal(data, expected[plane])
                if not is_right:
                    self.wrong.append(f"plane {plane} of the array: {int((data == 0).sum())} zeros")

    def repeat(self, read: Callable[[], None], seconds: float) -> None:
        """Do this again and again."""
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            try:
                read()
            except (
                OSError,
                ValueError,
                KeyError,
            ) as error:  # zarr's own, too, of a group that it cannot open
                number = getattr(error, "errno", None) or 0
                name = errno.errorcode.get(number, type(error).__name__)
                self.errors[name] += 1
                if name == "ENOENT":
                    self.wrong.append(f"absent: {error}")
            else:
                self.reads += 1

    def _chunks(self) -> list[Path]:
        return self.files(f"{self.store}/0/[0-9]*/*/*")


def main() -> None:
    """Read for a while."""
    told = json.loads(sys.stdin.readline())
    reader = Reader(told)
    reader.repeat(getattr(reader, told["kind"]), told["seconds"])
    document = {"reads": reader.reads, "errors": reader.errors, "wrong": reader.wrong[:20]}
    sys.stdout.write(json.dumps(document))


if __name__ == "__main__":
    main()

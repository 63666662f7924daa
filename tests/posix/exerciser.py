"""An exerciser in the style of fsx: random operations on one file, and a model of its contents.

``python exerciser.py FILE --operations N --seed S`` does reads, writes, appends, truncates, mapped reads and
writes, fsyncs, reopenings and looks from outside on FILE, which may exist, and compares every byte that it
gets with the model. The last line of the output is a JSON object with what was done; at the first wrong
byte it says where, shows the operations before, and exits with 1.
"""

from __future__ import annotations

import argparse
import collections
import errno
import json
import mmap
import os
import random
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_HISTORY = 40
_LARGEST_STEP = 48 << 10


class WrongBytes(Exception):
    """The file is not what was written."""


class Exerciser:
    """One file, open for reading and writing, and what must be in it."""

    def __init__(self, path: str, seed: int, limit_bytes: int) -> None:
        self.path = path
        self.limit_bytes = limit_bytes
        self.random = random.Random(seed)
        self.noise = self.random.randbytes(_LARGEST_STEP * 2)
        self.model = bytearray()
        self.done: collections.Counter[str] = collections.Counter()
        self.history: collections.deque[str] = collections.deque(maxlen=_HISTORY)
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        self.model += self._from_outside() if os.fstat(self.fd).st_size else b""

    def run(self, operations: int) -> None:
        """Do so many operations, and compare all of it at the end."""
        table: list[tuple[Callable[[], str], int]] = [
            (self.read, 30), (self.write, 30), (self.mapped_read, 8), (self.mapped_write, 8),
            (self.truncate, 6), (self.append, 6), (self.size, 5), (self.sync, 2), (self.reopen, 4),
            (self.whole, 1),
        ]  # fmt: skip
        actions = self.random.choices([a for a, _ in table], [weight for _, weight in table], k=operations)
        for action in actions:
            self.history.append(f"{action.__name__} {action()}")
            self.done[action.__name__] += 1
        self.reopen()
        self.whole()
        os.close(self.fd)

    def read(self) -> str:
        """Read anywhere, past the end too."""
        offset, length = self._span(self.limit_bytes)
        self._compare(os.pread(self.fd, length, offset), offset, length)
        return f"{offset}+{length}"

    def write(self) -> str:
        """Write anywhere; a gap becomes zeros."""
        offset, length = self._span(self.limit_bytes)
        self._put(offset, length)
        return f"{offset}+{length}"

    def append(self) -> str:
        """Write at the end, as a log does."""
        length = self.random.randrange(1, 4096)
        offset = len(self.model)
        if offset + length > self.limit_bytes:
            return "full"
        self._put(offset, length)
        return f"{offset}+{length}"

    def truncate(self) -> str:
        """Cut, or extend with zeros."""
        size = self.random.randrange(self.limit_bytes) if self.random.random() < 0.9 else 0
        os.ftruncate(self.fd, size)
        del self.model[size:]
        self.model.extend(bytes(size - len(self.model)))
        return str(size)

    def mapped_read(self) -> str:
        """Read through a shared map."""
        offset, length = self._span(len(self.model))
        mapped = self._map(offset + length, mmap.PROT_READ)
        if mapped is None:
            return "refused"
        with mapped:
            self._compare(mapped[offset : offset + length], offset, length)
        return f"{offset}+{length}"

    def mapped_write(self) -> str:
        """Write through a shared map."""
        offset, length = self._span(len(self.model))
        mapped = self._map(offset + length, mmap.PROT_READ | mmap.PROT_WRITE)
        if mapped is None:
            return "refused"
        with mapped:
            mapped[offset : offset + length] = data = self._bytes(length)
            if self.random.random() < 0.2:
                mapped.flush()
        self.model[offset : offset + length] = data
        return f"{offset}+{length}"

    def size(self) -> str:
        """The size as its own descriptor says."""
        size = os.fstat(self.fd).st_size
        if size != len(self.model):
            raise WrongBytes(f"fstat says {size} bytes, not {len(self.model)}")
        return str(size)

    def sync(self) -> str:
        """Fsync; what was written must be there for everybody."""
        os.fsync(self.fd)
        self._compare(self._from_outside(), 0, len(self.model))
        return ""

    def reopen(self) -> str:
        """Close, look from outside, and open again."""
        os.close(self.fd)
        size = os.stat(self.path).st_size
        if size != len(self.model):
            raise WrongBytes(f"stat says {size} bytes after close, not {len(self.model)}")
        self.fd = os.open(self.path, os.O_RDWR)
        return ""

    def whole(self) -> str:
        """Read all of it."""
        self._compare(os.pread(self.fd, self.limit_bytes * 2, 0), 0, self.limit_bytes * 2)
        return ""

    def _span(self, end: int) -> tuple[int, int]:
        """Somewhere before ``end``: sometimes whole pages, mostly not."""
        if end <= 0:
            return 0, 0
        offset = self.random.randrange(end)
        if self.random.random() < 0.2:
            offset &= ~4095
        return offset, self.random.randint(0, min(_LARGEST_STEP, end - offset))

    def _bytes(self, length: int) -> bytes:
        start = self.random.randrange(_LARGEST_STEP)
        return self.noise[start : start + length]

    def _put(self, offset: int, length: int) -> None:
        data = self._bytes(length)
        written = os.pwrite(self.fd, data, offset)
        if written != length:
            raise WrongBytes(f"wrote {written} of {length} bytes")
        if length:
            self.model.extend(bytes(max(0, offset - len(self.model))))
            self.model[offset : offset + length] = data

    def _map(self, length: int, protection: int) -> mmap.mmap | None:
        """A map of the first bytes; None, counted, if the file is empty or cannot be mapped now."""
        if not length:
            return None
        try:
            return mmap.mmap(self.fd, length, mmap.MAP_SHARED, protection)
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise
            self.done["maps refused"] += 1
            return None

    def _from_outside(self) -> bytes:
        with open(self.path, "rb") as file:
            return file.read()

    def _compare(self, found: bytes, offset: int, length: int) -> None:
        wanted = self.model[offset : offset + length]
        if found != wanted:
            pairs = enumerate(zip(found, wanted, strict=False))
            first = next((i for i, (a, b) in pairs if a != b), min(len(found), len(wanted)))
            raise WrongBytes(
                f"byte {offset + first} of {len(self.model)} is wrong: got {found[first : first + 8]!r}"
                f" ({len(found)} bytes), wanted {bytes(wanted[first : first + 8])!r} ({len(wanted)} bytes)"
            )


def main() -> int:
    """Exercise the file that the command line names."""
    parser = argparse.ArgumentParser()
    parser.add_argument("file")
    parser.add_argument("--operations", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit-bytes", type=int, default=256 << 10)
    arguments = parser.parse_args()
    exerciser = Exerciser(arguments.file, arguments.seed, arguments.limit_bytes)
    try:
        exerciser.run(arguments.operations)
    except (WrongBytes, OSError) as error:
        sys.stderr.write("\n".join([*exerciser.history, ""]))
        number = sum(exerciser.done.values())
        sys.stderr.write(f"seed {arguments.seed}, operation {number}: {error}\n")
        return 1
    sys.stdout.write(json.dumps(exerciser.done))
    return 0


if __name__ == "__main__":
    sys.exit(main())

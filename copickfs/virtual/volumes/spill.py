"""Decoded voxels on a disk: what does not fit into memory and would have to be decoded once per plane.

One temporary file without a name, in slots that are given to others when there is no room for more. Nothing
of it is needed: a full or a broken disk only means that voxels are decoded again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_log = logging.getLogger(__name__)
_ON_DISK = "/var/tmp"  # noqa: S108 -- the file has no name there; in /tmp it may be in memory
_REST_S = 60.0
"""So long after a disk was full it is not tried again."""


class Slot:
    """A place in the file.

    Attributes:
        start: Where it begins.
        size_bytes: Its length.
        is_valid: What was written there is there.
    """

    __slots__ = ("is_valid", "size_bytes", "start")

    def __init__(self, start: int, size_bytes: int) -> None:
        self.start = start
        self.size_bytes = size_bytes
        self.is_valid = False


class Spill:
    """The file. Thread-safe; no method raises.

    Args:
        directory: Where it is; None for the system's own directory of such files.
        limit_bytes: It never becomes longer; 0 for no file at all.
        floor_bytes: So much room on its file system is left to others.
    """

    def __init__(self, directory: Path | None, limit_bytes: int, floor_bytes: int = 0) -> None:
        self._directory = directory
        self._floor_bytes = floor_bytes
        self.limit_bytes = limit_bytes
        self._lock = threading.Lock()
        self._file: int | None = None
        self._users = 0
        self._end = 0
        self._longest = 0
        self._slots: OrderedDict[Slot, None] = OrderedDict()
        self._free: dict[int, list[int]] = {}
        self._not_before_s = 0.0
        self._is_closed = False

    @property
    def size_bytes(self) -> int:
        """How much is in the file."""
        with self._lock:
            return sum(slot.size_bytes for slot in self._slots)

    def write(self, data: memoryview) -> Slot | None:
        """Keep ``data``, bytes; None if that cannot be done now."""
        with self._lock:
            slot = self._take(data.nbytes)
            file = self._file
            if slot is None or file is None:
                return None
            self._users += 1
        try:
            _write_all(file, data, slot.start)
        except OSError as error:
            self._failed(error, slot)
            return None
        finally:
            self._let_go()
        with self._lock:
            slot.is_valid = not self._is_closed
            self._slots[slot] = None
        return slot

    def read(self, slot: Slot, start: int, buffer: memoryview) -> bool:
        """Fill ``buffer`` from a slot; False if that is not there any more.

        Args:
            slot: The slot.
            start: Where in it to begin.
            buffer: What is filled, bytes.
        """
        with self._lock:
            file = self._file
            if file is None or not slot.is_valid:
                return False
            self._users += 1
        try:
            done = 0
            while done < len(buffer):
                got = os.preadv(file, [buffer[done:]], slot.start + start + done)
                if not got:
                    return False
                done += got
        except OSError:
            return False
        finally:
            self._let_go()
        return slot.is_valid  # only then was nobody else given the place meanwhile

    def free(self, slot: Slot) -> None:
        """The slot is not needed any more."""
        with self._lock:
            if slot in self._slots:
                del self._slots[slot]
                self._give_back(slot)

    def close(self) -> None:
        """Remove the file. Idempotent."""
        with self._lock:
            self._is_closed = True
            for slot in self._slots:
                slot.is_valid = False
            self._slots.clear()
            self._close_unused()

    def _take(self, size_bytes: int) -> Slot | None:
        """A place for so many bytes, taken from the oldest if need be. With the lock held."""
        if self._is_closed or not 0 < size_bytes <= self.limit_bytes or not self._is_open():
            return None
        while True:
            free = self._free.get(size_bytes)
            if free:
                return Slot(free.pop(), size_bytes)
            end = self._end + size_bytes
            if end <= self.limit_bytes and self._has_room(end):
                slot = Slot(self._end, size_bytes)
                self._end = end
                self._longest = max(self._longest, end)
                return slot
            if self._slots:
                self._give_back(self._slots.popitem(last=False)[0])
            elif self._users or not self._end:
                return None  # what is being written has its places, or there is no room at all
            else:
                self._end = 0
                self._free.clear()

    def _has_room(self, end: int) -> bool:
        """True if the file may be so long: others need room on the disk more than this does."""
        if end <= self._longest or not self._floor_bytes:
            return True
        try:
            status = os.fstatvfs(-1 if self._file is None else self._file)
        except OSError:
            return False
        return status.f_bavail * status.f_frsize - (end - self._longest) >= self._floor_bytes

    def _give_back(self, slot: Slot) -> None:
        slot.is_valid = False
        self._free.setdefault(slot.size_bytes, []).append(slot.start)

    def _is_open(self) -> bool:
        """Make the file, if there is none yet. With the lock held."""
        if self._file is not None:
            return time.monotonic() >= self._not_before_s
        if time.monotonic() < self._not_before_s:
            return False
        try:
            self._file = _nameless(self._directory)
        except OSError as error:
            self._not_before_s = time.monotonic() + _REST_S
            _log.warning("no room on a disk for decoded voxels, which are decoded again instead: %s", error)
            return False
        return True

    def _failed(self, error: OSError, slot: Slot) -> None:
        _log.warning("decoded voxels cannot be kept on a disk, and are decoded again instead: %s", error)
        with self._lock:
            self._not_before_s = time.monotonic() + _REST_S
            self._give_back(slot)

    def _let_go(self) -> None:
        with self._lock:
            self._users -= 1
            if self._is_closed:
                self._close_unused()

    def _close_unused(self) -> None:
        if self._file is not None and not self._users:
            file, self._file = self._file, None
            with contextlib.suppress(OSError):
                os.close(file)


def _nameless(directory: Path | None) -> int:
    """A file that goes when it is closed, also when the process is killed."""
    if directory is not None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    place = directory or os.environ.get("TMPDIR") or _ON_DISK
    with tempfile.TemporaryFile(dir=place, prefix="voxels-") as file:
        return os.dup(file.fileno())


def _write_all(file: int, data: memoryview, start: int) -> None:
    done = 0
    while done < len(data):
        done += os.pwrite(file, data[done : done + (16 << 20)], start + done)

"""What is to be sent to a remote layer, on local disk: survives a killed daemon and a power cut.

::

    <directory>/               one for each layer root
        0/                     what one daemon keeps; a second one at the same time has 1/, and so on
            lock               held (flock) while the daemon lives; says which root the changes are for
            spool/             contents of files that are open; removed at the next start
            entries/           <number>.json and, for a put, <number>.data
            uploads/           <token>: where a temporary name at the source may have been left behind

Nothing here holds more of the configuration than the address of the root without secrets, and paths
relative to it. A damaged entry is renamed to ``<name>.damaged`` and does not hold up the others.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import logging
import os
import secrets
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from copickfs.layers.journalplace import LOCK
from copickfs.layers.journalrecord import (
    PUT,
    Damaged,
    Record,
    digest_of_file,
    sync_directory,
    write_whole,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_log = logging.getLogger(__name__)

_PLACES = 1_000
_DAMAGED = ".damaged"


class Journal:
    """The records of one daemon and one layer on disk. Thread-safe.

    Args:
        name: Name of the layer, for messages.
        directory: The directory of the layer root; made if it is not there.
        root: What people call the layer root, without secrets.
    """

    def __init__(self, name: str, directory: Path, root: str = "") -> None:
        self._name = name
        self._root = root
        self._directory = directory
        self._lock = threading.Lock()
        self._descriptor: int | None = None
        self._place = directory
        self._last = 0
        self.has_uploads = True
        """False if it is certain that `uploads` has nothing to tell."""

    def open(self) -> list[Record]:
        """Take a place of one's own, and what daemons that are gone have left; the records in order.

        Raises:
            OSError: The directory cannot be made or written.
        """
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._place, self._descriptor = self._free_place()
        for part in ("spool", "entries", "uploads"):
            (self._place / part).mkdir(mode=0o700, exist_ok=True)
        for left in (self._place / "spool").iterdir():
            left.unlink()
        records = self._load(self._place)
        self._last = max([time.time_ns() // 1_000, *(record.number for record in records)])
        records += list(self._inherited())
        return records

    def close(self) -> None:
        """Give up the place. Idempotent."""
        with self._lock:
            descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def spool_file(self) -> str:
        """A name for the contents of a file that is open."""
        return str(self._place / "spool" / secrets.token_hex(16))

    def data_file(self, number: int) -> str:
        """Where the data of a put is."""
        return str(self._place / "entries" / f"{number}.data")

    def append(self, record: Record, data: str | None = None) -> Record:
        """Store a change; it survives everything when this returns.

        Args:
            record: The change, whose number is filled in.
            data: A file in the spool, on stable storage, which is moved into the journal.
        """
        with self._lock:
            self._last = number = max(self._last + 1, time.time_ns() // 1_000)
        record = dataclasses.replace(record, number=number)
        target = self.data_file(number)
        if data is not None:
            Path(data).rename(target)
        try:
            self.rewrite(record)
        except OSError:
            if data is not None:
                Path(target).rename(data)
            raise
        return record

    def rewrite(self, record: Record) -> None:
        """Store another state of a change."""
        write_whole(self._record_file(record.number), record.encoded())

    def remove(self, record: Record) -> None:
        """Forget a change that is done. The record goes first: data without one is nothing."""
        self._record_file(record.number).unlink(missing_ok=True)
        if record.operation == PUT:
            Path(self.data_file(record.number)).unlink(missing_ok=True)

    def set_aside(self, record: Record, reason: str) -> None:
        """Keep a damaged change for people to look at, under names that say so."""
        self._set_aside(self._place / "entries", record.number, reason)

    def note_upload(self, token: str, *paths: str) -> None:
        """Something may be left behind at one of ``paths`` of the source, under a temporary name."""
        note = Path(self.spool_file())
        note.write_bytes("\0".join(paths).encode(errors="surrogateescape"))
        note.replace(self._place / "uploads" / token)
        self.has_uploads = True

    def note_move(self, path: str, new_path: str) -> None:
        """A directory of the source is about to be renamed, with what uploads may have left in it."""
        for token, left in self.uploads().items():
            moved = [new_path + each[len(path) :] for each in left if each.startswith(f"{path}/")]
            if moved:
                self.note_upload(token, *left, *moved)

    def forget_upload(self, token: str) -> None:
        """Nothing is left behind."""
        (self._place / "uploads" / token).unlink(missing_ok=True)

    def uploads(self) -> dict[str, list[str]]:
        """Tokens of uploads that may have left something behind, and where."""
        self.has_uploads = False
        left: dict[str, list[str]] = {}
        for note in (self._place / "uploads").iterdir():
            with contextlib.suppress(FileNotFoundError):  # its upload has just come through
                left[note.name] = note.read_bytes().decode(errors="surrogateescape").split("\0")
        self.has_uploads = self.has_uploads or bool(left)
        return left

    def _record_file(self, number: int) -> Path:
        return self._place / "entries" / f"{number}.json"

    def _free_place(self) -> tuple[Path, int]:
        for number in range(_PLACES):
            place = self._directory / str(number)
            place.mkdir(mode=0o700, exist_ok=True)
            descriptor = _locked(place)
            if descriptor is not None:
                os.ftruncate(descriptor, 0)
                os.write(descriptor, self._root.encode(errors="replace"))
                return place, descriptor
        raise OSError(errno.EBUSY, f"too many daemons use {self._directory}")

    def _inherited(self) -> Iterator[Record]:
        """What daemons have left that are gone: moved here, one after the other."""
        for place in sorted(self._directory.iterdir()):
            if place == self._place or not place.name.isdigit():
                continue
            descriptor = _locked(place)
            if descriptor is None:
                continue
            try:
                yield from self._moved(place)
            finally:
                os.close(descriptor)

    def _moved(self, place: Path) -> Iterator[Record]:
        for token in (place / "uploads").glob("*"):
            token.replace(self._place / "uploads" / token.name)
        for left in self._load(place):
            data = place / "entries" / f"{left.number}.data"
            spool = None
            if left.operation == PUT:
                spool = self.spool_file()
                os.link(data, spool)  # the old entry is whole until the new one is
            yield self.append(left, spool)
            (place / "entries" / f"{left.number}.json").unlink()
            data.unlink(missing_ok=True)
        for left_open in (place / "spool").glob("*"):
            left_open.unlink()
        with contextlib.suppress(OSError):  # there may be damaged entries
            for part in ("spool", "entries", "uploads"):
                (place / part).rmdir()

    def _load(self, place: Path) -> list[Record]:
        """The sound records of a place, in order."""
        entries = place / "entries"
        records: list[Record] = []
        if not entries.is_dir():
            return records
        for number in _numbers(entries, ".json"):
            try:
                record = Record.decoded((entries / f"{number}.json").read_bytes())
                _check(record, number, entries / f"{number}.data")
            except (Damaged, OSError) as error:
                self._set_aside(entries, number, str(error))
            else:
                records.append(record)
        known = {record.number for record in records if record.operation == PUT}
        for number in set(_numbers(entries, ".data")) - known:
            (entries / f"{number}.data").unlink()
        for temporary in entries.glob("*.tmp"):
            temporary.unlink()
        return records

    def _set_aside(self, entries: Path, number: int, reason: str) -> None:
        for suffix in (".json", ".data"):
            with contextlib.suppress(FileNotFoundError):
                (entries / f"{number}{suffix}").rename(entries / f"{number}{suffix}{_DAMAGED}")
        with contextlib.suppress(OSError):
            sync_directory(entries)
        _log.warning(
            "layer %s: journal entry %s is damaged (%s) and was not sent; it is kept as %s",
            self._name, number, reason, entries / f"{number}.json{_DAMAGED}",
        )  # fmt: skip


def _locked(place: Path) -> int | None:
    """A descriptor that holds the lock of ``place``, None if somebody else does."""
    descriptor = os.open(place / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _numbers(entries: Path, suffix: str) -> Iterable[int]:
    names = (path.name for path in entries.glob(f"*{suffix}"))
    return sorted(int(name[: -len(suffix)]) for name in names if name[: -len(suffix)].isdigit())


def _check(record: Record, number: int, data: Path) -> None:
    if record.number != number:
        raise Damaged("it is another entry's")
    if record.operation != PUT:
        return
    try:
        size_bytes = data.stat().st_size
    except FileNotFoundError:
        raise Damaged("its data is gone") from None
    if size_bytes != record.size_bytes or digest_of_file(data) != record.digest:
        raise Damaged("its data is not what was written")

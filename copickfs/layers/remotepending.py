"""A remote layer as it will be when what waits in its journal has been sent."""

from __future__ import annotations

import contextlib
import stat
import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

from copickfs.errors import IsADirectory, NotADirectory, NotFound, Transient, Unavailable, WouldBlock
from copickfs.layers.draft import Draft, DraftReader, new_entry
from copickfs.layers.overlay import Place, Shown
from copickfs.layers.pinned import OpenFiles
from copickfs.layers.remote import FsspecLayer
from copickfs.layers.sources import DIRECTORY, Found
from copickfs.layers.sources.writing import Version
from copickfs.layers.spool import SpooledFile, blocks_of
from copickfs.paths import join, split

if TYPE_CHECKING:
    from copickfs.layers.backlog import Backlog
    from copickfs.layers.base import LayerFile
    from copickfs.layers.changes import Landed
    from copickfs.layers.journal import Journal
    from copickfs.layers.journalrecord import Record
    from copickfs.model import Entry

_REMEMBERED = 10_000
_MOVE_LIMIT_S = 20.0


class PendingView:
    """Answers about one layer's paths: from open files, from the journal, from the source, in this order.

    Thread-safe.

    Args:
        layer: The source's answers.
        backlog: What waits to be sent.
        journal: Where its data is.
    """

    def __init__(self, layer: FsspecLayer, backlog: Backlog, journal: Journal) -> None:
        self._layer = layer
        self._backlog = backlog
        self._journal = journal
        self.files = OpenFiles(journal.spool_file)
        self._lock = threading.Lock()
        self._published: OrderedDict[str, tuple[Version, str]] = OrderedDict()
        self.drafts: dict[str, Draft] = {}
        """Files that are written in place, by path."""

    def stat(self, path: str, *, wait: bool = True) -> Entry:
        """See `Layer.stat`."""
        draft = self.drafts.get(path)
        if draft is not None:
            return draft.entry()._replace(name=split(path)[1])
        return self.stat_published(path, wait=wait)

    def stat_published(self, path: str, *, wait: bool = True) -> Entry:
        """The same without files in the making."""
        while True:
            turn, place = self._placed(path, wait=wait)
            try:
                return self._entry(path, place, wait=wait)
            except (NotFound, NotADirectory):
                if not self._is_outdated(turn, path, place):
                    raise

    def scan(self, path: str, *, wait: bool = True) -> list[Entry]:
        """See `Layer.scan`."""
        while True:
            turn, place = self._placed(path, wait=wait)
            known = self._backlog.children(path)
            if turn != self._backlog.turn:
                continue
            try:
                entries = self._scan(path, place, known, wait=wait)
            except (NotFound, NotADirectory):
                if not self._is_outdated(turn, path, place):
                    raise
            else:
                if place.source_path in ("", path) or not self._is_outdated(turn, path, place):
                    return entries

    def open(self, path: str, *, wait: bool = True) -> LayerFile:
        """See `Layer.open`."""
        while True:
            with self._lock:
                draft = self.drafts.get(path)
                if draft is not None:
                    draft.handles += 1
            if draft is not None:
                return DraftReader(draft)
            turn, place = self._placed(path, wait=wait)
            try:
                return self._open(path, place, wait=wait)
            except (NotFound, NotADirectory, FileNotFoundError):
                if not self._is_outdated(turn, path, place):
                    raise

    def readlink(self, path: str) -> str:
        """See `Layer.readlink`."""
        place = self._backlog.place(path)
        if place.shown is Shown.SOURCE:
            return FsspecLayer.readlink(self._layer, place.source_path)
        self._entry(path, place, wait=False)
        return FsspecLayer.readlink(self._layer, "")

    def versions(self, path: str) -> tuple[Version, ...]:
        """What a change of ``path`` made now may replace: the version shown, and this daemon's last."""
        place = self._placed(path, wait=True)[1]
        known = [*self.own_version(path)]
        if place.shown is Shown.FILE and place.record is not None:
            known += place.record.accepted
        if place.shown is Shown.SOURCE:
            with contextlib.suppress(NotFound, NotADirectory, Transient):
                known.append(Version.of(self._layer.found(place.source_path)))
        return tuple(dict.fromkeys(known))

    def is_moved(self, path: str) -> bool:
        """True if the source has what is at ``path`` under another name still."""
        place = self._backlog.place(path)
        return place.shown is Shown.SOURCE and place.source_path != path

    def own_version(self, path: str) -> tuple[Version, ...]:
        """The version that this daemon has published at ``path`` last."""
        with self._lock:
            own = self._published.get(path)
        return () if own is None else (own[0],)

    def published(self, path: str, found: Found, etag: str = "") -> None:
        """This daemon has put ``found`` at ``path``, and has shown it by ``etag`` until now."""
        with self._lock:
            self._published[path] = (Version.of(found), etag)
            self._published.move_to_end(path)
            while len(self._published) > _REMEMBERED:
                self._published.popitem(last=False)

    def sent(self, record: Record, landed: Landed) -> None:
        """A change of the journal is at the source."""
        self.published(landed.path, landed.found, etag_of(record) if landed.path == record.path else "")

    def enter(self, path: str, draft: Draft) -> Draft:
        """Share the file that is written in place at ``path``, or make ``draft`` that file."""
        with self._lock:
            shared = self.drafts.setdefault(path, draft)
            shared.handles += 1
            return shared

    def leave(self, draft: Draft) -> bool:
        """One handle less; True if it was the last, and the file is no more in the making."""
        with self._lock:
            draft.handles -= 1
            if draft.handles > 0:
                return False
            if draft.path is not None and self.drafts.get(draft.path) is draft:
                del self.drafts[draft.path]
            return True

    def drafts_below(self, path: str) -> list[Draft]:
        """Files written in place at or below ``path``."""
        with self._lock:
            return [draft for at, draft in self.drafts.items() if at == path or at.startswith(path + "/")]

    def move_drafts(self, path: str, new_path: str | None) -> None:
        """Files written in place at or below ``path`` have other names, or none."""
        with self._lock:
            for at in [at for at in self.drafts if at == path or at.startswith(path + "/")]:
                draft = self.drafts.pop(at)
                draft.path = None if new_path is None else new_path + at[len(path) :]
                if draft.path is not None:
                    self.drafts[draft.path] = draft

    def entry_of(self, path: str, found: Found) -> Entry:
        """What is shown for something at the source; what was shown before it was sent stays the same."""
        entry = self._layer.entry_of(found._replace(name=split(path)[1]))
        own = self._published.get(path)
        if own is not None and own[1] and found.kind != DIRECTORY and own[0].is_same(Version.of(found)):
            return entry._replace(etag=own[1])
        return entry

    def entry_of_record(self, path: str, record: Record) -> Entry:
        """What is shown for the data of a change that waits."""
        entry = new_entry(split(path)[1], self._layer.name, self._layer.owner)
        return entry._replace(
            size_bytes=record.size_bytes,
            mtime_ns=record.mtime_ns,
            ctime_ns=record.mtime_ns,
            atime_ns=record.mtime_ns,
            etag=etag_of(record),
            blocks=blocks_of(record.size_bytes),
        )

    def _placed(self, path: str, *, wait: bool) -> tuple[int, Place]:
        """What is at ``path``, once it is not on its way to another name; and which turn that was."""
        deadline_s = time.monotonic() + _MOVE_LIMIT_S
        while True:
            turn = self._backlog.turn
            place = self._backlog.place(path)
            if place.shown is not Shown.SOURCE or place.source_path == path:
                return turn, place
            if not self._backlog.is_moving(place.source_path):
                return turn, place
            if not wait:
                raise WouldBlock(self._layer.name)
            if not self._backlog.wait_beyond(turn, deadline_s - time.monotonic()):
                raise Unavailable(f"layer {self._layer.name}: {path!r} is being renamed at the source")

    def _is_outdated(self, turn: int, path: str, place: Place) -> bool:
        """True if what was at ``path`` in that turn may be another thing by now."""
        if turn != self._backlog.turn:
            return True
        has_moved = place.shown is Shown.SOURCE and place.source_path != path
        return has_moved and self._backlog.is_moving(place.source_path)

    def _entry(self, path: str, place: Place, *, wait: bool) -> Entry:
        if place.shown is Shown.GONE:
            raise NotADirectory(path) if place.is_below_file else NotFound(path)
        if place.shown is Shown.DIRECTORY or (place.shown is Shown.SOURCE and not place.source_path):
            mtime_ns = place.record.mtime_ns if place.record is not None else 0
            return self._layer.entry_of(Found(split(path)[1], DIRECTORY, 0, mtime_ns))
        if place.shown is Shown.FILE and place.record is not None:
            return self.entry_of_record(path, place.record)
        return self.entry_of(path, self._layer.found(place.source_path, wait=wait))

    def _scan(self, path: str, place: Place, known: dict[str, Place], *, wait: bool) -> list[Entry]:
        if place.shown is Shown.GONE:
            raise NotADirectory(path) if place.is_below_file else NotFound(path)
        if place.shown is Shown.FILE or path in self.drafts:
            raise NotADirectory(path)
        entries: dict[str, Entry] = {}
        if place.shown is Shown.SOURCE:
            for found in self._layer.listing(place.source_path, wait=wait):
                if found.name not in known:
                    entries[found.name] = self.entry_of(join(path, found.name), found)
        for name, child in known.items():
            if child.shown is not Shown.GONE:
                with contextlib.suppress(NotFound):
                    entries[name] = self.stat_published(join(path, name), wait=wait)
        with self._lock:
            drafts = [(at, draft) for at, draft in self.drafts.items() if split(at)[0] == path]
        for at, draft in drafts:
            name = split(at)[1]
            entries[name] = draft.entry()._replace(name=name)
        return list(entries.values())

    def _open(self, path: str, place: Place, *, wait: bool) -> LayerFile:
        if place.shown is Shown.SOURCE and place.source_path:
            found = self._layer.found(place.source_path, wait=wait)
            file = self._layer.opened(place.source_path, found, self.entry_of(path, found))
            return self.files.opened(place.source_path, file)
        entry = self._entry(path, place, wait=wait)
        if stat.S_ISDIR(entry.mode) or place.record is None:
            raise IsADirectory(path)
        return SpooledFile(self._journal.data_file(place.record.number), entry)


def etag_of(record: Record) -> str:
    """The version mark under which the data of a change is shown."""
    return f"journal-{record.number:x}-{record.digest[:8]}"

"""Files of a remote layer that are being written, from the first change to the source or the journal."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from copickfs.errors import CopickfsError, NotFound, Transient
from copickfs.layers.draft import Draft, RemoteWritableFile
from copickfs.layers.journalrecord import PUT, Record, digest_of_file
from copickfs.layers.sources.writing import Upload, Version

if TYPE_CHECKING:
    from copickfs.layers.backlog import Backlog
    from copickfs.layers.changes import Changes
    from copickfs.layers.remotepending import PendingView
    from copickfs.layers.spool import StagedFile
    from copickfs.model import Entry

_log = logging.getLogger(__name__)

_TURNS = 64
"""Locks that keep two of this layer's own versions of one file from being taken for a conflict."""


class Publishing:
    """The drafts of one layer; see `copickfs.layers.draft.Publisher`. Thread-safe.

    Args:
        layer: Name of the layer.
        backlog: What waits to be sent.
        shown: What the layer shows.
        changes: Sends to the source.
        propagate: Publish into the journal.
        settle_s: How long to wait for changes of before that concern the same file.
    """

    def __init__(
        self,
        layer: str,
        backlog: Backlog,
        shown: PendingView,
        changes: Changes,
        *,
        propagate: bool,
        settle_s: float,
    ) -> None:
        self._name = layer
        self._backlog = backlog
        self._shown = shown
        self._changes = changes
        self._propagate = propagate
        self._settle_s = settle_s
        self._tokens: set[str] = set()
        self._turns = [threading.Lock() for _ in range(_TURNS)]

    def is_used(self, token: str) -> bool:
        """True if an upload of this name belongs to a file that is still open."""
        return token in self._tokens

    def drafted(
        self, path: str, staged: StagedFile, accepted: tuple[Version, ...], entry: Entry, *, whole: bool
    ) -> RemoteWritableFile:
        """A file open for writing.

        Args:
            path: Where it is published.
            staged: Its contents.
            accepted: The versions that it may replace.
            entry: What it is shown as, but for size and times.
            whole: It is published whole; else all who write to it share one draft.
        """
        draft = Draft(path, staged, entry, accepted, self, in_place=not whole)
        draft.has_moved = self._shown.is_moved(path)
        if whole:
            draft.handles += 1
        else:
            shared = self._shown.enter(path, draft)
            if shared is not draft:
                staged.close()
                draft = shared
        self._tokens.add(draft.token)
        return RemoteWritableFile(draft, whole=whole)

    def publish(self, draft: Draft) -> None:
        """See `Publisher.publish`."""
        with draft.turn:
            path = draft.path
            if path is None or not draft.is_dirty:
                return
            draft.has_failed = True
            if self._propagate:
                self._store(draft, path)
            else:
                self._backlog.settle((path,), self._settle_s)
                with self._turns[hash(path) % _TURNS]:
                    self._send(draft, path)
            draft.has_failed = False

    def give_up(self, draft: Draft) -> None:
        """See `Publisher.give_up`."""
        with draft.turn:
            draft.has_failed = False
            source = None
            if draft.path is not None:
                try:
                    source = self._shown.open(draft.path)
                except NotFound:
                    pass
                except (OSError, CopickfsError):
                    draft.path = None  # nobody can tell what it was: nothing is made of it any more
            draft.staged.reset(source)
            draft.published = draft.staged.changes

    def let_go(self, draft: Draft) -> None:
        """See `Publisher.let_go`. What could not be sent, or was written in place, is kept in the journal."""
        if not self._shown.leave(draft):
            return
        with draft.turn:
            path = draft.path
            is_in_place = draft.in_place and draft.staged.changes > 0
            if path is not None and draft.is_dirty and (draft.has_failed or is_in_place):
                self._keep(draft, path)
            self._tokens.discard(draft.token)
            draft.staged.close()

    def _store(self, draft: Draft, path: str) -> None:
        """Publish into the journal."""
        snapshot = draft.staged.snapshot()

        def seen() -> Record:
            accepted = (*draft.accepted, *self._replaceable(draft, path))
            return Record(
                0, PUT, path, size_bytes=snapshot.size_bytes, mtime_ns=snapshot.mtime_ns,
                accepted=tuple(dict.fromkeys(accepted)), attempted=tuple(draft.attempted),
            )  # fmt: skip

        record = self._backlog.append_seen(seen, snapshot.file)
        draft.staged.give(snapshot)
        draft.published = snapshot.changes
        draft.show(self._shown.entry_of_record(path, record))

    def _send(self, draft: Draft, path: str) -> None:
        """Publish at the source."""
        snapshot = draft.staged.snapshot()
        try:
            accepted = (*draft.accepted, *self._replaceable(draft, path))
            attempted = tuple(draft.attempted)
            upload = Upload(snapshot.file, snapshot.size_bytes, draft.token, accepted, attempted)
            landed = self._changes.put(path, upload, snapshot.mtime_ns)
        except Transient:
            draft.attempted.append((snapshot.size_bytes, digest_of_file(snapshot.file)))
            raise
        finally:
            draft.staged.release(snapshot)
        self._shown.published(landed.path, landed.found)
        draft.accepted = (Version.of(landed.found),)
        draft.attempted.clear()
        draft.published = snapshot.changes
        if landed.path != path:
            self._shown.move_drafts(path, landed.path)
            draft.path = landed.path
        draft.show(self._shown.entry_of(landed.path, landed.found))

    def _replaceable(self, draft: Draft, path: str) -> tuple[Version, ...]:
        """Versions that this daemon knows of at ``path``; a move may have made new ones of old ones."""
        return self._shown.versions(path) if draft.has_moved else self._shown.own_version(path)

    def _keep(self, draft: Draft, path: str) -> None:
        try:
            self._store(draft, path)
        except OSError as error:
            _log.warning("layer %s: %s could not be sent, nor kept: %s", self._name, path, error)
        else:
            if draft.has_failed:
                _log.warning(
                    "layer %s: %s could not be sent; it is kept in the journal and will be tried again",
                    self._name, path,
                )  # fmt: skip

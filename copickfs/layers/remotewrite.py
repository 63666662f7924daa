# ruff: noqa: ARG002 - modes and owners are accepted and forgotten
"""A remote layer that can be written.

Every file is staged on local disk and sent as a whole, so that all of them are published whole, whatever
was asked for. A file that is to be written in place is shown through this layer as it is, from `create`
on; the source has nothing of it before the first `flush`. With ``default`` a change is at the source when
a call returns. With ``cache_and_propagate`` it stands, fsynced, in the journal, and is sent behind.

Listings that an earlier process has left in the index only stand in while the source is out of reach: this
process asks before it believes one. What is written is added to them before it is acknowledged, so that
they never take it for absent (`copickfs.layers.archive`).

Modes, owners and times are accepted and forgotten: the sources keep none, or none that this could set
and read back everywhere. On object stores an empty object keeps a directory that was made.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from copickfs.errors import (
    ConfigError,
    CopickfsError,
    IsADirectory,
    NotADirectory,
    NotFound,
    Transient,
    WouldBlock,
)
from copickfs.layers.backlog import Backlog
from copickfs.layers.changes import Changes
from copickfs.layers.draft import RemoteWritableFile, new_entry
from copickfs.layers.identity import journal_name, shown_place
from copickfs.layers.journal import Journal
from copickfs.layers.journalplace import default_journal_directory
from copickfs.layers.journalrecord import MKDIR, RENAME, RMDIR, UNLINK, Record
from copickfs.layers.propagation import Propagation
from copickfs.layers.publishing import Publishing
from copickfs.layers.remote import FsspecLayer
from copickfs.layers.remotepending import PendingView
from copickfs.layers.spool import StagedFile
from copickfs.paths import split

if TYPE_CHECKING:
    from collections.abc import Callable

    from copickfs.layers.base import LayerFile
    from copickfs.layers.sources import Found
    from copickfs.layers.writable import Change, Owner
    from copickfs.model import Entry, Pending

_log = logging.getLogger(__name__)

_INLINE_ENTRIES = 2_000


class WritableFsspecLayer(FsspecLayer):
    """See `FsspecLayer` and `copickfs.layers.writable.WritableLayer`.

    Args:
        name: Name of the layer.
        root_url: The directory, as a URL.
        priority: Higher is asked first.
        propagate: Answer when a change stands in the journal, and send it behind.
        journal_directory: Where the journals of all layers are; None for the user's state directory.
        options: As for `FsspecLayer`.
    """

    prompt = False
    believes_stored = False

    def __init__(
        self,
        name: str,
        root_url: str,
        priority: int = 0,
        *,
        propagate: bool = False,
        journal_directory: str | os.PathLike[str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(name, root_url, priority, **{**options, "read_only": False})
        self._propagate = propagate
        self._settle_s = options.get("timeout_s", 20.0)
        place = Path(journal_directory) if journal_directory is not None else default_journal_directory()
        fs_args = options.get("fs_args") or {}
        root = shown_place(root_url, fs_args)
        self._journal = Journal(name, place / journal_name(root_url, fs_args), root)
        self._backlog = Backlog(name, self._journal)
        self._shown = PendingView(self, self._backlog, self._journal)
        # What was written here and sent behind is read again here, most of all.
        keep = self._pieces.adopt if propagate else None
        self._changes = Changes(
            name, self._connection, self._catalogue, self._journal, self._shown.files, keep
        )
        self._publishing = Publishing(
            name, self._backlog, self._shown, self._changes, propagate=propagate, settle_s=self._settle_s
        )
        self._is_open = False
        self._propagation = Propagation(
            name, self._backlog, self._journal, self._changes,
            is_used=self._publishing.is_used, sent=self._shown.sent,
        )  # fmt: skip

    def connect(self) -> None:
        """See `Layer.connect`. What an earlier daemon has left is sent as soon as the source answers."""
        if self._shown_root.startswith("http"):
            raise ConfigError(f"{self._shown_root}: web servers cannot be written; set 'read_only'")
        if not self._is_open:
            try:
                self._backlog.open()
            except OSError as error:
                raise ConfigError(
                    f"layer {self.name}: no journal can be kept in {error.filename}: {error.strerror}; name "
                    "another directory"
                ) from None
            self._is_open = True
            self._propagation.start()
        try:
            super().connect()
        except ConfigError:
            if not self._has_made_root():
                raise
            super().connect()

    def close(self) -> None:
        """See `Layer.close`. What waits stays in the journal."""
        super().close()
        self._propagation.stop()
        self._journal.close()

    def stat(self, path: str) -> Entry:
        """See `Layer.stat`."""
        return self._shown.stat(path)

    def scan(self, path: str) -> list[Entry]:
        """See `Layer.scan`."""
        return self._shown.scan(path)

    def open(self, path: str) -> LayerFile:  # type: ignore[override] # of other kinds, too
        """See `Layer.open`."""
        return self._shown.open(path)

    def readlink(self, path: str) -> str:
        """See `Layer.readlink`."""
        return self._shown.readlink(path)

    def stat_nowait(self, path: str) -> Entry:
        """See `Layer.stat_nowait`."""
        return self._shown.stat(path, wait=False)

    def scan_nowait(self, path: str) -> list[Entry]:
        """See `Layer.scan_nowait`."""
        entries = self._shown.scan(path, wait=False)
        if len(entries) > _INLINE_ENTRIES:
            raise WouldBlock(self.name)
        return entries

    def open_nowait(self, path: str) -> LayerFile:  # type: ignore[override] # of other kinds, too
        """See `Layer.open_nowait`."""
        return self._shown.open(path, wait=False)

    def doubt(self, path: str, found: Found) -> None:
        """See `FsspecLayer.doubt`: what this daemon is just changing is no surprise."""
        if not self._shown.files.is_changing(path):
            super().doubt(path, found)

    def pending(self) -> Pending:
        """See `Layer.pending`."""
        return self._backlog.pending()

    def flush_pending(self, timeout_s: float | None) -> bool:
        """See `Layer.flush_pending`; None for as long as it takes."""
        return self._backlog.wait_empty(timeout_s)

    def create(
        self, path: str, mode: int, owner: Owner, *, whole: bool, source: LayerFile | None = None
    ) -> RemoteWritableFile:
        """See `WritableLayer.create`."""
        self._require_directory(split(path)[0])
        if not whole and self._kind_of(path) is not None:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        staged = StagedFile(self._journal.spool_file, source, is_new=True)
        entry = new_entry(split(path)[1], self.name, self.owner)
        return self._publishing.drafted(path, staged, self._shown.versions(path), entry, whole=whole)

    def edit(self, path: str, *, whole: bool) -> RemoteWritableFile:
        """See `WritableLayer.edit`."""
        accepted = self._shown.versions(path)
        source = self._shown.open(path)
        staged = StagedFile(self._journal.spool_file, source, is_new=False, owns_source=True)
        return self._publishing.drafted(path, staged, accepted, source.entry, whole=whole)

    def mkdir(self, path: str, mode: int, owner: Owner) -> Entry:
        """See `WritableLayer.mkdir`."""
        self._require_absent(path)
        self._change(lambda: Record(0, MKDIR, path), lambda: self._changes.mkdir(path))
        return self.stat(path)

    def mknod(self, path: str, mode: int, device: int, owner: Owner) -> Entry:
        """See `WritableLayer.mknod`. An empty file; there is nothing else to be had."""
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            raise OSError(errno.EPERM, os.strerror(errno.EPERM), path)
        self._require_absent(path)
        file = self.create(path, mode, owner, whole=True)
        try:
            file.flush()
        finally:
            file.close()
        return self.stat(path)

    def symlink(self, path: str, text: str, owner: Owner) -> Entry:
        """See `WritableLayer.symlink`: there are none."""
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP), path)

    def link(self, path: str, new_path: str) -> Entry:
        """See `WritableLayer.link`: there are none."""
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP), new_path)

    def unlink(self, path: str) -> None:
        """See `WritableLayer.unlink`."""
        if stat.S_ISDIR(self.stat(path).mode):
            raise IsADirectory(path)
        is_only_here = path in self._shown.drafts and not self._is_published(path)
        self._shown.move_drafts(path, None)
        if is_only_here:
            return

        def seen() -> Record:
            return Record(0, UNLINK, path, accepted=self._shown.versions(path))

        self._change(seen, lambda: self._changes.unlink(path))

    def rmdir(self, path: str) -> None:
        """See `WritableLayer.rmdir`."""
        if not stat.S_ISDIR(self.stat(path).mode):
            raise NotADirectory(path)
        if self.scan(path):
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), path)
        self._change(lambda: Record(0, RMDIR, path), lambda: self._changes.rmdir(path))

    def rename(self, path: str, new_path: str, *, replace: bool = True) -> None:
        """See `WritableLayer.rename`."""
        self._check_rename(path, new_path, replace=replace)
        if path == new_path:
            return
        for draft in self._shown.drafts_below(path):
            self._publishing.publish(draft)
        self._shown.move_drafts(new_path, None)

        def seen() -> Record:
            return Record(0, RENAME, path, new_path, accepted=self._shown.versions(new_path))

        if self._propagate or not self._connection.writing_kind().forgets_directories:
            self._change(seen, lambda: self._renamed(path, new_path))
        else:
            self._move(seen())
        self._move_drafts(path, new_path)

    def exchange(self, path: str, other_path: str) -> None:
        """See `WritableLayer.exchange`: no source can."""
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), other_path)

    def change(self, path: str, change: Change) -> Entry:
        """See `WritableLayer.change`: accepted and forgotten."""
        return self.stat(path)

    def set_xattr(self, path: str, name: str, value: bytes, flags: int = 0) -> None:
        """See `WritableLayer.set_xattr`: there are none."""
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP), path)

    def remove_xattr(self, path: str, name: str) -> None:
        """See `WritableLayer.remove_xattr`: there are none."""
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP), path)

    def sync_directory(self, path: str) -> None:
        """See `WritableLayer.sync_directory`: every change is safe when its call returns."""

    def _has_made_root(self) -> bool:
        """Make the root where nobody can: in an object store it is there with the first thing in it."""
        try:
            self._connection.info("")
        except NotFound:
            if self._connection.writing_kind().forgets_directories:
                with contextlib.suppress(NotFound):
                    self._changes.mkdir("")
                    return True
        except (OSError, CopickfsError):
            return False
        return False

    def _change(self, seen: Callable[[], Record], operation: Callable[[], object]) -> None:
        if self._propagate:
            self._backlog.append_seen(seen)
        else:
            self._backlog.settle(seen().paths, self._settle_s)
            operation()

    def _move(self, record: Record) -> None:
        """Rename where that is a copy and a removal: the journal sees to it that both are done, or none."""
        self._backlog.settle(record.paths, self._settle_s)
        record = self._backlog.append(record, held=True)
        try:
            self._propagation.carry_out(record)
        except Transient:
            _log.warning(
                "layer %s: %s could not be renamed to %s yet; that is kept in the journal and will be tried "
                "again",
                self.name, record.path, record.new_path,
            )  # fmt: skip
            self._move_drafts(record.path, record.new_path)
            raise

    def _move_drafts(self, path: str, new_path: str) -> None:
        self._shown.move_drafts(path, new_path)
        for draft in self._shown.drafts_below(new_path):
            draft.has_moved = True

    def _renamed(self, path: str, new_path: str) -> None:
        landed = self._changes.rename(path, new_path)
        self._shown.published(new_path, landed.found)

    def _kind_of(self, path: str) -> int | None:
        """The type of file at ``path``, None if there is nothing."""
        try:
            return stat.S_IFMT(self.stat(path).mode)
        except NotFound:
            return None

    def _is_published(self, path: str) -> bool:
        """True if there is something at ``path`` besides a file in the making."""
        try:
            self._shown.stat_published(path)
        except NotFound:
            return False
        return True

    def _require_directory(self, path: str) -> None:
        if not stat.S_ISDIR(self.stat(path).mode):
            raise NotADirectory(path)

    def _require_absent(self, path: str) -> None:
        self._require_directory(split(path)[0])
        if self._kind_of(path) is not None:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)

    def _check_rename(self, path: str, new_path: str, *, replace: bool) -> None:
        is_directory = stat.S_ISDIR(self.stat(path).mode)
        self._require_directory(split(new_path)[0])
        if is_directory and new_path.startswith(path + "/"):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), new_path)
        kind = self._kind_of(new_path)
        if kind is None or path == new_path:
            return
        if not replace:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new_path)
        if kind == stat.S_IFDIR:
            if not is_directory:
                raise IsADirectory(new_path)
            if self.scan(new_path):
                raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), new_path)
        elif is_directory:
            raise NotADirectory(new_path)

"""Changes at the source of a remote layer. Each may be made again when it is not known how it ended."""

from __future__ import annotations

import contextlib
import errno
import logging
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from copickfs.errors import IsADirectory, NotADirectory, NotFound
from copickfs.layers.comparing import Comparing
from copickfs.layers.conflicts import conflict_path
from copickfs.layers.journalrecord import MKDIR, PUT, RENAME, RMDIR, Record
from copickfs.layers.sources import DIRECTORY, Found
from copickfs.layers.sources.writing import UPLOAD_PREFIX, Changed, Upload, Version
from copickfs.paths import split

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from copickfs.layers.catalogue import Catalogue
    from copickfs.layers.connection import Connection
    from copickfs.layers.guard import Attempt
    from copickfs.layers.journal import Journal
    from copickfs.layers.pinned import OpenFiles
    from copickfs.layers.sources.writing import Writing

_log = logging.getLogger(__name__)


class Landed(NamedTuple):
    """What is at the source after a change.

    Attributes:
        path: Where it is; another path than asked for if somebody else has taken that.
        found: What is there.
    """

    path: str
    found: Found


class Changes:
    """Makes changes at the source and in what is remembered of it. Thread-safe.

    Where two machines have changed one object, what was published first keeps the name; the second
    version goes to a name of `copickfs.layers.conflicts`, and a WARNING names both.

    Args:
        name: Name of the layer.
        connection: The way to the source.
        catalogue: What is remembered of it.
        journal: Keeps note of temporary names at the source.
        files: What is open.
        keep: Told of each file that was sent, what it has become, and where its contents are; must not raise.
    """

    def __init__(
        self,
        name: str,
        connection: Connection,
        catalogue: Catalogue,
        journal: Journal,
        files: OpenFiles,
        keep: Callable[[str, Found, Path], None] | None = None,
    ) -> None:
        self._name = name
        self._connection = connection
        self._comparing = Comparing(connection)
        self._catalogue = catalogue
        self._journal = journal
        self._files = files
        self._keep = keep

    def apply(self, record: Record) -> Landed | None:
        """Make a change of the journal."""
        if record.operation == PUT:
            data = self._journal.data_file(record.number)
            token = f"{record.number:x}-{record.digest[:16]}"
            upload = Upload(data, record.size_bytes, token, record.accepted, record.attempted)
            return self.put(record.path, upload, record.mtime_ns)
        if record.operation == MKDIR:
            self.mkdir(record.path)
        elif record.operation == RMDIR:
            with self._absence_is_fine(record.path):
                self._rmdir_if_empty(record.path)
        elif record.operation == RENAME:
            with self._absence_is_fine(record.path):
                return self._rename_in_time(record)
        else:
            with self._absence_is_fine(record.path):
                self._unlink_in_time(record)
        return None

    def put(self, path: str, upload: Upload, mtime_ns: int) -> Landed:
        """Publish a file; its directory is made if somebody else has removed it."""
        with self._files.changing(path):
            landed = self._landed(path, upload, mtime_ns)
            self._journal.forget_upload(upload.token)
            self._catalogue.changed(*landed)
            if self._keep is not None:
                self._keep(landed.path, landed.found, Path(upload.file))
        if landed.path != path:
            self._report_conflict(path, landed.path)
        return landed

    def _landed(self, path: str, upload: Upload, mtime_ns: int) -> Landed:
        """Send a file to ``path``, or to where it goes if another version has that name."""
        try:
            return Landed(path, self._put(path, upload))
        except Changed as changed:
            if self._comparing.has_contents(path, changed.found, upload):
                return Landed(path, changed.found)
            if self._comparing.was_attempted(path, changed.found, upload):
                accepted = (Version.of(changed.found),)
                return self._landed(path, upload._replace(accepted=accepted, attempted=()), mtime_ns)
        for number in count():
            target = conflict_path(path, mtime_ns, number)
            try:
                return Landed(target, self._put(target, upload._replace(accepted=())))
            except Changed as changed:
                if self._comparing.has_contents(target, changed.found, upload):
                    return Landed(target, changed.found)
        raise AssertionError("numbers do not end")

    def mkdir(self, path: str) -> None:
        """Make a directory, or find it there."""

        def mkdir(writing: Writing, attempt: Attempt, _again: bool) -> None:
            writing.mkdir(path, attempt)

        is_new = True
        try:
            self._connection.change(path, mkdir)
        except NotFound:
            if not split(path)[0]:
                raise
            self.mkdir(split(path)[0])
            self._connection.change(path, mkdir)
        except FileExistsError:
            if not self._is_directory(path):
                raise
            is_new = False
        if path:
            self._catalogue.changed(path, Found(split(path)[1], DIRECTORY), is_new=is_new)

    def rmdir(self, path: str) -> None:
        """Remove an empty directory."""

        def rmdir(writing: Writing, attempt: Attempt) -> None:
            writing.rmdir(path, attempt)

        self._remove(path, rmdir)

    def unlink(self, path: str) -> None:
        """Remove a file."""

        def unlink(writing: Writing, attempt: Attempt) -> None:
            writing.unlink(path, attempt)

        with self._files.changing(path):
            self._remove(path, unlink)

    def rename(self, path: str, new_path: str) -> Landed:
        """Give a file or directory another name; what has that is replaced."""
        is_last = self._is_last(path)
        self._journal.note_move(path, new_path)

        def rename(writing: Writing, attempt: Attempt, again: bool) -> None:
            self._keep_directory(writing, path, attempt, is_last=is_last)
            try:
                writing.rename(path, new_path, attempt)
            except Exception as error:
                if not again or not _is_absence(error):
                    raise

        with self._files.changing(path, new_path):
            self._connection.change(path, rename)
            found = self._connection.info(new_path)._replace(name=split(new_path)[1])
            self._catalogue.changed(path, None)
            self._catalogue.changed(new_path, found)
        return Landed(new_path, found)

    def version(self, path: str) -> Version:
        """What is at ``path`` of the source; of nothing there is a version, too."""
        try:
            return Version.of(self._connection.info(path))
        except (NotFound, NotADirectory):
            return Version(0, 0, "")

    def sweep(self, is_used: Callable[[str], bool]) -> None:
        """Remove what interrupted uploads have left at the source. Raises what the source says."""
        for token, left in self._journal.uploads().items():
            if is_used(token):
                continue
            for temporary in left:
                if split(temporary)[1] != UPLOAD_PREFIX + token:
                    continue  # a note that was not written whole

                def unlink(writing: Writing, attempt: Attempt, _again: bool, path: str = temporary) -> None:
                    writing.unlink(path, attempt)

                with contextlib.suppress(NotFound):
                    self._connection.change(temporary, unlink)
            self._journal.forget_upload(token)

    def _put(self, path: str, upload: Upload) -> Found:
        def put(writing: Writing, attempt: Attempt, _again: bool) -> Found:
            if not writing.is_atomic:
                self._journal.note_upload(upload.token, upload.temporary(path))
            return writing.put(path, upload, attempt)

        try:
            return self._connection.change(path, put)
        except NotFound:
            directory = split(path)[0]
            if not directory:
                raise
            self.mkdir(directory)
            return self._connection.change(path, put)

    def _remove(self, path: str, operation: Callable[[Writing, Attempt], None]) -> None:
        is_last = self._is_last(path)

        def remove(writing: Writing, attempt: Attempt, again: bool) -> None:
            self._keep_directory(writing, path, attempt, is_last=is_last)
            try:
                operation(writing, attempt)
            except Exception as error:
                if not again or not _is_absence(error):
                    raise

        self._connection.change(path, remove)
        self._catalogue.changed(path, None)

    def _is_last(self, path: str) -> bool:
        """True if the directory of ``path`` may hold nothing else."""
        directory, name = split(path)
        try:
            return all(found.name == name for found in self._catalogue.listing(directory))
        except NotFound:
            return True

    @staticmethod
    def _keep_directory(writing: Writing, path: str, attempt: Attempt, *, is_last: bool) -> None:
        """A directory stays when the last thing in it goes."""
        if is_last:
            writing.keep(split(path)[0], attempt)

    def _rmdir_if_empty(self, path: str) -> None:
        try:
            self.rmdir(path)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
            self._catalogue.distrust(path)
            _log.warning(
                "layer %s: %s is not removed: somebody else has put something there", self._name, path
            )

    def _unlink_in_time(self, record: Record) -> None:
        """Remove what was there when it was removed here, and nothing that others have put there since."""
        found = self._connection.info(record.path)
        if found.kind == DIRECTORY or not _is_among(found, record.accepted):
            self._catalogue.distrust(record.path)
            _log.warning(
                "layer %s: %s is not removed: somebody else has changed it meanwhile",
                self._name, record.path,
            )  # fmt: skip
            return
        with contextlib.suppress(IsADirectory):
            self.unlink(record.path)

    def _rename_in_time(self, record: Record) -> Landed:
        try:
            source = self._connection.info(record.path)
        except NotFound:  # an earlier attempt has come through, of which nobody was told
            landed = Landed(record.new_path, self._connection.info(record.new_path))
            self._catalogue.changed(record.path, None)
            self._catalogue.changed(*landed)
            return landed
        for attempt in count():
            new_path = record.new_path
            if attempt:
                new_path = conflict_path(record.new_path, record.number * 1_000, attempt - 1)
            try:
                target = self._connection.info(new_path)
            except NotFound:
                break
            if self._may_replace(record, source, target, new_path):
                break
        landed = self.rename(record.path, new_path)
        if new_path != record.new_path:
            self._report_conflict(record.new_path, new_path)
        return landed

    def _may_replace(self, record: Record, source: Found, target: Found, new_path: str) -> bool:
        if DIRECTORY in (source.kind, target.kind):
            return source.kind == target.kind and self._comparing.is_half_moved(record.path, new_path)
        if new_path == record.new_path and _is_among(target, record.accepted):
            return True
        return self._comparing.is_copy(record.path, source, new_path, target)

    def _is_directory(self, path: str) -> bool:
        try:
            return self._connection.info(path).kind == DIRECTORY
        except NotFound:
            return False

    @contextlib.contextmanager
    def _absence_is_fine(self, path: str) -> Iterator[None]:
        try:
            yield
        except NotFound:
            self._catalogue.changed(path, None)

    def _report_conflict(self, path: str, target: str) -> None:
        self._catalogue.distrust(path)
        _log.warning(
            "layer %s: %s was changed by somebody else before this machine's version of it was sent; theirs "
            "has the name, ours is kept as %s",
            self._name, path, target,
        )  # fmt: skip


def _is_among(found: Found, accepted: tuple[Version, ...]) -> bool:
    return any(version.is_same(Version.of(found)) for version in accepted)


def _is_absence(error: Exception) -> bool:
    from copickfs.layers.sources.faults import meaning

    return isinstance(meaning(error, "", ""), NotFound)

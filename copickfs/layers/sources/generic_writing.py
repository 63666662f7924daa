"""The writing half of any fsspec file system."""

from __future__ import annotations

import contextlib
import errno
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from copickfs.errors import NotFound
from copickfs.layers.sources import DIRECTORY, Found
from copickfs.layers.sources.faults import meaning
from copickfs.layers.sources.writing import DIRECTORY_MARK, PIECE_BYTES, Changed, Upload, Writing
from copickfs.paths import join

if TYPE_CHECKING:
    from copickfs.layers.guard import Attempt
    from copickfs.layers.sources.generic import GenericSource

_PART_BYTES = 8 << 20
_MOST_PARTS = 9_000


class GenericWriting(Writing):
    """Writes by the calls of an fsspec file system.

    Args:
        source: Where it reads.
        fs: The file system.
        is_flat: It is an object store.
    """

    def __init__(self, source: GenericSource, fs: Any, *, is_flat: bool) -> None:
        self._source = source
        self._fs = fs
        self._is_flat = is_flat
        self._is_memory = type(fs).__name__ == "MemoryFileSystem"
        self._is_s3 = type(fs).__name__ == "S3FileSystem"
        self.is_atomic = self.forgets_directories = is_flat or self._is_memory

    def put(self, path: str, upload: Upload, attempt: Attempt) -> Found:
        """See `Writing.put`. S3 compares the version itself, at the moment of the change."""
        before = self._check(path, upload, attempt)
        if self._is_memory:
            self._call("pipe_file", attempt, self._source.full(path), Path(upload.file).read_bytes())
        elif self._is_flat:
            self._put_object(path, upload, before, attempt)
        else:
            temporary = upload.temporary(path)
            self._send(self._source.full(temporary), upload, attempt)
            self._check(path, upload, attempt)
            self._replace(temporary, path, attempt)
        attempt.progress()
        return self._source.info(path, attempt)

    def mkdir(self, path: str, attempt: Attempt) -> None:
        """See `Writing.mkdir`. In an object store an empty object in it makes a directory."""
        if not self._is_flat:
            self._call("mkdir", attempt, self._source.full(path), create_parents=False)
            return
        try:
            self._source.info(path, attempt)
        except Exception as error:
            if not isinstance(meaning(error, path, ""), NotFound):
                raise
            self.keep(path, attempt)
        else:
            raise FileExistsError(errno.EEXIST, "exists", path)

    def keep(self, path: str, attempt: Attempt) -> None:
        """See `Writing.keep`."""
        if self._is_flat:
            self._call("pipe_file", attempt, self._source.full(join(path, DIRECTORY_MARK)), b"")
        elif self.forgets_directories:
            with contextlib.suppress(FileExistsError):
                self._call("mkdir", attempt, self._source.full(path), create_parents=False)

    def rmdir(self, path: str, attempt: Attempt) -> None:
        """See `Writing.rmdir`."""
        if any(found.name != DIRECTORY_MARK for found in self._source.scan(path, attempt)):
            raise OSError(errno.ENOTEMPTY, "directory not empty", path)
        if self._is_flat:
            self._call("rm_file", attempt, self._source.full(join(path, DIRECTORY_MARK)))
        else:
            self._call("rmdir", attempt, self._source.full(path))

    def unlink(self, path: str, attempt: Attempt) -> None:
        """See `Writing.unlink`."""
        self._call("rm_file", attempt, self._source.full(path))

    def rename(self, path: str, new_path: str, attempt: Attempt) -> None:
        """See `Writing.rename`."""
        if self._is_flat or self._is_memory:
            self._move(path, new_path, attempt)
        else:
            self._replace(path, new_path, attempt)

    def _call(self, method: str, attempt: Attempt, *args: Any, **options: Any) -> Any:
        return self._source.call(method, attempt, *args, **options)

    def _check(self, path: str, upload: Upload, attempt: Attempt) -> Found | None:
        """What is at ``path``. Raises `Changed` if it may not be replaced."""
        try:
            found = self._source.info(path, attempt)
        except Exception as error:
            if isinstance(meaning(error, path, ""), NotFound):
                return None
            raise
        if found.kind == DIRECTORY or not upload.may_replace(found):
            raise Changed(found)
        return found

    def _put_object(self, path: str, upload: Upload, before: Found | None, attempt: Attempt) -> None:
        options: dict[str, Any] = {}
        if self._is_s3:
            part_bytes = max(_PART_BYTES, math.ceil(upload.size_bytes / _MOST_PARTS))
            options["chunksize"] = part_bytes
            if before is None:
                options["mode"] = "create"
            elif upload.size_bytes < 2 * part_bytes:
                options["IfMatch"] = before.etag
        try:
            full = self._source.full(path)
            self._call("put_file", attempt, upload.file, full, callback=_progress(attempt), **options)
        except OSError as error:
            if not _is_precondition(error):
                raise
            raise Changed(self._source.info(path, attempt)) from None

    def _send(self, full: str, upload: Upload, attempt: Attempt) -> None:
        if self._fs.async_impl:
            self._call("put_file", attempt, upload.file, full, callback=_progress(attempt))
            return
        with (
            self._source.turn(),
            Path(upload.file).open("rb") as source,
            self._fs.open(full, "wb") as target,
        ):
            with contextlib.suppress(AttributeError):
                target.set_pipelined(True)
            while piece := source.read(PIECE_BYTES):
                target.write(piece)
                attempt.progress()

    def _replace(self, path: str, new_path: str, attempt: Attempt) -> None:
        names = self._source.full(path), self._source.full(new_path)
        with self._source.turn():
            try:
                self._fs.mv(*names)
            except OSError as error:
                if not isinstance(error, FileExistsError) and error.errno != errno.EEXIST:
                    raise
                attempt.progress()  # a server that replaces nothing: there is a moment without the name
                self._fs.rm_file(names[1])
                self._fs.mv(*names)

    def _move(self, path: str, new_path: str, attempt: Attempt) -> None:
        """Copy and remove; a directory in the order that leaves something to be found by the next attempt."""
        if self._source.info(path, attempt).kind != DIRECTORY:
            self._call("cp_file", attempt, self._source.full(path), self._source.full(new_path))
            self._call("rm_file", attempt, self._source.full(path))
            return
        with contextlib.suppress(FileExistsError):
            self.mkdir(new_path, attempt)
        for found in self._source.scan(path, attempt):
            attempt.progress()
            if found.name != DIRECTORY_MARK:
                self._move(join(path, found.name), join(new_path, found.name), attempt)
        with contextlib.suppress(FileNotFoundError):  # it was there by what was in it
            self.rmdir(path, attempt)


def _progress(attempt: Attempt) -> Any:
    from fsspec.callbacks import Callback

    class Progress(Callback):  # type: ignore[misc] # fsspec has no types
        def relative_update(self, inc: int = 1) -> None:
            super().relative_update(inc)
            attempt.progress()

    return Progress()


def _is_precondition(error: OSError) -> bool:
    """True if an object store refused a change of another version than the one named."""
    if isinstance(error, FileExistsError):
        return True
    response = getattr(error.__cause__, "response", None) or {}
    code = response.get("Error", {}).get("Code")
    return code in ("PreconditionFailed", "412", "ConditionalRequestConflict")

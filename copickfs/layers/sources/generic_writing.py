"""The writing half of any fsspec file system."""

from __future__ import annotations

import contextlib
import errno
from pathlib import Path
from typing import TYPE_CHECKING, Any

from copickfs.errors import NotFound
from copickfs.layers.sources import DIRECTORY, Found
from copickfs.layers.sources.faults import meaning
from copickfs.layers.sources.writing import PIECE_BYTES, Changed, Upload, Writing, move_by_copies

if TYPE_CHECKING:
    from copickfs.layers.guard import Attempt
    from copickfs.layers.sources.generic import GenericSource


class GenericWriting(Writing):
    """Writes by the calls of an fsspec file system.

    Args:
        source: Where it reads.
        fs: The file system.
    """

    def __init__(self, source: GenericSource, fs: Any) -> None:
        self._source = source
        self._fs = fs
        self._is_memory = type(fs).__name__ == "MemoryFileSystem"
        self.is_atomic = self.forgets_directories = self._is_memory

    def put(self, path: str, upload: Upload, attempt: Attempt) -> Found:
        """See `Writing.put`."""
        self._check(path, upload, attempt)
        if self._is_memory:
            self._call("pipe_file", attempt, self._source.full(path), Path(upload.file).read_bytes())
        else:
            temporary = upload.temporary(path)
            self._send(self._source.full(temporary), upload, attempt)
            self._check(path, upload, attempt)
            self._replace(temporary, path, attempt)
        attempt.progress()
        return self._source.info(path, attempt)

    def mkdir(self, path: str, attempt: Attempt) -> None:
        """See `Writing.mkdir`."""
        self._call("mkdir", attempt, self._source.full(path), create_parents=False)

    def keep(self, path: str, attempt: Attempt) -> None:
        """See `Writing.keep`."""
        if self.forgets_directories:
            with contextlib.suppress(FileExistsError):
                self._call("mkdir", attempt, self._source.full(path), create_parents=False)

    def rmdir(self, path: str, attempt: Attempt) -> None:
        """See `Writing.rmdir`."""
        if self._source.scan(path, attempt):
            raise OSError(errno.ENOTEMPTY, "directory not empty", path)
        self._call("rmdir", attempt, self._source.full(path))

    def unlink(self, path: str, attempt: Attempt) -> None:
        """See `Writing.unlink`."""
        self._call("rm_file", attempt, self._source.full(path))

    def rename(self, path: str, new_path: str, attempt: Attempt) -> None:
        """See `Writing.rename`."""
        if self._is_memory:
            move_by_copies(self, self._source, path, new_path, attempt)
        else:
            self._replace(path, new_path, attempt)

    def copy(self, path: str, new_path: str, attempt: Attempt) -> None:
        """See `Copying.copy`."""
        self._call("cp_file", attempt, self._source.full(path), self._source.full(new_path))

    def _call(self, method: str, attempt: Attempt, *args: Any, **options: Any) -> Any:
        return self._source.call(method, attempt, *args, **options)

    def _check(self, path: str, upload: Upload, attempt: Attempt) -> None:
        """Raise `Changed` if what is at ``path`` may not be replaced."""
        try:
            found = self._source.info(path, attempt)
        except Exception as error:
            if isinstance(meaning(error, path, ""), NotFound):
                return
            raise
        if found.kind == DIRECTORY or not upload.may_replace(found):
            raise Changed(found)

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


def _progress(attempt: Attempt) -> Any:
    from fsspec.callbacks import Callback

    class Progress(Callback):  # type: ignore[misc] # fsspec has no types
        def relative_update(self, inc: int = 1) -> None:
            super().relative_update(inc)
            attempt.progress()

    return Progress()

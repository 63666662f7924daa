"""The writing half of an object store.

An object appears whole, and a small one only in the place of the version that it may replace: the store
compares the two at the moment of the change. A large one goes in parts, for which obstore has no such
condition: it is compared before it is sent.
"""

from __future__ import annotations

import contextlib
import errno
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import obstore

from copickfs.errors import NotFound, Stale, Unavailable
from copickfs.layers.sources import DIRECTORY, Found
from copickfs.layers.sources.store_client import found_by
from copickfs.layers.sources.writing import DIRECTORY_MARK, Changed, Upload, Writing, move_by_copies
from copickfs.paths import join, split

if TYPE_CHECKING:
    from collections.abc import Iterator

    from obstore import ObjectMeta, PutMode, PutResult, UpdateVersion

    from copickfs.layers.guard import Attempt
    from copickfs.layers.sources.store import StoreSource
    from copickfs.layers.sources.store_client import StoreClient

PART_BYTES = 8 << 20
WHOLE_BYTES = 2 * PART_BYTES
"""Up to this size a file is sent in one request, on the condition that nobody else has changed it."""

_MOST_PARTS = 9_000
_PARTS_AT_A_TIME = 2
_SLOWEST = 64 << 10
"""Bytes a second; of what is sent nothing is heard before it has arrived."""

_COPIED = 4 << 20
"""Bytes a second that a store copies at least."""

_COPY_LIMIT_BYTES = 5 << 30
SILENCE_S = _PARTS_AT_A_TIME * PART_BYTES / _SLOWEST
"""How long a request may say nothing while it sends."""


class StoreWriting(Writing):
    """Writes to a bucket or container.

    Args:
        source: Where it is read.
        client: Lets a request be silent for as long as sending takes.
    """

    is_atomic = forgets_directories = True

    def __init__(self, source: StoreSource, client: StoreClient) -> None:
        self._source = source
        self._client = client
        self._compares = True

    def put(self, path: str, upload: Upload, attempt: Attempt) -> Found:
        """See `Writing.put`."""
        before = self._check(path, upload)
        if upload.size_bytes <= WHOLE_BYTES:
            result = self._put_whole(path, upload, before, attempt)
        else:
            result = self._put_parts(path, upload, attempt)
        attempt.expect(0)
        # What is there now may be somebody else's already; ours is what was put.
        return self._source.info(path, attempt)._replace(etag=result["e_tag"] or "")

    def mkdir(self, path: str, attempt: Attempt) -> None:
        """See `Writing.mkdir`. An empty object in it makes a directory."""
        try:
            self._source.info(path, attempt)
        except NotFound:
            self.keep(path, attempt)
        else:
            raise FileExistsError(errno.EEXIST, "exists", path)

    def keep(self, path: str, attempt: Attempt) -> None:
        """See `Writing.keep`."""
        self._ask("put", join(path, DIRECTORY_MARK), b"")
        attempt.progress()

    def rmdir(self, path: str, attempt: Attempt) -> None:
        """See `Writing.rmdir`."""
        if any(found.name != DIRECTORY_MARK for found in self._source.scan(path, attempt)):
            raise OSError(errno.ENOTEMPTY, "directory not empty", path)
        attempt.expect(0)
        with contextlib.suppress(NotFound):
            self._ask("delete", join(path, DIRECTORY_MARK))

    def unlink(self, path: str, attempt: Attempt) -> None:
        """See `Writing.unlink`."""
        self._ask("delete", path)
        attempt.progress()

    def rename(self, path: str, new_path: str, attempt: Attempt) -> None:
        """See `Writing.rename`."""
        move_by_copies(self, self._source, path, new_path, attempt)

    def copy(self, path: str, new_path: str, attempt: Attempt) -> None:
        """See `Copying.copy`. Raises `Unavailable` if it has not come there whole."""
        size_bytes = self._source.info(path, attempt).size_bytes
        attempt.expect(size_bytes / _COPIED)
        if size_bytes <= _COPY_LIMIT_BYTES:
            self._ask("copy", path, self._client.full(new_path))
        else:
            pieces = self._client.ask(obstore.get, path).stream(min_chunk_size=PART_BYTES)
            self._send_parts(new_path, size_bytes, pieces, attempt)
        attempt.expect(0)
        if self._source.info(new_path, attempt).size_bytes != size_bytes:
            raise Unavailable(f"{new_path!r} is not as long as {path!r}, of which it is a copy")

    def _ask(self, method: str, path: str, *args: Any, **options: Any) -> Any:
        """One request that changes something."""
        return self._client.ask(getattr(obstore, method), path, *args, **options)

    def _check(self, path: str, upload: Upload) -> ObjectMeta | None:
        """What is at ``path``. Raises `Changed` if it may not be replaced."""
        try:
            meta = self._client.head(path)
        except NotFound:
            if self._client.has_something(path):
                raise Changed(Found(split(path)[1], DIRECTORY)) from None
            return None
        if not upload.may_replace(found_by(meta)):
            raise Changed(found_by(meta))
        return meta

    def _put_whole(self, path: str, upload: Upload, before: ObjectMeta | None, attempt: Attempt) -> PutResult:
        data = Path(upload.file).read_bytes()
        mode: PutMode = "create" if before is None else _version(before)
        attempt.expect(upload.size_bytes / _SLOWEST)
        if self._compares:
            try:
                return self._put(path, data, mode)
            except (Stale, FileExistsError):
                raise Changed(self._source.info(path, attempt)) from None
            except OSError as error:
                if error.errno != errno.EOPNOTSUPP:
                    raise
                self._compares = False  # a store that knows no conditions: it was compared just before
        return self._put(path, data, "overwrite")

    def _put(self, path: str, data: bytes, mode: PutMode) -> PutResult:
        result: PutResult = self._ask("put", path, data, mode=mode, use_multipart=False)
        return result

    def _put_parts(self, path: str, upload: Upload, attempt: Attempt) -> PutResult:
        with Path(upload.file).open("rb") as file:
            pieces = iter(lambda: file.read(PART_BYTES), b"")
            return self._send_parts(path, upload.size_bytes, pieces, attempt)

    def _send_parts(self, path: str, size_bytes: int, pieces: Iterator[Any], attempt: Attempt) -> PutResult:
        """Send an object in parts; obstore takes them back if one fails."""
        part_bytes = max(PART_BYTES, math.ceil(size_bytes / _MOST_PARTS))

        def watched() -> Iterator[Any]:
            for piece in pieces:
                attempt.expect(_PARTS_AT_A_TIME * part_bytes / _SLOWEST)
                yield piece

        result: PutResult = self._ask(
            "put",
            path,
            watched(),
            use_multipart=True,
            chunk_size=part_bytes,
            max_concurrency=_PARTS_AT_A_TIME,
        )
        self._client.more(math.ceil(size_bytes / part_bytes) + 1)
        return result


def _version(meta: ObjectMeta) -> PutMode:
    """What is said of the version that is to be replaced: to S3 and Azure one thing, to Google another."""
    mode: UpdateVersion = {"e_tag": meta["e_tag"]}
    if meta["version"] is not None:
        mode["version"] = meta["version"]
    return mode

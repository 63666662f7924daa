"""Requests to a bucket or container, by obstore: each is counted, and each exception gets its meaning."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, TypeVar

import obstore

from copickfs.errors import NotFound, Unavailable
from copickfs.layers.sources import FILE, Counters, Found
from copickfs.layers.sources.forked import note_use
from copickfs.layers.sources.store_answers import OddKey, answer, failed
from copickfs.layers.sources.store_options import is_library_fault
from copickfs.layers.sources.writing import DIRECTORY_MARK
from copickfs.paths import join

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from obstore import ObjectMeta

    from copickfs.layers.sources.store_options import Place

T = TypeVar("T")


class StoreClient:
    """A directory of a bucket or container. Thread-safe.

    Args:
        place: Where it is.
        counters: Told of requests.
        silence_s: After how much silence a request is given up.
    """

    def __init__(self, place: Place, counters: Counters, silence_s: float) -> None:
        note_use()
        self.page_keys = place.page_keys
        self._root = place.root
        self._store = place.make(silence_s)
        self._counters = counters

    def full(self, path: str) -> str:
        """The key for a path of the layer; ``""`` for the root of a bucket."""
        return join(self._root, path) if path else self._root

    def ask(self, call: Callable[..., T], path: str, *args: Any, **options: Any) -> T:
        """The answer of one of obstore's functions for ``path``. Raises what `answer` says."""
        self._counters.request()
        with _answers(path):
            return call(self._store, self.full(path), *args, **options)

    def more(self, requests: int) -> None:
        """An answer has taken so many requests besides the first."""
        for _ in range(requests):
            self._counters.request()

    def pieces(self, stream: Iterator[T], path: str) -> Iterator[T]:
        """What comes of a stream of ``path``. Raises what `answer` says."""
        with _answers(path):
            yield from stream

    def head(self, path: str) -> ObjectMeta:
        """What the store says of an object. Raises `NotFound`."""
        meta = self.ask(obstore.head, path)
        if meta["e_tag"] is None:
            raise Unavailable("an answer without an ETag, which is none of an object store")
        return meta

    def is_object(self, path: str) -> bool:
        """True if there is an object. At the root of a bucket any key does: it shows that a store answers.

        An answer that is no listing, such as the page of a proxy, reads as an empty one: so nothing is
        taken for absent before the store has said so twice.
        """
        try:
            self.head(path if self.full(path) else DIRECTORY_MARK)
        except NotFound:
            return False
        return True

    def has_something(self, path: str) -> bool:
        """True if there is a key below ``path``."""
        try:
            return any(self.pieces(self.ask(obstore.list, path, chunk_size=1), path))
        except OddKey:
            return True


@contextlib.contextmanager
def _answers(path: str) -> Iterator[None]:
    """Around what obstore does for ``path``. Raises what `answer` says."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever it is, it gets its meaning here
        raise answer(error, path) from None
    except BaseException as error:
        if not is_library_fault(error):
            raise
        raise failed(error) from None


def found_by(meta: ObjectMeta) -> Found:
    """The file that an object is, the same by a listing and by an answer of its own.

    Times are in seconds, for some stores tell more in listings; Azure leaves the quotes of an ETag out there.
    """
    mtime_ns = int(meta["last_modified"].timestamp()) * 1_000_000_000
    etag = meta["e_tag"] or ""
    if etag and not etag.endswith('"'):
        etag = f'"{etag}"'
    return Found(meta["path"].rpartition("/")[2], FILE, meta["size"], mtime_ns, etag)

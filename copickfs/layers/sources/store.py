"""Object stores, by obstore: S3 and what speaks like it, Google Cloud Storage, Azure.

A directory is there by what is in it. What is asked for is asked for once: listings come in pages of a
thousand keys, and a read names the version that it wants, so that the bytes and the version come together.
"""

from __future__ import annotations

import errno
import threading
from typing import TYPE_CHECKING

import obstore

from copickfs.errors import AccessDenied, NotADirectory, NotFound, Stale, Unavailable
from copickfs.layers.sources import DIRECTORY, Counters, Found
from copickfs.layers.sources.store_answers import OddKey
from copickfs.layers.sources.store_client import StoreClient, found_by
from copickfs.layers.sources.store_digests import Digests
from copickfs.layers.sources.store_listing import listed, listed_below

if TYPE_CHECKING:
    from collections.abc import Callable

    from obstore import GetOptions

    from copickfs.layers.guard import Attempt
    from copickfs.layers.sources import Source
    from copickfs.layers.sources.store_options import Place
    from copickfs.layers.sources.writing import Writing
    from copickfs.model import ByteRange

_PIECE_BYTES = 128 << 10
_LISTING_LIMIT_S = 3_600.0
"""Of the listing of a directory, of which each page has the layer's time limit: obstore watches that."""


class StoreSource:
    """A directory of a bucket or container.

    Args:
        place: Where it is, and how it is asked.
        counters: Told of requests.
        silence_s: After how much silence a request is given up.
        lenient: Makes a source that can list keys that are no paths to obstore.
    """

    def __init__(
        self, place: Place, counters: Counters, silence_s: float, lenient: Callable[[], Source]
    ) -> None:
        self._place = place
        self._counters = counters
        self._silence_s = silence_s
        self._client = StoreClient(place, counters, silence_s)
        self._digests = Digests()
        self._make_lenient = lenient
        self._lenient: Source | None = None
        self._writing: Writing | None = None
        self._lock = threading.Lock()

    def probe(self, attempt: Attempt) -> None:
        """See `Source.probe`. The root of a bucket is there even if nothing is in it."""
        if not self._client.has_something("") and self.info("", attempt).kind != DIRECTORY:
            raise NotADirectory("")

    def scan(self, path: str, attempt: Attempt) -> list[Found]:
        """See `Source.scan`."""
        attempt.expect(_LISTING_LIMIT_S)
        try:
            listing = listed(self._client, path)
        except OddKey as odd:
            attempt.progress()
            return _in_seconds(self._lenient_for(odd).scan(path, attempt))
        attempt.progress()
        if not listing and self._client.is_object(path):
            raise NotADirectory(path)
        if not listing and self._client.full(path):
            raise NotFound(path)
        return [found for found in listing.values() if found.name]

    def tree(
        self, path: str, directories: list[str], attempt: Attempt, keep: Callable[[str, list[Found]], None]
    ) -> None:
        """See `Source.tree`. One flat listing."""
        try:
            listings = listed_below(self._client, path, attempt)
        except OddKey as odd:
            lenient = self._lenient_for(odd)
            lenient.tree(path, directories, attempt, lambda at, listing: keep(at, _in_seconds(listing)))
            return
        if missing := [name for name in directories if name not in listings]:
            raise Unavailable(f"{path!r} changed while it was listed: {missing[0]!r} is gone")
        for relative, listing in listings.items():
            if relative:
                keep(relative, list(listing.values()))

    def info(self, path: str, attempt: Attempt) -> Found:
        """See `Source.info`. An object goes before what is below its name."""
        denied: AccessDenied | None = None
        client = self._client
        try:
            if client.full(path):
                return found_by(client.head(path))
        except NotFound:
            pass
        except AccessDenied as error:  # also said of what is not there, to one who may not list
            denied = error
        attempt.progress()
        if client.has_something(path) or not (client.full(path) or client.is_object(path)):
            return Found(path.rpartition("/")[2], DIRECTORY)
        raise denied or NotFound(path)

    def read(self, path: str, span: ByteRange, found: Found, attempt: Attempt) -> bytes:
        """See `Source.read`. The store compares the version, and its answer is looked at once more."""

        def fetch() -> bytes:
            return self._fetched(path, span, found, attempt)

        is_whole = span.size_bytes == found.size_bytes
        return self._digests.checked(found.etag, path, fetch) if is_whole else fetch()

    def _fetched(self, path: str, span: ByteRange, found: Found, attempt: Attempt) -> bytes:
        options: GetOptions = {}
        if found.etag and not found.etag.startswith("W/"):
            options["if_match"] = found.etag
        if span.size_bytes != found.size_bytes:
            options["range"] = (span.start, span.stop)
        try:
            result = self._client.ask(obstore.get, path, options=options)
        except NotFound:
            raise Stale(path) from None
        attempt.progress()
        now = found_by(result.meta)
        if found.etag and now.etag == found.etag and now.size_bytes != found.size_bytes:
            raise Unavailable(f"an answer of {now.size_bytes} bytes for a version of {found.size_bytes}")
        if now.size_bytes != found.size_bytes or (found.etag and now.etag != found.etag):
            raise Stale(path)
        pieces = []
        for piece in self._client.pieces(result.stream(min_chunk_size=_PIECE_BYTES), path):
            attempt.progress()
            pieces.append(piece)
        data = b"".join(pieces)
        if len(data) != span.size_bytes or tuple(result.range) != (span.start, span.stop):
            raise Unavailable(f"{len(data)} bytes came for {span.size_bytes}")
        return data

    def readlink(self, path: str, attempt: Attempt) -> str:  # noqa: ARG002 - the protocol's signature
        """Object stores have no links."""
        raise OSError(errno.EINVAL, f"not a symbolic link: {path!r}")

    def writing(self) -> Writing:
        """See `Source.writing`."""
        from copickfs.layers.sources.store_writing import SILENCE_S, StoreWriting

        with self._lock:
            if self._writing is None:
                client = StoreClient(self._place, self._counters, self._silence_s + SILENCE_S)
                self._writing = StoreWriting(self, client)
            return self._writing

    def is_lost(self, error: BaseException) -> bool:  # noqa: ARG002 - the protocol's signature
        """Never: each request finds its own connection."""
        return False

    def close(self) -> None:
        """Nothing is held but idle connections, which go with the source."""
        with self._lock:
            lenient, self._lenient = self._lenient, None
        if lenient is not None:
            lenient.close()

    def _lenient_for(self, odd: OddKey) -> Source:
        """Who lists keys that are no paths. Raises EILSEQ if nobody does."""
        with self._lock:
            try:
                self._lenient = self._lenient or self._make_lenient()
            except Exception:  # noqa: BLE001 - whatever keeps it from being made, the key is the trouble
                remedy = f"rename it, or install {self._place.package} to have the other keys listed"
                raise OSError(errno.EILSEQ, f"{odd}; {remedy}") from None
            return self._lenient


def _in_seconds(listing: list[Found]) -> list[Found]:
    """A listing with times as `found_by` has them."""
    return [found._replace(mtime_ns=found.mtime_ns // 1_000_000_000 * 1_000_000_000) for found in listing]

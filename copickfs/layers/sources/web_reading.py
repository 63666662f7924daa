"""Contents of files on web servers, by obstore: for each byte a fifth of the processor time of aiohttp."""

from __future__ import annotations

import errno
import re
import urllib.request
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from copickfs.errors import Stale, Unavailable
from copickfs.layers.sources import FILE, Found, RangesIgnored
from copickfs.layers.sources.forked import is_usable, note_use
from copickfs.layers.sources.store_answers import failed, said_of
from copickfs.layers.sources.store_options import QUICK_RETRIES, is_library_fault
from copickfs.layers.sources.web_answers import GONE, check, check_same

if TYPE_CHECKING:
    from collections.abc import Mapping

    from copickfs.layers.guard import Attempt
    from copickfs.model import ByteRange

_PIECE_BYTES = 128 << 10
_SILENCE = 0.95
_NOT_AS_LISTED = GONE | {416}
_OTHER_RANGE = re.compile(r"Requested \d+\.\.\d+, got ")
_UNFIT = re.compile(r"Content-Length|certificate", re.IGNORECASE)
"""Errors in which obstore asks more of a server than aiohttp does, or trusts others."""


class Unfit(Exception):
    """This is not to be read by obstore.

    Args:
        for_good: Nor is anything else of this server.
    """

    def __init__(self, *, for_good: bool) -> None:
        super().__init__()
        self.for_good = for_good


class WebReader:
    """Reads files below one address.

    Args:
        base_url: The address, with its query.
        headers: Sent with every request.
        timeout_s: Silence after which a request is given up.
    """

    def __init__(self, base_url: str, headers: Mapping[str, str], timeout_s: float) -> None:
        from obstore.store import HTTPStore

        note_use()
        self._store = HTTPStore.from_url(
            base_url,
            client_options={
                "allow_http": True,
                "connect_timeout": timedelta(seconds=timeout_s),
                "read_timeout": timedelta(seconds=_SILENCE * timeout_s),
                "timeout": timedelta(days=1),
                "default_headers": dict(headers),
            },
            retry_config=QUICK_RETRIES,
        )

    def read(self, path: str, span: ByteRange, found: Found, attempt: Attempt) -> bytes:
        """See `Source.read`. Raises `Unfit` for what the other way may be able to read."""
        import obstore

        is_part = span.size_bytes != found.size_bytes
        pieces = []
        try:
            result = obstore.get(
                self._store, path, options={"range": (span.start, span.stop)} if is_part else {}
            )
            attempt.progress()
            self._check(path, found, result)
            for piece in result.stream(min_chunk_size=_PIECE_BYTES):
                attempt.progress()
                pieces.append(piece)
        except (Stale, OSError) as error:
            if isinstance(error, FileNotFoundError):
                raise Stale(path) from None
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it gets its meaning here
            raise _answer(error, path) from None
        except BaseException as error:
            if not is_library_fault(error):
                raise
            raise failed(error) from None
        data = b"".join(pieces)
        if len(data) != span.size_bytes:
            raise Unavailable(f"{len(data)} bytes came for {span.size_bytes}")
        return data

    @staticmethod
    def _check(path: str, found: Found, result: Any) -> None:
        if result.attributes.get("Content-Encoding", "identity") not in ("", "identity"):
            raise OSError(errno.EOPNOTSUPP, f"the server sends {path!r} compressed")
        meta = result.meta
        mtime_ns = int(meta["last_modified"].timestamp()) * 1_000_000_000
        check_same(path, found, Found(found.name, FILE, meta["size"], mtime_ns, meta["e_tag"] or ""))


def is_fit_for(url: str, options: Mapping[str, Any], session: Mapping[str, Any]) -> bool:
    """True if obstore can ask for ``url`` as aiohttp would: without options of that, and without a proxy."""
    return (
        is_usable()
        and not options
        and not session
        and not urllib.request.getproxies().get(url.partition(":")[0])
    )


def _answer(error: Exception, path: str) -> Exception:
    if isinstance(error, ValueError):
        return Unfit(for_good=False)  # no path to obstore
    said = said_of(error)
    if said.status in _NOT_AS_LISTED:
        return Stale(path)
    if said.status:
        try:
            check(said.status, path)
        except Exception as answered:  # noqa: BLE001 - this is what it means
            return answered
    if type(error).__name__ == "NotSupportedError":
        return RangesIgnored(path)
    if _OTHER_RANGE.search(said.text):
        return Unavailable("the server sent another range than it was asked for")
    return Unfit(for_good=True) if _UNFIT.search(said.text) else Unavailable(said.text)

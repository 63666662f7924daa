"""HTTP and HTTPS, in the session that fsspec's HTTPFileSystem has made, by requests of our own.

Its file calls are not used: ``info``, ``isdir`` and ``exists`` answer an outage with an absence, and
``ls`` knows neither sizes nor percent-encoded names.
"""

from __future__ import annotations

import asyncio
import base64
import errno
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

import aiohttp
import yarl

from copickfs.errors import AccessDenied, NotADirectory, NotFound, Stale, Unavailable
from copickfs.layers.sources import DIRECTORY, FILE, SEALED, Counters, Found, RangesIgnored
from copickfs.layers.sources.looped import all_of, wait_for, walk
from copickfs.layers.sources.web_answers import (
    DENIED,
    GONE,
    check,
    check_version,
    first_byte,
    found_by,
    is_plain,
    total_bytes,
)
from copickfs.layers.sources.web_listing import parse_json, parse_page
from copickfs.layers.sources.web_reading import Unfit, WebReader, is_fit_for
from copickfs.paths import ARRAY_METADATA, join, store_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from copickfs.layers.guard import Attempt
    from copickfs.layers.sources.web_listing import WebListing
    from copickfs.layers.sources.writing import Writing
    from copickfs.model import ByteRange

_HEADS_AT_A_TIME = 16
_SCANS_AT_A_TIME = 4
_PIECE_BYTES = 256 << 10
_LONGEST_LISTING_BYTES = 256 << 20
_THERE = frozenset({200, 403})
"""Answers for a directory that is there, listed or not."""

_NOT_AS_LISTED = GONE | {416}
_FAMILIAR = ("ExperimentRuns/", "copick_config.json", "config.json", ".zgroup", ".zattrs", "zarr.json")


class HttpSource:
    """A directory of a web server. One session serves all requests and mends itself.

    Args:
        fs: An ``HTTPFileSystem``, which nobody else uses.
        root_url: The directory; user name and password in it are sent as basic authentication, and
            its query is sent with every request.
        counters: Told of requests.
        timeout_s: Silence after which a connection is given up.
    """

    def __init__(self, fs: Any, root_url: str, counters: Counters, timeout_s: float) -> None:
        parts = urlsplit(root_url)
        self._fs = fs
        self._loop: asyncio.AbstractEventLoop = fs.loop
        self._counters = counters
        self._base = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"
        self._query = f"?{parts.query}" if parts.query else ""
        self._options: dict[str, Any] = dict(fs.kwargs)
        self._headers: dict[str, str] = {**self._options.pop("headers", {}), "Accept-Encoding": "identity"}
        is_fit = is_fit_for(root_url, self._options, fs.client_kwargs)
        self._options.setdefault(
            "timeout", aiohttp.ClientTimeout(total=None, sock_connect=timeout_s, sock_read=timeout_s)
        )
        if parts.username is not None and "auth" not in self._options:
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
            self._headers.setdefault("Authorization", f"Basic {base64.b64encode(login).decode()}")
        self._reader: WebReader | None = None
        if is_fit:
            self._reader = WebReader(f"{self._base}{self._query}", self._headers, timeout_s)
        self._heads = asyncio.Semaphore(_HEADS_AT_A_TIME)
        self.root_is_unlisted = False

    def probe(self, attempt: Attempt) -> None:
        """See `Source.probe`. A root that is not listed is well if the server knows a name in it."""
        wait_for(self._loop, self._probe(), attempt)

    def scan(self, path: str, attempt: Attempt) -> list[Found]:
        """See `Source.scan`. Most servers tell no sizes: every file is asked for its own."""
        scan = self._with_documents if store_of(path) else self._scan
        return wait_for(self._loop, scan(path, attempt), attempt)

    def tree(
        self, path: str, directories: list[str], attempt: Attempt, keep: Callable[[str, list[Found]], None]
    ) -> None:
        """See `Source.tree`."""
        listings = walk(path, directories, lambda d: self._scan(d, attempt), keep, at_a_time=_SCANS_AT_A_TIME)
        wait_for(self._loop, listings, attempt)

    def info(self, path: str, attempt: Attempt) -> Found:
        """See `Source.info`. A store is a directory if it has a zarr document."""
        return wait_for(self._loop, self._info(path), attempt)

    def files(self, directory: str, names: list[str], attempt: Attempt) -> list[Found]:
        """See `ByName.files`."""
        entries = [Found(name, FILE) for name in names]
        found = wait_for(self._loop, self._completed(directory, entries, attempt), attempt)
        # The server answers for the last component; the array wants the way from its directory.
        named = zip(names, found, strict=True)
        return [one._replace(name=name) for name, one in named if one is not None and one.kind != DIRECTORY]

    def read(self, path: str, span: ByteRange, found: Found, attempt: Attempt) -> bytes:
        """See `Source.read`. The version comes with the bytes."""
        reader = self._reader
        if reader is not None:
            self._counters.request()
            try:
                return reader.read(path, span, found, attempt)
            except Unfit as unfit:
                self._reader = None if unfit.for_good else reader
        return wait_for(self._loop, self._read(path, span, found, attempt), attempt)

    def readlink(self, path: str, attempt: Attempt) -> str:  # noqa: ARG002 - the protocol's signature
        """Web servers show no links."""
        raise OSError(errno.EINVAL, f"not a symbolic link: {path!r}")

    def writing(self) -> Writing:
        """A web server is never written."""
        raise OSError(errno.EROFS, "web servers cannot be written")

    def is_lost(self, error: BaseException) -> bool:  # noqa: ARG002 - the protocol's signature
        """Never: each request finds its own connection."""
        return False

    def close(self) -> None:
        """Hang up."""
        session, self._fs._session = self._fs._session, None  # noqa: SLF001 - fsspec has no public way
        if session is not None and self._loop.is_running():
            asyncio.run_coroutine_threadsafe(session.close(), self._loop)

    def _url(self, path: str, *, directory: bool = False) -> yarl.URL:
        quoted = "/".join(quote(part.encode("utf-8", "surrogateescape"), safe="") for part in path.split("/"))
        return yarl.URL(
            f"{self._base}{'/' if path else ''}{quoted}{'/' if directory else ''}{self._query}", encoded=True
        )

    @asynccontextmanager
    async def _request(
        self, method: str, url: yarl.URL, **headers: str
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        self._counters.request()
        session: aiohttp.ClientSession = await self._fs.set_session()
        sent = {**self._headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        async with session.request(
            method, url, **{"allow_redirects": True, **self._options, "headers": sent}
        ) as response:
            yield response

    async def _probe(self) -> None:
        async with self._request("GET", self._url("", directory=True)) as response:
            status = response.status
            is_file = not response.url.raw_path.endswith("/")
        if status not in DENIED | GONE:
            check(status, "")
        if is_file and status == HTTPStatus.OK:
            raise NotADirectory("")
        if status in GONE and not self.root_is_unlisted and not await self._knows_a_name():
            raise NotFound("")
        self.root_is_unlisted = status in DENIED | GONE

    async def _knows_a_name(self) -> bool:
        for name in _FAMILIAR:
            async with self._request("HEAD", self._url(name)) as response:
                if response.status < HTTPStatus.BAD_REQUEST:
                    return True
        return False

    async def _scan(self, path: str, attempt: Attempt) -> list[Found]:
        listing = await self._listed(path, attempt)
        if listing.complete:
            return listing.entries
        return [found for found in await self._completed(path, listing.entries, attempt) if found is not None]

    async def _with_documents(self, path: str, attempt: Attempt) -> list[Found]:
        """A listing in a store, with the zarr documents: many servers list no dot-names."""
        entries = await self._scan(path, attempt)
        if any(found.name.startswith(".") for found in entries):
            return entries
        documents = [Found(name, FILE) for name in sorted(ARRAY_METADATA) if name.startswith(".")]
        return entries + [
            found for found in await self._completed(path, documents, attempt) if found is not None
        ]

    async def _listed(self, path: str, attempt: Attempt) -> WebListing:
        async with self._request("GET", self._url(path, directory=True)) as response:
            if response.status == HTTPStatus.FORBIDDEN or (response.status in GONE and self.root_is_unlisted):
                raise AccessDenied(path)
            check(response.status, path)
            body = bytearray()
            async for piece in response.content.iter_chunked(_PIECE_BYTES):
                body += piece
                attempt.progress()
                if len(body) > _LONGEST_LISTING_BYTES:
                    raise AccessDenied(path)
            text = body.decode("utf-8", "surrogateescape")
            framed = "Content-Length" in response.headers or response.headers.get("Transfer-Encoding")
        if response.content_type == "application/json":
            listing = await asyncio.to_thread(parse_json, text)
        else:
            listing = await asyncio.to_thread(parse_page, text, str(response.url).partition("?")[0])
            if listing is not None and not framed and "</html>" not in text[-1000:].lower():
                raise Unavailable("the listing came without its end")
        if listing is None:
            raise AccessDenied(path)
        return listing

    async def _completed(self, path: str, entries: list[Found], attempt: Attempt) -> list[Found | None]:
        async def complete(found: Found) -> Found | None:
            if found.kind != FILE:
                return found
            async with self._heads:
                try:
                    return await self._head(join(path, found.name))
                except NotFound:
                    return None  # listed, but gone, or a link that leads nowhere
                except AccessDenied:
                    return Found(found.name, SEALED)
                finally:
                    attempt.progress()

        return await all_of([complete(found) for found in entries])

    async def _head(self, path: str) -> Found:
        name = path.rpartition("/")[2]
        async with self._request("HEAD", self._url(path)) as response:
            if response.status in _THERE and response.url.raw_path.endswith("/"):
                return Found(name, DIRECTORY)
            if response.status not in (HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED):
                check(response.status, path)
                if "Content-Length" in response.headers and is_plain(response):
                    return found_by(name, int(response.headers["Content-Length"]), response)
        async with self._request("GET", self._url(path), Range="bytes=0-0") as response:
            if response.status != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                check(response.status, path)
            size = total_bytes(response)
            return found_by(name, size, response) if size is not None else Found(name, SEALED)

    async def _info(self, path: str) -> Found:
        try:
            return await self._head(path)
        except NotFound:
            name = path.rpartition("/")[2]
        async with self._request("HEAD", self._url(path, directory=True)) as response:
            if response.status in _THERE:
                return Found(name, DIRECTORY)
            if response.status not in GONE:
                check(response.status, path)
        if store_of(path):
            for document in sorted(ARRAY_METADATA):
                async with self._request("HEAD", self._url(join(path, document))) as response:
                    if response.status == HTTPStatus.OK:
                        return Found(name, DIRECTORY)
                    if response.status not in GONE:
                        check(response.status, path)
        raise NotFound(path)

    async def _read(self, path: str, span: ByteRange, found: Found, attempt: Attempt) -> bytes:
        is_part = span.size_bytes != found.size_bytes
        headers = {"Range": f"bytes={span.start}-{span.stop - 1}"} if is_part else {}
        async with self._request("GET", self._url(path), **headers) as response:
            if response.status in _NOT_AS_LISTED:
                raise Stale(path)
            check(response.status, path)
            if not is_plain(response):
                raise OSError(errno.EOPNOTSUPP, f"the server sends {path!r} compressed")
            check_version(path, found, response)
            if response.status != HTTPStatus.PARTIAL_CONTENT and is_part:
                raise RangesIgnored(path)
            if response.status == HTTPStatus.PARTIAL_CONTENT and first_byte(response) != span.start:
                raise Unavailable("the server sent another range than it was asked for")
            data = bytearray()
            async for piece in response.content.iter_chunked(_PIECE_BYTES):
                data += piece
                attempt.progress()
                if len(data) > span.size_bytes:
                    raise Unavailable("the server sent more than it was asked for")
        if len(data) != span.size_bytes:
            raise Unavailable(f"{len(data)} bytes came for {span.size_bytes}")
        return bytes(data)

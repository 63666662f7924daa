"""SFTP, on the connection that sshfs has made, by asyncssh's own calls.

sshfs's file calls are not used: it fetches whole files where a range is asked for, and asyncssh's
``read`` fills what a server leaves out of the middle of an answer with zeros.
"""

from __future__ import annotations

import asyncio
import stat
from typing import TYPE_CHECKING, Any, cast

import asyncssh

from copickfs.errors import NotADirectory, Stale, Unavailable
from copickfs.layers.sources import DIRECTORY, FILE, LINK, SEALED, Counters, Found, leads_back
from copickfs.layers.sources.faults import meaning
from copickfs.layers.sources.looped import first_of, wait_for, walk

if TYPE_CHECKING:
    from collections.abc import Callable

    from copickfs.layers.guard import Attempt
    from copickfs.layers.sources.writing import Writing
    from copickfs.model import ByteRange

_SCANS_AT_A_TIME = 8
_REQUEST_BYTES = 255 << 10
"""One READ request: what OpenSSH's server grants at most."""

_REQUESTS_AT_A_TIME = 16

_NOT_THERE = (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath)
_DANGLING = (*_NOT_THERE, asyncssh.SFTPLinkLoop, asyncssh.SFTPFailure, asyncssh.SFTPPermissionDenied)


class SshSource:
    """One SSH connection with two SFTP channels, so that a long read holds up no lookup.

    Args:
        fs: An ``sshfs.SSHFileSystem``, which nobody else uses.
        root: Path of the layer's root on the server.
        counters: Told of requests.
    """

    def __init__(self, fs: Any, root: str, counters: Counters) -> None:
        self._fs = fs
        self._loop: asyncio.AbstractEventLoop = fs.loop
        self._root = root.rstrip("/") or "/"
        self._counters = counters
        self._channels: dict[bool, asyncio.Task[asyncssh.SFTPClient]] = {}

    def probe(self, attempt: Attempt) -> None:
        """See `Source.probe`."""
        if self.info("", attempt).kind != DIRECTORY:
            raise NotADirectory("")

    def scan(self, path: str, attempt: Attempt) -> list[Found]:
        """See `Source.scan`."""
        return wait_for(self._loop, self._scan(path, attempt), attempt)

    def tree(
        self, path: str, directories: list[str], attempt: Attempt, keep: Callable[[str, list[Found]], None]
    ) -> None:
        """See `Source.tree`."""

        async def scan(directory: str) -> list[Found]:
            try:
                return await self._scan(directory, attempt)
            except asyncssh.SFTPError as error:
                raise meaning(error, directory, str(error)) from None

        wait_for(self._loop, walk(path, directories, scan, keep, at_a_time=_SCANS_AT_A_TIME), attempt)

    def info(self, path: str, attempt: Attempt) -> Found:
        """See `Source.info`."""

        async def info() -> Found:
            self._counters.request()
            client = await self._client(reading=False)
            return found_of(path.rpartition("/")[2], await client.stat(self._full(path)))

        return wait_for(self._loop, info(), attempt)

    def read(self, path: str, span: ByteRange, found: Found, attempt: Attempt) -> bytes:
        """See `Source.read`. The open handle is asked for its version after the bytes have come."""
        return wait_for(self._loop, self._read(path, span, found, attempt), attempt)

    def readlink(self, path: str, attempt: Attempt) -> str:
        """See `Source.readlink`."""

        async def readlink() -> str:
            self._counters.request()
            client = await self._client(reading=False)
            return _text(await client.readlink(self._full(path)))

        return wait_for(self._loop, readlink(), attempt)

    def writing(self) -> Writing:
        """See `Source.writing`."""
        from copickfs.layers.sources.ssh_writing import SshWriting

        return SshWriting(self._loop, lambda: self._client(reading=True), self._full, self._counters)

    def is_lost(self, error: BaseException) -> bool:
        """See `Source.is_lost`."""
        gone = asyncssh.DisconnectError | asyncssh.SFTPConnectionLost | asyncssh.SFTPNoConnection
        return isinstance(error, gone | ConnectionError | asyncssh.ChannelOpenError) or self._closed

    def close(self) -> None:
        """Hang up without a goodbye, for which a dead server would have to be waited."""
        if self._loop.is_running():
            self._loop.call_soon_threadsafe(self._fs.client.abort)

    @property
    def _closed(self) -> bool:
        closed: bool = self._fs.client.is_closed()
        return closed

    def _full(self, path: str) -> bytes:
        full = f"{self._root.rstrip('/')}/{path}" if path else self._root
        return full.encode("utf-8", "surrogateescape")

    async def _client(self, *, reading: bool) -> asyncssh.SFTPClient:
        """The channel for reads, or that for the rest; the first who asks opens it."""
        task = self._channels.get(reading)
        if task is None or (task.done() and (task.cancelled() or task.exception())):
            opening = self._fs.client.start_sftp_client(path_encoding=None)
            task = self._channels[reading] = asyncio.ensure_future(opening)
            task.add_done_callback(lambda t: t.cancelled() or t.exception())  # it may have no waiter left
        return await asyncio.shield(task)

    async def _scan(self, path: str, attempt: Attempt) -> list[Found]:
        self._counters.request()
        client = await self._client(reading=False)
        listing = []
        links = []
        async for entry in client.scandir(self._full(path)):
            attempt.progress()
            name = _text(entry.filename)
            if name in (".", ".."):
                continue
            mode = entry.attrs.permissions
            if mode is None or stat.S_ISLNK(mode):
                links.append(name)
            elif stat.S_ISDIR(mode) or stat.S_ISREG(mode):
                listing.append(found_of(name, entry.attrs))
        for first in range(0, len(links), _SCANS_AT_A_TIME):
            group = links[first : first + _SCANS_AT_A_TIME]
            listing += await asyncio.gather(*(self._followed(client, path, name) for name in group))
            attempt.progress()
        return listing

    async def _followed(self, client: asyncssh.SFTPClient, directory: str, name: str) -> Found:
        """What a symbolic link stands for; one that leads nowhere, or back up its own path, stays a link."""
        self._counters.request()
        path = self._full(f"{directory}/{name}" if directory else name)
        try:
            found = found_of(name, await client.stat(path))
            if found.kind == DIRECTORY:
                here, there = await client.realpath(self._full(directory)), await client.realpath(path)
                if leads_back(_text(here), _text(there)):
                    return Found(name, LINK)
        except _DANGLING:
            return Found(name, LINK)
        return found

    async def _read(self, path: str, span: ByteRange, found: Found, attempt: Attempt) -> bytes:
        self._counters.request()
        client = await self._client(reading=True)
        request_bytes = min(client.limits.max_read_len or _REQUEST_BYTES, _REQUEST_BYTES)
        data = bytearray(span.size_bytes)
        try:
            # Without a block size of its own, asyncssh sends each read as one request.
            async with client.open(self._full(path), "rb", encoding=None, block_size=0) as file:
                arrived = await _fill(data, file, span.start, request_bytes, attempt)
                now = found_of(found.name, await file.stat())
        except _NOT_THERE:
            raise Stale(path) from None
        if now != found:
            raise Stale(path)
        if arrived != span.size_bytes:
            raise Unavailable(f"{arrived} bytes came for {span.size_bytes}")
        return bytes(data)


async def _fill(
    data: bytearray, file: asyncssh.SFTPClientFile, start: int, request_bytes: int, attempt: Attempt
) -> int:
    """Read into ``data`` from ``start`` on, several requests at a time; returns how much has come."""
    offsets = iter(range(0, len(data), request_bytes))
    arrived = 0

    async def fetch() -> None:
        nonlocal arrived
        for offset in offsets:
            at, stop = offset, min(offset + request_bytes, len(data))
            while at < stop:
                piece = cast("bytes", await file.read(stop - at, start + at))
                if not piece:
                    return  # the end of the file
                data[at : at + len(piece)] = piece
                at += len(piece)
                arrived += len(piece)
                attempt.progress()

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(_REQUESTS_AT_A_TIME, -(-len(data) // request_bytes))):
                group.create_task(fetch())
    except BaseExceptionGroup as errors:
        raise first_of(errors) from None
    return arrived


def found_of(name: str, attributes: asyncssh.SFTPAttrs) -> Found:
    """The entry for the attributes that the server has sent."""
    mode = attributes.permissions or 0
    mtime_ns = (attributes.mtime or 0) * 1_000_000_000 + (attributes.mtime_ns or 0)
    if stat.S_ISDIR(mode):
        return Found(name, DIRECTORY, 0, mtime_ns)
    if not stat.S_ISREG(mode) or attributes.size is None:
        return Found(name, SEALED, 0, mtime_ns)
    return Found(name, FILE, attributes.size, mtime_ns)


def _text(name: bytes | str) -> str:
    return name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else name

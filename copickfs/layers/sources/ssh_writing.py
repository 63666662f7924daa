"""The writing half of SFTP: temporary name, fsync where the server can, posix-rename."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from typing import TYPE_CHECKING, Any

import asyncssh

from copickfs.errors import IsADirectory
from copickfs.layers.sources import DIRECTORY, Found
from copickfs.layers.sources.looped import first_of, wait_for
from copickfs.layers.sources.ssh import found_of
from copickfs.layers.sources.writing import Changed, Upload, Writing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from copickfs.layers.guard import Attempt
    from copickfs.layers.sources import Counters

_NOT_THERE = (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath)
_REQUEST_BYTES = 255 << 10
_REQUESTS_AT_A_TIME = 16


class SshWriting(Writing):
    """Writes by the SFTP channel of a `copickfs.layers.sources.ssh.SshSource`.

    Args:
        loop: The loop that the connection lives on.
        client: Gives the channel.
        full: The server's path for one of the layer.
        counters: Told of requests.
    """

    forgets_directories = False
    is_atomic = False

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        client: Callable[[], Awaitable[asyncssh.SFTPClient]],
        full: Callable[[str], bytes],
        counters: Counters,
    ) -> None:
        self._loop = loop
        self._client = client
        self._full = full
        self._counters = counters

    def put(self, path: str, upload: Upload, attempt: Attempt) -> Found:
        """See `Writing.put`. The version is asked for before the upload and again before the rename."""
        found: Found = self._wait(self._put(path, upload, attempt), attempt)
        return found

    def mkdir(self, path: str, attempt: Attempt) -> None:
        """See `Writing.mkdir`."""

        async def mkdir() -> None:
            client = await self._client()
            try:
                await client.mkdir(self._full(path))
            except asyncssh.SFTPFailure:  # all that old versions of the protocol say of what exists
                if await self._stat(client, path) is not None:
                    raise FileExistsError(errno.EEXIST, "exists", path) from None
                raise

        self._wait(mkdir(), attempt)

    def keep(self, path: str, attempt: Attempt) -> None:
        """See `Writing.keep`: it stays by itself."""

    def rmdir(self, path: str, attempt: Attempt) -> None:
        """See `Writing.rmdir`."""

        async def rmdir() -> None:
            client = await self._client()
            try:
                await client.rmdir(self._full(path))
            except asyncssh.SFTPFailure:
                await self._require_empty(client, path)
                raise

        self._wait(rmdir(), attempt)

    def unlink(self, path: str, attempt: Attempt) -> None:
        """See `Writing.unlink`."""

        async def unlink() -> None:
            client = await self._client()
            try:
                await client.remove(self._full(path))
            except (asyncssh.SFTPFailure, asyncssh.SFTPPermissionDenied):
                found = await self._stat(client, path)
                if found is not None and found.kind == DIRECTORY:
                    raise IsADirectory(path) from None
                raise

        self._wait(unlink(), attempt)

    def rename(self, path: str, new_path: str, attempt: Attempt) -> None:
        """See `Writing.rename`."""

        async def rename() -> None:
            client = await self._client()
            try:
                await self._replace(client, self._full(path), self._full(new_path))
            except asyncssh.SFTPFailure:
                target = await self._stat(client, new_path)
                if target is not None and target.kind == DIRECTORY:
                    await self._require_empty(client, new_path)
                raise

        self._wait(rename(), attempt)

    def _wait(self, coroutine: Coroutine[Any, Any, Any], attempt: Attempt) -> Any:
        self._counters.request()
        return wait_for(self._loop, coroutine, attempt)

    async def _put(self, path: str, upload: Upload, attempt: Attempt) -> Found:
        client = await self._client()
        name = path.rpartition("/")[2]
        temporary, full = self._full(upload.temporary(path)), self._full(path)
        mode = await self._checked(client, path, upload)
        try:
            async with client.open(temporary, "wb", encoding=None, block_size=0) as file:
                await _send(file, upload, attempt)
                if mode is not None:
                    await file.setstat(asyncssh.SFTPAttrs(permissions=mode))
                with contextlib.suppress(asyncssh.SFTPOpUnsupported):
                    await file.fsync()
                written = await file.stat()
        except asyncssh.SFTPFailure:
            await self._require_space(client, path, upload)
            raise
        attempt.progress()
        await self._checked(client, path, upload)
        await self._replace(client, temporary, full)
        return found_of(name, written)

    async def _checked(self, client: asyncssh.SFTPClient, path: str, upload: Upload) -> int | None:
        """The mode of what is at ``path``, None if there is nothing. Raises `Changed`."""
        try:
            attributes = await client.stat(self._full(path))
        except _NOT_THERE:
            return None
        found = found_of(path.rpartition("/")[2], attributes)
        if found.kind == DIRECTORY or not upload.may_replace(found):
            raise Changed(found)
        return (attributes.permissions or 0o644) & 0o777

    async def _stat(self, client: asyncssh.SFTPClient, path: str) -> Found | None:
        try:
            return found_of(path.rpartition("/")[2], await client.stat(self._full(path)))
        except _NOT_THERE:
            return None

    async def _require_empty(self, client: asyncssh.SFTPClient, path: str) -> None:
        names = {bytes(name) for name in await client.listdir(self._full(path))}
        if names - {b".", b".."}:
            raise OSError(errno.ENOTEMPTY, "directory not empty", path)

    async def _require_space(self, client: asyncssh.SFTPClient, path: str, upload: Upload) -> None:
        """The protocol has one answer for every failure: see whether it was a full disk."""
        directory = self._full(path).rpartition(b"/")[0] or b"/"
        with contextlib.suppress(asyncssh.SFTPError):
            space = await client.statvfs(directory)
            if space.bavail is not None and space.frsize is not None and space.bavail == 0:
                raise OSError(errno.ENOSPC, f"no space on the server for {upload.size_bytes} bytes")

    async def _replace(self, client: asyncssh.SFTPClient, full: bytes, new_full: bytes) -> None:
        try:
            await client.posix_rename(full, new_full)
        except asyncssh.SFTPOpUnsupported:
            with contextlib.suppress(*_NOT_THERE):
                await client.remove(new_full)
            await client.rename(full, new_full)


async def _send(file: asyncssh.SFTPClientFile, upload: Upload, attempt: Attempt) -> None:
    """Write all of a local file, several requests at a time."""
    offsets = iter(range(0, upload.size_bytes, _REQUEST_BYTES))
    descriptor = os.open(upload.file, os.O_RDONLY | os.O_CLOEXEC)

    async def send() -> None:
        for offset in offsets:
            piece = os.pread(descriptor, min(_REQUEST_BYTES, upload.size_bytes - offset), offset)
            await file.write(piece, offset)
            attempt.progress()

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(_REQUESTS_AT_A_TIME, -(-upload.size_bytes // _REQUEST_BYTES))):
                group.create_task(send())
    except BaseExceptionGroup as errors:
        raise first_of(errors) from None
    finally:
        os.close(descriptor)

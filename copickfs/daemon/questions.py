"""Asking a daemon for something by its socket; see `copickfs.daemon.channel`."""

from __future__ import annotations

import contextlib
import json
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from copickfs.daemon import registry
from copickfs.daemon.channel import FAREWELL, address_of
from copickfs.daemon.finding import find_mount
from copickfs.daemon.mounts import mount_above, resolve
from copickfs.errors import MountError

if TYPE_CHECKING:
    from copickfs.daemon.mounts import Mount
    from copickfs.daemon.registry import Record

_CONNECT_LIMIT_S = 5.0
_INDEX_LIMIT_S = 60.0


class Flushed(NamedTuple):
    """How a flush has ended.

    Attributes:
        complete: Nothing is pending.
        pending: For each layer that has something pending, as in `copickfs.daemon.pending`.
    """

    complete: bool
    pending: dict[str, dict[str, Any]]


def materialize(path: str) -> dict[str, Any]:
    """Complete the partial copies of the store at ``path``, or of all stores below it.

    Args:
        path: Inside of a mount, as the user wrote it.

    Returns:
        ``files``: how many were copied.

    Raises:
        MountError: It is in no mount, the daemon does not answer, or it cannot be done.
    """
    resolved = resolve(path)
    mount = mount_above(resolved)
    if mount is None:
        raise MountError(f"{resolved}: is in no mount of copickfs")
    inside = resolved[len(mount.mountpoint.rstrip("/")) :].strip("/")
    try:
        return _ask(mount, {"ask": "materialize", "path": inside}, limit_s=None)
    except _Refused as error:
        raise MountError(f"{resolved}: {error}") from None


def flush(path: str, timeout_s: float | None) -> Flushed:
    """Wait until everything that was written through a mount is where it belongs.

    Args:
        path: The mount point, as the user wrote it.
        timeout_s: How long to wait; None without end.

    Raises:
        MountError: It is no mount of copickfs, or the daemon does not answer.
    """
    mount = find_mount(resolve(path))
    limit_s = None if timeout_s is None else timeout_s + _CONNECT_LIMIT_S
    try:
        answer = _ask(mount, {"ask": "flush", "timeout_s": timeout_s}, limit_s)
    except _Refused as error:
        raise MountError(f"{mount.mountpoint}: {error}") from None
    return Flushed(**answer)


def ask_index(mountpoint: str) -> dict[str, Any]:
    """Where the index of a mount is, once what was changed through it so far is in it.

    Returns:
        ``configuration``: path of the configuration; ``database``: of the index, null if there is none.

    Raises:
        MountError: The daemon does not answer.
    """
    mount = find_mount(mountpoint)
    try:
        return _ask(mount, {"ask": "index"}, limit_s=_INDEX_LIMIT_S)
    except _Refused as error:
        raise MountError(f"{mount.mountpoint}: {error}") from None


class Farewell:
    """A connection on which a daemon that is about to end says what it leaves undone.

    Args:
        record: The daemon; None if there is none.
    """

    def __init__(self, record: Record | None) -> None:
        self._connection: socket.socket | None = None
        if record is not None:
            with contextlib.suppress(OSError):
                self._connection = _connected(record)
                _send(self._connection, {"ask": FAREWELL})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._connection is not None:
            self._connection.close()

    def pending(self) -> dict[str, dict[str, Any]]:
        """For each layer that has something pending, as in `copickfs.daemon.pending`.

        To be asked when the daemon has ended; empty if it has not said anything.
        """
        if self._connection is None:
            return {}
        try:
            self._connection.settimeout(0)
            answer = _received(self._connection)
        except (OSError, ValueError):
            return {}
        return dict(answer.get("answer", {}).get("pending", {}))


class _Refused(Exception):
    """The daemon's reason for not doing it."""


def _ask(mount: Mount, question: dict[str, Any], limit_s: float | None) -> dict[str, Any]:
    record = registry.find(mount.mountpoint)
    if record is None:
        raise MountError(
            f"{mount.mountpoint}: its daemon cannot be asked: it is dead, or another user's; "
            f"see: copickfs status {mount.mountpoint}"
        )
    try:
        with _connected(record) as connection:
            _send(connection, question)
            connection.settimeout(limit_s)
            answer = _received(connection)
    except TimeoutError:
        raise MountError(f"{mount.mountpoint}: its daemon {record.process.pid} does not answer") from None
    except (OSError, ValueError):
        raise MountError(
            f"{mount.mountpoint}: its daemon {record.process.pid} has ended, or is of another version"
        ) from None
    if "error" in answer:
        raise _Refused(answer["error"])
    return dict(answer["answer"])


def _connected(record: Record) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(_CONNECT_LIMIT_S)
        with address_of(Path(record.socket)) as address:
            connection.connect(address)
    except OSError:
        connection.close()
        raise
    return connection


def _send(connection: socket.socket, question: dict[str, Any]) -> None:
    connection.sendall(json.dumps(question).encode() + b"\n")


def _received(connection: socket.socket) -> dict[str, Any]:
    received = bytearray()
    while not received.endswith(b"\n"):
        data = connection.recv(1 << 16)
        if not data:
            raise ConnectionError("the daemon has hung up")
        received += data
    answer: dict[str, Any] = json.loads(received)
    return answer

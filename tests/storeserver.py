"""A server that says, byte for byte, what it is told to: for what no real object store does on request."""

from __future__ import annotations

import re
import socket
import threading
from typing import TYPE_CHECKING, NamedTuple

from tests.lines import LineServer

if TYPE_CHECKING:
    from collections.abc import Callable

STAMPS = 'ETag: "1"\r\nLast-Modified: Tue, 01 Jan 2030 00:00:00 GMT\r\n'
_LENGTH = re.compile(rb"^content-length: *(\d+)", re.IGNORECASE | re.MULTILINE)


class Answer(NamedTuple):
    """What is sent.

    Attributes:
        data: The bytes of it.
        then: ``"close"``, ``"reset"``, or ``"hang"`` until the server ends.
        pause_s: How long to wait after each eighth of it.
    """

    data: bytes
    then: str = "close"
    pause_s: float = 0


def reply(status: str, body: bytes = b"", headers: str = "", length: int | None = None) -> bytes:
    """An HTTP answer, with a wrong ``Content-Length`` if one is given."""
    length = len(body) if length is None else length
    return (
        f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n".encode() + body
    )


def error(status: str, code: str, message: str = "no") -> bytes:
    """An error as S3 sends it."""
    return reply(status, f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode())


def listing(
    *keys: str, prefixes: tuple[str, ...] = (), size: int = 4, token: str = "", etag: str = "1"
) -> bytes:
    """One page of a listing; with a ``token`` there is another one."""
    contents = "".join(
        f"<Contents><Key>{key}</Key><LastModified>2030-01-01T00:00:00.000Z</LastModified>"
        f"<ETag>&quot;{etag}&quot;</ETag><Size>{size}</Size></Contents>"
        for key in keys
    )
    shared = "".join(f"<CommonPrefixes><Prefix>{prefix}</Prefix></CommonPrefixes>" for prefix in prefixes)
    more = f"<NextContinuationToken>{token}</NextContinuationToken>" if token else ""
    return reply("200 OK", f"<ListBucketResult>{more}{contents}{shared}</ListBucketResult>".encode())


class StoreServer(LineServer):
    """An object store of nothing but answers.

    Attributes:
        answer: Called with method, address and body of each request.
        requests: ``"METHOD address"`` of each.
        heads: All headers of each, in small letters.
    """

    def __init__(self, answer: Callable[[str, str, bytes], bytes | Answer]) -> None:
        super().__init__()
        self.answer = answer
        self.requests: list[str] = []
        self.heads: list[str] = []
        self._end = threading.Event()

    def serve(self, line: socket.socket) -> None:
        """See `LineServer.serve`."""
        head = b""
        while b"\r\n\r\n" not in head:
            piece = line.recv(1 << 16)
            if not piece:
                return
            head += piece
        head, _, body = head.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        while length is not None and len(body) < int(length[1]):
            piece = line.recv(1 << 20)
            if not piece:
                return  # hung up in the middle: without this the thread would spin to the end of the tests
            body += piece
        method, address, _ = head.split(b"\r\n")[0].decode().split(" ")
        self.heads.append(head.decode().lower())
        self.requests.append(f"{method} {address}")
        answer = self.answer(method, address, body)
        answer = answer if isinstance(answer, Answer) else Answer(answer)
        step = -(-len(answer.data) // 8) or 1
        for start in range(0, len(answer.data), step):
            line.sendall(answer.data[start : start + step])
            self._end.wait(answer.pause_s)
        if answer.then == "hang":
            self._end.wait(30)
        elif answer.then == "reset":
            self._end.wait(0.1)  # what was sent is to be read first
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    def __exit__(self, *_: object) -> None:
        self._end.set()
        super().__exit__()

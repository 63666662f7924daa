"""An HTTP line to a server of this machine on which answers are refused, lost, cut or damaged."""

from __future__ import annotations

import contextlib
import random
import re
import select
import socket
import socketserver
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from tests.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LENGTH = re.compile(rb"^(content-length: *)(\d+)", re.IGNORECASE | re.MULTILINE)
_CONNECTION = re.compile(rb"^connection:.*\r\n", re.IGNORECASE | re.MULTILINE)
_RESET = b"\1\0\0\0\0\0\0\0"
_HANG_LIMIT_S = 30.0


class Request(NamedTuple):
    """What was asked.

    Attributes:
        method: As sent.
        address: As sent.
        is_part: It asks for a range.
    """

    method: str
    address: str
    is_part: bool

    @property
    def is_listing(self) -> bool:
        """It is for the listing of an object store, or of a directory of a web server."""
        return "list-type=" in self.address or self.address.partition("?")[0].endswith("/")

    @property
    def is_contents(self) -> bool:
        """It is for the contents of a file."""
        return self.method == "GET" and not self.is_listing


class Answer:
    """What a server has said, and the line on which it is to be passed on.

    Attributes:
        head: Status and headers, with the empty line.
        body: The rest.
        client: The line.
        ending: Set when the proxy ends.
    """

    def __init__(self, client: socket.socket, ending: threading.Event, answer: bytes) -> None:
        head, _, self.body = answer.partition(b"\r\n\r\n")
        self.head = head + b"\r\n\r\n"
        self.client = client
        self.ending = ending

    def promise(self, more: int) -> None:
        """Have the Content-Length say so many bytes more than there are, or fewer."""
        self.head = _LENGTH.sub(lambda match: match[1] + b"%d" % (int(match[2]) + more), self.head)

    def send(self, body: bytes) -> None:
        """Pass the head on, with this body."""
        self.client.sendall(self.head + body)


def whole(answer: Answer) -> bool:
    """No fault. As all of them: passes an answer on, and returns False if the line is of no more use then."""
    answer.send(answer.body)
    return b"\nconnection: close" not in answer.head.lower()


def reset(answer: Answer) -> bool:
    """Half of the body, and a broken line."""
    answer.send(answer.body[: len(answer.body) // 2])
    time.sleep(0.02)  # what was sent is to be read first
    answer.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    return False


def cut(answer: Answer) -> bool:
    """Half of the body, and an orderly end."""
    answer.send(answer.body[: len(answer.body) // 2])
    return False


def too_long(answer: Answer) -> bool:
    """The body, of which more was promised, and an orderly end."""
    answer.promise(7)
    answer.send(answer.body)
    return False


def too_short(answer: Answer) -> bool:
    """Less than the body, as if that were all."""
    missing = min(7, len(answer.body))
    answer.promise(-missing)
    answer.send(answer.body[: len(answer.body) - missing])
    return True


def flipped(answer: Answer) -> bool:
    """The body, but for one bit."""
    damaged = bytearray(answer.body)
    if damaged:
        damaged[random.randrange(len(damaged))] ^= 1 << random.randrange(8)
    answer.send(bytes(damaged))
    return True


def hang(answer: Answer) -> bool:
    """Nothing, until whoever has asked gives up."""
    latest_s = time.monotonic() + _HANG_LIMIT_S
    while not answer.ending.wait(0.05) and time.monotonic() < latest_s:
        if select.select([answer.client], [], [], 0)[0]:  # it has hung up
            break
    return False


def status(line: str, code: str, headers: str = "") -> Callable[[Answer], bool]:
    """Another answer."""
    body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()

    def instead(answer: Answer) -> bool:
        answer.head = f"HTTP/1.1 {line}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode()
        answer.send(body)
        return True

    return instead


server_error = status("500 Internal Server Error", "InternalError")
slow_down = status("503 Slow Down", "SlowDown", "Retry-After: 1\r\n")
denied = status("403 Forbidden", "AccessDenied")


class FaultProxy:
    """A line to a local port.

    Attributes:
        choose: Tells of each request what happens to its answer; None for nothing.
        requests: All of them.
        faults: How many answers were not passed on as they were.
    """

    def __init__(self, port: int) -> None:
        self.choose: Callable[[Request], Callable[[Answer], bool] | None] = lambda _request: None
        self.requests: list[Request] = []
        self.faults = 0
        self.port = free_port()
        self._upstream = port
        self._ending = threading.Event()
        self._server: socketserver.ThreadingTCPServer | None = None
        self._thread: threading.Thread | None = None
        self._lines: set[socket.socket] = set()

    def start(self) -> Self:
        """Listen."""
        proxy = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                proxy._lines.add(self.request)
                with contextlib.suppress(OSError, ValueError):
                    while proxy._carry(self.request):
                        pass
                proxy._lines.discard(self.request)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            block_on_close = False
            allow_reuse_address = True
            request_queue_size = 128

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass

        self._server = Server(("127.0.0.1", self.port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Refuse connections from now on, and break those that are there."""
        if self._server is None or self._thread is None:
            return
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._server = self._thread = None
        for line in list(self._lines):
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self.stop()

    def sometimes(
        self,
        *faults: Callable[[Answer], bool],
        share: float = 0.3,
        of: Callable[[Request], bool] = lambda _request: True,
    ) -> None:
        """From now on, one of ``faults`` for a ``share`` of those requests ``of`` which that is true."""

        def choose(request: Request) -> Callable[[Answer], bool] | None:
            return random.choice(faults) if of(request) and random.random() < share else None

        self.choose = choose

    @contextlib.contextmanager
    def refusing_now_and_then(self, up_s: float, down_s: float) -> Iterator[None]:
        """Listen, and refuse connections, by turns."""
        ended = threading.Event()

        def take_turns() -> None:
            while not ended.wait(up_s):
                self.stop()
                self.faults += 1
                ended.wait(down_s)
                self.start()

        thread = threading.Thread(target=take_turns, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _carry(self, client: socket.socket) -> bool:
        """One request and its answer; False if there comes no other on this line."""
        head = _until_empty_line(client)
        if head is None:
            return False
        method, address, _ = head.split(b"\r\n")[0].decode().split(" ")
        request = Request(method, address, b"\r\nrange:" in head.lower())
        self.requests.append(request)
        answer = Answer(client, self._ending, self._asked(head))
        if method == "HEAD":
            answer.body = b""
        fault = self.choose(request)
        if fault is None:
            return whole(answer)
        self.faults += 1
        return fault(answer)

    def _asked(self, head: bytes) -> bytes:
        head = _CONNECTION.sub(b"", head)
        with socket.create_connection(("127.0.0.1", self._upstream)) as server:
            server.sendall(head[:-2] + b"Connection: close\r\n\r\n")
            answer = b"".join(iter(lambda: server.recv(1 << 20), b""))
        said, separator, body = answer.partition(b"\r\n\r\n")
        return _CONNECTION.sub(b"", said + b"\r\n").removesuffix(b"\r\n") + separator + body


def _until_empty_line(line: socket.socket) -> bytes | None:
    """The head of a request, which has no body; None at the end."""
    head = b""
    while b"\r\n\r\n" not in head:
        piece = line.recv(1 << 16)
        if not piece:
            return None
        head += piece
    return head

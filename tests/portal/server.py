"""The portal's GraphQL over HTTP, with a log of every query and faults that can be switched at any time."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

import graphql

from tests.portal.answers import Found, answer
from tests.portal.schema import schema
from tests.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.portal.store import Store


@dataclass
class Faults:
    """What goes wrong. Nothing does by default.

    Attributes:
        max_rows: A query that finds more records is answered 502.
        max_ids: A query whose filter lists more values is answered 502.
        hang: Nothing is answered until this is false again or the server stops.
        errors: Message of GraphQL errors, which is all that is answered.
        every_nth_500: Every so manieth query is answered 500.
        status: Every query is answered with this status.
        truncated: Half an answer is sent, and the line is cut.
        pause_s: How long each answer waits.
        kinds: Kinds of record this is limited to.
        times: How many more queries it strikes.
    """

    max_rows: int | None = None
    max_ids: int | None = None
    hang: bool = False
    errors: str | None = None
    every_nth_500: int | None = None
    status: int | None = None
    truncated: bool = False
    pause_s: float = 0
    kinds: frozenset[str] = frozenset()
    times: int | None = None


@dataclass
class Query:
    """One query.

    Attributes:
        kind: Kind of record asked for; several are joined by commas.
        rows: Number of records found.
        ids: Number of values in the longest list of the filter.
        seconds: What finding them took.
        status: The answer's status, 0 if there was none.
        text: The query.
    """

    kind: str = ""
    rows: int = 0
    ids: int = 0
    seconds: float = 0
    status: int = 0
    text: str = field(default="", repr=False)


class PortalServer:
    """Serves records.

    Attributes:
        faults: What goes wrong from now on.
        queries: Every query since the start, or since `forget`.
        before: Called with each query before its answer is sent, as to change records in between.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.port = free_port()
        self.faults = Faults()
        self.queries: list[Query] = []
        self.before: Callable[[Query], object] | None = None
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._lines: set[socket.socket] = set()
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None
        schema()  # what the first query would wait for

    @property
    def url(self) -> str:
        """The address clients are given."""
        return f"http://127.0.0.1:{self.port}/graphql"

    def counts(self) -> Counter[str]:
        """Number of requests for each kind of record, answered or not."""
        with self._lock:
            return Counter(query.kind for query in self.queries)

    def forget(self) -> None:
        """Start the log again."""
        with self._lock:
            self.queries.clear()

    def start(self) -> Self:
        """Answer, on the same port each time."""
        self._stopped.clear()
        handler = type("Handler", (_Handler,), {"portal": self})
        self._server = _Server(("127.0.0.1", self.port), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Cut every line and refuse new ones."""
        if self._server is None or self._thread is None:
            return
        self._stopped.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._server = self._thread = None
        with self._lock:
            for line in self._lines:
                with contextlib.suppress(OSError):
                    line.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def respond(self, request: dict[str, Any]) -> tuple[Query, bytes, bool]:
        """The answer to a request: its log entry, its body, and whether all of that is sent."""
        query = Query(text=request["query"])
        started = time.perf_counter()
        found, problem = Found(), None
        try:
            found = answer(self.store, query.text, request.get("variables"))
        except graphql.GraphQLError as error:
            problem = error.message
        query.seconds = time.perf_counter() - started
        query.kind, query.rows, query.ids = ",".join(found.kinds), found.rows, found.ids
        with self._lock:
            self.queries.append(query)
            faults = self._faults_of(query)
            nth = faults.every_nth_500
            struck = nth is not None and len(self.queries) % nth == 0
        if self.before is not None:
            self.before(query)
        self._wait(faults)
        query.status = 500 if struck else _status(faults, query)
        if problem or faults.errors:
            body: dict[str, Any] = {"data": None, "errors": [{"message": faults.errors or problem}]}
        else:
            body = {"data": found.data}
        return query, json.dumps(body).encode(), not faults.truncated

    def _faults_of(self, query: Query) -> Faults:
        faults = self.faults
        if faults.times == 0 or (faults.kinds and query.kind not in faults.kinds):
            return Faults()
        if faults.times is not None:
            faults.times -= 1
        return faults

    def _wait(self, faults: Faults) -> None:
        self._stopped.wait(faults.pause_s)
        while faults.hang and self.faults is faults and not self._stopped.wait(0.02):
            pass


def _status(faults: Faults, query: Query) -> int:
    if faults.status is not None:
        return faults.status
    too_many = faults.max_rows is not None and query.rows > faults.max_rows
    too_long = faults.max_ids is not None and query.ids > faults.max_ids
    return 502 if too_many or too_long else 200


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256  # hundreds of jobs start at once

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone is no event."""


class _Handler(BaseHTTPRequestHandler):
    portal: PortalServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        with self.portal._lock:
            self.portal._lines.add(self.connection)

    def finish(self) -> None:
        with self.portal._lock:
            self.portal._lines.discard(self.connection)
        super().finish()

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        query, body, whole = self.portal.respond(request)
        if self.portal._stopped.is_set():
            self.close_connection = True
            return
        if query.status != 200:
            body = f"<html><h1>{query.status}</h1></html>".encode()
        self.send_response(query.status)
        self.send_header("Content-Type", "application/json" if query.status == 200 else "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if whole else body[: len(body) // 2])
        self.close_connection = self.close_connection or not whole

    def log_message(self, *_: Any) -> None:
        """The log is `PortalServer.queries`."""

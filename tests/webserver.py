"""A real HTTP server for tests, that keeps its port over a restart and can be made to fail in many ways."""

from __future__ import annotations

import contextlib
import html
import json
import os
import re
import socket
import threading
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote, unquote_to_bytes

from tests.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Callable


class WebServer:
    """An HTTP server for one directory, with ranges, listings and faults.

    Attributes:
        fault: ``None``, or called with the request's handler before it is served; True means that
            it has answered, or has chosen not to.
        ranges: False: Range headers are ignored.
        listing: ``"html"``, ``"json"`` or ``""`` for none (403).
        dot_names: False: listings leave out names that begin with a dot, as nginx's do.
        etags: False: no ETag is sent.
        lengths: False: no Content-Length is sent with a file.
        requests: ``"METHOD /path"`` of every request, with its Range.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.port = free_port()
        self.fault: Callable[[WebHandler], bool] | None = None
        self.ranges = True
        self.listing = "html"
        self.dot_names = True
        self.etags = True
        self.lengths = True
        self.requests: list[str] = []
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The layer root."""
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> Self:
        """Start listening."""
        self._server = _Server(("127.0.0.1", self.port), WebHandler)
        self._server.site = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop listening and break every connection."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.hang_up()
            self._server.server_close()
            self._server = self._thread = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 128
    site: WebServer

    def __init__(self, *args: Any) -> None:
        self._lines: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._lines.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._lines.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no error here."""

    def hang_up(self) -> None:
        with self._lock:
            lines = list(self._lines)
        for line in lines:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)


class WebHandler(BaseHTTPRequestHandler):
    """Serves files and listings; faults use `reply` and `send_file`."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: Any) -> None:
        """Nothing to standard error."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        site = self.server.site
        span = self.headers.get("Range")
        site.requests.append(f"{self.command} {self.path}{f' {span}' if span else ''}")
        if site.fault is not None and site.fault(self):
            return
        self.serve()

    def serve(self) -> None:
        """Answer without a fault."""
        inner = unquote_to_bytes(self.path.partition("?")[0])
        local = os.path.join(os.fsencode(self.server.site.root), inner.lstrip(b"/"))
        if os.path.isdir(local):
            if not inner.endswith(b"/"):
                self.reply(HTTPStatus.MOVED_PERMANENTLY, Location=f"{self.path}/")
            elif not self.server.site.listing:
                self.reply(HTTPStatus.FORBIDDEN)
            else:
                self._send_listing(local)
        elif os.path.isfile(local):
            self.send_file(Path(os.fsdecode(local)))
        else:
            self.reply(HTTPStatus.NOT_FOUND)

    def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        """A complete answer."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_file(self, path: Path, *, cut_bytes: int = 0) -> None:
        """A file or the range of it that was asked for; ``cut_bytes`` fewer than promised, if given."""
        site = self.server.site
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            start, stop = 0, status.st_size
            match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")) if site.ranges else None
            if match:
                start = int(match[1])
                stop = min(int(match[2] or stop) + 1, status.st_size) if match[2] else status.st_size
                if start >= status.st_size:
                    self.reply(416, Content_Range=f"bytes */{status.st_size}")
                    return
            self.send_response(206 if match else 200)
            if match:
                self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{status.st_size}")
            if site.lengths:
                self.send_header("Content-Length", str(stop - start))
            else:
                self.send_header("Connection", "close")
            self.send_header("Last-Modified", formatdate(int(status.st_mtime), usegmt=True))
            if site.etags:
                self.send_header("ETag", f'"{status.st_mtime_ns:x}-{status.st_size:x}"')
            self.end_headers()
            if self.command == "HEAD":
                return
            file.seek(start)
            left = stop - start - cut_bytes
            while left > 0 and (piece := file.read(min(left, 1 << 16))):
                self.wfile.write(piece)
                left -= len(piece)
            self.close_connection = self.close_connection or bool(cut_bytes) or not site.lengths

    def _send_listing(self, local: bytes) -> None:
        names = sorted(n for n in os.listdir(local) if self.server.site.dot_names or n[:1] != b".")
        if self.server.site.listing == "json":
            items = []
            for name in names:
                if not os.path.exists(os.path.join(local, name)):
                    continue  # nginx leaves out links that lead nowhere
                status = os.stat(os.path.join(local, name))
                kind = "directory" if os.path.isdir(os.path.join(local, name)) else "file"
                item = {"name": name.decode(errors="surrogateescape"), "type": kind}
                item["mtime"] = formatdate(int(status.st_mtime), usegmt=True)
                items.append(item | ({"size": status.st_size} if kind == "file" else {}))  # type: ignore[operator]
            self.reply(200, json.dumps(items).encode(), Content_Type="application/json")
            return
        rows = []
        for name in names:
            slash = "/" if os.path.isdir(os.path.join(local, name)) else ""
            text = html.escape(name.decode(errors="replace"), quote=False)
            rows.append(f'<a href="{quote(name, safe="")}{slash}">{text}{slash}</a>')
        where = html.escape(unquote_to_bytes(self.path).decode(errors="replace"))
        page = (
            f"<html>\n<head><title>Index of {where}</title></head>\n<body>\n"
            f"<h1>Index of {where}</h1><hr><pre>"
            f'<a href="?C=N;O=D">Name</a>\n<a href="../">../</a>\n'
            + "\n".join(rows)
            + "\n</pre></body>\n</html>\n"
        )
        self.reply(200, page.encode(), Content_Type="text/html; charset=utf-8")

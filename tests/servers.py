"""A real SFTP server for tests, in a process of its own, and a proxy that cuts lines."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Self

from tests.lines import LineServer

START_LIMIT_S = 20
USER = "reader"
PASSWORD = "open-sesame-4711"  # noqa: S105 - of a server that lives as long as a test


def free_port() -> int:
    """A TCP port of this machine that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class SftpServer:
    """An SFTP server for one directory, as a process that can be stopped, killed and restarted."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The layer root, without credentials."""
        return f"ssh://127.0.0.1:{self.port}{self.root}"

    @property
    def fs_args(self) -> dict[str, Any]:
        """Credentials."""
        return {"username": USER, "password": PASSWORD}

    @property
    def pid(self) -> int:
        """Process id of the server."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> Self:
        """Start, and return when it answers."""
        command = [
            sys.executable,
            Path(__file__).with_name("sftp_process.py"),
            str(self.port),
            USER,
            PASSWORD,
        ]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + START_LIMIT_S
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as line:
                line.settimeout(1)
                if line.recv(4) == b"SSH-":
                    return self
            time.sleep(0.02)
        self.stop()
        raise AssertionError("the SFTP server did not start")

    def stop(self) -> None:
        """Kill it: every session is lost without a goodbye."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGCONT)
                self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Answer nothing any more, without closing a connection."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on after `freeze`."""
        os.kill(self.pid, signal.SIGCONT)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


class Proxy(LineServer):
    """A TCP line to a local port that can be cut.

    Attributes:
        cut_after_bytes: Break each connection after so many bytes from the server; None for never.
    """

    def __init__(self, port: int) -> None:
        super().__init__()
        self.cut_after_bytes: int | None = None
        self._to = port

    def serve(self, line: socket.socket) -> None:
        """See `LineServer.serve`."""
        with socket.create_connection(("127.0.0.1", self._to)) as server:
            threading.Thread(target=self._upstream, args=(line, server), daemon=True).start()
            carried = 0
            while piece := server.recv(1 << 16):
                carried += len(piece)
                limit = self.cut_after_bytes
                if limit is not None and carried > limit:
                    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset
                    line.close()
                    return
                line.sendall(piece)

    @staticmethod
    def _upstream(client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := client.recv(1 << 16):
                server.sendall(piece)
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_WR)

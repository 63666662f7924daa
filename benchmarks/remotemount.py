"""A server behind a line, and one peer's mount of it for the time of a ``with`` block."""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from benchmarks.mounts import (
    CLOCK_TICKS,
    POLL_S,
    READY_TIMEOUT_S,
    STOP_TIMEOUT_S,
    WORK_TIMEOUT_S,
    PeerFailed,
    mounted_below,
    unmount,
    with_descendants,
)
from benchmarks.s3server import COUNTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.remotepeers import Command

WORKER = Path(__file__).with_name("remoteworker.py")
_PORTS = range(21_000, 29_000, 7)  # below those that the kernel gives to clients


class Line:
    """A server and the line to it. Use with ``with``.

    Args:
        served: The server's directory.
        delay_ms: Of each way.
        mbit_per_s: Bandwidth of each way.
    """

    def __init__(self, served: Path, delay_ms: float, mbit_per_s: float = math.inf) -> None:
        self._served = served
        self._figures = delay_ms, mbit_per_s
        self._server_port = self._port = 0
        self._stack = contextlib.ExitStack()

    @property
    def endpoint(self) -> str:
        """The address at the near end."""
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        """Start both. Raises `PeerFailed`."""
        self._server_port, self._port = _free_ports(2)
        with contextlib.ExitStack() as stack:
            for module, port, arguments in (
                ("s3server", self._server_port, [self._served]),
                ("delay", self._port, [self._server_port, *self._figures]),
            ):
                command = [sys.executable, "-m", f"benchmarks.{module}", str(port), *map(str, arguments)]
                stack.enter_context(_running(command))
                _wait_for(port)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def requests(self) -> int:
        """How many have come to the server."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._server_port}{COUNTS}") as answer:
            return sum(json.load(answer).values())


class RemoteMount:
    """A daemon in the foreground. Use with ``with``.

    Args:
        command: Its command line.
        point: The mount point.
    """

    def __init__(self, command: Command, point: Path) -> None:
        self._command = command
        self._point = point
        self._log = point.with_name(f"{point.name}.log")
        self._daemon: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Mount. Nothing is listed. Raises `PeerFailed`."""
        self._point.mkdir(exist_ok=True)
        with self._log.open("wb") as log:
            self._daemon = subprocess.Popen(
                self._command, env=_environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        try:
            self._wait(self._daemon)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        unmount(self._point, fuse=True)
        assert self._daemon is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._daemon.wait(STOP_TIMEOUT_S)
        self.kill()

    def _wait(self, daemon: subprocess.Popen[bytes]) -> None:
        latest_s = time.perf_counter() + READY_TIMEOUT_S
        while str(self._point) not in mounted_below(self._point):
            if daemon.poll() is not None or time.perf_counter() > latest_s:
                raise PeerFailed(self.last_words())
            time.sleep(POLL_S)

    def kill(self) -> None:
        """End the daemon, whatever state it is in."""
        if self._daemon is not None and self._daemon.poll() is None:
            self._daemon.kill()
            self._daemon.wait()

    def cpu_s(self) -> float:
        """CPU time of all threads and children so far."""
        fields = [text.rpartition(")")[2].split() for text in self._of_processes("stat")]
        return sum(int(row[11]) + int(row[12]) for row in fields) / CLOCK_TICKS

    def peak_bytes(self) -> int:
        """The most memory that the daemon has had."""
        lines = [line for text in self._of_processes("status") for line in text.splitlines()]
        return sum(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024

    def last_words(self) -> str:
        """What the daemon said last."""
        return (self._log.read_text(errors="replace").strip().splitlines() or ["ended silently"])[-1]

    def _of_processes(self, name: str) -> list[str]:
        assert self._daemon is not None
        try:
            return [Path(f"/proc/{pid}/{name}").read_text() for pid in with_descendants(self._daemon.pid)]
        except OSError:
            raise PeerFailed(f"its daemon has ended: {self.last_words()}") from None


def run_job(job: dict[str, object], mount: RemoteMount | None) -> dict[str, Any]:
    """Do a worker's job; a mount that does not answer is killed.

    Raises:
        PeerFailed: It failed, or took too long.
    """
    process = subprocess.Popen(
        [sys.executable, "-I", "-W", "ignore", str(WORKER), json.dumps(job)],
        env=_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        output, errors = process.communicate(timeout=WORK_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise PeerFailed(f"took longer than {WORK_TIMEOUT_S:.0f} s") from None
    finally:
        if process.poll() is None:
            if mount is not None:
                mount.kill()
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if process.returncode:
        raise PeerFailed((errors.strip() or "no message").splitlines()[-1])
    result: dict[str, Any] = json.loads(output)
    return result


def _environment() -> dict[str, str]:
    """Without what this machine's user has set for other servers."""
    return {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}


@contextlib.contextmanager
def _running(command: list[str]) -> Iterator[None]:
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def _wait_for(port: int) -> None:
    latest_s = time.perf_counter() + READY_TIMEOUT_S
    while time.perf_counter() < latest_s:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
            return
        time.sleep(POLL_S)
    raise PeerFailed("the server does not start")


def _free_ports(count: int) -> list[int]:
    found: list[int] = []
    for port in _PORTS:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            return found
    raise PeerFailed("no port is free")

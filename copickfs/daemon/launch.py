"""Starting a daemon in the background, and waiting until its mount answers.

The process is forked before any thread exists and goes on with the modules that are loaded; what it has
to say until it is ready travels over a pipe, a JSON document to a line.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, NoReturn

from copickfs.daemon import kernel
from copickfs.daemon.detach import detach
from copickfs.daemon.logs import last_lines, log_to_file
from copickfs.daemon.mounts import mounts_at
from copickfs.daemon.probe import State, ask
from copickfs.daemon.process import Process
from copickfs.errors import MountError, UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from copickfs.daemon.request import MountRequest

_log = logging.getLogger(__name__)

START_LIMIT_S = 90.0
"""How long a daemon that starts may say nothing; remote layers have shorter limits of their own."""

_END_LIMIT_S = 3.0


class _Pipe:
    """The daemon's end: see `copickfs.daemon.service.Progress`."""

    def __init__(self, writer: int, messages: int) -> None:
        self._writer = writer
        self._messages = messages
        self._waiting = True
        self._lock = threading.Lock()

    def stage(self, text: str) -> None:
        with self._lock:
            if self._waiting:  # else the descriptor is another file's by now
                self._send(stage=text)

    def ready(self) -> bool:
        with self._lock:
            self._waiting = False
            heard = self._send(ready=True)
            os.close(self._writer)
            os.dup2(0, 2)  # the null device from here on
            os.close(self._messages)
            return heard

    def failed(self, message: str) -> None:
        """The start failed; what libfuse and fusermount3 printed about it goes along."""
        if not self._waiting:
            return
        os.lseek(self._messages, 0, os.SEEK_SET)
        printed = os.read(self._messages, 65536).decode(errors="replace").strip().rpartition("\n")[2]
        self._send(error=f"{message} [{printed}]" if printed else message)

    def _send(self, **document: Any) -> bool:
        try:
            os.write(self._writer, json.dumps(document).encode() + b"\n")
        except OSError:
            return False
        return True


def launch(
    request: MountRequest, *, follow_parent: bool = False, tell: Callable[[str], None] = lambda _text: None
) -> Process:
    """Start a daemon and wait until its mount answers.

    Args:
        request: What to mount, and how; its log file is set.
        follow_parent: The daemon ends with this process, also when this one is killed.
        tell: Told, in one line, what the daemon is at.

    Returns:
        The daemon, a child of this process.

    Raises:
        MountError: It did not start; no process and no mount is left.
    """
    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _run_child(request, writer, parent if follow_parent else None)
    os.close(writer)
    try:
        return _await_ready(request, pid, reader, tell)
    except BaseException:
        _end_child(request, pid)
        raise
    finally:
        os.close(reader)


def end_process(status: int) -> NoReturn:
    """End this process at once: threads that hang on a dead layer are not waited for."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _run_child(request: MountRequest, writer: int, parent: int | None) -> NoReturn:
    status = 1
    messages = os.memfd_create("copickfs-messages")
    pipe = _Pipe(writer, messages)
    try:
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):  # the parent's ways are not its own
            signal.signal(number, signal.SIG_DFL)
        if parent is not None:
            kernel.end_with_parent(signal.SIGTERM)
            if os.getppid() != parent:  # it died before the kernel knew
                os._exit(1)
        _redirect_standard_streams(messages)
        if request.log_file is not None:
            log_to_file(request.log_file, request.options.log_level)
        os.chdir("/")
        from copickfs.daemon.service import Daemon

        Daemon(request, pipe).run()
        status = 0
    except UserError as error:
        _log.info("not mounted: %s", error)
        pipe.failed(str(error))
    except BaseException as error:  # noqa: BLE001 -- nothing may leave a forked child by its parent's way
        _log.exception("the daemon ends with an unforeseen error, exit status %d", status)
        pipe.failed(
            f"unforeseen error: {type(error).__name__}: {error}; the log has more: {request.log_file}"
        )
    finally:
        end_process(status)


def _redirect_standard_streams(messages: int) -> None:
    """Until the mount answers, standard error collects what libfuse and fusermount3 print."""
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    os.dup2(messages, 2)
    os.close(nothing)


def _await_ready(request: MountRequest, pid: int, reader: int, tell: Callable[[str], None]) -> Process:
    deadline = time.monotonic() + START_LIMIT_S
    stage, pending = "starting", b""
    where = f"; log: {request.log_file}"
    while True:
        remaining_s = deadline - time.monotonic()
        if remaining_s <= 0 or not select.select([reader], [], [], remaining_s)[0]:
            raise MountError(f"the daemon was not ready within {START_LIMIT_S:.0f} s (while {stage}){where}")
        data = os.read(reader, 65536)
        deadline = time.monotonic() + START_LIMIT_S
        if not data:
            raise MountError(_describe_death(request, pid, stage) + where)
        *lines, pending = (pending + data).split(b"\n")
        for document in map(json.loads, lines):
            if "error" in document:
                Process.of(pid).wait(_END_LIMIT_S)
                raise MountError(document["error"])
            if "ready" in document:
                return Process.of(pid)
            stage = document["stage"]
            tell(stage)


def _describe_death(request: MountRequest, pid: int, stage: str) -> str:
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
    lines = " | ".join(last_lines(request.log_file))
    return f"the daemon {how} while {stage}" + (f"; its last words: {lines}" if lines else "")


def _end_child(request: MountRequest, pid: int) -> None:
    """End a daemon that did not start, and remove its mount."""
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        process = Process.of(pid)
        process.send(signal.SIGTERM)
        if not process.wait(_END_LIMIT_S):
            process.send(signal.SIGKILL)
            process.wait(_END_LIMIT_S)
        os.waitpid(pid, os.WNOHANG)
    stack = mounts_at(request.mountpoint)
    if stack and stack[-1].is_copickfs and ask(request.mountpoint).state is State.DEAD:
        detach(request.mountpoint)

"""The daemon's ear: a Unix socket on which its user asks it for something.

One connection for a question: a JSON object on a line, ``{"ask": NAME, ...}``, and as the answer
another one, ``{"answer": {...}}`` or ``{"error": "one line"}``. The socket lies beside the daemon's state
file, where only its user and root can reach it. Nothing here goes through the mount, so that a question
that takes long keeps no request of the kernel waiting, and who asks can be interrupted at any time.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

from copickfs.errors import CopickfsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    Handler = Callable[[dict[str, Any], "Caller"], dict[str, Any]]

_log = logging.getLogger(__name__)

FAREWELL = "farewell"
"""Asked for before unmounting; answered when the daemon is about to end."""

MAX_LINE_BYTES = 1 << 20
_QUESTION_LIMIT_S = 10.0
_MAX_CALLERS = 32
_PAUSE_S = 0.1


class Caller:
    """Who has asked, and waits for the answer.

    Args:
        connection: The connection.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def is_waiting(self) -> bool:
        """False once the other side has hung up."""
        poll = select.poll()
        poll.register(self._connection, select.POLLRDHUP)
        return not poll.poll(0)

    def question(self) -> dict[str, Any]:
        """What is asked. Raises OSError or ValueError if it is nothing."""
        self._connection.settimeout(_QUESTION_LIMIT_S)
        with self._connection.makefile("rb") as lines:
            question = json.loads(lines.readline(MAX_LINE_BYTES))
        if not isinstance(question, dict):
            raise ValueError("a question is a JSON object")  # noqa: TRY004 -- of what was sent, not of a type
        return question

    def answer(self, **document: Any) -> None:
        """Send the answer and hang up. Never raises."""
        with contextlib.suppress(OSError):
            self._connection.sendall(json.dumps(document).encode() + b"\n")
        self._connection.close()


class Channel:
    """Answers questions, each in a thread of its own, until `close`.

    Args:
        file: Where the socket is made.
        handlers: Functions that make the answer to a question, by its name.

    Raises:
        OSError: The socket cannot be made.
    """

    def __init__(self, file: Path, handlers: Mapping[str, Handler]) -> None:
        self._handlers = handlers
        self._lock = threading.Lock()
        self._leaving: list[Caller] = []
        self._callers = threading.BoundedSemaphore(_MAX_CALLERS)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with address_of(file) as address:
                self._socket.bind(address)
            file.chmod(0o600)
            self._socket.listen(_MAX_CALLERS)
        except OSError:
            self._socket.close()
            raise
        threading.Thread(target=self._listen, name="copickfs-channel", daemon=True).start()

    def close(self, farewell: dict[str, Any]) -> None:
        """Answer those who wait for the end with ``farewell``, and nobody any more. Idempotent."""
        with contextlib.suppress(OSError):  # not connected: ends accept() all the same
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        with self._lock:
            leaving, self._leaving = self._leaving, []
        for caller in leaving:
            caller.answer(answer=farewell)

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                if self._socket.fileno() < 0:
                    return
                time.sleep(_PAUSE_S)  # no descriptor is left just now
                continue
            if not self._callers.acquire(blocking=False):
                Caller(connection).answer(error="too many questions at once")
                continue
            threading.Thread(
                target=self._serve, args=(Caller(connection),), name="copickfs-question", daemon=True
            ).start()

    def _serve(self, caller: Caller) -> None:
        try:
            question = caller.question()
            name = str(question.get("ask"))
            if name == FAREWELL:
                with self._lock:
                    self._leaving.append(caller)
            elif name in self._handlers:
                caller.answer(**self._answer(name, question, caller))
            else:
                caller.answer(error=f"this daemon does not know what {name!r} means")
        except (OSError, ValueError):
            caller.answer(error="that was no question")
        finally:
            self._callers.release()

    def _answer(self, name: str, question: dict[str, Any], caller: Caller) -> dict[str, Any]:
        try:
            return {"answer": self._handlers[name](question, caller)}
        except OSError as error:
            text = error.strerror if error.strerror and len(error.args) > 1 else str(error)
            return {"error": text or type(error).__name__}
        except CopickfsError as error:
            return {"error": str(error) or type(error).__name__}
        except Exception as error:  # noqa: BLE001 -- the answer says so, and the daemon lives on
            _log.exception("unforeseen error while answering %s", name)
            return {"error": f"unforeseen error: {type(error).__name__}: {error}; the log has more"}


@contextlib.contextmanager
def address_of(file: Path) -> Iterator[str]:
    """An address of the socket ``file`` that is short enough: only 107 bytes of a path are allowed."""
    directory = os.open(file.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{file.name}"
    finally:
        os.close(directory)

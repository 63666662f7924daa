"""A whole indexing run in a process of its own, for a daemon."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading

_log = logging.getLogger(__name__)

_NICENESS = 19
_END_S = 5.0
_MOST_CHARACTERS = 1_000
INCOMPLETE = 3
"""Exit status of a command: something could not be read, such as a layer that is out of reach."""


class Runner:
    """Runs ``copickfs index`` on a configuration, one at a time. Thread-safe.

    Args:
        configuration: Path of the configuration file.
        offline: Reach for nothing on a network.

    Attributes:
        fault: Why the last run was not whole; ``""`` if it was.
    """

    def __init__(self, configuration: str, *, offline: bool = False) -> None:
        self._arguments = ["--quiet", *(["--offline"] if offline else []), configuration]
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._stopped = False
        self.fault = ""

    @property
    def is_running(self) -> bool:
        """True from `start` until `has_ended` has said so, or it was stopped."""
        return self._process is not None

    def start(self) -> None:
        """Begin a run, unless one is under way."""
        with self._lock:
            if self._process is not None or self._stopped:
                return
            command = [sys.executable, "-P", "-m", "copickfs", "index", *self._arguments]
            try:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    text=True,
                    errors="replace",
                    env={**os.environ, "COPICKFS_INDEX_PARENT": str(os.getpid())},
                )
            except OSError as error:
                self.fault = f"no process could be started: {error.strerror}"
                return
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, self._process.pid, _NICENESS)

    def has_ended(self) -> bool:
        """True once for each run, after its end; not for one that was stopped."""
        with self._lock:
            process = self._process
            if process is None or process.poll() is None:
                return False
            self._process = None
        assert process.stderr is not None  # noqa: S101 -- see start
        with process.stderr as stream:
            said = " ".join(stream.read(_MOST_CHARACTERS).split())
        is_fault = process.returncode not in (0, INCOMPLETE)
        self.fault = f"indexing has failed: {said}" if is_fault else ""
        if said:
            _log.info("indexing: %s", said)
        return True

    def stop(self) -> None:
        """End a run that is under way, and begin no other. Idempotent."""
        with self._lock:
            self._stopped = True
            process = self._process
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        with self._lock:
            is_asked = self._process is not process  # `has_ended` reads what it has said
            self._process = None
        if process.stderr is not None and not is_asked:
            process.stderr.close()

"""The daemon's log: a rotating file that only its owner can read, or standard error."""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import sys
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from typing import TYPE_CHECKING, TextIO

from copickfs.errors import MountError

if TYPE_CHECKING:
    from pathlib import Path

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_MAX_FILE_BYTES = 4 * 1024 * 1024
_OLD_FILES = 3
_LAST_LINES = 5
_OWN = "copickfs"


class PrivateFileHandler(RotatingFileHandler):
    """Rotates at 4 MiB, mode 0600; `faulthandler` writes to the same file.

    Args:
        file: Where to log.
    """

    def __init__(self, file: Path) -> None:
        super().__init__(file, maxBytes=_MAX_FILE_BYTES, backupCount=_OLD_FILES, encoding="utf-8")

    def _open(self) -> TextIOWrapper:
        # Surrogate escapes of odd file names are written as \udcXX instead of failing.
        descriptor = os.open(self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        stream = TextIOWrapper(os.fdopen(descriptor, "ab"), encoding="utf-8", errors="backslashreplace")
        report_crashes_to(stream)
        return stream


def log_to_file(file: Path, level: str) -> None:
    """Send log records to ``file``: copickfs's own from ``level`` on, those of libraries if they warn.

    Raises:
        MountError: It cannot be written.
    """
    try:
        handler = PrivateFileHandler(file)
    except OSError as error:
        raise MountError(
            f"cannot write the log {file}: {error.strerror}; name another with --log-file"
        ) from None
    _install(handler, level)


def log_to_stderr(level: str) -> None:
    """Send log records to standard error, chosen as in `log_to_file`."""
    _install(logging.StreamHandler(sys.stderr), level)
    report_crashes_to(sys.stderr)


def report_crashes_to(stream: TextIO) -> None:
    """Write the stacks of all threads to ``stream`` on a fatal signal, and on SIGUSR1."""
    faulthandler.enable(stream, all_threads=True)
    faulthandler.register(signal.SIGUSR1, stream, all_threads=True)


def last_lines(file: Path | None) -> list[str]:
    """The last lines of a log, for an error message; none if it cannot be read."""
    if file is None:
        return []
    try:
        with file.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - 4096))
            return log.read().decode(errors="replace").splitlines()[-_LAST_LINES:]
    except OSError:
        return []


def _install(handler: logging.Handler, level: str) -> None:
    handler.setFormatter(logging.Formatter(_FORMAT))
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    chosen = logging.getLevelNamesMapping()[level.upper()]
    logging.getLogger(_OWN).setLevel(chosen)
    root.setLevel(_level_of_libraries(chosen))
    logging.raiseExceptions = False  # a full disk must not spill tracebacks over standard error
    logging.captureWarnings(capture=True)


def _level_of_libraries(chosen: int) -> int:
    """Libraries tell of every connection at INFO, and at DEBUG of headers and whatever secret is in them."""
    return logging.INFO if chosen <= logging.DEBUG else max(logging.WARNING, chosen)

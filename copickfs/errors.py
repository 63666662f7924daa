"""The one exception tree of copickfs, grouped by what a handler does with it.

::

    CopickfsError                          the root; ``errno`` is what a file system call answers
    |-- UserError                          the user can mend it: one clear line, no traceback
    |   |-- ConfigError(ValueError)        a configuration file, key or value
    |   `-- MountError                     a mount point, a mount option, a daemon that did not start
    |-- LayerError                         a layer's definite answer about one path
    |   |-- NotFound(FileNotFoundError)           ENOENT
    |   |-- NotADirectory(NotADirectoryError)     ENOTDIR
    |   |-- IsADirectory(IsADirectoryError)       EISDIR
    |   |-- AccessDenied(PermissionError)         EACCES
    |   |-- ReadOnly(OSError)                     EROFS
    |   |   `-- NotWritable(PermissionError, ValueError)   the same, as copick's users expect it
    |   |-- InvalidName(ValueError)               EINVAL
    |   |-- Stale(OSError)                        ESTALE, the source changed while it was read
    |   `-- Unreadable(ValueError)                EIO, what is there is not what it has to be
    |-- Transient                          worth trying again; never remembered, never an absence
    |   |-- Unavailable(ConnectionError)          EIO, the layer is down
    |   `-- DeadlineExceeded(TimeoutError)        ETIMEDOUT, the layer did not answer in time
    |-- IndexUnavailable                   the index cannot be used; every answer can be had without it
    |   |-- IndexBusy                             somebody else was writing all the time
    |   `-- IndexFull                             there is no room for what is to be written
    |-- CacheUnavailable                   the cache cannot be used; everything can be read without it
    |-- NoAnswer                           what a program is told that takes every OSError for an absence
    `-- WouldBlock(BlockingIOError)        a ``*_nowait`` twin cannot answer from memory

Errors of the operating system (:class:`OSError`) pass through layers unchanged;
:func:`errno_of` is the one place that turns any exception into an errno.
"""

from __future__ import annotations

import errno as codes
from typing import ClassVar


class CopickfsError(Exception):
    """Root of every exception that copickfs raises on purpose."""

    code: ClassVar[int] = codes.EIO


class UserError(CopickfsError):
    """Something the user can mend; shown as one line, with a non-zero exit."""

    code = codes.EINVAL


class ConfigError(UserError, ValueError):
    """A configuration that cannot be used.

    Args:
        message: What is wrong and what to do about it.
        file: The configuration file, if there is one.
        key: The key in dotted form, such as ``layer_configs.lab.root``.
        value: The offending value; pass it only where it cannot be a secret.
    """

    def __init__(
        self, message: str, *, file: str | None = None, key: str | None = None, value: object = None
    ) -> None:
        self.file = file
        self.key = key
        self.value = value
        where = ": ".join(part for part in (file, key) if part)
        shown = "" if value is None else f" (got {value!r})"
        super().__init__(f"{where}: {message}{shown}" if where else f"{message}{shown}")


class MountError(UserError):
    """A mount that cannot be made, found or removed."""


class LayerError(CopickfsError):
    """A layer's definite answer about one path."""


class NotFound(LayerError, FileNotFoundError):
    """The path does not exist in the layer, and the layer is sure of it."""

    code = codes.ENOENT


class NotADirectory(LayerError, NotADirectoryError):
    """The path, or one of its ancestors, is a file in the layer."""

    code = codes.ENOTDIR


class IsADirectory(LayerError, IsADirectoryError):
    """The path is a directory where a file was wanted."""

    code = codes.EISDIR


class AccessDenied(LayerError, PermissionError):
    """The layer refuses this path to this process."""

    code = codes.EACCES


class ReadOnly(LayerError, OSError):
    """A write to a layer that is never written."""

    code = codes.EROFS


class NotWritable(ReadOnly, PermissionError, ValueError):
    """A change that no layer which is written can have: copick's kind of error, and the specification's."""


class InvalidName(LayerError, ValueError):
    """A name that no path of the tree can have."""

    code = codes.EINVAL


class Stale(LayerError, OSError):
    """The source changed between opening and reading it."""

    code = codes.ESTALE


class Unreadable(LayerError, ValueError):
    """The source holds something else than what has to be made of it."""


class Transient(CopickfsError):
    """A failure that may pass: retried, never cached, never taken for an absence."""


class Unavailable(Transient, ConnectionError):
    """The layer cannot be reached."""


class DeadlineExceeded(Transient, TimeoutError):
    """The layer did not answer within its time limit."""

    code = codes.ETIMEDOUT


class IndexUnavailable(CopickfsError):
    """The index cannot be read or written just now, or at all. Never a fault of the mount."""


class IndexBusy(IndexUnavailable):
    """Others were writing for as long as one waits for them."""


class IndexFull(IndexUnavailable):
    """The disk is full, or a quota is used up; what there is can be read."""


class CacheUnavailable(CopickfsError):
    """The cache cannot be read or written just now, or at all. Never a fault of a read."""


class NoAnswer(CopickfsError):
    """What is at a path cannot be told, or read, just now; its cause says why.

    Not an `OSError` on purpose: zarr takes each of these for a chunk that is not there, and gives zeros.
    """


class WouldBlock(CopickfsError, BlockingIOError):
    """A ``*_nowait`` call that would have to wait for a disk or a network.

    Args:
        lane: Name of the layer that would block, so that the caller waits in that layer's
            queue and in no other's.
    """

    code = codes.EAGAIN

    def __init__(self, lane: str = "") -> None:
        super().__init__(lane)
        self.lane = lane


def errno_of(error: BaseException) -> int:
    """The errno that a file system call answers for ``error``; EIO for anything unforeseen."""
    if isinstance(error, CopickfsError):
        return error.code
    if isinstance(error, OSError) and error.errno:
        return error.errno
    return codes.EIO

"""Errors as programs that use fsspec expect them: Python's own, with an errno and the path."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING

from copickfs.errors import LayerError, ReadOnly, StoreFault, Transient

if TYPE_CHECKING:
    from collections.abc import Iterator

_ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError, FileExistsError)


@contextlib.contextmanager
def builtin_errors(path: str) -> Iterator[None]:
    """Raise Python's own errors for what goes wrong with ``path``.

    A layer that is out of reach stays `Transient`, which is a `ConnectionError` or a `TimeoutError` as well.
    """
    try:
        yield
    except ReadOnly as error:
        # Its errno, EROFS, would make a bare OSError; programs look for a PermissionError.
        raise PermissionError(errno.EROFS, "nothing can be written there", path) from error
    except LayerError as error:
        if not isinstance(error, OSError):
            raise
        raise OSError(error.code, os.strerror(error.code), path) from error
    except OSError as error:
        if isinstance(error, Transient) or error.filename is not None or error.errno is None:
            raise
        raise OSError(error.errno, os.strerror(error.errno), path) from error


@contextlib.contextmanager
def store_errors(path: str) -> Iterator[None]:
    """Like `builtin_errors`, but whatever is no definite answer is a `StoreFault`, which is no `OSError`."""
    try:
        with builtin_errors(path):
            yield
    except _ABSENT:
        raise
    except OSError as error:
        raise StoreFault(f"{path}: {error}") from error


def raise_unless_absent(error: OSError) -> None:
    """What a walk does about a directory that it cannot list: one that has gone meanwhile is left out."""
    if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
        raise error

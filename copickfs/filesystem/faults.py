"""Errors as programs that use fsspec expect them: Python's own, with an errno and the path.

All but one: what is no definite answer is `NoAnswer`, for zarr takes any `OSError` for a missing chunk.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING

from copickfs import paths
from copickfs.errors import LayerError, NoAnswer, ReadOnly, Stale, Transient

if TYPE_CHECKING:
    from collections.abc import Iterator

_DEFINITE = (FileNotFoundError, NotADirectoryError, IsADirectoryError, FileExistsError)


@contextlib.contextmanager
def reading(path: str) -> Iterator[None]:
    """Raise the right errors for what goes wrong when ``path`` is looked at or read.

    A file that may not be read is a `PermissionError`, but in a store it is `NoAnswer`.
    """
    try:
        with changing(path):
            yield
    except _DEFINITE:
        raise
    except OSError as error:
        if isinstance(error, PermissionError) and paths.store_of(path) is None:
            raise
        raise NoAnswer(str(error)) from error


@contextlib.contextmanager
def changing(path: str) -> Iterator[None]:
    """Raise the right errors for what goes wrong when ``path`` is changed."""
    try:
        yield
    except (Transient, Stale) as error:
        raise NoAnswer(f"/{path}: {error}") from error
    except ReadOnly as error:
        # Its errno, EROFS, would make a bare OSError; programs look for a PermissionError.
        raise PermissionError(errno.EROFS, "nothing can be written there", f"/{path}") from error
    except LayerError as error:
        if not isinstance(error, OSError):
            raise
        raise OSError(error.code, os.strerror(error.code), f"/{path}") from error
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise
        raise OSError(error.errno, os.strerror(error.errno), f"/{path}") from error


def raise_unless_absent(error: OSError) -> None:
    """What a walk does about a directory that it cannot list: one that has gone meanwhile is left out."""
    if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
        raise error

"""The one place where exceptions become errnos, and where none gets past.

pyfuse3 ends the daemon, and the mount, on any exception of a handler that is not `FUSEError`.
"""

from __future__ import annotations

import errno
import functools
import logging
from collections import Counter
from typing import TYPE_CHECKING, Any

import pyfuse3

from copickfs.errors import CopickfsError, Transient, errno_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_log = logging.getLogger(__name__)


class Counters:
    """What the mount has done, for status and metrics. Changed on the event loop only.

    Attributes:
        requests: Requests of the kernel by operation.
        errors: Answers of each errno's number that stand for a fault, not for an ordinary "no".
        faults: Unforeseen exceptions, by operation.
        bytes_read: Bytes given to readers.
        bytes_written: Bytes taken from writers.
    """

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.errors: Counter[int] = Counter()
        self.faults: Counter[str] = Counter()
        self.bytes_read = 0
        self.bytes_written = 0


def handler(function: Callable[..., Awaitable[Any]]) -> Any:
    """Wrap a handler of `pyfuse3.Operations` on an object with a ``counters`` attribute."""
    operation = function.__name__

    @functools.wraps(function)
    async def wrapped(self: Any, *args: Any) -> Any:
        self.counters.requests[operation] += 1
        try:
            return await function(self, *args)
        except pyfuse3.FUSEError:
            raise
        except Exception as error:  # noqa: BLE001 -- see the module's docstring
            raise answer(self.counters, operation, error) from None

    return wrapped


def answer(counters: Counters, operation: str, error: Exception) -> pyfuse3.FUSEError:
    """The `FUSEError` for ``error``; counts it and logs what nobody foresaw.

    EBADF is nobody's answer: the kernel checks what programs hand it. It says that a file was used here after
    it was closed, when its number may be another file's.
    """
    code = errno_of(error)
    if isinstance(error, Transient):
        counters.errors[code] += 1
        _log.info("%s: %s", operation, error)
    elif not isinstance(error, (CopickfsError, OSError)) or code == errno.EBADF:
        counters.faults[operation] += 1
        _log.error("unforeseen error in %s; the mount goes on", operation, exc_info=error)
    return pyfuse3.FUSEError(code)

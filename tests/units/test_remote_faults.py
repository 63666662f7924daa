"""What the exceptions of file system libraries mean."""

from __future__ import annotations

import errno
import ssl
from concurrent.futures import CancelledError

import pytest

from copickfs.errors import (
    AccessDenied,
    ConfigError,
    DeadlineExceeded,
    IsADirectory,
    NotADirectory,
    NotFound,
    Stale,
    Unavailable,
)
from copickfs.layers.sources.faults import meaning


def _named(name: str, base: type[Exception] = Exception) -> Exception:
    return type(name, (base,), {})("text")


def _ftp(name: str, text: str) -> Exception:
    return type(name, (Exception,), {})(text)


def _windows(status: int, code: int) -> Exception:
    error = OSError(code, "text")
    error.ntstatus = status  # type: ignore[attr-defined]  # as smbprotocol has it
    return error


def _caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


MEANINGS: list[tuple[BaseException, type[Exception]]] = [
    (FileNotFoundError("x"), NotFound),
    (FileNotFoundError(errno.ENOENT, "x"), NotFound),
    (OSError(errno.ENOENT, "x"), NotFound),
    (NotADirectoryError("x"), NotADirectory),
    (IsADirectoryError("x"), IsADirectory),
    (PermissionError("x"), AccessDenied),
    (OSError(errno.EPERM, "x"), AccessDenied),
    (_named("SFTPNoSuchFile"), NotFound),
    (_named("SFTPPermissionDenied"), AccessDenied),
    (_ftp("error_perm", "550 no such file"), NotFound),
    (_named("SFTPFailure"), Unavailable),
    (_named("SFTPConnectionLost"), Unavailable),
    (ConnectionResetError("x"), Unavailable),
    (EOFError("x"), Unavailable),
    (OSError("Socket is closed"), Unavailable),
    (OSError(errno.EIO, "x"), Unavailable),
    (OSError(errno.EBUSY, "SlowDown"), Unavailable),
    (ssl.SSLError("x"), Unavailable),
    (_ftp("error_temp", "421 going away"), Unavailable),
    (ValueError("anything"), Unavailable),
    (_caused(FileNotFoundError("x"), _ftp("error_temp", "421 x")), Unavailable),
    (_caused(FileNotFoundError("x"), _named("EndpointConnectionError", ConnectionError)), Unavailable),
    (_caused(FileNotFoundError("x"), KeyError("x")), NotFound),
    (TimeoutError("x"), DeadlineExceeded),
    (CancelledError(), DeadlineExceeded),
    (_named("AuthenticationException", type("SSHException", (Exception,), {})), ConfigError),
    (_caused(PermissionError("x"), _named("PermissionDenied")), ConfigError),
    (_named("NoCredentialsError"), ConfigError),
    (_ftp("error_perm", "530 login incorrect"), ConfigError),
    (_windows(0xC0000033, 0), NotFound),
    (_windows(0xC0000043, errno.EPERM), Unavailable),
    (_caused(ValueError("failed to connect"), ConnectionRefusedError()), Unavailable),
    (NotFound("x"), NotFound),
    (Stale("x"), Stale),
]


@pytest.mark.parametrize(("error", "kind"), MEANINGS, ids=lambda v: repr(v)[:50])
def test_what_an_exception_means(error: BaseException, kind: type[Exception]) -> None:
    result = meaning(error, "a/path", "the text")
    assert type(result) is kind


def test_a_name_that_is_too_long_stays_what_it_is() -> None:
    result = meaning(OSError(errno.ENAMETOOLONG, "x"), "p", "the text")
    assert isinstance(result, OSError)
    assert result.errno == errno.ENAMETOOLONG

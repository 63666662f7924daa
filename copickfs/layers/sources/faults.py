"""What the exceptions of file system libraries mean: a definite answer, an outage, or a wrong configuration.

Libraries are recognised by the names of their exception classes, so that none is imported here.
Whatever is not known to be an answer is an outage: an absence is believed only when the server said so.
"""

from __future__ import annotations

import errno
import socket
import ssl
from typing import TYPE_CHECKING

from copickfs.errors import (
    AccessDenied,
    ConfigError,
    CopickfsError,
    DeadlineExceeded,
    IsADirectory,
    NotADirectory,
    NotFound,
    Unavailable,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_ANSWERS: dict[str, type[Exception]] = {
    "SFTPNoSuchFile": NotFound,
    "SFTPNoSuchPath": NotFound,
    "SFTPPermissionDenied": AccessDenied,
    "SFTPNotADirectory": NotADirectory,
    "SFTPFileIsADirectory": IsADirectory,
}

_BY_ERRNO: dict[int, type[Exception]] = {
    errno.ENOENT: NotFound,
    errno.ENOTDIR: NotADirectory,
    errno.EISDIR: IsADirectory,
    errno.EACCES: AccessDenied,
    errno.EPERM: AccessDenied,
}

_PASSED_ON = frozenset(
    {
        errno.ENAMETOOLONG, errno.ELOOP, errno.EOPNOTSUPP, errno.EEXIST, errno.ENOTEMPTY, errno.ENOSPC,
        errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EXDEV, errno.EILSEQ,
    }
)  # fmt: skip
"""The last ones are answers to writers."""

_ERRNO_OF_CLASS = {
    "FileExistsError": errno.EEXIST,
    "NotImplementedError": errno.EROFS,  # a file system that only reads
    "SFTPFileAlreadyExists": errno.EEXIST,
    "SFTPDirNotEmpty": errno.ENOTEMPTY,
    "SFTPNoSpaceOnFilesystem": errno.ENOSPC,
    "SFTPQuotaExceeded": errno.EDQUOT,
    "SFTPWriteProtect": errno.EROFS,
    "SFTPOpUnsupported": errno.EOPNOTSUPP,
}

_OUTAGES = frozenset(
    {
        "ClientConnectionError", "ClientPayloadError",  # aiohttp
        "DisconnectError", "ChannelOpenError", "SFTPConnectionLost", "SFTPNoConnection",  # asyncssh
        "SSHException",  # paramiko
        "error_temp", "error_reply", "error_proto",  # ftplib
        "HTTPClientError", "ConnectionError",  # botocore
        "RequestException", "TransportError",  # requests, httpx
        "SMBConnectionClosed",  # smbprotocol
    }
)  # fmt: skip

_SHARING_VIOLATION = 0xC0000043
"""Somebody has the file open for himself alone; SMB has EPERM for it, but it passes."""

_NAME_INVALID = 0xC0000033
"""A name that SMB cannot have, though the server lists it."""

_REFUSALS = frozenset(
    {
        "PermissionDenied", "HostKeyNotVerifiable", "KeyImportError", "IllegalUserName",  # asyncssh
        "AuthenticationException", "BadHostKeyException",  # paramiko
        "LogonFailure", "SMBAuthenticationError",  # smbprotocol
        "NoCredentialsError", "PartialCredentialsError", "TokenRetrievalError", "ProfileNotFound",  # botocore
        "ClientConnectorCertificateError", "InvalidURL",  # aiohttp
        "RefreshError", "DefaultCredentialsError",  # google.auth
    }
)  # fmt: skip
"""The server, or the library, will not have these credentials or this address, however often it is tried."""


def is_refusal(error: BaseException) -> bool:
    """True if the configuration is at fault: credentials, host key, certificate."""
    names = _class_names(error)
    if "error_perm" in names:  # ftplib; 530 is "not logged in"
        return str(error).startswith("530")
    return bool(names & _REFUSALS) or isinstance(error, ssl.SSLCertVerificationError)


def meaning(error: BaseException, path: str, text: str) -> Exception:
    """The exception of `copickfs.errors` (or a plain `OSError`) that says what ``error`` means.

    Args:
        error: Whatever a library has raised.
        path: What was asked for.
        text: The message to show, without secrets.
    """
    if isinstance(error, CopickfsError):
        return _known(error, text)
    if isinstance(error, TimeoutError) or "CancelledError" in _class_names(error):
        return DeadlineExceeded(text)
    if any(map(is_refusal, _chain(error))):
        return ConfigError(text)
    answer = None if is_outage(error) else _answer(error, path, text)
    return answer or Unavailable(text)


def is_outage(error: BaseException) -> bool:
    """True if the error, or one that led to it, is known to be an outage."""
    return any(map(_is_outage, _chain(error)))


def _answer(error: BaseException, path: str, text: str) -> Exception | None:
    """What the server said, if ``error`` is an answer at all."""
    names = _class_names(error)
    for name in _ANSWERS.keys() & names:
        return _ANSWERS[name](path)
    if isinstance(error, UnicodeError):
        return OSError(errno.EILSEQ, text)  # a library that insists on one encoding of names
    code = _errno_of(error) if isinstance(error, OSError) else 0
    code = next((_ERRNO_OF_CLASS[name] for name in names & _ERRNO_OF_CLASS.keys()), code)
    if "error_perm" in names and str(error).startswith("550"):
        code = errno.ENOENT  # ftplib: the one answer for all that is not there
    if code in _BY_ERRNO:
        return _BY_ERRNO[code](path)
    return OSError(code, text) if code in _PASSED_ON else None


def _known(error: CopickfsError, text: str) -> Exception:
    if isinstance(error, Unavailable | DeadlineExceeded | ConfigError):
        return type(error)(text)
    return error


def _is_outage(error: BaseException) -> bool:
    if isinstance(error, ConnectionError | TimeoutError | EOFError | socket.gaierror | ssl.SSLError):
        return True
    if getattr(error, "ntstatus", None) == _SHARING_VIOLATION:
        return True
    return bool(_class_names(error) & _OUTAGES)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and those that led to it: some libraries turn an outage into an absence."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _class_names(error: BaseException) -> set[str]:
    return {cls.__name__ for cls in type(error).__mro__}


def _errno_of(error: OSError) -> int:
    if getattr(error, "ntstatus", None) == _NAME_INVALID:
        return errno.ENOENT
    if error.errno is not None:
        return error.errno
    for cls, code in (
        (FileNotFoundError, errno.ENOENT),
        (NotADirectoryError, errno.ENOTDIR),
        (IsADirectoryError, errno.EISDIR),
        (PermissionError, errno.EACCES),
    ):
        if isinstance(error, cls):
            return code
    return errno.EIO

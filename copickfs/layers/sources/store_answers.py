"""What obstore's exceptions say. They are texts: the status, the server's answer, what led to it."""

from __future__ import annotations

import errno
import re
from http import HTTPStatus
from typing import NamedTuple

from copickfs.errors import AccessDenied, ConfigError, DeadlineExceeded, NotFound, Stale, Unavailable
from copickfs.layers.sources import RangesIgnored

_STATUS = re.compile(r"Server returned non-2xx status code: (\d{3})[^:<]*")
_CODE = re.compile(r"<Code>\s*(\w+)\s*</Code>")
_MESSAGE = re.compile(r"<Message>([^<]*)")
_CAUSES = (
    re.compile(r'\bOs \{.*?message: "([^"]+)"', re.DOTALL),
    re.compile(r'"dns error".*?error: "([^"]+)"', re.DOTALL),
    re.compile(r'"([^"]*certificate[^"]*)"'),
    re.compile(r"\b(InvalidCertificate\([^)]*\))"),
)
_PATH = re.compile(r"^Encountered object with invalid path: ")
_ADDRESS = re.compile(r"\b\w+://\S*")
_METADATA_SERVICES = ("//169.254.", "//metadata.google", "//metadata/")

_NO_BUCKET = frozenset({"NoSuchBucket", "ContainerNotFound", "ContainerBeingDeleted", "AccountNotFound"})
_ELSEWHERE = frozenset(
    {"AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraintException"}
)
_CREDENTIALS = frozenset(
    {
        "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "TokenRefreshRequired",
        "RequestTimeTooSkewed", "InvalidClientTokenId", "NotSignedUp", "AccountProblem", "InvalidSecurity",
        "AuthenticationFailed", "InvalidAuthenticationInfo", "NoAuthenticationInformation", "AuthFailure",
    }
)  # fmt: skip
"""What S3, Azure and Google say to credentials that are none, or none any more."""

_ERRNO_OF_CODE = {
    "KeyTooLongError": errno.ENAMETOOLONG,
    "EntityTooLarge": errno.EFBIG,
    "QuotaExceeded": errno.EDQUOT,
    "XMinioStorageFull": errno.ENOSPC,
    "NotImplemented": errno.EOPNOTSUPP,
}
_ERRNO_OF_STATUS: dict[int, int] = {
    HTTPStatus.NOT_IMPLEMENTED: errno.EOPNOTSUPP,
    HTTPStatus.REQUEST_URI_TOO_LONG: errno.ENAMETOOLONG,
    HTTPStatus.INSUFFICIENT_STORAGE: errno.ENOSPC,
}


class Said(NamedTuple):
    """The parts of an exception's text that count."""

    status: int
    code: str
    text: str


class OddKey(Exception):
    """A listing has failed for a key that is no path to obstore."""


def answer(error: Exception, path: str) -> Exception:
    """The exception of `copickfs.errors` (or a plain `OSError`) that says what ``error`` means.

    Args:
        error: Raised by obstore.
        path: The layer's path that was asked for.
    """
    kind = type(error).__name__
    if kind == "InvalidPathError":
        return OddKey(_PATH.sub("", str(error).partition("\n")[0]))
    if isinstance(error, ValueError):
        return OSError(errno.EILSEQ, f"no name for an object store: {path!r}")
    said = said_of(error)
    refusal = _refusal(kind, said, str(error))
    return refusal or _definite(kind, said, path) or _outage(said, str(error))


def failed(panic: BaseException) -> Unavailable:
    """What it means that the library has panicked: nothing is known."""
    return Unavailable(f"obstore has failed: {' '.join(str(panic).split())[:200]}")


def _definite(kind: str, said: Said, path: str) -> Exception | None:
    """What the store has said of one object."""
    if kind == "PreconditionError" or said.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        return Stale(path)
    if kind == "FileNotFoundError":
        return NotFound(path)
    if kind == "AlreadyExistsError":
        return FileExistsError(errno.EEXIST, "exists", path)
    if kind == "PermissionDeniedError" or said.status == HTTPStatus.FORBIDDEN:
        return AccessDenied(path)
    if "non-partial response" in said.text:
        return RangesIgnored(path)
    code = _ERRNO_OF_CODE.get(said.code) or _ERRNO_OF_STATUS.get(said.status)
    if kind == "NotSupportedError" or "required for conditional update" in said.text:
        code = errno.EOPNOTSUPP
    return OSError(code, said.text, path) if code else None


def _outage(said: Said, full: str) -> Exception:
    return DeadlineExceeded(said.text) if "TimedOut" in full else Unavailable(said.text)


def _refusal(kind: str, said: Said, full: str) -> ConfigError | None:
    """What makes every request fail until the configuration is another one."""
    if said.code in _NO_BUCKET:
        return ConfigError(f"no such bucket or container ({said.text}); correct 'root'")
    if said.code in _ELSEWHERE or "Received redirect without LOCATION" in full:
        return ConfigError("the bucket is in another region; name it in 'fs_args' as 'region_name'")
    if said.code in _CREDENTIALS or kind == "UnauthenticatedError" or said.status == HTTPStatus.UNAUTHORIZED:
        return ConfigError(f"the store refuses the credentials: {said.text}")
    if any(service in full for service in _METADATA_SERVICES):
        return ConfigError("no credentials were found; give them in 'fs_args', or 'anon' for a public bucket")
    if "InvalidCertificate" in full or "invalid peer certificate" in full:
        return ConfigError(f"the server's certificate is not trusted: {said.text}")
    return None


def said_of(error: Exception) -> Said:
    """What obstore says, in one line and without addresses, in which Azure has secrets."""
    told, _, cause = str(error).partition("\n\nDebug source:")
    status = _STATUS.search(told)
    code = _CODE.search(told)
    if status is not None:
        message = _MESSAGE.search(told)
        parts = (status[1], code[1] if code else "", message[1] if message else "")
        return Said(int(status[1]), code[1] if code else "", " ".join(part for part in parts if part))
    reasons = (pattern.search(cause) for pattern in _CAUSES)
    reason = next((match[1] for match in reasons if match), "")
    if not reason and "TimedOut" in cause:
        reason = "no answer in time"
    text = _ADDRESS.sub("...", told.rpartition(" - ")[2])
    return Said(0, "", f"{text}: {reason}" if reason else text)

"""One spelling for addresses that certainly mean the same place. Nothing is asked for that."""

from __future__ import annotations

_SCHEMES = {"s3a": "s3", "gcs": "gs", "abfs": "az", "abfss": "az", "sftp": "ssh"}
_PORTS = {"http": "80", "https": "443", "ssh": "22", "ftp": "21", "smb": "445"}
"""Of protocols whose addresses begin with a host; in those of object stores a bucket stands there."""

ENDPOINT_TOLD = "endpoint "
"""What begins so among what `store_identity` tells names a server."""


def canonical_url(url: str) -> str:
    """An address, without user name and password, as it is compared with others.

    Scheme and host are in lower case, the usual port is left out, slashes at the end are, too.
    """
    scheme, mark, rest = url.partition("://")
    if not mark or "::" in scheme:
        return url.rstrip("/")
    scheme = _SCHEMES.get(scheme.lower(), scheme.lower())
    if scheme in _PORTS:
        host, slash, path = rest.partition("/")
        name, colon, port = host.lower().rpartition(":")
        is_usual = bool(colon) and port in ("", _PORTS[scheme])
        rest = f"{name if is_usual else host.lower()}{slash}{path}"
    return f"{scheme}://{rest.rstrip('/')}"


def canonical_endpoint(url: str) -> str:
    """The address of a server, which is asked by TLS if it does not say how."""
    return canonical_url(url if "://" in url else f"https://{url}")


def usual_port(url: str) -> str:
    """The port that need not be named; ``""`` if there is none."""
    return _PORTS.get(canonical_url(url).partition("://")[0], "")

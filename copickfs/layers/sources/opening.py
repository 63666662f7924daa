"""From a URL to a connected source."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from copickfs.errors import ConfigError
from copickfs.layers.sources.faults import is_outage, is_refusal
from copickfs.layers.sources.forked import is_usable
from copickfs.layers.sources.store_options import PROTOCOLS as STORE_PROTOCOLS
from copickfs.layers.sources.store_options import place_of, unknown_argument

if TYPE_CHECKING:
    from collections.abc import Mapping

    from copickfs.layers.sources import Counters, Source


_OF_SILENCE = 0.95
"""A library that watches the line itself gives up shortly before the guard does."""


def check_protocol(root_url: str) -> None:
    """Find out whether fsspec, as it is installed here, speaks the protocol of ``root_url``.

    Raises:
        ConfigError: It does not; names the package that is missing.
    """
    import fsspec

    protocol = _protocol(root_url)
    if _is_store(root_url):
        return
    try:
        fsspec.get_filesystem_class(protocol)
    except ValueError:
        raise ConfigError(f"fsspec knows no protocol {protocol!r}; correct 'root'") from None
    except ImportError as error:
        raise ConfigError(f"protocol {protocol!r} needs a package that is not installed: {error}") from None


def open_source(root_url: str, fs_args: Mapping[str, Any], counters: Counters, timeout_s: float) -> Source:
    """Make a file system instance of its own for ``root_url``, and log in where that is done.

    Raises:
        ConfigError: The arguments or the credentials are refused.
        Exception: Whatever the file system raises.
    """
    if not _is_store(root_url):
        return _fsspec_source(root_url, fs_args, counters, timeout_s)
    if not is_usable():
        return _forked_source(root_url, fs_args, counters, timeout_s)
    from copickfs.layers.sources.store import StoreSource

    place = place_of(root_url, fs_args, timeout_s)

    def lenient() -> Source:
        return _fsspec_source(root_url, fs_args, counters, timeout_s)

    return StoreSource(place, counters, _OF_SILENCE * timeout_s, lenient)


def _forked_source(root_url: str, fs_args: Mapping[str, Any], counters: Counters, timeout_s: float) -> Source:
    """An object store in a forked process, by fsspec's own package for it.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        return _fsspec_source(root_url, fs_args, counters, timeout_s)
    except ImportError as error:
        raise ConfigError(
            f"in a forked process {_protocol(root_url)}:// needs a package that is not installed ({error}); "
            "install it, or start processes by multiprocessing's 'spawn' or 'forkserver'"
        ) from None


def refused_argument(error: TypeError | ValueError) -> ConfigError:
    """What a library says that does not take the arguments that it was given."""
    return ConfigError(unknown_argument(str(error)) or f"fsspec refuses 'root' or 'fs_args': {error}")


def _fsspec_source(root_url: str, fs_args: Mapping[str, Any], counters: Counters, timeout_s: float) -> Source:
    import fsspec

    cls = fsspec.get_filesystem_class(_protocol(root_url))
    defaults = {} if "::" in root_url else _defaults(cls, timeout_s)
    try:
        fs, root = fsspec.core.url_to_fs(root_url, **{"skip_instance_cache": True, **defaults, **fs_args})
    except (TypeError, ValueError) as error:
        if is_outage(error):
            raise
        raise refused_argument(error) from None
    except PermissionError as error:
        raise ConfigError(f"the server refuses the credentials: {error}") from None
    except Exception as error:
        if is_refusal(error):
            raise ConfigError(f"{type(error).__name__}: {error}") from None
        raise
    fs.dircache.use_listings_cache = False
    return _source_for(fs, root, root_url, counters, timeout_s)


def _protocol(root_url: str) -> str:
    return root_url.partition("::")[0].partition("://")[0]


def _is_store(root_url: str) -> bool:
    """True for what obstore reaches; chained URLs are fsspec's."""
    return "::" not in root_url and _protocol(root_url) in STORE_PROTOCOLS


def _source_for(fs: Any, root: str, root_url: str, counters: Counters, timeout_s: float) -> Source:
    module = type(fs).__module__
    if module == "fsspec.implementations.http":
        from copickfs.layers.sources.web import HttpSource

        return HttpSource(fs, root_url, counters, timeout_s)
    if module == "sshfs.spec":
        from copickfs.layers.sources.ssh import SshSource

        return SshSource(fs, root, counters)
    if module == "fsspec.implementations.sftp":
        _one_at_a_time(fs.ftp)
    from copickfs.layers.sources.generic import GenericSource

    return GenericSource(fs, root, counters)


def _defaults(cls: type, timeout_s: float) -> dict[str, Any]:
    """Arguments that keep a file system from waiting longer than the layer does, or from locking files."""
    match f"{cls.__module__}.{cls.__name__}":
        case "sshfs.spec.SSHFileSystem":
            return {"connect_timeout": timeout_s, "login_timeout": timeout_s}
        case "fsspec.implementations.sftp.SFTPFileSystem":
            return {"timeout": timeout_s, "banner_timeout": timeout_s, "auth_timeout": timeout_s}
        case "fsspec.implementations.ftp.FTPFileSystem":
            return {"timeout": timeout_s}
        case "fsspec.implementations.smb.SMBFileSystem":
            return {"timeout": timeout_s, "register_session_retries": 0, "share_access": "rwd"}
        case _:
            return {}


def _one_at_a_time(client: Any) -> None:
    """Let paramiko's client ask one question after the other.

    A thread that waits for its answer drops that of another thread, which then waits for ever.
    """
    ask, turn = client._request, threading.Lock()  # noqa: SLF001 - every call goes through it

    def asked(*arguments: Any) -> Any:
        with turn:
            return ask(*arguments)

    client._request = asked  # noqa: SLF001

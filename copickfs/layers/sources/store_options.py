"""From a URL and ``fs_args`` to a bucket: fsspec's names of options, and obstore's own.

Each kind of store has a table of what its fsspec file system takes. A key that is in none of them goes to
obstore as it is, which knows its own names; what that does not know either is an error that names the key.
"""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from copickfs.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from obstore.store import RetryConfig

PROTOCOLS = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss"})

_NO_MATTER = frozenset(
    {
        "asynchronous", "batch_size", "block_size", "cache_regions", "cache_type", "check_connection",
        "consistency", "default_block_size", "default_cache_type", "default_fill_cache", "fixed_upload_size",
        "listings_expiry_time", "loop", "max_concurrency", "max_paths", "request_session", "session_kwargs",
        "skip_instance_cache", "use_listings_cache",
    }
)  # fmt: skip
"""Options of fsspec that concern its own buffers and caches."""

_ENDPOINT = re.compile(r"https?://[^\s/@?#]+(/[^\s?#]*)?")
_QUICKLY = timedelta(milliseconds=20)
QUICK_RETRIES: RetryConfig = {
    "max_retries": 1,
    "retry_timeout": timedelta(seconds=1),
    "backoff": {"init_backoff": _QUICKLY, "max_backoff": _QUICKLY, "base": 2},
}
"""Once and at once, for a connection that the server has closed meanwhile: the guard does the rest."""

_TRUTHS = frozenset({"request_payer", "skip_signature", "virtual_hosted_style_request"})
_TRUTH_WORDS = frozenset({"1", "true", "on", "yes", "y", "0", "false", "off", "no", "n"})
_UNKNOWN = re.compile(r"unexpected keyword argument '(\w+)'|Configuration key: '([^']+)' is not valid")
_FIRST_PRINTABLE = 32
_IDLE_S = 15
"""Servers hang up on idle connections after 20 s or more."""


class Options:
    """``fs_args`` on the way to obstore; what is taken out of them counts as understood.

    Attributes:
        given: What is left of ``fs_args``.
        config: For the store.
        client: For its HTTP client.
        names: What the user calls options that have other names in `config`.
    """

    def __init__(self, fs_args: Mapping[str, Any]) -> None:
        self.given = {key: value for key, value in fs_args.items() if key not in _NO_MATTER}
        self.client: dict[str, Any] = dict(self.table("client_options"))
        self.config: dict[str, Any] = {}
        self.names: dict[str, str] = {}

    def take(self, *names: str) -> Any:
        """The first of these options that is there; all are done with."""
        values = [self.given.pop(name) for name in names if name in self.given]
        return next((value for value in values if value is not None), None)

    def table(self, name: str) -> dict[str, Any]:
        """An option that is a table of options. Raises `ConfigError` if it is something else."""
        value = self.take(name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise ConfigError(f"'fs_args.{name}' must be a table of options")
        return dict(value)

    def rename(self, names: Mapping[str, str]) -> None:
        """Take each of the options ``names`` for the one of obstore that it stands for."""
        for name, own in names.items():
            value = self.take(name)
            if value is not None:
                self.config[own] = value
                self.names[own] = name

    def verify(self, value: Any) -> None:
        """Whether, or by which file of certificates, servers are checked."""
        if value is False:
            self.client["allow_invalid_certificates"] = True
        elif isinstance(value, str):
            try:
                self.client["root_certificate"] = Path(value).expanduser().read_bytes()
            except OSError as error:
                raise ConfigError(f"no certificates can be read from {value}: {error.strerror}") from None

    def endpoint(self, key: str, url: str) -> None:
        """The address of the store, which may be without TLS if it says so. Raises `ConfigError`."""
        if not isinstance(url, str) or not _is_address(url):
            raise ConfigError(
                "'endpoint_url' must be the address of a server, such as https://s3.example.org"
            )
        self.config[key] = url.rstrip("/")
        if url.startswith("http://"):
            self.client["allow_http"] = True


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(_ENDPOINT.fullmatch(url) and parts.hostname and (parts.port is None or parts.port > 0))
    except ValueError:
        return False


def seconds(value: Any, name: str) -> timedelta:
    """A time limit. Raises `ConfigError`."""
    try:
        return timedelta(seconds=float(value))
    except (TypeError, ValueError):
        raise ConfigError(f"'fs_args.{name}' must be a number of seconds") from None


def nothing_left(table: Mapping[str, Any], name: str) -> None:
    """Raise `ConfigError` for what was not taken out of an inner table."""
    for key in table:
        raise ConfigError(f"'fs_args.{name}.{key}' is not known here; leave it out")


class Place(NamedTuple):
    """A directory of a bucket or container.

    Attributes:
        make: Makes a client, which gives up after so many seconds of silence.
        root: Key of the directory, without slashes at the ends.
        page_keys: How many keys the store lists in one answer.
        package: The fsspec implementation for this store.
    """

    make: Callable[[float], Any]
    root: str
    page_keys: int
    package: str


def place_of(root_url: str, fs_args: Mapping[str, Any], timeout_s: float) -> Place:
    """Find out what ``root_url`` and ``fs_args`` mean. May ask in which region a bucket is.

    Raises:
        ConfigError: Something in them is wrong or not known; names it.
        Unavailable: The region cannot be had.
    """
    from obstore.store import AzureStore, GCSStore, S3Store

    from copickfs.layers.sources.store_aws import aws_options
    from copickfs.layers.sources.store_clouds import azure_options, google_options

    protocol, _, rest = root_url.partition("://")
    bucket, _, root = rest.partition("/")
    options = Options(fs_args)
    cls: Any
    if protocol in ("s3", "s3a"):
        cls, page_keys, package = S3Store, 1_000, "s3fs"
        aws_options(bucket, options, timeout_s)
    elif protocol in ("gs", "gcs"):
        cls, page_keys, package = GCSStore, 1_000, "gcsfs"
        google_options(options)
    else:
        cls, page_keys, package = AzureStore, 5_000, "adlfs"
        bucket = azure_options(bucket, options)
    if not bucket:
        raise ConfigError(f"'root' names no bucket; write it as {protocol}://BUCKET/DIRECTORY")
    root = root.rstrip("/")
    if not {"", ".", ".."}.isdisjoint(root.split("/")) and root:
        raise ConfigError(
            "'root' has '//', '/./' or '/../' in it, which is no path to an object; correct 'root'"
        )
    options.config.update(options.given)
    _check_values(options)

    def make(silence_s: float) -> Any:
        limits = {
            "connect_timeout": timedelta(seconds=timeout_s),
            "read_timeout": timedelta(seconds=silence_s),
        }
        fixed = {"timeout": timedelta(days=1), "pool_idle_timeout": timedelta(seconds=_IDLE_S)}
        return _made(cls, bucket, options.config, {**fixed, **limits, **options.client})

    return Place(make, root, page_keys, package)


def is_sendable(text: str) -> bool:
    """False for text that no request can carry, such as a key with a line end behind it."""
    return all(ord(character) >= _FIRST_PRINTABLE for character in text)


def _check_values(options: Options) -> None:
    """Raise `ConfigError` for what obstore takes badly, in words of its own or by a panic."""
    for name, value in options.config.items():
        shown = f"{options.names.get(name, name)!r} in 'fs_args', or where it comes from,"
        if not isinstance(value, str | bool):
            raise ConfigError(f"{shown} must be text")
        if name in _TRUTHS and str(value).lower() not in _TRUTH_WORDS:
            raise ConfigError(f"{shown} must be true or false")
        if isinstance(value, str) and not is_sendable(value) and name != "service_account_key":  # a document
            raise ConfigError(f"{shown} has a line end or tab in it")


def _made(cls: Any, bucket: str, config: dict[str, Any], client: dict[str, Any]) -> Any:
    try:
        return cls(bucket, config=config, client_options=client, retry_config=QUICK_RETRIES)
    except BaseException as error:
        if not is_library_fault(error):
            raise
        text = " ".join(str(error).partition("\n\nDebug source:")[0].split())
        raise ConfigError(unknown_argument(text) or f"'root' or 'fs_args' is refused: {text}") from None


def unknown_argument(text: str) -> str:
    """A message that names an option which a library says it does not know; ``""`` if that is not it."""
    match = _UNKNOWN.search(text)
    name = match and (match[1] or match[2])
    return f"{name!r} in 'fs_args' is not known for this protocol; correct it or leave it out" if name else ""


def is_library_fault(error: BaseException) -> bool:
    """True for an exception, and for a panic of the library, which is none of Python's exceptions."""
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"

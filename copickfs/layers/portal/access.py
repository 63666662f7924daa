"""As whom a portal's files are read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from copickfs.errors import ConfigError
from copickfs.layers.sources.forked import is_usable
from copickfs.layers.sources.store_options import place_of

if TYPE_CHECKING:
    from collections.abc import Mapping

_CREDENTIALS = frozenset(
    {
        "key", "secret", "token", "username", "password", "profile", "access_key_id", "secret_access_key",
        "session_token", "aws_access_key_id", "aws_secret_access_key", "aws_session_token",
    }
)  # fmt: skip
_NOWHERE = "http://127.0.0.1"
_OF_BUCKETS = _CREDENTIALS | frozenset(
    {
        "anon", "cache_regions", "config_kwargs", "default_block_size", "default_cache_type",
        "default_fill_cache", "endpoint", "endpoint_url", "fixed_upload_size", "local_expiry_check",
        "max_concurrency", "region", "region_name", "requester_pays", "s3_additional_kwargs", "session",
        "skip_signature", "use_ssl", "version_aware",
    }
)  # fmt: skip
"""Options of buckets that mean nothing to a web server; ``client_kwargs`` is an option of both."""


def portal_fs_args(fs_args: Mapping[str, Any], url_style: str) -> dict[str, Any]:
    """The arguments of the file system that a portal's files are read with.

    Args:
        fs_args: What the configuration says.
        url_style: ``s3``: the bucket is asked by nobody in particular, unless the configuration says as
            whom. ``https``: options that only buckets have are left out.
    """
    if url_style == "https":
        return {name: value for name, value in fs_args.items() if name not in _OF_BUCKETS}
    return {"anon": not _CREDENTIALS & fs_args.keys(), **fs_args}


def check_bucket_args(fs_args: Mapping[str, Any]) -> None:
    """Find mistakes in what `portal_fs_args` gives for a bucket, without a network.

    The buckets are those of the portal's records: without this a mistake would be an error of each file.

    Raises:
        ConfigError: Something is wrong or not known; names it.
    """
    if not is_usable():
        return
    try:
        # Without an address the region of the bucket would be asked for.
        place_of("s3://bucket", {"endpoint_url": _NOWHERE, **fs_args}, 1.0).make(1.0)
    except ConfigError as error:
        raise ConfigError(str(error), key="fs_args") from None

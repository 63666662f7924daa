"""As whom a portal's files are read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_CREDENTIALS = frozenset(
    {
        "key", "secret", "token", "username", "password", "profile", "access_key_id", "secret_access_key",
        "session_token", "aws_access_key_id", "aws_secret_access_key", "aws_session_token",
    }
)  # fmt: skip
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

"""What makes one object store another one, beyond its address: for names that stay the same for one place.

Nothing is asked and nothing refused here: what is wrong is told when the layer connects.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from copickfs.errors import ConfigError
from copickfs.layers.sources.spelling import ENDPOINT_TOLD
from copickfs.layers.sources.store_aws import ENDPOINT_VARIABLES, inner_tables, profile_of, setting
from copickfs.layers.sources.store_clouds import azure_options
from copickfs.layers.sources.store_options import PROTOCOLS, Options

if TYPE_CHECKING:
    from collections.abc import Mapping

_ACCOUNT_NAMES = ("account_name", "azure_storage_account_name", "storage_account_name")
_ENDPOINT_NAMES = (
    "endpoint", "azure_endpoint", "azure_storage_endpoint", "base_url", "google_base_url", "aws_endpoint_url",
)  # fmt: skip

_KEY_NAMES = ("key", "username", "access_key_id", "aws_access_key_id")
_KEY_FILE_NAMES = (
    "application_credentials", "google_application_credentials", "service_account", "google_service_account",
    "service_account_path", "google_service_account_path",
)  # fmt: skip
_CLIENT_NAMES = ("client_id", "azure_client_id", "azure_storage_client_id")
_TEMPORARY = "ASIA"
"""How the ids of AWS's temporary keys begin."""


def told_otherwise(root_url: str, fs_args: Mapping[str, Any]) -> list[str]:
    """Server, account and query of an object store where they are not plain in its address and options.

    Args:
        root_url: The layer's root.
        fs_args: Its arguments.

    Returns:
        What tells it from others, without a secret; nothing for all else than object stores, and for
        those whose ``account_name`` or ``endpoint_url`` stands in ``fs_args``.
    """
    protocol, _, rest = root_url.partition("://")
    if "::" in root_url or protocol not in PROTOCOLS:
        return []
    found: list[str] = []
    with contextlib.suppress(ConfigError, TypeError, ValueError, AttributeError):
        found = _told(protocol, rest, fs_args)
    query = urlsplit(root_url).query if "=" in urlsplit(root_url).query else ""
    return [*found, *([hashlib.sha256(query.encode(errors="replace")).hexdigest()] if query else [])]


def _told(protocol: str, rest: str, fs_args: Mapping[str, Any]) -> list[str]:
    options = Options(fs_args)
    if protocol in ("s3", "s3a"):
        if "endpoint_url" in fs_args or "endpoint_url" in (fs_args.get("client_kwargs") or {}):
            return []
        profile = profile_of(options.take("profile"))
        _, endpoint, _ = inner_tables(options)
        endpoint = endpoint or options.take(*_ENDPOINT_NAMES)
        return _endpoint(endpoint or setting(profile, "endpoint_url", *ENDPOINT_VARIABLES))
    if protocol in ("gs", "gcs"):
        return _endpoint(None if "endpoint_url" in fs_args else options.take(*_ENDPOINT_NAMES))
    azure_options(rest.partition("/")[0], options)
    known = {**options.config, **options.given}
    account = next((known[name] for name in _ACCOUNT_NAMES if known.get(name)), "")
    account = account or os.environ.get("AZURE_STORAGE_ACCOUNT_NAME", "")
    endpoint = next((known[name] for name in _ENDPOINT_NAMES if known.get(name)), "")
    endpoint = endpoint or os.environ.get("AZURE_STORAGE_ENDPOINT", "")
    is_plain = account == fs_args.get("account_name")
    return [*([] if is_plain or not account else [f"account {account}"]), *_endpoint(endpoint)]


def _endpoint(endpoint: Any) -> list[str]:
    return [f"{ENDPOINT_TOLD}{str(endpoint).rstrip('/')}"] if endpoint else []


def credentials_told(root_url: str, fs_args: Mapping[str, Any]) -> list[str]:
    """What the credentials are called that an object store is asked with: a key's id, a client, a file.

    Never a secret, nor anything made from one. What has no name of its own, such as a token or a shared
    access signature, is not told apart, nor are temporary keys: they change every hour for the same user.
    """
    found: list[str] = []
    with contextlib.suppress(ConfigError, TypeError, ValueError, AttributeError):
        found = [f"as {told}" for told in _names_of(root_url.partition("://")[0], fs_args) if told]
    return found


def _names_of(protocol: str, fs_args: Mapping[str, Any]) -> list[str]:
    options = Options(fs_args)
    client = options.table("client_kwargs")
    if protocol in ("s3", "s3a"):
        chosen = options.take("profile")
        variables = () if chosen else ("AWS_ACCESS_KEY_ID",)
        key = options.take(*_KEY_NAMES) or client.get("aws_access_key_id")
        key = str(key or setting(profile_of(chosen), "aws_access_key_id", *variables))
        return [] if key.startswith(_TEMPORARY) else [key]
    if protocol in ("gs", "gcs"):
        token = options.take("token")
        if isinstance(token, dict):
            token = token.get("client_email") or token.get("client_id")
        named = token or options.take(*_KEY_FILE_NAMES) or os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
        return [str(named or "")]
    return [str(options.take(*_CLIENT_NAMES) or os.environ.get("AZURE_CLIENT_ID", ""))]

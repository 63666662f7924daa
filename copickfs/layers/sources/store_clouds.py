"""Options for Google Cloud Storage and Azure, by the names of gcsfs and adlfs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from copickfs.errors import ConfigError

if TYPE_CHECKING:
    from copickfs.layers.sources.store_options import Options

_MACHINE_TOKENS = ("google_default", "cloud")
"""gcsfs's names for what is looked for in any case: the usual file, the machine's own account."""

_AZURE_RENAMED = {"anon": "skip_signature"}
_AZURE_CREDENTIALS = (
    "account_key", "access_key", "sas_key", "client_secret", "token", "bearer_token", "federated_token_file",
    "use_azure_cli", "credential_type",
)  # fmt: skip
_AZURE_VARIABLES = (
    "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_STORAGE_SAS_KEY", "AZURE_STORAGE_CLIENT_SECRET", "AZURE_CLIENT_SECRET",
    "AZURE_STORAGE_TOKEN", "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_STORAGE_CONNECTION_STRING", "AZURE_USE_AZURE_CLI", "AZURE_MSI_ENDPOINT", "AZURE_IDENTITY_ENDPOINT",
)  # fmt: skip
_CONNECTION_KEYS = {
    "accountname": "account_name",
    "accountkey": "account_key",
    "sharedaccesssignature": "sas_key",
}


def google_options(options: Options) -> None:
    """Understand the options of a layer on Google Cloud Storage. Raises `ConfigError`."""
    token = options.take("token")
    if token == "anon" or options.take("anon") is True:  # noqa: S105 - a word of gcsfs
        options.config["skip_signature"] = True
    elif isinstance(token, dict):
        options.config["service_account_key"] = json.dumps(token)
    elif token is not None and token not in _MACHINE_TOKENS:
        options.config["application_credentials"] = _key_file(token)
    project = options.take("project")
    if options.take("requester_pays"):
        if not isinstance(project, str):
            raise ConfigError("'fs_args.requester_pays' needs 'fs_args.project', which pays")
        options.client.setdefault("default_headers", {})["x-goog-user-project"] = project
    options.take("access", "timeout")
    endpoint = options.take("endpoint_url", "base_url")
    if endpoint:
        options.endpoint("base_url", endpoint)


def _key_file(token: Any) -> str:
    file = Path(str(token)).expanduser()
    if not isinstance(token, str) or not file.is_file():
        raise ConfigError("'fs_args.token' must be 'anon', a file with a key, or what is in one")
    return str(file)


def azure_options(container: str, options: Options) -> str:
    """Understand the options of a layer on Azure; the name of the container. Raises `ConfigError`."""
    container, _, host = container.partition("@")  # abfs://container@account.dfs.core.windows.net
    options.rename(_AZURE_RENAMED)
    config = options.config
    text = options.take("connection_string") or os.environ.get("AZURE_STORAGE_CONNECTION_STRING")
    if text:
        _connection_string(text, options)
    if host:
        config["account_name"] = host.partition(".")[0]
    sas = options.take("sas_token", "sas_key")
    credential = options.take("credential")
    if credential is not None:
        if not isinstance(credential, str):
            raise ConfigError("'fs_args.credential' must be text: a key or a shared access signature")
        sas, key = (credential, None) if "sig=" in credential else (sas, credential)
        options.given.update({"account_key": key} if key else {})
    if sas:
        config["sas_key"] = sas.lstrip("?")
    account_host = options.take("account_host")
    endpoint = options.take("endpoint_url", "endpoint") or (
        f"https://{account_host}" if account_host else None
    )
    if endpoint:
        options.endpoint("endpoint", endpoint)
    options.take("location_mode", "assume_container_exists", "max_single_put_size")
    known = {**config, **options.given}
    is_known = any(known.get(key) for key in _AZURE_CREDENTIALS) or any(map(os.environ.get, _AZURE_VARIABLES))
    if not is_known and "skip_signature" not in config:
        config["skip_signature"] = True  # as adlfs has it
    return container


def _connection_string(text: str, options: Options) -> None:
    parts = {}
    for part in text.split(";"):
        key, mark, value = part.partition("=")
        if mark:
            parts[key.strip().lower()] = value.strip()
    for key, own in _CONNECTION_KEYS.items():
        if parts.get(key):
            options.config[own] = parts[key]
    scheme = parts.get("defaultendpointsprotocol", "https")
    account, suffix = parts.get("accountname", ""), parts.get("endpointsuffix", "")
    endpoint = parts.get("blobendpoint") or (
        f"{scheme}://{account}.blob.{suffix}" if suffix and account else ""
    )
    if endpoint:
        options.endpoint("endpoint", endpoint)
    if not endpoint and not account:
        raise ConfigError("'fs_args.connection_string' names no account")

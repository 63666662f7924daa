"""Options for S3: s3fs's names, the usual variables and files of AWS, and where a bucket is."""

from __future__ import annotations

import configparser
import os
import ssl
import urllib.error
import urllib.request
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from copickfs.errors import ConfigError, Unavailable
from copickfs.layers.sources.store_options import is_sendable, nothing_left, seconds

if TYPE_CHECKING:
    from copickfs.layers.sources.store_options import Options

ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
AWS_URL = "https://s3.amazonaws.com"
_RENAMED = {
    "key": "access_key_id",
    "username": "access_key_id",
    "secret": "secret_access_key",
    "password": "secret_access_key",
    "token": "session_token",
    "requester_pays": "request_payer",
    "anon": "skip_signature",
}
_CREDENTIAL_KEYS = {
    "aws_access_key_id": "access_key_id",
    "aws_secret_access_key": "secret_access_key",
    "aws_session_token": "session_token",
    "role_arn": "role_arn",
    "web_identity_token_file": "web_identity_token_file",
}
_ELSEWHERE = ("sso_session", "sso_start_url", "credential_process", "source_profile", "credential_source")
_NO_MATTER = (
    "api_version", "max_pool_connections", "request_checksum_calculation", "response_checksum_validation",
    "retries", "signature_version", "tcp_keepalive", "user_agent", "user_agent_extra",
)  # fmt: skip
_ADDITIONAL = {"ServerSideEncryption": "server_side_encryption", "SSEKMSKeyId": "sse_kms_key_id"}


def aws_options(bucket: str, options: Options, timeout_s: float) -> None:
    """Understand the options of an S3 layer.

    Raises:
        ConfigError: One of them is not known, or a profile is of no use.
        Unavailable: The region of the bucket cannot be asked for.
    """
    options.config["disable_bulk_delete"] = True  # many servers that speak like S3 have none
    options.rename(_RENAMED)
    style, endpoint, region = inner_tables(options)
    chosen = options.take("profile")
    profile = profile_of(chosen)
    endpoint = endpoint or setting(profile, "endpoint_url", *ENDPOINT_VARIABLES)
    configured = region or setting(profile, "region", "AWS_REGION", "AWS_DEFAULT_REGION")
    _credentials(options, profile, chosen)
    if "root_certificate" not in options.client and os.environ.get("AWS_CA_BUNDLE"):
        options.verify(os.environ["AWS_CA_BUNDLE"])
    if options.take("use_ssl") is False:
        endpoint = (endpoint or AWS_URL).replace("https://", "http://")
    if endpoint and "://" not in endpoint:
        endpoint = f"https://{endpoint}"
    if not endpoint and not region:
        configured = region_of(bucket, options.client, timeout_s) or configured
    options.config["region"] = configured or "us-east-1"
    is_virtual = style == "virtual" if endpoint or style else "." not in bucket
    options.config["virtual_hosted_style_request"] = is_virtual
    if endpoint:
        if is_virtual and not endpoint.partition("://")[2].startswith(f"{bucket}."):
            endpoint = endpoint.replace("://", f"://{bucket}.")
        options.endpoint("endpoint", endpoint)
        options.endpoint("aws_endpoint_url_s3", endpoint)


def inner_tables(options: Options) -> tuple[str, str, str]:
    """Addressing style, endpoint and region, and all else that botocore is told by inner tables."""
    client = _relevant(options.table("client_kwargs"))
    config = _relevant(options.table("config_kwargs"))
    for own, key in _CREDENTIAL_KEYS.items():
        if own in client:
            options.config.setdefault(key, client.pop(own))
    options.verify(client.pop("verify", None))
    if client.pop("use_ssl", None) is False:
        options.given.setdefault("use_ssl", False)
    style = _connecting(config, options)
    endpoint = options.take("endpoint_url", "endpoint", "aws_endpoint", "aws_endpoint_url_s3")
    region = options.take("region_name", "region", "aws_region", "default_region")
    endpoint = endpoint or client.pop("endpoint_url", None)
    region = region or client.pop("region_name", None) or config.pop("region_name", None)
    nothing_left(client, "client_kwargs")
    nothing_left(config, "config_kwargs")
    additional = options.table("s3_additional_kwargs")
    for name, key in _ADDITIONAL.items():
        if name in additional:
            options.config[key] = additional.pop(name)
    nothing_left(additional, "s3_additional_kwargs")
    return style, endpoint or "", region or ""


def _relevant(table: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if key not in _NO_MATTER}


def _connecting(config: dict[str, Any], options: Options) -> str:
    """Time limits and proxies, out of ``config_kwargs``; the addressing style."""
    for key in ("connect_timeout", "read_timeout"):
        value = config.pop(key, None)
        if value is not None:
            options.client[key] = seconds(value, f"config_kwargs.{key}")
    proxies = config.pop("proxies", None) or {}
    if proxies:
        options.client["proxy_url"] = proxies.get("https") or proxies.get("http")
    s3 = dict(config.pop("s3", None) or {})
    style = s3.pop("addressing_style", None) or "auto"
    nothing_left(s3, "config_kwargs.s3")
    if style not in ("auto", "path", "virtual"):
        raise ConfigError("'fs_args.config_kwargs.s3.addressing_style' must be path, virtual or auto")
    is_virtual = options.take("virtual_hosted_style_request") is True
    return "virtual" if is_virtual else style.removeprefix("auto")


def _credentials(options: Options, profile: dict[str, str], chosen: str | None) -> None:
    """The credentials of a profile, unless others go before them; obstore finds those of the machine."""
    config = options.config
    if config.get("skip_signature") or "access_key_id" in config or "aws_access_key_id" in options.given:
        return
    if chosen is None and os.environ.get("AWS_ACCESS_KEY_ID"):
        for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            if not is_sendable(os.environ.get(variable, "")):
                raise ConfigError(f"the environment variable {variable} has a line end or tab in it")
        return
    found = {own: profile[key] for key, own in _CREDENTIAL_KEYS.items() if profile.get(key)}
    if "access_key_id" not in found and "web_identity_token_file" not in found:
        for key in _ELSEWHERE:
            if key in profile:
                raise ConfigError(
                    f"the AWS profile has its credentials by {key!r}, which is not known here; put them into "
                    "the environment, as 'aws configure export-credentials --format env' prints them"
                )
        found = {}
    config.update(found)


def profile_of(chosen: str | None) -> dict[str, str]:
    """What the files of AWS say of a profile; of the one in use if none is chosen."""
    name = chosen or os.environ.get("AWS_PROFILE") or "default"
    settings: dict[str, str] = {}
    files = (
        ("AWS_CONFIG_FILE", "~/.aws/config", name if name == "default" else f"profile {name}"),
        ("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials", name),
    )
    for variable, usual, section in files:
        file = Path(os.environ.get(variable) or usual).expanduser()
        parser = configparser.RawConfigParser(strict=False)
        try:
            parser.read(file, encoding="utf-8")
        except (configparser.Error, UnicodeError, OSError) as error:
            raise ConfigError(f"{file} cannot be read: {type(error).__name__}; correct it") from None
        if parser.has_section(section):
            settings |= parser[section]
    if not settings and (chosen or os.environ.get("AWS_PROFILE")):
        raise ConfigError(f"there is no AWS profile {name!r}; correct 'fs_args.profile' or AWS_PROFILE")
    return settings


def setting(profile: dict[str, str], key: str, *variables: str) -> str:
    """What the environment says, or else the profile; ``""`` if neither does."""
    return next((os.environ[name] for name in variables if os.environ.get(name)), "") or profile.get(key, "")


def region_of(bucket: str, client: dict[str, Any], timeout_s: float) -> str:
    """The region of a bucket of AWS, which tells everybody; ``""`` if it does not.

    Raises:
        ConfigError: There is no such bucket.
        Unavailable: There is no answer.
    """
    context = ssl.create_default_context()
    if client.get("allow_invalid_certificates"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if "root_certificate" in client:
        context.load_verify_locations(cadata=client["root_certificate"].decode())
    request = urllib.request.Request(f"{AWS_URL}/{bucket}", method="HEAD")  # noqa: S310 - the address is ours
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(request, timeout=timeout_s) as response:
            headers = response.headers
    except urllib.error.HTTPError as error:
        if error.code == HTTPStatus.NOT_FOUND:
            raise ConfigError("no such bucket; correct 'root'") from None
        headers = error.headers
    except OSError as error:
        raise Unavailable(f"the region of the bucket cannot be asked for: {error}") from None
    return headers.get("x-amz-bucket-region") or ""

"""Names for layer roots: the same for one place, and never the same for two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from copickfs.layers.identity import cache_name, journal_name, listing_key
from copickfs.layers.sources.redaction import shown_url

if TYPE_CHECKING:
    from pathlib import Path

NAMES = (journal_name, cache_name, listing_key)
Place = tuple[str, dict[str, Any]]


@pytest.fixture(autouse=True)
def _no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("AWS_ENDPOINT_URL", "AWS_PROFILE", "AZURE_STORAGE_ACCOUNT_NAME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("s3://b/p", {}), ("s3://c/p", {})),
        (("s3://b/p", {"endpoint_url": "http://h:1"}), ("s3://b/p", {"endpoint_url": "http://h:2"})),
        (("s3://b/p", {"aws_endpoint": "http://h:1"}), ("s3://b/p", {"aws_endpoint": "http://h:2"})),
        (("s3://b/p", {"endpoint": "http://h:1"}), ("s3://b/p", {"endpoint": "http://h:2"})),
        (("s3://b/p?versionId=1", {}), ("s3://b/p?versionId=2", {})),
        (("gs://b/p", {"base_url": "http://h:1"}), ("gs://b/p", {"base_url": "http://h:2"})),
        (("az://c/p", {"account_name": "a"}), ("az://c/p", {"account_name": "b"})),
        (
            ("az://c/p", {"azure_storage_account_name": "a"}),
            ("az://c/p", {"azure_storage_account_name": "b"}),
        ),
        (("az://c/p", {"account_host": "a.x"}), ("az://c/p", {"account_host": "b.x"})),
        (
            ("az://c/p", {"connection_string": "AccountName=a;AccountKey=k"}),
            ("az://c/p", {"connection_string": "AccountName=b;AccountKey=k"}),
        ),
        (("abfs://c@a.dfs.core.windows.net/p", {}), ("abfs://d@a.dfs.core.windows.net/p", {})),
        (("abfs://c@a.dfs.core.windows.net/p", {}), ("abfs://c@b.dfs.core.windows.net/p", {})),
    ],
)
def test_two_places_have_two_names(one: Place, other: Place) -> None:
    for name in NAMES:
        assert name(*one) != name(*other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("s3://b/p", {"endpoint_url": "http://h:1"}), ("s3://b/p/", {"endpoint_url": "http://h:1/"})),
        (("s3://b/p", {"key": "a", "secret": "b"}), ("s3://b/p", {"key": "c", "secret": "d"})),
        (
            ("az://c/p", {"connection_string": "AccountName=a;AccountKey=k"}),
            ("az://c/p", {"connection_string": "AccountName=a;AccountKey=new"}),
        ),
    ],
)
def test_one_place_has_one_name(one: Place, other: Place) -> None:
    assert journal_name(*one) == journal_name(*other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("s3://b/p", {}), ("s3a://b/p//", {})),
        (("gs://b/p", {}), ("GCS://b/p", {})),
        (("az://c/p", {"account_name": "a"}), ("abfss://c/p", {"account_name": "a"})),
        (("http://Host/p", {}), ("http://host:80/p/", {})),
        (("https://host/p", {}), ("https://HOST:443/p", {})),
        (("ssh://host/p", {}), ("sftp://Host:22/p/", {})),
        (("ssh://host/p", {"port": 22}), ("ssh://host/p", {})),
        (("http://[::1]:80/p", {}), ("http://[::1]/p", {})),
        (("s3://b/p", {"endpoint_url": "https://H:443/"}), ("s3://b/p", {"endpoint_url": "https://h"})),
        (("s3://b/p", {"endpoint_url": "http://h:9000"}), ("s3://b/p", {"endpoint": "http://H:9000/"})),
        (("s3://b/p", {"endpoint_url": "https://h:9000"}), ("s3a://b/p", {"endpoint": "h:9000"})),
    ],
)
def test_spellings_of_one_place_have_one_name(one: Place, other: Place) -> None:
    for name in NAMES:
        assert name(*one) == name(*other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("s3://b/p", {}), ("s3://B/p", {})),
        (("s3://b/p", {}), ("s3://b/P", {})),
        (("http://h/p", {}), ("https://h/p", {})),
        (("http://h:80/p", {}), ("http://h:443/p", {})),
        (("http://localhost/p", {}), ("http://127.0.0.1/p", {})),
        (("ssh://h/p", {"port": 2222}), ("ssh://h/p", {})),
    ],
)
def test_what_may_be_two_places_has_two_names(one: Place, other: Place) -> None:
    for name in NAMES:
        assert name(*one) != name(*other)


S3 = "s3://b/p"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((S3, {"key": "AKONE", "secret": "x"}), (S3, {"key": "AKTWO", "secret": "x"})),
        ((S3, {"key": "AKONE"}), (S3, {})),
        ((S3, {"key": "AKONE"}), (S3, {"anon": True})),
        ((S3, {"client_kwargs": {"aws_access_key_id": "AKONE"}}), (S3, {"key": "AKTWO"})),
        (("gs://b", {"token": "/a.json"}), ("gs://b", {"token": "/b.json"})),
        (("gs://b", {"token": {"client_email": "a"}}), ("gs://b", {"token": {"client_email": "b"}})),
        (("az://c", {"client_id": "one"}), ("az://c", {"client_id": "two"})),
        (("http://me@h/p", {}), ("http://you@h/p", {})),
    ],
)
def test_who_asks_with_other_credentials_has_listings_of_his_own(one: Place, other: Place) -> None:
    assert listing_key(*one) != listing_key(*other)
    assert journal_name(*one) == journal_name(*other)


def test_a_key_is_one_wherever_it_stands_and_its_secret_may_change(monkeypatch: pytest.MonkeyPatch) -> None:
    given = listing_key(S3, {"key": "AKONE", "secret": "x"})
    assert listing_key(S3, {"access_key_id": "AKONE", "secret": "y", "token": "z"}) == given
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKONE")
    assert listing_key(S3, {}) == given
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ASIA1")
    first = listing_key(S3, {})
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ASIA2")
    assert listing_key(S3, {}) == first, "temporary keys are others every hour"


def test_contents_are_shared_by_the_keys_of_one_user() -> None:
    assert cache_name(S3, {"key": "AKONE"}) == cache_name(S3, {"key": "AKTWO"})


def test_the_environment_names_another_server(monkeypatch: pytest.MonkeyPatch) -> None:
    before = [name("s3://b/p", {}) for name in NAMES]
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://h:1")
    first = [name("s3://b/p", {}) for name in NAMES]
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://h:2")
    second = [name("s3://b/p", {}) for name in NAMES]
    assert len({*before, *first, *second}) == 9


def test_a_broken_option_has_a_name_too() -> None:
    for args in ({"client_kwargs": 5}, {"connection_string": 5}, {"profile": "no such"}, {"endpoint": ["x"]}):
        for url in ("s3://b/p", "az://c/p", "gs://b"):
            assert journal_name(url, args)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("az://cont/p?sv=2020&sig=SuperSecret", "az://cont/p"),
        ("abfs://cont@account.dfs/p?sig=x", "abfs://cont@account.dfs/p"),
        ("s3://b/what?/x", "s3://b/what?/x"),
        ("ssh://me:word@h/p", "ssh://h/p"),
    ],
)
def test_addresses_are_shown_without_secrets(url: str, shown: str) -> None:
    assert shown_url(url) == shown

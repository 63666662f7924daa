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

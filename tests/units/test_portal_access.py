"""As whom a portal's files are read: by nobody, unless a configuration says otherwise."""

from __future__ import annotations

import inspect

import pytest

from copickfs.errors import ConfigError
from copickfs.layers.portal.access import check_bucket_args, portal_fs_args


def test_buckets_are_read_without_credentials_unless_there_are_some() -> None:
    assert portal_fs_args({}, "s3") == {"anon": True}
    mirror = {"endpoint_url": "http://127.0.0.1:9000", "client_kwargs": {"verify": False}}
    assert portal_fs_args(mirror, "s3") == {"anon": True, **mirror}
    assert portal_fs_args({"key": "k", "secret": "s"}, "s3") == {"anon": False, "key": "k", "secret": "s"}
    assert portal_fs_args({"anon": True, "key": "k"}, "s3") == {"anon": True, "key": "k"}
    assert portal_fs_args({"anon": False}, "s3") == {"anon": False}


@pytest.mark.parametrize(
    "fs_args", [{"nonsense": 5}, {"nonsense": "x"}, {"requester_pays": "perhaps"}, {"token": 5}]
)
def test_a_mistake_in_them_is_told_before_a_file_is_read(fs_args: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=f"fs_args: .*{next(iter(fs_args))}") as caught:
        check_bucket_args(portal_fs_args(fs_args, "s3"))
    assert "\n" not in str(caught.value)


def test_what_is_right_needs_no_network() -> None:
    check_bucket_args(portal_fs_args({}, "s3"))
    check_bucket_args(
        portal_fs_args({"key": "k", "secret": "s", "client_kwargs": {"region_name": "x"}}, "s3")
    )
    check_bucket_args(portal_fs_args({"endpoint_url": "http://127.0.0.1:9", "region": "eu-west-1"}, "s3"))


def test_web_servers_are_told_nothing_of_buckets() -> None:
    import s3fs
    from fsspec.implementations.http import HTTPFileSystem

    of_buckets = set(inspect.signature(s3fs.S3FileSystem.__init__).parameters) - {"self", "kwargs"}
    of_both = set(inspect.signature(HTTPFileSystem.__init__).parameters)
    given = dict.fromkeys([*of_buckets, "profile", "region", "headers"], "x")
    assert portal_fs_args(given, "https").keys() == (of_buckets & of_both) | {"headers"}
    assert portal_fs_args({}, "https") == {}

"""Datasets of a portal as a configuration that is in no file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from copickfs.cli.datasets import ConfiguredCommand, make_write_directory
from copickfs.config import FSConfig, PortalConfig, absolute_name, load
from copickfs.config.datasets import Datasets, datasets_from, datasets_named
from copickfs.errors import ConfigError, MountError

if TYPE_CHECKING:
    from pathlib import Path

URL = "https://portal.example.org/graphql"
COMMANDS = ["mount", "run", "find", "search", "index", "check", "prefetch"]


def test_datasets_are_a_stack_of_layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    config = load(str(datasets_from([10302, 10301, 10302], str(tmp_path / "mine"), URL)))
    assert config.layers == config.data_layers == ["overlay", "portal"]
    assert config.default_write_layer == "overlay"
    overlay, portal = config.layer_configs["overlay"], config.layer_configs["portal"]
    assert isinstance(overlay, FSConfig)
    assert (overlay.root, overlay.priority) == (str(tmp_path / "mine"), 100)
    assert isinstance(portal, PortalConfig)
    assert (portal.dataset_ids, portal.graphql_url, portal.priority) == ([10301, 10302], URL, 10)
    assert config.cache_config is not None
    assert config.cache_config.root == str(tmp_path / "cache" / "copickfs" / "portal")
    assert config.pickable_objects == []
    query = f"write={tmp_path}/mine&graphql_url=https%3A%2F%2Fportal.example.org%2Fgraphql"
    assert config.source_file == f"portal:10301,10302?{query}"


def test_names_and_descriptions_are_those_that_copick_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    import copick.util.portal

    monkeypatch.setattr(copick.util.portal, "objects_from_datasets", lambda _: [])
    monkeypatch.setattr("copick.impl.cryoet_data_portal.CopickRootCDP", lambda config: config)
    theirs = copick.from_czcdp_datasets([10301, 10302], "/overlay")
    ours = load("portal:10301,10302")
    assert (ours.name, ours.description) == (theirs.name, theirs.description)
    assert (ours.user_id, ours.session_id) == (theirs.user_id, theirs.session_id)


def test_without_a_directory_nothing_is_written() -> None:
    config = load("portal:10301")
    assert config.layers == ["portal"]
    assert config.default_write_layer is None


paths = st.binary(min_size=1, max_size=40).filter(lambda path: b"\0" not in path)


@given(st.sets(st.integers(0, 10**17), min_size=1, max_size=4), paths)
def test_a_name_is_read_as_it_was_written(ids: set[int], path: bytes) -> None:
    datasets = datasets_from(ids, os.fsdecode(b"/x" + path), URL)
    assert datasets_named(str(datasets)) == datasets
    assert absolute_name(str(datasets)) == str(datasets)


def test_a_directory_is_taken_literally(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/alice")
    for path in ("$HOME", "a&b=c?d#e%20+f", "ü ber", "$$"):
        config = load(str(datasets_from([1], path)))
        assert filesystem_root(config) == f"{tmp_path}/{path}"
    assert filesystem_root(load("portal:1?write=relative/../x")) == f"{tmp_path}/x"
    assert filesystem_root(load("portal:1?write=~/x")) == "/home/alice/x"
    assert absolute_name("portal:2,1?write=x") == f"portal:1,2?write={tmp_path}/x"
    assert absolute_name("config.json") == f"{tmp_path}/config.json"
    collapsed = datasets_named("portal:1?graphql_url=https:/portal.example.org/graphql")  # by pathlib
    assert collapsed == Datasets((1,), graphql_url=URL)


def filesystem_root(config: Any) -> str:
    return str(config.layer_configs["overlay"].root)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("portal:", "portal: name datasets by their numbers, as in portal:10301,10302; write ./portal:"),
        ("portal:one", "portal: name datasets by their numbers"),
        ("portal:1,", "portal: name datasets by their numbers"),
        ("portal:1;2", "portal: name datasets by their numbers"),
        ("portal:1?wirte=x", "portal:1: wirte: unknown key; did you mean 'write'?"),
        ("portal:1?write=a&write=b", "portal:1: write: is given twice"),
        ("portal:1?write=", "portal: write: must be a directory of this machine"),
        ("portal:1?write=s3%3A%2F%2Fbucket", "portal: write: must be a directory of this machine"),
        ("portal:1?write=a%00b", "portal: write: must be a directory of this machine"),
        ("portal:1?graphql_url=", "portal: graphql_url: must be an address such as https://"),
        ("portal:1?graphql_url=ftp%3A%2F%2Fx", "portal: graphql_url: must be an address such as"),
        ("portal:1?graphql_url=http%3A%2F%2F%5Bx", "portal: graphql_url: must be an address such as"),
        ("portal:1?graphql_url=https%3A%2F%2Fme%3As3cret%40x", "with a password or a query it belongs in a"),
        ("portal:1?graphql_url=https%3A%2F%2Fx%2F%3Ftoken=s3cret", "with a password or a query it belongs"),
    ],
)
def test_names_that_cannot_be_read(name: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(name)
    assert message in str(caught.value)
    assert "s3cret" not in str(caught.value)


@click.command(cls=ConfiguredCommand)
@click.argument("config")
@click.argument("mountpoint", required=False)
@click.argument("rest", nargs=-1, type=click.UNPROCESSED)
@click.option("--flag", is_flag=True)
def tell(config: str, mountpoint: str | None, rest: tuple[str, ...], *, flag: bool) -> None:
    click.echo(f"{config} {mountpoint} {' '.join(rest)} {flag}")


def told(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(tell, arguments)
    return done.exit_code, done.output.strip().splitlines()[-1]


def test_options_take_the_place_of_a_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert told("c.json", "mnt", "--flag") == (0, "c.json mnt  True")
    assert told("--dataset", "2", "--dataset=1", "mnt") == (0, "portal:1,2 mnt  False")
    assert told("mnt", "--flag", "--dataset", "1", "--write", "d") == (
        0,
        f"portal:1?write={tmp_path}/d mnt  True",
    )
    assert told("--dataset", "1", "mnt", "--", "cmd", "--dataset", "9") == (
        0, "portal:1 mnt cmd --dataset 9 False",
    )  # fmt: skip
    assert told("c.json", "mnt", "--", "cmd", "--dataset", "9") == (0, "c.json mnt cmd --dataset 9 False")


def test_options_that_cannot_be_used() -> None:
    assert told("--dataset", "one", "mnt")[0] == 2
    assert told("c.json", "mnt", "--write", "d") == (
        2, "Error: --write and --graphql-url belong to --dataset",
    )  # fmt: skip
    status, line = told("--dataset", "1", "--write", "", "mnt")
    assert (status, line[:50]) == (2, "copickfs: portal: write: must be a directory of th")
    status, line = told("--dataset", "1", "--graphql-url", "https://me:s3cret@x", "mnt")
    assert status == 2
    assert "belongs in a configuration file" in line
    assert "s3cret" not in line


def test_all_commands_that_take_a_configuration_have_the_options() -> None:
    from copickfs.cli.main import group

    for name in COMMANDS:
        command = group.get_command(click.Context(group), name)
        assert command is not None
        assert {"dataset", "write", "graphql_url"} <= {each.name for each in command.params}, name


def test_datasets_in_a_table_of_file_systems(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from copickfs.cli.main import _is_mount_helper_call, mount_helper

    name = f"portal:10301?write={tmp_path}/d"
    assert _is_mount_helper_call([name, str(tmp_path), "-o", "ro"])
    with pytest.raises(SystemExit) as ended:
        mount_helper([name, str(tmp_path), "-f", "-o", "ro,_netdev"])
    assert ended.value.code == 0
    with pytest.raises(SystemExit) as ended:
        mount_helper(["portal:x", str(tmp_path), "-f"])
    assert ended.value.code == 1
    assert "copickfs: portal: name datasets by their numbers" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_directory_that_is_written_is_made(tmp_path: Path) -> None:
    make_write_directory(str(datasets_from([1], str(tmp_path / "a" / "b"))))
    make_write_directory(str(datasets_from([1], str(tmp_path / "a" / "b"))))
    assert (tmp_path / "a" / "b").is_dir()
    make_write_directory("portal:1")
    make_write_directory(tmp_path / "config.json")
    (tmp_path / "file").touch()
    with pytest.raises(MountError, match="file/x: cannot be made for what is written: Not a directory"):
        make_write_directory(str(datasets_from([1], str(tmp_path / "file" / "x"))))

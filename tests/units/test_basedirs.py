"""Where a user's own files go, whatever the environment says."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from copickfs import basedirs
from copickfs.daemon import userdirs
from copickfs.indexing.place import open_index
from copickfs.layers.journalplace import default_journal_directory

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class NoIndexNamed:
    db_config = None


def index_of_user() -> Path | None:
    database = open_index(NoIndexNamed())
    database.close()
    return database.path


@pytest.mark.parametrize("value", ["", "relative", "./here", "~/there"])
@pytest.mark.parametrize(
    ("variable", "where", "default"),
    [
        ("XDG_CACHE_HOME", index_of_user, ".cache/copickfs/index.db"),
        ("XDG_STATE_HOME", lambda: userdirs.default_log_file("/m"), ".local/state/copickfs/m.log"),
        ("XDG_STATE_HOME", default_journal_directory, ".local/state/copickfs/journal"),
    ],
)
def test_a_relative_base_directory_is_ignored(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    value: str,
    variable: str,
    where: Callable[[], Path | None],
    default: str,
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv(variable, value)
    assert where() == home / default
    assert os.listdir(tmp_path) == ["home"]
    monkeypatch.setenv(variable, str(tmp_path / "absolute"))
    assert where() == tmp_path / "absolute/copickfs" / default.partition("/copickfs/")[2]


def test_a_relative_runtime_directory_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "relative")
    assert basedirs.runtime_home() is None
    assert all(directory.is_absolute() for directory in userdirs.own_runtime_directories())

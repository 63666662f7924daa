"""The catalog of a configuration and the process that keeps it."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from copickfs.config import load
from copickfs.errors import IndexUnavailable
from copickfs.index import EntityTable, open_database
from copickfs.indexing import open_catalog
from copickfs.indexing.runner import Runner
from tests.entities import picks, run_files
from tests.overlays import fill

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

PICKS = "ExperimentRuns/A/Picks/u_s_ribosome.json"


def configured(tmp_path: Path) -> Path:
    fill(tmp_path / "lab", {**run_files("A"), PICKS: picks(1)})
    file = tmp_path / "config.json"
    lab = {"config_type": "filesystem", "layer_name": "lab", "priority": 1, "root": "lab"}
    stack = {"config_type": "multilayer", "layers": ["lab"], "default_write_layer": "lab"}
    file.write_text(json.dumps({**stack, "layer_configs": {"lab": lab}}))
    return file


def test_a_question_does_not_count_what_is_in_the_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That takes as long as there are entities: 65 ms of each question to a million."""
    database = open_database(tmp_path / "index.db")
    with open_catalog(load(configured(tmp_path)), database) as (catalog, manager):
        assert not catalog.is_indexed
        manager.connect_layers()
        catalog.index()
        assert catalog.is_indexed

        def state(_table: EntityTable) -> None:
            raise AssertionError("counted")

        monkeypatch.setattr(EntityTable, "state", state)
        (found,) = catalog.find_objects(type="picks")["picks"]
        assert found.identity.path == PICKS
        assert catalog.search("ribosome", ["picks"]) == {"picks": [found]}


def test_an_index_that_cannot_be_read_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_table: EntityTable) -> int:
        raise IndexUnavailable("locked")

    database = open_database(tmp_path / "index.db")
    with open_catalog(load(configured(tmp_path)), database) as (catalog, manager):
        manager.connect_layers()
        catalog.index()
        monkeypatch.setattr(EntityTable, "scanned_ns", fail)
        assert not catalog.is_indexed
        assert len(catalog.find_objects(type="picks")["picks"]) == 1


def ended(runner: Runner) -> Runner:
    deadline = time.monotonic() + 30
    while not runner.has_ended():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return runner


def test_a_run_that_the_command_refuses_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    config = configured(tmp_path)
    runner = Runner(str(config))
    runner.start()
    assert ended(runner).fault == ""
    (tmp_path / "cache").rename(tmp_path / "before")
    (tmp_path / "cache").write_text("no directory")
    runner.start()
    assert "the index cannot be used" in ended(runner).fault

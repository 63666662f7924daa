"""The catalog of a configuration and the process that keeps it."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from typing import TYPE_CHECKING

import pytest

from copickfs.config import load
from copickfs.errors import AccessDenied, IndexUnavailable
from copickfs.index import EntityTable, open_database
from copickfs.indexing import keeper as keeper_module
from copickfs.indexing import open_catalog, open_index
from copickfs.indexing.keeper import Keeper
from copickfs.indexing.runner import Runner
from copickfs.layers.local import LocalLayer
from tests.entities import picks, run_files
from tests.overlays import fill
from tests.sandbox import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from copickfs.index import Database
    from copickfs.indexing import Catalog
    from copickfs.model import Entry

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


def test_a_run_that_was_stopped_is_not_asked_how_it_ended(tmp_path: Path) -> None:
    runner = Runner(str(tmp_path / "nothing.json"))
    runner.start()
    runner.stop()
    assert not runner.is_running
    assert not runner.has_ended()
    runner.start()
    assert not runner.is_running


def damage(path: Path) -> None:
    """As a disk does, behind the pages that are looked at first; what SQLite keeps beside is written back."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    data = bytearray(path.read_bytes())
    data[len(data) // 2 :] = b"\x5a" * (len(data) - len(data) // 2)
    path.write_bytes(data)


def documents(catalog: Catalog) -> dict[str, list[object]]:
    answer = catalog.find_objects()
    return {kind: [record.document() for record in records] for kind, records in answer.items()}


def test_a_damaged_index_is_gone_on_without_and_made_anew(tmp_path: Path) -> None:
    config, path = load(configured(tmp_path)), tmp_path / "index.db"
    with open_catalog(config, open_database(path)) as (catalog, manager):
        manager.connect_layers()
        catalog.index()
        whole = documents(catalog)
    damage(path)
    with open_catalog(config, open_database(path)) as (catalog, manager):
        catalog.before_walk = manager.connect_layers
        assert documents(catalog) == whole
        catalog.index(full=True)
        assert catalog.is_indexed
        assert documents(catalog) == whole
    with open_catalog(config, open_database(path)) as (catalog, _):
        assert documents(catalog) == whole


def test_what_is_not_read_without_an_index_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_catalog(load(configured(tmp_path)), None) as (catalog, manager):
        catalog.before_walk = manager.connect_layers
        assert catalog.find_objects(type="picks")["picks"]
        assert not catalog.skipped
        real = LocalLayer.scan

        def denied(layer: LocalLayer, path: str, limit: int | None = None) -> list[Entry]:
            if path.endswith("Picks"):
                raise AccessDenied(path)
            return real(layer, path, limit)

        monkeypatch.setattr(LocalLayer, "scan", denied)
        assert catalog.find_objects(type="picks")["picks"] == []
        assert [path for path, _ in catalog.skipped] == ["ExperimentRuns/A/Picks"]


def test_a_keeper_outlives_a_database_that_cannot_be_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = open_database(tmp_path / "index.db")
    with contextlib.ExitStack() as stack:
        catalog, manager = stack.enter_context(open_catalog(load(configured(tmp_path)), database))
        manager.connect_layers()
        catalog.index()
        keeper = stack.enter_context(contextlib.closing(Keeper(catalog, Runner("none"))))
        keeper.start()

        def fail(_database: Database) -> None:
            raise IndexUnavailable("no room")

        real = keeper_module.rebuild
        monkeypatch.setattr(keeper_module, "rebuild", fail)
        database.is_damaged = True
        monkeypatch.setattr(catalog.crawler, "refresh", lambda *_paths: fail(database))
        keeper.heard("ExperimentRuns/A/Picks/x_1_ribosome.json")
        assert keeper.settle(5)
        assert keeper.document()["message"] == "no room"
        monkeypatch.undo()
        assert keeper_module.rebuild is real
        fill(tmp_path / "lab", {"ExperimentRuns/A/Picks/late_1_ribosome.json": picks(2)})
        keeper.heard("ExperimentRuns/A/Picks/late_1_ribosome.json")
        assert keeper.settle(5)
        assert catalog.find_objects(user="late")["picks"]


def test_a_keeper_follows_a_database_that_was_removed(tmp_path: Path) -> None:
    path = tmp_path / "index.db"
    with contextlib.ExitStack() as stack:
        opened = open_catalog(load(configured(tmp_path)), open_database(path))
        catalog, manager = stack.enter_context(opened)
        manager.connect_layers()
        catalog.index()
        keeper = stack.enter_context(contextlib.closing(Keeper(catalog, Runner("none"))))
        keeper.start()
        for companion in ("", "-wal", "-shm"):
            path.with_name(path.name + companion).unlink(missing_ok=True)
        with open_catalog(load(tmp_path / "config.json"), open_database(path)) as (other, others):
            others.connect_layers()
            other.index()
            fill(tmp_path / "lab", {"ExperimentRuns/A/Picks/late_1_ribosome.json": picks(2)})
            keeper.heard("ExperimentRuns/A/Picks/late_1_ribosome.json")
            assert keeper.settle(5)
            assert other.find_objects(user="late")["picks"]


@contextlib.contextmanager
def kept(tmp_path: Path, interval_s: float | None) -> Iterator[tuple[Catalog, Keeper]]:
    """A configuration that is indexed, and its keeper."""
    config = configured(tmp_path)
    with open_catalog(load(config), open_index(load(config))) as (catalog, manager):
        manager.connect_layers()
        catalog.index()
        with contextlib.closing(Keeper(catalog, Runner(str(config)), interval_s, 3600)) as keeper:
            keeper.start()
            yield catalog, keeper


@pytest.fixture
def many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few directories count as so many that another process looks at all of them."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(keeper_module, "_MANY_DIRECTORIES", 0)


@pytest.mark.usefixtures("many")
def test_settling_waits_for_the_run_that_finds_what_was_missed(tmp_path: Path) -> None:
    with kept(tmp_path, 3600) as (catalog, keeper):
        for number in range(2):
            late = f"late{number}"
            fill(tmp_path / "lab", {f"ExperimentRuns/A/Picks/{late}_1_ribosome.json": picks(2)})
            keeper.heard("")
            assert not keeper.settle(0.2)
            keeper.heard("")  # while a run is under way, which may be past it
            fill(tmp_path / "lab", {f"ExperimentRuns/A/Picks/{late}_2_ribosome.json": picks(2)})
            assert keeper.settle(30)
            assert len(catalog.find_objects(user=late)["picks"]) == 2


def unavailable(*_paths: str) -> list[str]:
    raise IndexUnavailable("no room")


@pytest.mark.usefixtures("many")
def test_who_has_turned_runs_off_gets_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper_module, "_RETRY_S", 0.0)
    started: list[Runner] = []
    monkeypatch.setattr(Runner, "start", started.append)
    with kept(tmp_path, None) as (catalog, keeper):
        assert catalog.database is not None
        keeper.heard("")
        wait_until(lambda: "to find them: copickfs index" in keeper.document()["message"])
        assert not keeper.settle(5)
        catalog.index()
        wait_until(lambda: keeper.settle(5), what="somebody's run")
        path = catalog.database.path
        assert path is not None
        path.unlink()
        wait_until(path.exists, what="the index made anew")
        for is_damaged in (False, True):
            catalog.database.is_damaged = is_damaged
            monkeypatch.setattr(catalog.crawler, "refresh", unavailable)
            keeper.heard(PICKS)
            wait_until(lambda: keeper.document()["message"] == "no room")
            time.sleep(0.2)
    assert started == []

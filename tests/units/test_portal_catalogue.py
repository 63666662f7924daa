"""What a portal has told, kept for the next process: whatever becomes of the index, and of who asks."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from copickfs.index import Database, open_database
from copickfs.layers.portal import catalogue
from tests.portal import layers
from tests.portal.local import LocalPortal
from tests.portal.server import Faults
from tests.sandbox import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OPEN = """
import json, sys
from pathlib import Path
from copickfs.config.layer_schema import PortalConfig
from copickfs.index import open_database
from copickfs.layers.portal.layer import PortalLayer
config = PortalConfig(**json.loads(sys.argv[2]))
options = {"ttl_s": 60, "timeout_s": 20, "on_unavailable": "error", "cache": None}
layer = PortalLayer(config, {}, open_database(Path(sys.argv[1])), options)
print("asking", flush=True)
layer.connect()
print(len(layer.scan("ExperimentRuns")), flush=True)
layer.close()
"""


@pytest.fixture(scope="module")
def shared() -> Iterator[LocalPortal]:
    with LocalPortal(runs=2, written=0, files_per_run=1) as made:
        yield made


@pytest.fixture
def portal(shared: LocalPortal) -> Iterator[LocalPortal]:
    shared.server.faults = Faults()
    shared.forget()
    yield shared
    shared.server.faults = Faults()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(tmp_path / "index.db", busy_s=0.5)
    yield opened
    opened.close()


def runs(layer: object) -> list[str]:
    return layers.names(layer, "ExperimentRuns")  # type: ignore[arg-type]


def opener(portal: LocalPortal, index: Path) -> subprocess.Popen[str]:
    """A process that opens the layer."""
    config = {
        "config_type": "cryoet_data_portal",
        "layer_name": "portal",
        "graphql_url": portal.url,
        "fs_args": portal.fs_args,
        "dataset_ids": [portal.dataset["id"]],
    }
    arguments = [sys.executable, "-c", OPEN, str(index), json.dumps(config)]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "asking\n"
    return process


def test_who_asks_may_be_killed(portal: LocalPortal, database: Database, tmp_path: Path) -> None:
    portal.server.faults = Faults(hang=True, kinds=frozenset({"AnnotationFile"}))
    killed = opener(portal, tmp_path / "index.db")
    wait_until(lambda: portal.server.counts()["AnnotationFile"], 30, "the last question")
    waiting = opener(portal, tmp_path / "index.db")
    os.kill(killed.pid, signal.SIGKILL)
    portal.server.faults = Faults()
    assert waiting.communicate(timeout=30)[0] == "2\n"
    killed.communicate(timeout=10)
    asked = portal.server.counts()
    assert asked["Run"] == 2
    with layers.connected(portal, database) as layer:
        assert len(runs(layer)) == 2
    assert portal.server.counts() == asked


def test_who_waits_shares_the_answer(portal: LocalPortal, database: Database, tmp_path: Path) -> None:
    portal.server.faults = Faults(hang=True, kinds=frozenset({"AnnotationFile"}))
    processes = [opener(portal, tmp_path / "index.db") for _ in range(3)]
    wait_until(lambda: portal.server.counts()["AnnotationFile"], 30, "the last question")
    portal.server.faults = Faults()
    assert [process.communicate(timeout=30)[0] for process in processes] == ["2\n"] * 3
    assert set(portal.server.counts().values()) == {1}
    with layers.connected(portal, database, offline=True) as layer:
        assert len(runs(layer)) == 2


@pytest.mark.parametrize("damage", ["portal_selection SET about", "portal_run SET record"])
def test_a_damaged_record_is_asked_for_anew(portal: LocalPortal, database: Database, damage: str) -> None:
    with layers.connected(portal, database) as layer:
        paths = layers.walked(layer)
    with database.writing() as connection:
        connection.execute(f"UPDATE {damage} = x'00'")
    portal.forget()
    for _ in range(2):
        with layers.connected(portal, database) as layer:
            assert layers.walked(layer) == paths
    assert portal.server.counts()["Run"] == 1


@pytest.mark.parametrize("state", ["locked", "removed", "full"])
def test_without_an_index_the_answer_lasts_as_long_as_the_layer(
    portal: LocalPortal, database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture, state: str
) -> None:
    other = sqlite3.connect(tmp_path / "index.db", isolation_level=None)
    if state == "locked":
        other.execute("BEGIN IMMEDIATE")
    elif state == "removed":
        for file in tmp_path.glob("index.db*"):
            file.unlink()
    else:
        with database.writing() as connection:
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
            connection.execute(f"PRAGMA max_page_count = {pages}")
            connection.execute("CREATE TRIGGER full BEFORE INSERT ON portal_run BEGIN "
                               "SELECT RAISE(ABORT, 'database or disk is full'); END")  # fmt: skip
    with layers.connected(portal, database) as layer:
        assert len(runs(layer)) == 2
        assert layers.walked(layer)
    other.close()
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    if state != "removed":
        assert any("cannot be kept" in message for message in told), told


def test_a_refresh_is_shared_and_due_after_the_ttl(
    portal: LocalPortal, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "_LOOK_S", 0.05)
    with (
        layers.connected(portal, database, ttl=1_000.0) as layer,
        layers.connected(portal, database, ttl=1_000.0) as other,
    ):
        portal.forget()
        extra = portal.records.fill(portal.dataset, 1)[0]
        try:
            with database.writing() as connection:  # as if a day had passed
                connection.execute("UPDATE portal_selection SET fetched_ns = 1")
            for each in (layer, other):
                for question, told in list(each.catalogue._told.items()):
                    each.catalogue._told[question] = told._replace(fetched_ns=1)
            wait_until(lambda: len(runs(layer)) == len(runs(other)) == 3, what="the news")
            assert portal.server.counts()["Run"] <= 2
        finally:
            portal.records.remove("Run", extra["id"])


def test_news_come_while_many_read(portal: LocalPortal, database: Database) -> None:
    """Nothing of the old answer is kept beside the new one, whoever reads while it comes."""
    stop = threading.Event()
    wrong: list[object] = []
    with layers.connected(portal, database) as layer:

        def read() -> None:
            while not stop.is_set():
                try:
                    layers.walked(layer, "ByName")
                except OSError as error:
                    wrong.append(error)

        readers = [threading.Thread(target=read) for _ in range(4)]
        for reader in readers:
            reader.start()
        run = portal.runs[0]["id"]
        try:
            for name in ("second", "third", "TS_001"):
                portal.records.change("Run", run, name=name)
                layer.refresh()
                assert name in layers.names(layer, f"ByName/{portal.dataset['id']}")
        finally:
            stop.set()
            for reader in readers:
                reader.join()
    assert not [error for error in wrong if not isinstance(error, FileNotFoundError)]

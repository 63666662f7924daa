"""What nobody uses any more goes from the index, and nothing else does."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from typing import TYPE_CHECKING

import pytest

from copickfs.config import load
from copickfs.index import (
    Criteria,
    Database,
    EntityTable,
    Queries,
    open_database,
    prune_names,
    prune_stacks,
    pruning,
)  # fmt: skip
from copickfs.indexing import open_catalog
from tests.entities import picks
from tests.overlays import fill
from tests.units.test_index_entities import RUNS, batch_of, record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DAY_NS = 86_400 * 10**9


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(tmp_path / "index.db")
    yield opened
    opened.close()


def table_of(database: Database, key: str, user: str, runs: int = 3) -> EntityTable:
    table = EntityTable(database, key)
    scan, _ = table.begin()
    every = [record(f"{RUNS}/TS_{run}/Picks/{user}_1_ribosome.json", key) for run in range(runs)]
    table.replace(scan, batch_of(every))
    table.finish(scan)
    return table


def used(database: Database, key: str, days_ago: float) -> None:
    with database.writing() as connection:
        at_ns = time.time_ns() - int(days_ago * DAY_NS)
        connection.execute("UPDATE stack SET used_ns = ? WHERE key = ?", (at_ns, key))


def used_ns(database: Database, key: str) -> int:
    with database.reading() as connection:
        return int(connection.execute("SELECT used_ns FROM stack WHERE key = ?", (key,)).fetchone()[0])


def names_in(database: Database) -> set[str]:
    with database.reading() as connection:
        return {text for (text,) in connection.execute("SELECT text FROM name")}


def counts(database: Database) -> tuple[int, int, int]:
    """How many stacks, directories and entities there are."""
    counted = "SELECT (SELECT count(*) FROM stack), (SELECT count(*) FROM directory), count(*) FROM entity"
    with database.reading() as connection:
        stacks, directories, entities = connection.execute(counted).fetchone()
        return stacks, directories, entities


def searched(table: EntityTable, text: str) -> int:
    return sum(map(len, Queries(table.database, table.key).search(text).values()))


def test_a_stack_that_nobody_uses_goes_with_what_belongs_to_it(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "_DIRECTORIES_AT_ONCE", 2)
    monkeypatch.setattr(pruning, "_NAMES_AT_ONCE", 1)
    old, kept = table_of(database, "old", "alice", 5), table_of(database, "kept", "bob")
    used(database, "old", 91)
    used(database, "kept", 89)
    assert prune_stacks(database, lambda: True) == 0
    assert prune_stacks(database) == 1
    assert prune_stacks(database) == 0
    assert counts(database) == (1, 3, 3)
    assert prune_names(database) == 4, "the stack's layer, its user, and two runs"
    assert prune_names(database) == 0
    assert names_in(database) == {"", "TS_0", "TS_1", "TS_2", "bob", "1", "ribosome", "kept"}
    assert (searched(kept, "bob"), searched(kept, "osom"), searched(old, "ribosome")) == (3, 3, 0)
    with database.writing() as connection:
        connection.execute("INSERT INTO name_parts (name_parts) VALUES ('integrity-check')")
    assert database.problems() == []
    again = table_of(database, "old", "alice", 5)
    assert len(Queries(database, "old").find(Criteria(user="alice"))["picks"]) == 5
    assert searched(again, "lic") == 5


def test_a_name_that_went_is_stored_anew_by_who_has_known_it(database: Database) -> None:
    table = table_of(database, "k", "alice")
    table.remove_below(RUNS)
    assert prune_names(database) > 0
    table.replace(0, batch_of([record(f"{RUNS}/TS_0/Picks/alice_1_ribosome.json")]))
    assert len(Queries(database, "k").find(Criteria(user="alice"))["picks"]) == 1
    assert searched(table, "alice") == 1


def test_use_is_noted_once_a_day(database: Database) -> None:
    table_of(database, "k", "alice")
    used(database, "k", 0.9)
    before_ns = used_ns(database, "k")
    EntityTable(database, "k").mark_used()
    assert used_ns(database, "k") == before_ns
    for days in (1.1, -1.1):
        used(database, "k", days)
        table = EntityTable(database, "k")
        table.mark_used()
        assert abs(time.time_ns() - used_ns(database, "k")) < DAY_NS / 2
        used(database, "k", days)
        table.mark_used()
        assert used_ns(database, "k") < time.time_ns() - DAY_NS or days < 0
    EntityTable(database, "nobody's").mark_used()
    assert counts(database)[0] == 1


def test_opening_and_indexing_note_the_use_and_prune(tmp_path: Path) -> None:
    fill(tmp_path / "lab", {"ExperimentRuns/A/Picks/u_1_x.json": picks(1)})
    file, path = tmp_path / "config.json", tmp_path / "index.db"
    lab = {"config_type": "filesystem", "layer_name": "lab", "priority": 1, "root": "lab"}
    file.write_text(
        json.dumps({"config_type": "multilayer", "layers": ["lab"], "layer_configs": {"lab": lab}})
    )
    with open_catalog(load(file), open_database(path)) as (catalog, manager):
        manager.connect_layers()
        catalog.index()
        key = catalog.key
    with contextlib.closing(open_database(path)) as database:
        used(database, key, 100)
        table_of(database, "old", "alice")
        used(database, "old", 100)
    with open_catalog(load(file), open_database(path)) as (catalog, manager):
        assert catalog.database is not None
        assert time.time_ns() - used_ns(catalog.database, key) < DAY_NS
        assert counts(catalog.database)[0] == 2
        manager.connect_layers()
        catalog.index()
        assert counts(catalog.database)[0] == 1
        assert "alice" not in names_in(catalog.database)
        assert catalog.find_objects(user="u")["picks"]


def test_a_reader_that_cannot_write_reads_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "index.db"
    with contextlib.closing(open_database(path, busy_s=0.1)) as database:
        table_of(database, "k", "alice")
        used(database, "k", 2)
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as locker:
            locker.execute("BEGIN IMMEDIATE")
            with pytest.raises(Exception, match="locked"):
                EntityTable(database, "k").mark_used()
            assert searched(EntityTable(database, "k"), "alice") == 3

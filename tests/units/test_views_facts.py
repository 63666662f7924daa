"""What renderers are told without anything being read: only what is certain, and only while it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from copickfs import MemoryLayer
from copickfs.entities import EntityType
from copickfs.index import open_database
from copickfs.indexing import Catalog
from copickfs.indexing.facts import ProjectFacts
from copickfs.layers.writable import Owner
from copickfs.view import View
from copickfs.view.writing import Writer
from copickfs.virtual.project import Statistics
from tests.entities import picks, project

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from copickfs.index import Database

PICKS = "ExperimentRuns/A/Picks/alice_1_ribosome.json"
TOMOGRAM = "ExperimentRuns/A/VoxelSpacing10.000/wbp.zarr"


class Known:
    """A project that has been indexed."""

    def __init__(self, database: Database | None) -> None:
        self.layer = MemoryLayer("a", 1, {**project(), PICKS: picks(3)})
        self.view = View((self.layer,))
        self.catalog = Catalog(self.view, database, "stack")
        if database is not None:
            self.catalog.index()
        self.facts = ProjectFacts(self.catalog)

    def known(self, path: str) -> Any:
        found = self.view.lookup(path)
        answer = self.facts.known(path, found.entry, found.layer)
        return None if answer is None else answer[1]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(tmp_path / "index.db")
    yield opened
    opened.close()


def test_what_is_in_the_index_is_known_while_it_is_true(database: Database) -> None:
    known = Known(database)
    assert known.known(PICKS)["points"] == 3
    assert known.known(TOMOGRAM)["pyramid"]
    known.layer.put(PICKS, picks(4))
    assert known.known(PICKS) is None
    known.catalog.index()
    assert known.known(PICKS)["points"] == 4
    known.layer.put(f"{TOMOGRAM}/0/.zarray", b"{}")
    assert known.known(TOMOGRAM) is None


def test_what_was_wrong_is_not_said_again(database: Database) -> None:
    known = Known(database)
    known.facts.distrust(PICKS)
    assert known.known(PICKS) is None
    assert known.known(PICKS) is None
    known.layer.put(PICKS, picks(4))
    known.catalog.index()
    assert known.known(PICKS)["points"] == 4  # of another version


def test_without_an_index_nothing_is_known_but_what_there_is() -> None:
    known = Known(None)
    assert known.known(PICKS) is None
    mark, found = known.facts.entities(EntityType.PICKS, "A")
    assert PICKS in [each.path for each in found]
    assert known.facts.entities(EntityType.PICKS, "A")[0] == mark
    everything = known.facts.entities(EntityType.PICKS)[1]
    assert len(everything) > len(found)
    known.layer.put("ExperimentRuns/A/Picks/zoe_1_ribosome.json", picks(1))  # seen at once, also of all runs
    assert len(known.facts.entities(EntityType.PICKS, "A")[1]) == len(found) + 1
    assert len(known.facts.entities(EntityType.PICKS)[1]) == len(everything) + 1
    known.facts.keep_statistics(TOMOGRAM, "1", Statistics(0, 1, 2, 3, exact=True))
    assert known.facts.statistics(TOMOGRAM, "1") is None


def test_what_this_process_writes_is_there_at_once() -> None:
    layer = MemoryLayer("a", 1, project(), read_only=False)
    view = View((layer,))
    facts = ProjectFacts(Catalog(view, None, "stack"))
    writer = Writer(view, layer)
    for number, run in enumerate((None, "A", None, "A")):
        before = facts.entities(EntityType.PICKS, run)[1]
        file, _layer = writer.create(f"ExperimentRuns/A/Picks/zoe_{number}_ribosome.json", 0o644, Owner(0, 0))
        file.flush()
        file.close()
        assert len(facts.entities(EntityType.PICKS, run)[1]) == len(before) + 1
    writer.close()


def test_statistics_are_of_one_version(database: Database) -> None:
    facts = Known(database).facts
    exact = Statistics(-1.5, 2.5, 0.25, 1.0, exact=True)
    facts.keep_statistics(TOMOGRAM, "1", exact)
    assert facts.statistics(TOMOGRAM, "1") == exact
    assert facts.statistics(TOMOGRAM, "2") is None
    facts.keep_statistics(TOMOGRAM, "2", exact._replace(mean=0.5))
    assert facts.statistics(TOMOGRAM, "1") is None
    assert facts.statistics(TOMOGRAM, "2") == exact._replace(mean=0.5)
    other = ProjectFacts(Catalog(Known(None).view, database, "another stack"))
    assert other.statistics(TOMOGRAM, "2") is None
    other.keep_statistics(TOMOGRAM, "2", exact)
    assert facts.statistics(TOMOGRAM, "2") == exact._replace(mean=0.5)

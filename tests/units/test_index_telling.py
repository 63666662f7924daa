"""The index over layers that tell what they know of entities, so that nothing need be read of these."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from copickfs import MemoryLayer
from copickfs.fetching import Looking, Targets, found
from copickfs.fetching.selection import topmost
from copickfs.index import in_memory
from copickfs.indexing import Catalog, criteria_of
from copickfs.layers.base import BaseLayer
from copickfs.view import View
from tests.entities import array, picks
from tests.telling import TellingLayer

if TYPE_CHECKING:
    from collections.abc import Iterator

RUN, OTHER, OWN = "ExperimentRuns/17", "ExperimentRuns/18", "ExperimentRuns/TS_03"
PICKS, TOMOGRAM = f"{RUN}/Picks/data_1_ribosome.json", f"{RUN}/VoxelSpacing10.000/wbp.zarr"
MINE = f"{RUN}/Picks/me_1_ribosome.json"
FILES = {
    PICKS: picks(2),
    f"{OTHER}/Picks/data_2_ribosome.json": picks(4),
    f"{TOMOGRAM}/.zarray": array(1, 1, 1),
    f"{TOMOGRAM}/0": b"chunk",
    "Objects/ribosome.zarr/.zarray": array(2, 2, 2),
}
WRITTEN = {MINE: picks(1), f"{OWN}/Picks/me_2_ribosome.json": picks(1)}


def portal(**told: Any) -> dict[str, Any]:
    return {"portal": told}


KNOWN: dict[str, dict[str, Any]] = {
    RUN: portal(run_name="TS_026", dataset=10_000, dataset_title="Chlamydomonas"),
    OTHER: portal(run_name="17", authors=[]),
    PICKS: {"points": 12, **portal(authors=["Jane Doe", "John Smith"], method={"name": "Zoë \ud800"})},
    f"{OTHER}/Picks/data_2_ribosome.json": portal(authors=["John Doe"], is_curator=True, score=None),
    TOMOGRAM: {"shape": [7, 8, 9], **portal(run_name="TS_026", reconstruction="WBP")},
}


class Stacked:
    """A catalog over the layer that tells, below one that is written."""

    def __init__(self) -> None:
        self.telling = TellingLayer("portal", 10, FILES, known=KNOWN)
        self.own = MemoryLayer("own", 20, WRITTEN)
        self.database = in_memory()
        self.view = View([self.own, self.telling])
        self.catalog = Catalog(self.view, self.database, "stack")
        self.catalog.index()

    def find(self, **criteria: Any) -> list[str]:
        """Paths of what is found, in the index, and by going through the layers."""
        answer = self.catalog.find_objects(**criteria)
        assert Catalog(self.view, None, "").find_objects(**criteria) == answer
        return [record.identity.path for records in answer.values() for record in records]

    def find_indexed(self, **criteria: Any) -> list[str]:
        """Paths of what is found in the index."""
        answer = self.catalog.find_objects(**criteria)
        return [record.identity.path for records in answer.values() for record in records]

    def search(self, text: str) -> list[str]:
        answer = self.catalog.search(text)
        assert Catalog(self.view, None, "").search(text) == answer
        return [record.identity.path for records in answer.values() for record in records]


@pytest.fixture
def stack() -> Iterator[Stacked]:
    made = Stacked()
    yield made
    made.database.close()


def test_what_a_layer_tells_is_recorded_and_nothing_is_read(stack: Stacked) -> None:
    answer = stack.catalog.find_objects()
    told = {each.identity.path: each.detail for records in answer.values() for each in records}
    assert told == {
        **{path: {} for path in (*WRITTEN, OWN, f"{RUN}/VoxelSpacing10.000")},
        **{path: {"points": 1} for path in WRITTEN},
        **KNOWN,
        "Objects/ribosome.zarr": {
            "shape": [2, 2, 2],
            "chunks": [2, 2, 2],
            "dtype": "|u1",
            "pyramid": [["", [2, 2, 2], "|u1", 0, 0, 0]],
        },
    }
    files = [line for line in stack.telling.asked if line.endswith((".json", ".zarray"))]
    assert files
    assert all("Objects/" in line for line in files)  # of which the layer tells nothing
    documents = {record.identity.path: record.document() for record in answer["picks"]}
    assert (documents[PICKS]["size_bytes"], documents[MINE]["size_bytes"]) == (None, len(picks(1)))
    stack.telling.asked.clear()
    assert stack.catalog.index().changed == 0
    assert [line for line in stack.telling.asked if line.startswith("open")] == []


def test_a_change_of_what_is_told_is_noticed_without_reading(stack: Stacked) -> None:
    stack.telling.known[PICKS] = {"points": 13}
    stack.telling.known[RUN] = portal(run_name="TS_027")
    stack.telling.known[TOMOGRAM] = {"shape": [1, 1, 1]}
    stack.telling.asked.clear()
    summary = stack.catalog.index()
    assert (summary.changed, summary.reads) == (3, 0)
    assert [line for line in stack.telling.asked if line.startswith("open")] == []
    assert stack.find(run_name="TS_026") == []
    assert stack.find(run_name="TS_027", type=["picks", "tomogram"]) == [TOMOGRAM, PICKS, MINE]
    assert (stack.search('"Jane Doe"'), stack.search("wbp TS_026")) == ([], [])
    stack.telling.put(PICKS, picks(3))  # another version of which the same is told
    assert stack.catalog.index().changed == 1
    del stack.telling.known[PICKS]
    stack.catalog.index()
    (record,) = stack.catalog.find_objects(user="data", session="1")["picks"]
    assert record.detail == {"points": 3}
    stack.telling.known[PICKS] = KNOWN[PICKS]
    stack.telling.remove(OTHER)
    stack.catalog.index()
    assert stack.find(run_name="17") == []
    assert stack.search('"Jane Doe"') == [PICKS]
    with stack.database.reading() as connection:
        assert connection.execute("SELECT text FROM run_name").fetchall() == [("TS_027",)]


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("TS_026", [RUN, TOMOGRAM]),
        ("chlamy", [RUN]),
        ("10000", [RUN]),
        ('"Jane Doe"', [PICKS]),
        ('"Doe John"', []),  # two authors beside each other
        ('"ribosome Jane"', []),
        ("ribosome smith zoe", [PICKS]),
        ("doe 18", [f"{OTHER}/Picks/data_2_ribosome.json"]),
        ("True", []),
    ],
)
def test_what_is_told_of_the_portal_is_searched_in(stack: Stacked, text: str, paths: list[str]) -> None:
    assert stack.search(text) == paths


@pytest.mark.parametrize(
    ("criteria", "paths"),
    [
        ({"run_name": "TS_026", "type": "runs"}, [RUN]),
        ({"run_name": ["TS_0*"], "type": "runs"}, [RUN, OWN]),
        ({"run_name": ["TS_026", "TS_03"], "type": "picks", "user": "me"}, [*WRITTEN]),
        ({"run_name": "ts_0*"}, []),
        ({"run_name": "17", "type": "run"}, [OTHER]),  # that one is known as 17, and this one as TS_026
        ({"run_name": "18"}, []),
        ({"run_name": "*", "object": "ribosome", "session": "1"}, [PICKS, MINE]),
        (
            {"run_name": "TS_02[5-7]", "run": "17", "voxel_size": 10, "layer": "portal"},
            [f"{RUN}/VoxelSpacing10.000", TOMOGRAM],
        ),
        ({"run_name": "TS_026", "type": "objects"}, []),
        ({"run_name": []}, []),
    ],
    ids=str,
)  # fmt: skip
def test_runs_are_found_by_the_names_that_people_know(
    stack: Stacked, criteria: dict[str, Any], paths: list[str]
) -> None:
    assert stack.find(**criteria) == paths
    known = {RUN: "TS_026", OTHER: "17"}
    for records in stack.catalog.find_objects(**criteria).values():
        assert all(
            record.run_name == known.get("/".join(record.identity.path.split("/")[:2]), "")
            for record in records
        )
    if criteria.get("layer") is None:
        with ThreadPoolExecutor(2) as pool:
            looking = Looking(stack.view, pool, threading.Event())
            assert found(looking, criteria_of(**criteria)) == topmost(paths)
            assert looking.skipped == []


def test_what_is_gone_since_it_was_listed_takes_nothing_along(
    stack: Stacked, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = stack.telling.scan(f"{RUN}/Picks")
    monkeypatch.setattr(stack.telling, "scan", lambda _path: listed)
    stack.telling.remove(PICKS)
    stack.catalog.changed(PICKS)
    assert stack.find_indexed(user="me") == [*WRITTEN]
    assert stack.find_indexed(user="data", session="1") == [PICKS]
    monkeypatch.undo()
    stack.catalog.changed(PICKS)
    assert stack.find(user="data", session="1") == []


def test_what_is_fetched_has_its_length(stack: Stacked) -> None:
    with ThreadPoolExecutor(2) as pool:
        targets = Targets(Looking(stack.view, pool, threading.Event()), ["portal"])
        targets.collect([RUN])
    assert {target.path: target.size_bytes for target in targets.files} == {
        path: len(data) for path, data in FILES.items() if path.startswith(RUN)
    }
    assert targets.size_bytes == sum(target.size_bytes for target in targets.files)
    assert targets.passed_over == 1


def test_a_layer_that_tells_nothing_is_read() -> None:
    layer = BaseLayer("any")
    assert (layer.known_of("x"), layer.described("x")) == (None, {})

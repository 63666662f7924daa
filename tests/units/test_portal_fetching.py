"""Asking a portal that is overloaded, slow, broken or gone: what is asked, how often, and what is told."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from copickfs.errors import ConfigError, Unavailable
from copickfs.layers.portal import fetching, insisting
from copickfs.layers.portal.asking import PortalClient
from copickfs.layers.portal.fetching import Answer, Fetch, Question
from copickfs.layers.portal.records import unpacked
from tests.grids import in_short
from tests.portal.local import DATASET, LocalPortal
from tests.portal.server import Faults

if TYPE_CHECKING:
    from collections.abc import Iterator

RUNS = 210
OF_RUNS = {"TomogramVoxelSpacing", "Tomogram", "Annotation", "AnnotationShape", "AnnotationFile"}


@pytest.fixture(scope="module")
def filled() -> Iterator[LocalPortal]:
    with LocalPortal(runs=RUNS, files_per_run=2, written=0) as made:
        yield made


@pytest.fixture
def portal(filled: LocalPortal) -> Iterator[LocalPortal]:
    """The same each time, without faults."""
    filled.server.faults = Faults()
    filled.forget()
    yield filled
    filled.server.faults = Faults()
    filled.server.before = None


@pytest.fixture(autouse=True)
def _short_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(insisting, "_FIRST_REST_S", 0.01)


def fetch(
    portal: LocalPortal, question: Question | None = None, *, timeout_s: float = 5, url: str = ""
) -> Answer:
    client = PortalClient(url or portal.url, timeout_s)
    stop = threading.Event()
    return Fetch(client, question or Question((DATASET,)), lambda _done, _of: None, stop).answer()


@pytest.fixture(scope="module")
def whole(filled: LocalPortal) -> Answer:
    return fetch(filled)


def test_each_class_is_one_question_a_batch(portal: LocalPortal, whole: Answer) -> None:
    assert fetch(portal) == whole
    batches = -(-RUNS // fetching.BATCH_RUNS)
    assert portal.server.counts() == {
        "Run": 1, "Dataset": 1, "DatasetAuthor": 1, "TomogramAuthor": batches, "AnnotationAuthor": batches,
        **dict.fromkeys(OF_RUNS, batches),
    }  # fmt: skip
    assert [row.run for row in whole.runs] == [run["id"] for run in portal.runs]
    record = unpacked(whole.runs[7].record)
    assert [len(record[part]) for part in ("spacings", "tomograms", "annotations")] == [2, 4, 1]
    assert [len(shape["files"]) for shape in record["annotations"][0]["shapes"]] == [1, 1]
    assert record["annotations"][0]["authors"] == ["Jane Smith", "J Carpenter"]


def test_what_is_too_large_is_halved_and_stays_small(portal: LocalPortal, whole: Answer) -> None:
    portal.server.faults = Faults(max_ids=30)
    assert fetch(portal) == whole
    failed = [query for query in portal.server.queries if query.status != 200]
    assert 0 < len(failed) <= 2 * fetching.WORKERS
    sizes = [query.ids for query in portal.server.queries if query.kind == "AnnotationFile"]
    assert max(sizes) <= 30
    assert len(sizes) <= 12


def test_too_many_runs_at_once_are_asked_for_in_parts(portal: LocalPortal, whole: Answer) -> None:
    portal.server.faults = Faults(max_rows=RUNS // 2, kinds=frozenset({"Run"}))
    assert fetch(portal) == whole


def test_runs_by_number_are_halved_too(portal: LocalPortal, whole: Answer) -> None:
    portal.server.faults = Faults(max_ids=40)
    runs = tuple(run["id"] for run in portal.runs)
    assert fetch(portal, Question((), runs)).runs == whole.runs


@pytest.mark.parametrize(("workers", "every"), [(1, 3), (3, 6)])
def test_answers_may_fail_again_and_again(
    portal: LocalPortal, whole: Answer, workers: int, every: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("copickfs.layers.portal.fetching.WORKERS", workers)
    portal.server.faults = Faults(every_nth_500=every)
    assert fetch(portal) == whole


@pytest.mark.parametrize("fault", ["errors", "truncated", "status"])
def test_a_fault_that_passes_is_nothing(portal: LocalPortal, whole: Answer, fault: str) -> None:
    value = {"errors": "internal", "truncated": True, "status": 503}[fault]
    portal.server.faults = Faults(times=2, **{fault: value})
    assert fetch(portal) == whole


STAYING = [
    ({"errors": "database\nis gone"}, "cannot answer"),
    ({"truncated": True}, "gives no answer"),
    ({"status": 502}, "answers 502"),
    ({"status": 500}, "answers 500"),
    ({"hang": True}, "gives no answer"),
]
OF_ALL, OF_ONE = frozenset[str](), frozenset({"AnnotationFile"})


@pytest.mark.parametrize(
    ("kinds", "fault", "said"),
    in_short(
        [(kinds, *fault) for kinds in (OF_ALL, OF_ONE) for fault in STAYING],
        *((OF_ALL, *fault) for fault in STAYING),
        (OF_ONE, *STAYING[0]),
        are_rows=True,
    ),
)
def test_a_fault_that_stays_is_told_in_one_line(
    portal: LocalPortal, fault: dict[str, object], said: str, kinds: frozenset[str]
) -> None:
    most = 300 if "errors" in fault else 150 if kinds else 8
    portal.server.faults = Faults(kinds=kinds, **fault)  # type: ignore[arg-type]
    with pytest.raises(Unavailable, match=said) as caught:
        fetch(portal, timeout_s=0.3 if "hang" in fault else 5)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
    assert len(portal.server.queries) < most


def test_a_portal_that_is_gone_is_told_at_once(portal: LocalPortal) -> None:
    with pytest.raises(Unavailable, match=r"out of reach: .*refused"):
        fetch(portal, url="http://127.0.0.1:9/graphql")


def test_a_dataset_or_run_that_is_not_there_is_a_mistake(portal: LocalPortal) -> None:
    with pytest.raises(ConfigError, match="no dataset 7, 8") as caught:
        fetch(portal, Question((7, DATASET, 8)))
    assert caught.value.key == "dataset_ids"
    with pytest.raises(ConfigError, match="no run 7") as caught:
        fetch(portal, Question((), (portal.runs[0]["id"], 7)))
    assert caught.value.key == "run_ids"
    for number in (2**31, 2**63):  # no question can have them
        with pytest.raises(ConfigError, match=f"no dataset {number}"):
            fetch(portal, Question((DATASET, number)))
        with pytest.raises(ConfigError, match=f"no run {number}"):
            fetch(portal, Question((), (number,)))


def test_a_record_that_breaks_the_schema_costs_its_run_only(portal: LocalPortal, whole: Answer) -> None:
    spacing = portal.records.rows("TomogramVoxelSpacing", runId=portal.runs[5]["id"])[0]
    size = spacing["voxelSpacing"]
    portal.records.change("TomogramVoxelSpacing", spacing["id"], voxelSpacing=None)
    try:
        answer = fetch(portal)
    finally:
        portal.records.change("TomogramVoxelSpacing", spacing["id"], voxelSpacing=size)
    assert [row for row in whole.runs if row.run != portal.runs[5]["id"]] == answer.runs
    ((reason, (count, example)),) = unpacked(answer.about)["left_out"].items()
    assert "cannot tell of" in reason
    assert (count, example) == (1, f"run {portal.runs[5]['id']}")


def test_records_that_change_between_two_questions_do_not_fall_apart(portal: LocalPortal) -> None:
    extra = portal.records.runs_before = []  # type: ignore[attr-defined]

    def grow(query: object) -> None:
        if getattr(query, "kind", "") == "TomogramVoxelSpacing" and not extra:
            extra.append(portal.records.fill(portal.dataset, 1)[0])
            portal.records.remove("Tomogram", portal.records.rows("Tomogram")[0]["id"])

    portal.server.before = grow
    answer = fetch(portal)
    assert len(answer.runs) == RUNS
    portal.server.before = None
    assert len(fetch(portal).runs) == RUNS + 1
    portal.records.remove("Run", extra[0]["id"])

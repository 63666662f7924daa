"""The tests' own portal is what the real client, and the real copick, take for the portal."""

from __future__ import annotations

import copy
import io
import json
import threading
from typing import TYPE_CHECKING, Any

import cryoet_data_portal as cdp
import pytest
import requests
from gql.transport.exceptions import (
    TransportConnectionFailed,
    TransportError,
    TransportQueryError,
    TransportServerError,
)

from tests.portal import __main__ as process
from tests.portal import oddities
from tests.portal.local import DATASET
from tests.portal.records import OBJECTS, Records
from tests.portal.schema import kinds
from tests.portal.server import Faults, PortalServer
from tests.sandbox import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def read_only() -> Iterator[PortalServer]:
    records = Records()
    records.fill(records.dataset(DATASET), 60)
    records.fill(records.dataset(DATASET + 1), 2, tomograms_per_spacing=1)
    with PortalServer(records) as server:
        yield server


@pytest.fixture(scope="module")
def client(read_only: PortalServer) -> cdp.Client:
    return cdp.Client(read_only.url)


@pytest.fixture
def server() -> Iterator[PortalServer]:
    records = Records()
    records.fill(records.dataset(DATASET), 3)
    with PortalServer(records) as made:
        yield made


@pytest.fixture
def own_client(server: PortalServer, client: cdp.Client) -> cdp.Client:
    made = copy.copy(client)  # parsing the schema takes the time of a test
    made.url = server.url
    return made


def ask(server: PortalServer, text: str) -> dict[str, Any]:
    answer = requests.post(server.url, json={"query": text}, timeout=30)
    answer.raise_for_status()
    found: dict[str, Any] = answer.json()
    return found


def test_the_client_reads_every_kind_of_record(read_only: PortalServer, client: cdp.Client) -> None:
    models = [getattr(cdp, name) for name in cdp.__all__ if name != "Client"]
    numbers = {model._gql_type: len(model.find(client)) for model in models}
    assert numbers == {name: len(read_only.store.rows(name)) for name in numbers}
    assert sum(number > 0 for number in numbers.values()) == 16
    found = cdp.Tomogram.find(client, [cdp.Tomogram.run.name == "TS_001"])[0].to_dict()
    assert found["s3_mrc_file"].endswith("/VoxelSpacing13.480/Tomograms/100/TS_001.mrc")
    assert (found["size_x"], found["file_size_mrc"]) == (28, 1024 + 2 * 28 * 20 * 24)


@pytest.mark.parametrize(
    ("filters", "number"),
    [
        ([cdp.Run.id == 14_002], 1),
        ([cdp.Run.id != 14_002], 61),
        ([cdp.Run.id > 14_002, cdp.Run.dataset_id == DATASET], 58),
        ([cdp.Run.id >= 14_002, cdp.Run.name < "TS_004"], 4),
        ([cdp.Run.id <= 14_002], 2),
        ([cdp.Run.id._in([14_001, 14_002, 1])], 2),
        ([cdp.Run.name.like("TS_00%")], 11),
        ([cdp.Run.name.like("ts_00%")], 0),
        ([cdp.Run.name.ilike("ts\\__0_")], 0),
        ([cdp.Run.name.ilike("ts_0_0")], 6),
        ([cdp.Run.name._in(["TS_001", "TS_002"])], 4),
        ([cdp.Run.dataset_id._in([DATASET + 1])], 2),
        ([cdp.Run.dataset.title == "Dataset 10001"], 2),
        ([cdp.Run.tomograms.processing_software == "cryoCARE-1"], 60),
        ([cdp.Run.tomograms.processing_software.is_null(value=False)], 60),
        ([cdp.Run.tomogram_voxel_spacings.tomograms.authors.name.ilike("jane%")], 62),
        ([cdp.Run.annotations.annotation_shapes.annotation_files.format == "glb"], 0),
        ([cdp.Run.annotations.release_date > "2023-05-31T20:00:00-05:00"], 0),
        ([cdp.Run.annotations.release_date == "2023-06-01T02:00:00+02:00"], 62),
    ],
)
def test_the_client_finds_by_every_operator(client: cdp.Client, filters: list[Any], number: int) -> None:
    assert len(cdp.Run.find(client, filters)) == number


def test_nulls_enumerations_numbers_and_truths_are_filtered(client: cdp.Client) -> None:
    def number(*filters: Any) -> int:
        return len(cdp.Tomogram.find(client, filters))

    assert number(cdp.Tomogram.processing_software.is_null()) == 62 * 2
    assert number(cdp.Tomogram.processing_software != "other") == 60 * 2  # nothing is true of a null
    assert number(cdp.Tomogram.processing == "denoised") == 60 * 2
    assert number(cdp.Tomogram.processing._in(["raw", "denoised"])) == 62 * 2 + 60 * 2
    assert number(cdp.Tomogram.ctf_corrected == True) == 62 * 2  # noqa: E712 - an expression of the client
    assert number(cdp.Tomogram.voxel_spacing == 13.48) == 62 + 60
    assert number(cdp.Tomogram.tomogram_voxel_spacing.voxel_spacing > 13.0) == 62 + 60


def test_records_lead_to_each_other(client: cdp.Client) -> None:
    run = cdp.Run.get_by_id(client, 14_002)
    assert [tomogram.name for tomogram in run.tomograms] == ["TS_002"] * 4
    assert run.dataset.deposition.authors[0].name == "Jane Smith"
    file = cdp.AnnotationFile.find(client, [cdp.AnnotationFile.annotation_shape.annotation.run.id == run.id])[
        0
    ]
    annotation = file.annotation_shape.annotation
    assert (annotation.object_name, annotation.run.id) == ("cytosolic ribosome", run.id)
    assert file.tomogram_voxel_spacing.voxel_spacing == 13.48
    assert file.alignment.tiltseries.run.id == run.id
    assert cdp.Run.get_by_id(client, 1) is None


def test_queries_the_client_does_not_write_are_answered_too(read_only: PortalServer) -> None:
    page = "where: {datasetId: {_eq: 10000}}, orderBy: [{name: desc}], limitOffset: {offset: 1, limit: 2}"
    inner = "n: name _id __typename dataset {id} tomogramVoxelSpacings {edges {node {voxelSpacing}}}"
    found = ask(read_only, f"{{ runs({page}) {{ {inner} }} }}")["data"]["runs"]
    assert [row["n"] for row in found] == ["TS_059", "TS_058"]
    assert found[0] | {"n": ""} == {
        "n": "",
        "_id": "Run:14059",
        "__typename": "Run",
        "dataset": {"id": DATASET},
        "tomogramVoxelSpacings": {
            "edges": [{"node": {"voxelSpacing": 13.48}}, {"node": {"voxelSpacing": 7.84}}]
        },
    }
    order = "[{run: {dataset: {id: desc}}}, {processingSoftware: asc}, {id: desc}]"
    sorted_ = ask(read_only, f"{{ tomograms(orderBy: {order}) {{ processingSoftware runId }} }}")["data"][
        "tomograms"
    ]
    assert [row["runId"] for row in sorted_[:4]] == [14_062, 14_062, 14_061, 14_061]
    assert sorted_[4]["processingSoftware"] == "cryoCARE-1"
    assert sorted_[-1] == {"processingSoftware": None, "runId": 14_001}
    for wrong in (
        "{ runs { nothing } }",
        "{ runs(where: {id: {_eq: true}}) { id } }",
        "{ runs",
        "{ runsAggregate { aggregate { count } } }",
    ):
        assert ask(read_only, wrong)["errors"][0]["message"]


class Unlisted(dict[int, Any]):
    """Records that can be looked up, but not looked through."""

    def __iter__(self) -> Iterator[int]:
        raise AssertionError("looked through")

    values = __iter__  # type: ignore[assignment]


def test_what_copick_asks_for_is_looked_up(
    read_only: PortalServer, client: cdp.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for table in read_only.store.tables.values():
        monkeypatch.setattr(table, "rows", Unlisted(table.rows))
    ids, objects = list(range(14_001, 14_051)), [of.object_id for of in OBJECTS]
    read_only.forget()
    file, author = cdp.AnnotationFile, cdp.TomogramAuthor
    filters = [
        file.annotation_shape.annotation.run.id._in(ids),
        file.annotation_shape.shape_type._in(["Point", "SegmentationMask"]),
        file.annotation_shape.annotation.object_id._in(objects),
    ]
    assert len(file.find(client, filters)) == 50 * 3
    assert len(author.find(client, [author.tomogram.tomogram_voxel_spacing.run.id._in(ids)])) == 50 * 8
    assert [(query.kind, query.rows, query.ids, query.status) for query in read_only.queries] == [
        ("AnnotationFile", 150, 50, 200),
        ("TomogramAuthor", 400, 50, 200),
    ]
    assert read_only.counts() == {"AnnotationFile": 1, "TomogramAuthor": 1}


def test_records_change_between_two_queries(server: PortalServer, own_client: cdp.Client) -> None:
    records = server.store
    run = records.change("Run", 14_001, name="renamed", datasetId=5)
    assert run["name"] == "renamed"
    records.remove("Run", 14_002)
    records.add("Run", name="new", datasetId=DATASET, id=15_000)
    assert [found.id for found in cdp.Run.find(own_client, [cdp.Run.dataset_id == DATASET])] == [
        14_003,
        15_000,
    ]
    assert [found.name for found in cdp.Run.find(own_client, [cdp.Run.dataset_id == 5])] == ["renamed"]
    assert cdp.Tomogram.find(own_client, [cdp.Tomogram.run.id == 14_002]) == []
    server.before = lambda _: records.remove("Run", 14_003)
    assert len(cdp.Run.find(own_client)) == 3  # found before it went
    assert len(cdp.Run.find(own_client)) == 2
    with pytest.raises(KeyError, match="names"):
        records.add("Run", names="none")


def test_a_null_that_may_not_be_fails_the_whole_answer(server: PortalServer, own_client: cdp.Client) -> None:
    server.store.change("Run", 14_002, s3Prefix=None)
    with pytest.raises(TransportQueryError, match=r"non-nullable field Run\.s3Prefix"):
        cdp.Run.find(own_client)
    assert len(cdp.Run.find(own_client, [cdp.Run.id != 14_002])) == 2


@pytest.mark.parametrize(
    ("faults", "statuses"),
    [
        (Faults(max_rows=2), [502, 502]),
        (Faults(max_rows=3), [200, 200]),
        (Faults(max_ids=2), [502, 502]),
        (Faults(status=503, times=1), [503, 200]),
        (Faults(status=502, kinds=frozenset({"Tomogram"})), [200, 200]),
        (Faults(every_nth_500=2), [200, 500]),
        (Faults(pause_s=0.01), [200, 200]),
    ],
)
def test_faults_strike_what_they_are_meant_for(
    server: PortalServer, faults: Faults, statuses: list[int]
) -> None:
    server.faults = faults
    query = {"query": "{ runs(where: {id: {_in: [14001, 14002, 14003]}}) { id } }"}
    assert [requests.post(server.url, json=query, timeout=30).status_code for _ in statuses] == statuses
    assert [(found.rows, found.ids, found.status) for found in server.queries] == [
        (3, 3, n) for n in statuses
    ]


def test_the_client_fails_as_at_the_portal(server: PortalServer, own_client: cdp.Client) -> None:
    server.faults = Faults(status=503, times=2)
    assert len(cdp.Run.find(own_client)) == 3  # it tries three times more by itself
    server.faults = Faults(max_rows=2)
    with pytest.raises(TransportConnectionFailed, match="too many 502"):
        cdp.Run.find(own_client)
    assert [query.status for query in server.queries] == [503, 503, 200, 502, 502, 502, 502]
    server.faults = Faults(errors="no such luck")
    with pytest.raises(TransportQueryError, match="no such luck"):
        cdp.Run.find(own_client)
    server.faults = Faults(truncated=True)
    with pytest.raises(TransportError):
        cdp.Run.find(own_client)
    server.faults = Faults(status=403)
    with pytest.raises(TransportServerError, match="403"):
        cdp.Run.find(own_client)


def test_it_hangs_and_goes_on(server: PortalServer, own_client: cdp.Client) -> None:
    found: list[Any] = []
    server.faults = Faults(hang=True)
    asking = threading.Thread(target=lambda: found.extend(cdp.Run.find(own_client)))
    asking.start()
    wait_until(lambda: server.counts()["Run"] == 1)
    assert not found
    server.faults = Faults()
    asking.join()
    assert len(found) == 3


def test_it_stops_in_the_middle_and_is_there_again_on_the_same_port(
    server: PortalServer, own_client: cdp.Client
) -> None:
    url, outcome = server.url, []

    def find() -> None:
        try:
            cdp.Run.find(own_client)
        except TransportError as error:
            outcome.append(error)

    server.faults = Faults(hang=True)
    asking = threading.Thread(target=find)
    asking.start()
    wait_until(lambda: server.counts()["Run"] == 1)
    server.stop()
    asking.join()
    assert outcome
    with pytest.raises(TransportError):
        cdp.Run.find(own_client)
    server.faults = Faults()
    assert server.start().url == url
    assert len(cdp.Run.find(own_client)) == 3


def test_odd_records_are_served(server: PortalServer, own_client: cdp.Client) -> None:
    records = server.store
    assert isinstance(records, Records)
    dataset, run = records.row("Dataset", DATASET), records.row("Run", 14_001)
    spacing = records.rows("TomogramVoxelSpacing", runId=run["id"])[0]
    names = [made["name"] for made in oddities.hostile_runs(records, dataset)]
    for odd in (
        oddities.hostile_software,
        oddities.hostile_objects,
        oddities.same_types,
        oddities.tomogram_of_dashes,
        oddities.tomogram_without_zarr,
        oddities.tomogram_without_files,
        oddities.tomogram_of_nulls,
        oddities.annotation_of_nulls,
        oddities.unknown_shapes,
        oddities.unknown_formats,
        oddities.file_without_spacing,
        oddities.file_of_lost_shape,
        oddities.same_ids,
    ):
        odd(records, run, spacing)
    oddities.tomogram_without_spacing(records, run)
    oddities.strange_spacings(records, run)
    oddities.empty_run(records, dataset)
    assert [found.name for found in cdp.Run.find(own_client)][3:] == [*names, "empty"]
    for name in ("Tomogram", "AnnotationFile", "AnnotationShape", "TomogramVoxelSpacing"):
        found = getattr(cdp, name).find(own_client)
        assert [made.id for made in found] == [row["id"] for row in records.rows(name)]
    shapes = {shape.shape_type for shape in cdp.AnnotationShape.find(own_client)}
    assert shapes > {"Hologram", None, "Mesh"}
    assert len(cdp.Tomogram.find(own_client, [cdp.Tomogram.s3_omezarr_dir.is_null()])) == 2
    keys = [row["s3Prefix"] for row in records.rows("Run")]
    assert len(set(keys)) == len(keys) - 1  # two runs of one name share a folder, if nobody keeps them apart


def test_a_process_of_its_own_says_where_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["portal", "--runs", "4", "--written", "0"])
    monkeypatch.setattr("sys.stdin", io.StringIO("forget\n"))
    process.main()
    where, counts = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert where["url"].startswith("http://127.0.0.1:")
    assert (where["dataset_ids"], counts) == ([DATASET], {"graphql": {}, "files": 0})


def test_a_portal_is_the_same_each_time() -> None:
    first, second = Records(), Records()
    for records in (first, second):
        records.fill(records.dataset(DATASET), 2)
    for name in kinds():
        assert first.rows(name) == second.rows(name)

"""The tests' own portal is what the real client, and the real copick, take for the portal."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import cryoet_data_portal as cdp
import pytest
import requests

from tests.portal import __main__ as process
from tests.portal.local import DATASET
from tests.portal.records import OBJECTS, Records
from tests.portal.schema import kinds
from tests.portal.server import PortalServer

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

"""Changed and odd records, and the faults of the tests' own portal, as the real client sees them."""

from __future__ import annotations

import copy
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

from tests.portal import oddities
from tests.portal.local import DATASET
from tests.portal.records import Records
from tests.portal.server import Faults, PortalServer
from tests.sandbox import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def parsed() -> cdp.Client:
    return cdp.Client("nowhere")  # reads the schema, which takes the time of a test


@pytest.fixture
def server() -> Iterator[PortalServer]:
    records = Records()
    records.fill(records.dataset(DATASET), 3)
    with PortalServer(records) as made:
        yield made


@pytest.fixture
def own_client(server: PortalServer, parsed: cdp.Client) -> cdp.Client:
    made = copy.copy(parsed)
    made.url = server.url
    return made


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

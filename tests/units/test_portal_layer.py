"""The portal as a layer: what is asked of it, what is read, and what happens when something is not there."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from copickfs.errors import AccessDenied, ConfigError, NotFound, Stale, Unavailable
from copickfs.index import Database, open_database
from copickfs.model import ByteRange
from tests.portal import contents, layers, oddities
from tests.portal.local import LocalPortal
from tests.sandbox import wait_until
from tests.storeserver import StoreServer, reply

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from copickfs.layers.portal.layer import PortalLayer

CLASSES = (
    "Run", "Dataset", "DatasetAuthor", "TomogramVoxelSpacing", "Tomogram", "TomogramAuthor", "Annotation",
    "AnnotationAuthor", "AnnotationShape", "AnnotationFile",
)  # fmt: skip
ONE_OF_EACH = dict.fromkeys(CLASSES, 1)


@pytest.fixture(scope="module")
def shared() -> Iterator[LocalPortal]:
    """A portal whose records stay as they are."""
    with LocalPortal() as made:
        yield made


@pytest.fixture
def portal() -> Iterator[LocalPortal]:
    """A portal whose records change."""
    with LocalPortal(runs=2, written=1) as made:
        yield made


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(tmp_path / "index.db")
    yield opened
    opened.close()


def run_of(portal: LocalPortal, number: int = 0) -> str:
    return f"ExperimentRuns/{portal.runs[number]['id']}"


def picks_of(layer: PortalLayer, portal: LocalPortal, number: int = 0) -> str:
    directory = f"{run_of(portal, number)}/Picks"
    return f"{directory}/{layers.names(layer, directory)[0]}"


def file_row(portal: LocalPortal, path: str) -> Any:
    return portal.records.row("AnnotationFile", int(path.rpartition("/")[2].split("_")[1]))


def asked_again(layer: PortalLayer, done: Any) -> None:
    layer.refresh()
    wait_until(done, what="the portal's news")


def test_the_portal_is_asked_once_for_each_class_and_then_never(
    shared: LocalPortal, database: Database
) -> None:
    shared.forget()
    with layers.connected(shared, database) as layer:
        paths = layers.walked(layer)
    assert shared.server.counts() == ONE_OF_EACH
    assert len(paths) > 100
    shared.forget()
    shared.server.stop()
    try:
        with layers.connected(shared, database) as layer:
            assert layers.walked(layer) == paths
            assert layer.health().state != "down"
    finally:
        shared.server.start()
    assert not shared.files.counts()


def test_without_an_index_it_is_asked_by_every_layer(shared: LocalPortal) -> None:
    shared.forget()
    for _ in range(2):
        with layers.connected(shared) as layer:
            assert len(layers.names(layer, "ExperimentRuns")) == 3
    assert shared.server.counts() == dict.fromkeys(CLASSES, 2)


@pytest.mark.parametrize(
    ("keys", "shown"),
    [
        ({"run_names": ["TS_00[13]"]}, {"14001", "14003"}),
        ({"run_names": ["ts_*"]}, set()),
        ({"run_names": ["TS_002", "*3"]}, {"14002", "14003"}),
        ({"run_ids": [14002, 14002]}, {"14002"}),
        ({"run_ids": [14002, 14003], "dataset_ids": [10_000], "run_names": ["*3"]}, {"14003"}),
    ],
)
def test_runs_are_chosen_by_name_and_number(
    shared: LocalPortal, keys: dict[str, Any], shown: set[str]
) -> None:
    with layers.connected(shared, **keys) as layer:
        for directory in ("ExperimentRuns", "Views"):
            assert set(layers.names(layer, directory)) == shown
        linked = [layer.readlink(path) for path in layers.walked(layer, "ByName") if path.count("/") == 2]
        assert {target.rpartition("/")[2] for target in linked} == shown


def test_tomograms_are_chosen_by_type(shared: LocalPortal) -> None:
    with layers.connected(shared, tomo_types=["wbp-raw-ctfdeconv"]) as layer:
        stores = [path for path in layers.walked(layer, run_of(shared)) if "/VoxelSpacing" in path]
        assert {path.rpartition("/")[2] for path in stores if path.endswith(".zarr")} == {
            "wbp-raw-ctfdeconv.zarr"
        }


def test_annotations_are_chosen_by_object(shared: LocalPortal) -> None:
    with layers.connected(shared, object_identifiers=["GO:0016020"]) as layer:
        paths = [path for path in layers.walked(layer, run_of(shared)) if "data-portal" in path]
        assert len(paths) == 1
        assert paths[0].endswith("_membrane.zarr")


def test_objects_have_the_names_of_the_configuration(shared: LocalPortal) -> None:
    with layers.connected(shared, objects={"GO:0022626": "my-ribosome"}) as layer:
        names = [path for path in layers.walked(layer, run_of(shared)) if "data-portal" in path]
        assert len(names) == 2
        assert all(name.endswith("_my-ribosome.json") for name in names)
    with layers.connected(shared, objects={}) as layer:  # all, by the portal's own names
        names = [path for path in layers.walked(layer, run_of(shared)) if "data-portal" in path]
        assert {name.rpartition("_")[2].partition(".")[0] for name in names} == {
            "cytosolic-ribosome", "membrane", "ferritin-complex",
        }  # fmt: skip


def test_two_layers_of_one_index_show_what_each_of_them_chooses(
    shared: LocalPortal, database: Database
) -> None:
    with (
        layers.connected(shared, database) as whole,
        layers.connected(shared, database, run_names=["TS_001"], object_identifiers=["GO:0016020"]) as part,
    ):
        assert len(layers.names(whole, "ExperimentRuns")) == 3
        assert len(layers.names(part, "ExperimentRuns")) == 1
        assert "Picks" in layers.names(whole, run_of(shared))
        assert "Picks" not in layers.names(part, run_of(shared))


@pytest.mark.parametrize("style", ["s3", "https"])
def test_files_come_from_the_address_that_is_chosen(
    shared: LocalPortal, database: Database, style: str
) -> None:
    keys: dict[str, Any] = {"url_style": style} | ({"fs_args": {}} if style == "https" else {})
    with layers.connected(shared, database, **keys) as layer:
        path = picks_of(layer, shared)
        row = file_row(shared, path)
        assert len(json.loads(layers.read(layer, path))["points"]) == 6
        raw = layers.read(layer, path.replace("ExperimentRuns", "Views").replace(".json", ".ndjson"))
        assert raw == shared.files.data(shared.records.key(row["s3Path"]))
        assert layer.location(path) == row[f"{style}Path"]
        volume = f"{run_of(shared)}/VoxelSpacing13.480/wbp-raw-ctfdeconv.zarr/0/0/0/0"
        assert layers.read(layer, volume) == shared.files.data(
            layer.location(volume).partition(f"{shared.files.bucket}/")[2]
        )
        store = volume.removesuffix("/0/0/0/0")
        assert layers.names(layer, store) == [".zattrs", ".zgroup", "0", "1", "2"]
        assert len(layers.walked(layer, f"{store}/0")) == 8 + 2 * 2 + 2 + 1
        with pytest.raises(NotFound):
            layer.open(volume.replace("/0/0/0/0", "/0/0/0/7"))


def test_a_file_is_as_long_as_it_says(shared: LocalPortal) -> None:
    with layers.connected(shared) as layer:
        for path in layers.walked(layer, run_of(shared)) + layers.walked(
            layer, run_of(shared).replace("ExperimentRuns", "Views")
        ):
            entry = layer.stat(path)
            if not entry.is_dir:
                assert entry.size_bytes == len(layers.read(layer, path)), path


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"dataset_ids": [4711]}, ("the portal has no dataset 4711", "dataset_ids")),
        ({"run_ids": [14001, 4711]}, ("the portal has no run 4711", "run_ids")),
    ],
)
def test_what_the_portal_does_not_have_is_a_users_mistake(
    shared: LocalPortal, database: Database, keys: dict[str, Any], said: tuple[str, str]
) -> None:
    with pytest.raises(ConfigError, match=said[0]) as caught, layers.connected(shared, database, **keys):
        pass
    assert caught.value.key == said[1]


def test_an_address_that_is_no_portal_is_a_users_mistake(shared: LocalPortal) -> None:
    page = b"<!DOCTYPE html>\n<html>\n<p>Log in</p></html>\n"
    for answer in (reply("404 Not Found", page), reply("200 OK", page, "Content-Type: text/html\r\n")):
        with StoreServer(lambda *_, answer=answer: answer) as server:
            url = f"http://127.0.0.1:{server.port}/graphql"
            with (
                pytest.raises(ConfigError, match="graphql_url") as caught,
                layers.connected(shared, graphql_url=url),
            ):
                pass
        assert caught.value.key == "graphql_url"
        assert "\n" not in str(caught.value)
        assert len(server.requests) == 1


def test_what_the_bucket_refuses_or_lacks_is_left_out_by_name(
    portal: LocalPortal, caplog: pytest.LogCaptureFixture
) -> None:
    with layers.connected(portal) as layer:
        first, second = (
            f"{run_of(portal)}/Picks/{n}" for n in layers.names(layer, f"{run_of(portal)}/Picks")
        )
        spacing = f"{run_of(portal)}/VoxelSpacing13.480"
        store, other = (f"{spacing}/{name}" for name in layers.names(layer, spacing))
        keys = [portal.records.key(file_row(portal, path)["s3Path"]) for path in (first, second)]
        tomogram = layer.location(store).partition(f"{portal.files.bucket}/")[2]
        portal.files.remove(keys[0])
        portal.files.remove(tomogram)
        refused = layer.location(other).partition(f"{portal.files.bucket}/")[2]
        portal.files.withheld = (keys[1], refused)
        with pytest.raises(AccessDenied):
            layers.read(layer, f"{other}/0/0/0/0")
        for path in (first, second, store):
            with pytest.raises(NotFound):
                layer.stat(path) if path != store else layer.scan(path)
        messages = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
        assert len(messages) == 3
        for message, key in zip(messages, (*keys, tomogram), strict=True):
            assert key in message
        assert layers.names(layer, f"{run_of(portal)}/Picks") == []
        assert layers.names(layer, spacing) == [other.rpartition("/")[2]]
        portal.files.withheld = ()
        layer.refresh()
        assert layers.read(layer, second)
        assert layers.read(layer, f"{other}/0/0/0/0")


def test_points_that_cannot_be_read_are_left_out_and_stay_in_the_views(
    portal: LocalPortal, caplog: pytest.LogCaptureFixture
) -> None:
    with layers.connected(portal) as layer:
        path = picks_of(layer, portal)
        portal.files.put({portal.records.key(file_row(portal, path)["s3Path"]): b'{"location": 1}\nno\n'})
        with pytest.raises(NotFound):
            layer.stat(path)
        (message,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
        assert "line 1 is not a point" in message
        assert path.rpartition("/")[2] not in layers.names(layer, f"{run_of(portal)}/Picks")
        raw = path.replace("ExperimentRuns", "Views").replace(".json", ".ndjson")
        assert layers.read(layer, raw) == b'{"location": 1}\nno\n'


def test_a_file_that_changes_in_the_bucket_is_never_mixed(portal: LocalPortal) -> None:
    with layers.connected(portal) as layer:
        path = picks_of(layer, portal)
        row = file_row(portal, path)
        old = layers.read(layer, path)
        opened = layer.open(path)
        points = contents.points(row, "OrientedPoint", 9)
        portal.files.put({portal.records.key(row["s3Path"]): contents.ndjson(points)})
        raw = layer.open(path.replace("ExperimentRuns", "Views").replace(".json", ".ndjson"))
        assert raw.read(ByteRange(0, raw.entry.size_bytes)) == contents.ndjson(points)
        assert opened.read(ByteRange(0, opened.entry.size_bytes)) == old
        layer.refresh()
        assert len(json.loads(layers.read(layer, path))["points"]) == 9


def test_news_of_the_portal_are_shown_and_announced(portal: LocalPortal, database: Database) -> None:
    announced: list[str] = []
    with layers.connected(portal, database) as layer, layers.connected(portal, database) as other:
        layer.subscribe(announced.append)
        before = layers.walked(layer)
        path = picks_of(layer, portal)
        old = layers.read(layer, path)
        portal.records.fill(portal.dataset, 1)
        gone = portal.records.rows("Tomogram", runId=portal.runs[0]["id"])[0]
        portal.records.remove("Tomogram", gone["id"])
        annotation = portal.records.row("AnnotationShape", file_row(portal, path)["annotationShapeId"])
        portal.records.change(
            "Annotation", annotation["annotationId"], lastModifiedDate="2026-01-01T00:00:00+00:00"
        )
        portal.server.forget()
        asked_again(layer, lambda: len(layers.names(layer, "ExperimentRuns")) == 3)
        assert portal.server.counts() == ONE_OF_EACH
        assert "" in announced
        after = layers.walked(layer)
        assert set(before) - set(after) == {
            f"{top}/{portal.runs[0]['id']}/VoxelSpacing13.480/wbp-raw-ctfdeconv.{kind}"
            for top, kind in (("ExperimentRuns", "zarr"), ("Views", "mrc"))
        }
        assert all("14003" in p or "TS_001" in p for p in set(after) - set(before))
        assert layers.read(layer, path) == old
        other.catalogue._look_again(other.catalogue._questions[0], other._changed)
        assert layers.walked(other) == after
        assert portal.server.counts() == ONE_OF_EACH


def test_a_refresh_that_fails_leaves_all_as_it_was(
    portal: LocalPortal, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    with layers.connected(portal, database) as layer:
        before = layers.walked(layer)
        portal.server.stop()
        asked_again(layer, lambda: layer.catalogue.failure)
        assert layers.walked(layer) == before
        assert "out of reach" in layer.health().message
        portal.server.start()
        asked_again(layer, lambda: not layer.catalogue.failure)
    (message,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert message.startswith("layer portal: ")


def test_two_datasets_are_one_tree(portal: LocalPortal, database: Database) -> None:
    second = portal.records.dataset(10_001)
    portal.records.fill(second, 1)
    with layers.connected(portal, database, dataset_ids=[10_000, 10_001]) as layer:
        assert len(layers.names(layer, "ExperimentRuns")) == 3
        assert layers.names(layer, "ByName") == ["10000", "10001"]
        assert layers.names(layer, "ByName/10001") == ["TS_001"]


def test_a_layer_whose_portal_is_gone_comes_by_itself(portal: LocalPortal, database: Database) -> None:
    portal.records.fill(portal.records.dataset(10_001), 1)
    portal.server.stop()
    layer = layers.made(portal, database, dataset_ids=[10_000, 10_001])
    try:
        with pytest.raises(Unavailable, match="layer portal"):
            layer.connect()
        with pytest.raises(Unavailable, match="layer portal"):
            layer.scan("ExperimentRuns")
        assert layer.health().state == "down"
        portal.server.start()
        asked_again(layer, lambda: layer.catalogue.is_complete)
        assert len(layers.names(layer, "ExperimentRuns")) == 3
        assert layer.health().state != "down"
    finally:
        layer.close()


def test_offline_is_what_is_stored(shared: LocalPortal, database: Database) -> None:
    with (
        pytest.raises(Unavailable, match="nothing is stored"),
        layers.connected(shared, database, offline=True),
    ):
        pass
    with layers.connected(shared, database) as layer:
        paths = layers.walked(layer)
    shared.forget()
    with layers.connected(shared, database, offline=True) as layer:
        assert layers.walked(layer) == paths
        with pytest.raises(Unavailable):
            layers.read(layer, picks_of(layer, shared))
    assert not shared.server.counts()
    assert not shared.files.counts()


def test_hostile_names_are_kept_in_the_index(portal: LocalPortal, database: Database) -> None:
    oddities.hostile_runs(portal.records, portal.dataset)
    with layers.connected(portal, database, objects={}) as layer:
        paths = layers.walked(layer)
    portal.server.forget()
    with layers.connected(portal, database, objects={}) as layer:
        assert layers.walked(layer) == paths
    assert not portal.server.counts()


def test_an_open_file_is_stale_when_the_portal_tells_of_another(portal: LocalPortal) -> None:
    with layers.connected(portal) as layer:
        path = f"Views/{portal.runs[0]['id']}/portal.json"
        layers.names(layer, f"Views/{portal.runs[0]['id']}")
        opened = layer.open(path)
        portal.records.change("Run", portal.runs[0]["id"], name="renamed")
        asked_again(layer, lambda: layers.names(layer, "ByName/10000") == ["TS_002", "renamed"])
        with pytest.raises(Stale):
            opened.read(ByteRange(0, 10))
        assert json.loads(layers.read(layer, path))["name"] == "renamed"


def test_what_was_read_is_known_to_the_next_process(shared: LocalPortal, database: Database) -> None:
    with layers.connected(shared, database) as layer:
        path = picks_of(layer, shared)
        entry = layer.stat(path)
        assert entry.size_bytes == len(layers.read(layer, path))
    shared.forget()
    with layers.connected(shared, database) as layer:
        assert picks_of(layer, shared) == path
        assert layer.stat(path) == entry
        layer.open(path).close()
    assert not shared.files.requests

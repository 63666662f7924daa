"""The API over a remote layer: the cache (specification, 6), outages, and what a network is asked for."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
import zarr

import copickfs
from copickfs.errors import Transient, Unavailable, UserError
from tests.projects import SHAPE, Project, labels, points, volume
from tests.sandbox import wait_until
from tests.webserver import WebHandler, WebServer

if TYPE_CHECKING:
    import copick.models as cm

RUN, SIZE = "TS_001", 10.0
CACHE = {"root": "cache", "min_free_bytes": 0}


def remote(project: Project, server: WebServer, **fields: object) -> copickfs.CopickRootMultilayer:
    """The root of a configuration whose lower layer is behind a web server."""
    lab = {"root": server.url, "timeout": 2.0, "ttl": 600.0}
    project.configure(lab=lab, **fields)
    return copickfs.from_file(project.file)


def tomogram_of(root: copickfs.CopickRootMultilayer, run: str = RUN) -> cm.CopickTomogram:
    return root.get_run(run).get_voxel_spacing(SIZE).tomograms[0]


def down(handler: WebHandler) -> bool:
    handler.reply(503)
    return True


def test_a_chunk_that_cannot_be_read_raises_and_is_not_zeros(project: Project) -> None:
    with WebServer(project.path("lab")) as server:
        root = remote(project, server, db_config=...)
        store = tomogram_of(root).zarr()
        array = zarr.open(store, mode="r")["0"]
        server.fault = lambda handler: handler.path.endswith("/0/0/0/0") and down(handler)
        for read in (
            lambda: array[:], lambda: tomogram_of(root).numpy(), lambda: store["0/0/0/0"],
            lambda: store.getitems(["0/0/0/0", "1/0/0/0"]),
        ):  # fmt: skip
            with pytest.raises(Transient):
                read()
        server.fault = None
        wait_until(lambda: root.layer_manager.get_layer("lab").layer.health().state == "ok", what="the layer")
        np.testing.assert_array_equal(array[:], volume(0))
        assert store.getitems(["9/9/9/9", "0/.zarray", "0"]).keys() == {"0/.zarray"}
        root.close()


def test_an_outage_is_not_an_absence(project: Project) -> None:
    with WebServer(project.path("lab")) as server:
        root = remote(project, server, db_config=...)
        assert root.get_run("TS_900") is not None
        run = root.get_run(RUN)
        server.fault = down
        for ask in (root.query, lambda: root.get_run("TS_002"), run.query_segmentations, run.query_meshes):
            with pytest.raises(Transient):
                ask()
        picks = run.new_picks  # what a local layer decides goes on
        with pytest.raises(Transient):
            picks("ribosome", "3")
        root.close()


def test_finding_without_an_index_tells_of_an_outage(project: Project) -> None:
    with WebServer(project.path("lab")) as server:
        root = remote(project, server, db_config=...)
        assert root.get_run(RUN) is not None
        server.fault = down
        for ask in (lambda: root.find_objects(type="meshes"), lambda: root.search("ribosome")):
            with pytest.raises(
                Unavailable, match=r"no index was made yet, and '.*' cannot be looked at.*: layer lab"
            ):
                ask()
        server.fault = None
        wait_until(lambda: root.index_all_layers().is_whole, what="the layer")
        server.fault = down
        assert root.find_objects(type="meshes")["meshes"]
        root.close()


def test_a_layer_that_is_out_of_reach_is_told_and_asked_again(
    project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    server = WebServer(project.path("lab"))
    root = remote(project, server, db_config=...)
    assert [layer.name for layer, _error in root.layer_manager.connect_layers()] == ["lab"]
    assert "layer lab is out of reach" in caplog.text
    with pytest.raises(Unavailable):
        root.query()

    def names() -> list[str]:
        with contextlib.suppress(Unavailable):
            return [run.name for run in root.query()]
        return []

    with server:
        assert wait_until(names, what="the layer") == ["TS_001", "TS_002", "TS_900"]
        root.close()


def test_6_1_what_was_read_is_in_the_cache(project: Project) -> None:
    with WebServer(project.path("lab")) as server:
        root = remote(project, server, cache_config=CACHE)
        cache = root.layer_manager.cache_layer
        assert cache is root.layer_specific("cache")
        tomogram = tomogram_of(root)
        np.testing.assert_array_equal(tomogram.numpy(), volume(0))
        wait_until(lambda: cache.cached_bytes(tomogram) > 0, what="the cache")
        assert cache.layers == ["lab"]
        assert cache.query() == [RUN]
        assert 0 < cache.usage().used_bytes < cache.usage().most_bytes
        root.close()
        server.requests.clear()
        np.testing.assert_array_equal(tomogram_of(root).numpy("0", z=slice(0, 3)), volume(0)[:3])
        assert not [request for request in server.requests if request.endswith("/0/0/0/0")]
        root.close()


def test_6_2_policies_and_pins(project: Project) -> None:
    with WebServer(project.path("lab")) as server:
        root = remote(project, server, cache_config=CACHE)
        cache, tomogram = root.layer_specific("cache"), tomogram_of(root)
        cache.pin(tomogram)
        assert cache.pins() == [tomogram.path]
        tomogram.numpy()
        wait_until(lambda: cache.usage().pinned_bytes > 0, what="the cache")
        assert cache.clear(layer="lab") >= 0
        assert cache.cached_bytes(tomogram) > 0
        cache.unpin(tomogram)
        assert cache.pins() == []
        assert cache.clear() > 0
        assert cache.cached_bytes() == 0
        with pytest.raises(UserError, match="layer mine is not cached"):
            cache.pin(tomogram, layer="mine")
        root.close()


def test_6_3_prefetching_and_offline(project: Project) -> None:
    with WebServer(project.path("lab")) as server:
        root = remote(project, server, cache_config=CACHE)
        cache = root.layer_specific("cache")
        outcome = cache.prefetch(root.get_run(RUN), pin=True)
        assert not outcome.failed
        assert not outcome.unkept
        assert outcome.files > 10
        assert cache.prefetch([tomogram_of(root)], level=0).fetched_bytes == 0
        with pytest.raises(UserError, match="no such file"):
            cache.prefetch("ExperimentRuns/TS_404")
        root.close()
    offline = copickfs.from_file(project.file, offline=True)
    np.testing.assert_array_equal(tomogram_of(offline).numpy(), volume(0))
    (membrane,) = offline.get_run(RUN).get_segmentations(name="membrane")
    np.testing.assert_array_equal(membrane.numpy(), labels(1))
    with pytest.raises(Transient):
        tomogram_of(offline, "TS_002")
    offline.close()


def test_listings_come_from_the_index(project: Project) -> None:
    """Within ``ttl`` another process asks the network for no listing."""
    with WebServer(project.path("lab")) as server:
        root = remote(project, server)
        expected = [(run.name, len(run.picks), len(run.segmentations)) for run in root.query()]
        assert expected == [("TS_001", 2, 4), ("TS_002", 1, 0), ("TS_900", 0, 0)]
        root.close()
        server.requests.clear()
        assert [(run.name, len(run.picks), len(run.segmentations)) for run in root.query()] == expected
        assert not [request for request in server.requests if "ExperimentRuns" in request]
        root.close()


def test_changing_a_part_of_a_remote_store(project: Project) -> None:
    with WebServer(project.path("lab")) as server:
        root = remote(project, server, db_config=...)
        tomogram = tomogram_of(root)
        tomogram.set_region(np.ones((1, *SHAPE[1:]), "f4"), z=slice(0, 1))
        expected = volume(0)
        expected[0] = 1.0
        np.testing.assert_array_equal(tomogram.numpy(), expected)
        picks = root.get_run("TS_002").picks[0]
        picks.from_numpy(points(5, 1))
        assert len(root.get_run("TS_002").picks[0].points) == 1
        assert len(picks.source_picks["lab"].points) == 5
        root.close()

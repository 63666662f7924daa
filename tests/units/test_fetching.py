"""What is selected to be fetched, and which files of it."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from copickfs.arrays.multiscales import level_paths
from copickfs.config import load
from copickfs.demo import write_demo
from copickfs.errors import UserError
from copickfs.fetching import Looking, Targets, found, named, surroundings
from copickfs.fetching.selection import topmost
from copickfs.indexing import Catalog, criteria_of, open_catalog

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    config: Any = load(write_demo(tmp_path_factory.mktemp("demo")))
    with open_catalog(config, None) as (opened, manager):
        manager.connect_layers()
        yield opened


@pytest.fixture
def looking(catalog: Catalog) -> Iterator[Looking]:
    with ThreadPoolExecutor(4) as pool:
        yield Looking(catalog.view, pool, threading.Event())


@pytest.mark.parametrize(
    "criteria",
    [
        {},
        {"run": "TS_001"},
        {"run": "TS_00[!1-3]"},
        {"run": "TS_00[^1-3]"},
        {"run": "TS_00[34"},
        {"run": "*"},
        {"object": "ribosome"},
        {"object": "ribo*", "type": ["picks", "meshes"]},
        {"object": "ribosome", "type": "objects"},
        {"user": "lab", "run": "TS_00?"},
        {"user": ""},
        {"session": "1", "name": "*"},
        {"type": "tomogram", "name": "wbp"},
        {"type": "runs", "user": "lab"},
        {"voxel_size": "20"},
        {"voxel_size": "20.0004"},
        {"voxel_size": "20.001"},
        {"voxel_size": "2?.000", "type": "segmentation"},
        {"segmentation_type": "multilabel"},
    ],
    ids=str,
)
def test_criteria_select_what_find_finds(
    catalog: Catalog, looking: Looking, criteria: dict[str, Any]
) -> None:
    answer = catalog.find_objects(**criteria)
    there = [record.identity.path for records in answer.values() for record in records]
    assert found(looking, criteria_of(**criteria)) == topmost(there)
    assert looking.skipped == []


@pytest.mark.parametrize(
    ("view", "source"),
    [
        ("Views", "ExperimentRuns"),
        ("Views/TS_001", "ExperimentRuns/TS_001"),
        ("Views/TS_001/Picks", "ExperimentRuns/TS_001/Picks"),
        ("Views/TS_001/VoxelSpacing20.000/wbp.mrc", "ExperimentRuns/TS_001/VoxelSpacing20.000/wbp.zarr"),
        ("Views/TS_001/VoxelSpacing20.000/wbp_bin2.mrc", "ExperimentRuns/TS_001/VoxelSpacing20.000/wbp.zarr"),
        ("Views/TS_001/Picks/lab_1_ribosome.star", "ExperimentRuns/TS_001/Picks/lab_1_ribosome.json"),
        ("Views/Objects/ribosome.mrc", "Objects/ribosome.zarr"),
    ],
)
def test_of_a_view_that_is_fetched_which_it_is_made_of(looking: Looking, view: str, source: str) -> None:
    assert named(looking, [view]) == [source]


def test_of_no_view_nothing_is_fetched(looking: Looking) -> None:
    for path in ("Views/TS_009", "Views/TS_001/VoxelSpacing20.000/x.mrc", "Views/TS_001/x/y", "other"):
        with pytest.raises(UserError, match="there is no such file"):
            named(looking, [path])


def test_what_is_below_a_path_goes_with_it() -> None:
    assert topmost(["a/b", "a.c", "a", "a/b/c", "b/c", "b/cd"]) == ["a", "a.c", "b/c", "b/cd"]
    assert topmost(["a", "", "b"]) == [""]


def test_programs_look_beside_what_they_read(
    catalog: Catalog, looking: Looking, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = set()
    real = catalog.view.listing

    def listing(directory: str) -> Any:
        listed.add(directory)
        return real(directory)

    monkeypatch.setattr(catalog.view, "listing", listing)
    surroundings(looking, named(looking, ["ExperimentRuns/TS_001/VoxelSpacing20.000/wbp.zarr/0"]))
    run = "ExperimentRuns/TS_001"
    inside = {entry.name for entry in real(run).entries if entry.is_dir}
    assert {"Picks", "Meshes", "Segmentations", "VoxelSpacing20.000"} <= inside
    above = {"", "ExperimentRuns", "Objects", run, f"{run}/VoxelSpacing20.000/wbp.zarr"}
    assert listed == above | {f"{run}/{name}" for name in inside}


def test_a_configuration_of_a_layer_is_not_fetched(catalog: Catalog, looking: Looking) -> None:
    targets = Targets(looking, [layer.name for layer in catalog.view.layers])
    targets.collect([""])
    assert targets.files
    assert "copick_config.json" not in {target.path for target in targets.files}
    assert targets.size_bytes == sum(target.size_bytes for target in targets.files)


def test_a_walk_that_is_stopped_lists_nothing_more(catalog: Catalog) -> None:
    stop = threading.Event()
    stop.set()
    with ThreadPoolExecutor(1) as pool:
        looking = Looking(catalog.view, pool, stop)
        assert found(looking, criteria_of(run="TS_001")) == []
        assert looking.skipped == []


@pytest.mark.parametrize(
    ("document", "paths"),
    [
        ('{"multiscales": [{"datasets": [{"path": "0"}, {"path": "s/1"}]}]}', ["0", "s/1"]),
        ('{"ome": {"multiscales": [{"datasets": [{"path": "0"}]}]}}', ["0"]),
        ('{"multiscales": [{"datasets": [{"path": "0"}, {"path": "../1"}]}]}', []),
        ('{"multiscales": [{"datasets": [{"path": ""}]}]}', []),
        ('{"multiscales": [{"datasets": 3}]}', []),
        ("[]", []),
    ],
)
def test_levels_of_a_store(document: str, paths: list[str]) -> None:
    assert level_paths(json.loads(document)) == paths

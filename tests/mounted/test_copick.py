"""copick, zarr and ome-zarr read the whole demo through a mount and get what the merge must give."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import copick
import numpy as np
import pytest
import zarr
from copick.impl.filesystem import CopickConfigFSSpec, CopickRootFSSpec

from tests import model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.mounted.conftest import Demo


def entities(root: Any) -> dict[str, Any]:
    """Every entity of a copick project, by the path where it is kept."""
    found = {path: entity for run in root.runs for path, entity in entities_of_run(run)}
    for thing in root.pickable_objects:
        if root.fs_overlay.exists(thing.overlay_path):  # asking for a map that is not there would make it
            found[f"Objects/{thing.name}.zarr"] = thing
    return found


def entities_of_run(run: Any) -> Iterator[tuple[str, Any]]:
    top = f"ExperimentRuns/{run.name}"
    for spacing in run.voxel_spacings:
        for tomogram in spacing.tomograms:
            stem = f"{top}/VoxelSpacing{spacing.voxel_size:.3f}/{tomogram.tomo_type}"
            yield f"{stem}.zarr", tomogram
            for features in tomogram.features:
                yield f"{stem}_{features.feature_type}_features.zarr", features
    for directory, suffix, things in (
        ("Picks", "json", run.picks),
        ("Filaments", "json", run.filaments),
        ("Meshes", "glb", run.meshes),
    ):
        for thing in things:
            name = f"{thing.user_id}_{thing.session_id}_{thing.pickable_object_name}.{suffix}"
            yield f"{top}/{directory}/{name}", thing
    for segmentation in run.segmentations:
        yield f"{top}/{segmentation.directory}/{segmentation.filename}", segmentation


def content(entity: Any) -> dict[str, Any]:
    """All that copick gives of an entity."""
    kind = type(entity).__name__.removeprefix("Copick").removesuffix("FSSpec").removesuffix("CDP")
    if kind == "Picks":
        points, transforms = entity.numpy()
        return {
            "points": points,
            "transforms": transforms,
            "scores": entity.scores(),
            "meta": entity.meta.model_dump(),
        }
    if kind == "Filaments":
        return {"meta": entity.meta.model_dump(), **dict(enumerate(entity.numpy()))}
    if kind == "Mesh":
        (geometry,) = entity.mesh.geometry.values()
        return {"vertices": np.asarray(geometry.vertices), "faces": np.asarray(geometry.faces)}
    levels = sorted(zarr.open_group(entity.zarr(), mode="r").array_keys())
    return {"levels": levels, **{level: entity.numpy(level) for level in levels}}


def assert_same(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert found.keys() == wanted.keys()
    for key, value in wanted.items():
        if isinstance(value, np.ndarray):
            assert found[key].dtype == value.dtype
            np.testing.assert_array_equal(found[key], value)
        else:
            assert found[key] == value


def bare_project(root: Path, objects: Any) -> Any:
    """copick on one layer's directory alone."""
    return CopickRootFSSpec(CopickConfigFSSpec(overlay_root=f"local://{root}", pickable_objects=objects))


def is_entity(path: str, node: model.Node) -> bool:
    return node.store or path.endswith((".json", ".glb"))


def test_copick_gets_every_entity_of_the_merge(demo: Demo, mount: Callable[..., Path]) -> None:
    project = copick.from_file(mount(demo.config) / "copick_config.json")
    objects = json.loads(demo.config.read_text())["pickable_objects"]
    bare = [entities(bare_project(root, objects)) for root in demo.roots]
    wanted = {path: node for path, node in model.merge(demo.roots).items() if is_entity(path, node)}
    merged = entities(project)
    assert merged.keys() == wanted.keys()
    assert [run.name for run in project.runs] == ["TS_001", "TS_002", "TS_003", "TS_004"]
    for path, node in wanted.items():
        assert_same(content(merged[path]), content(bare[node.layer][path]))


def test_copick_config_carries_the_objects_and_the_user(demo: Demo, mount: Callable[..., Path]) -> None:
    project = copick.from_file(mount(demo.config) / "copick_config.json")
    config = json.loads(demo.config.read_text())
    assert project.user_id == config["user_id"]
    assert project.session_id == config["session_id"]
    wanted = {
        item["name"]: (tuple(item["color"]), item["label"], item.get("radius"))
        for item in config["pickable_objects"]
    }
    assert {item.name: (item.color, item.label, item.radius) for item in project.pickable_objects} == wanted
    assert project.get_object("microtubule").is_filament


def test_shadowed_tomogram_has_no_chunk_of_the_lower_one(demo: Demo, mount: Callable[..., Path]) -> None:
    mountpoint = mount(demo.config)
    store = "ExperimentRuns/TS_002/VoxelSpacing20.000/wbp.zarr"
    upper, lower = (zarr.open_group(str(root / store), mode="r")["0"] for root in demo.roots)
    assert upper.shape != lower.shape, "the demo no longer has the case"
    assert upper.chunks != lower.chunks, "the demo no longer has the case"
    found = zarr.open_group(str(mountpoint / store), mode="r")["0"]
    assert (found.shape, found.chunks) == (upper.shape, upper.chunks)
    np.testing.assert_array_equal(found[:], upper[:])
    assert not np.array_equal(found[:], lower[tuple(slice(length) for length in upper.shape)])


def stores(demo: Demo) -> dict[str, str]:
    """Every store of the merge, and where it is on disk."""
    found = {path: node.source for path, node in model.merge(demo.roots).items() if node.store}
    assert len(found) > 15
    return found


def test_zarr_reads_every_store_as_its_owner_has_it(demo: Demo, mount: Callable[..., Path]) -> None:
    mountpoint = mount(demo.config)
    for path, source in stores(demo).items():
        wanted = zarr.open_group(source, mode="r")
        found = zarr.open_group(str(mountpoint / path), mode="r")
        assert found.attrs.asdict() == wanted.attrs.asdict()
        assert sorted(found.array_keys()) == sorted(wanted.array_keys())
        for name, array in wanted.arrays():
            assert found[name].info_items()[1:] == array.info_items()[1:]
            np.testing.assert_array_equal(found[name][:], array[:])
            inner = tuple(slice(length // 3, length // 2 + 1) for length in array.shape)
            np.testing.assert_array_equal(found[name][inner], array[inner])


def test_zarr_cannot_write_a_read_only_mount(demo: Demo, mount: Callable[..., Path]) -> None:
    store = str(mount(demo.config, "--read-only") / "ExperimentRuns/TS_001/VoxelSpacing20.000/wbp.zarr")
    array = zarr.open_group(store, mode="r+")["0"]
    with pytest.raises(OSError, match="Read-only file system"):
        array[:4] = 0


def test_ome_zarr_reads_every_tomogram_and_segmentation(demo: Demo, mount: Callable[..., Path]) -> None:
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader

    mountpoint = mount(demo.config)
    for path, source in stores(demo).items():
        location = parse_url(str(mountpoint / path), mode="r")
        assert location is not None, path
        (node,) = Reader(location)()
        wanted = zarr.open_group(source, mode="r")
        datasets = wanted.attrs["multiscales"][0]["datasets"]
        assert len(node.data) == len(datasets)
        for level, dataset in zip(node.data, datasets, strict=True):
            np.testing.assert_array_equal(np.asarray(level), wanted[dataset["path"]][:])

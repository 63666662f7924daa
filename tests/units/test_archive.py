"""The generated archive: what copick finds in each layer is what the archive says that there is."""

from __future__ import annotations

import collections
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import zarr
from copick.impl.filesystem import CopickConfigFSSpec, CopickRootFSSpec

from benchmarks.archive import (
    LAYERS,
    RUNS,
    Archive,
    change_picks,
    changed_picks,
    meets,
    pickable_objects,
    says,
    write_archive,
)
from benchmarks.archivefiles import STORES
from benchmarks.archiveplan import points_in
from copickfs.config.loading import load
from copickfs.entities import EntityType, identify

if TYPE_CHECKING:
    from collections.abc import Iterator

    from copick.models import CopickRoot, CopickRun

    from benchmarks.archiveplan import Item

ARCHIVE = Archive(runs=20, entities=1000)
PARTS = {
    EntityType.PICKS: "picks",
    EntityType.MESH: "meshes",
    EntityType.FILAMENT: "filaments",
    EntityType.SEGMENTATION: "segmentations",
}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_archive(tmp_path_factory.mktemp("archive"), ARCHIVE.runs, ARCHIVE.entities).parent


def project(written: Path, layer: str) -> CopickRootFSSpec:
    config = CopickConfigFSSpec(
        overlay_root=f"local://{written / layer}", pickable_objects=pickable_objects()
    )
    return CopickRootFSSpec(config)


def copick_finds(root: CopickRoot) -> Iterator[tuple[EntityType, Path]]:
    """Every entity that copick finds in one layer, by its path."""
    for item in root.pickable_objects:
        path = Path(item.overlay_path)  # which copick would make if it were asked for the store
        if path.exists():  # copick knows the objects from its configuration
            yield EntityType.OBJECT, path
    for run in root.runs:
        yield EntityType.RUN, Path(run.overlay_path)
        yield from in_run(run)


def in_run(run: CopickRun) -> Iterator[tuple[EntityType, Path]]:
    for spacing in run.voxel_spacings:
        yield EntityType.VOXEL_SPACING, Path(spacing.overlay_path)
        for tomogram in spacing.tomograms:
            yield EntityType.TOMOGRAM, Path(tomogram.overlay_path)
            for features in tomogram.features:
                yield EntityType.FEATURE, Path(features.path)
    for kind, attribute in PARTS.items():
        for item in getattr(run, attribute):
            yield kind, Path(item.path)


def test_has_what_it_was_asked_for() -> None:
    expected = ARCHIVE.expected()
    assert sum(expected.merged.values()) == ARCHIVE.entities
    assert expected.merged[EntityType.RUN] == ARCHIVE.runs
    assert 25 <= expected.merged[EntityType.PICKS] / ARCHIVE.runs <= 40
    assert expected.shadowed > 20
    for layer in LAYERS:
        assert set(expected.by_layer[layer]) == set(EntityType), layer


def test_has_every_overlap() -> None:
    stacks = {kind: {item.layers for item in ARCHIVE if item.identity.type is kind} for kind in EntityType}
    every = {("mine",), ("lab",), ("archive",), ("lab", "archive"), ("mine", "lab", "archive")}
    assert every <= stacks[EntityType.RUN]
    assert every | {("mine", "lab")} <= stacks[EntityType.PICKS]
    assert any(len(layers) > 1 for kind in STORES for layers in stacks[kind])
    kinds = {item.identity.segmentation_type for item in ARCHIVE}
    assert kinds == {"", "binary", "multilabel", "instance", "panoptic"}


def test_configuration_is_valid(written: Path) -> None:
    config = load(written / "config.json")
    assert tuple(config.layers) == LAYERS


def test_paths_say_what_the_archive_says() -> None:
    points = (EntityType.PICKS, EntityType.MESH, EntityType.FILAMENT)
    for item in ARCHIVE:
        is_dir = item.identity.type not in points
        assert identify(item.identity.path, is_dir=is_dir) == item.identity


@pytest.mark.parametrize("layer", LAYERS)
def test_copick_finds_all_of_it(written: Path, layer: str) -> None:
    found = [
        (kind, path.relative_to(written / layer).as_posix())
        for kind, path in copick_finds(project(written, layer))
    ]
    planned = [(item.identity.type, item.identity.path) for item in ARCHIVE if layer in item.layers]
    assert sorted(found) == sorted(planned)
    assert collections.Counter(kind for kind, _ in found) == ARCHIVE.expected().by_layer[layer]


@pytest.mark.parametrize("layer", LAYERS)
def test_copick_reads_all_of_it(written: Path, layer: str) -> None:
    root = project(written, layer)
    planned = {item.identity.path: item for item in ARCHIVE if layer in item.layers}
    for run in root.runs[:4]:
        for picks in run.picks:
            path = Path(picks.path).relative_to(written / layer).as_posix()
            assert len(picks.points) == points_in(planned[path], layer)
            assert picks.meta.run_name == run.name
        assert all(len(filaments.filaments) == 1 for filaments in run.filaments)
        assert all(len(mesh.mesh.geometry) == 1 for mesh in run.meshes)


def test_stores_are_what_the_archive_says(written: Path) -> None:
    stores = [item for item in ARCHIVE if item.identity.type in STORES]
    for item in stores:
        group = zarr.open_group(str(written / item.layers[0] / item.identity.path), mode="r")
        assert group["0"].shape == item.shape
        assert group["0"].dtype == item.dtype
        (multiscale,) = group.attrs["multiscales"]
        assert len(multiscale["axes"]) == len(item.shape)


def test_nothing_but_the_entities(written: Path) -> None:
    """No other files, and each an inode of its own."""
    files = [path for layer in LAYERS for path in (written / layer).rglob("*") if path.is_file()]
    assert {path.stat().st_nlink for path in files} == {1}
    copies = collections.Counter(item.identity.type for item in ARCHIVE for _ in item.layers)
    in_stores = 3 * sum(copies[kind] for kind in STORES)
    assert len(files) == in_stores + sum(copies[kind] for kind in EntityType if kind not in STORES)


def test_follows_from_the_seed(written: Path, tmp_path: Path) -> None:
    write_archive(tmp_path / "again", ARCHIVE.runs, ARCHIVE.entities)
    assert contents(tmp_path / "again") == contents(written)
    assert list(Archive(20, 1000, seed=5)) != list(ARCHIVE)


def test_processes_write_what_one_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_archive(tmp_path / "one", 4, 120)
    monkeypatch.setattr("benchmarks.archive.RUNS_A_PROCESS", 2)
    write_archive(tmp_path / "several", 4, 120)
    assert contents(tmp_path / "several") == contents(tmp_path / "one")


def test_answers() -> None:
    item = next(item for item in ARCHIVE if item.identity.type is EntityType.PICKS)
    who = {"user": item.identity.user, "session": item.identity.session, "object": item.identity.object}
    mine, in_run, nothing, word = ARCHIVE.answers(
        [
            meets(**who, run=item.identity.run, type=EntityType.PICKS),
            meets(run="chlamydomonas_*"),
            meets(object="unheard-of"),
            says(r"\bribosome\b"),
        ]
    )
    assert mine == {"picks": {item.identity.path}}
    assert set(in_run) == {kind.plural for kind in EntityType} - {"objects"}
    assert in_run["runs"] == {f"{RUNS}/chlamydomonas_200101_TS_{number:05d}" for number in (0, 12)}
    assert nothing == {}
    assert word["objects"] == {
        f"Objects/{name}.zarr" for name in ("ribosome", "cytosolic-ribosome", "mitochondrial-ribosome")
    }


def test_changes_picks(tmp_path: Path) -> None:
    write_archive(tmp_path, 5, 150)
    archive = Archive(5, 150)
    before = contents(tmp_path)
    change_picks(tmp_path, archive, 3)
    after = contents(tmp_path)
    changed = changed_picks(archive, 3)
    assert {path for path in after if after[path] != before[path]} == {shown_path(item) for item in changed}
    assert len(changed) == 3


def test_refuses_what_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="20 runs have from"):
        write_archive(tmp_path, 20, 100)
    write_archive(tmp_path, 2, 100)
    with pytest.raises(FileExistsError):
        write_archive(tmp_path, 2, 100)


def shown_path(item: Item) -> str:
    return f"{item.layers[0]}/{item.identity.path}"


def contents(directory: Path) -> dict[str, bytes]:
    return {
        os.path.relpath(path, directory): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }

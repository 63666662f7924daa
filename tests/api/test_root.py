"""What a merged root does beside the specification: saving configurations, deleting, arrays by others."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import zarr

import copickfs
from copickfs.errors import InvalidName, NotFound, NotWritable, Unreadable, UserError
from tests import model
from tests.projects import labels, points, volume

if TYPE_CHECKING:
    from copickfs.api import CopickRootMultilayer
    from tests.projects import Project

RUN, SIZE = "TS_001", 10.0


def test_a_saved_configuration_keeps_its_variables(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_ROOT", str(project.path("lab")))
    project.configure(lab={"root": "${LAB_ROOT}"})
    root = copickfs.from_file(project.file)
    root.user_id = "bob"
    root.new_object("vault", is_particle=True)
    saved = project.directory / "saved.json"
    root.save_config(saved)
    assert json.loads(saved.read_text())["layer_configs"]["lab"]["root"] == "${LAB_ROOT}"
    again = copickfs.from_file(saved)
    assert again.user_id == "bob"
    assert again.get_object("vault").label == 4
    made = copickfs.CopickRootMultilayer(copickfs.CopickConfigMultilayer(**root.config.model_dump()))
    made.save_config(saved)
    assert copickfs.from_file(saved).get_run("TS_002") is not None


def test_deleting_hides_what_lower_layers_have(root: CopickRootMultilayer, project: Project) -> None:
    run = root.get_run(RUN)
    run.picks[0].delete()
    assert [picks.session_id for picks in run.picks] == ["2"]
    assert [picks.session_id for picks in root.get_run(RUN).query_picks()] == ["2"]
    run.delete_segmentations(name="membrane")
    run.delete_meshes()
    run.delete_filaments()
    tomogram = run.get_voxel_spacing(SIZE).tomograms[0]
    tomogram.delete()
    assert run.get_voxel_spacing(SIZE).query_tomograms() == []
    with pytest.raises(NotFound):
        tomogram.numpy()
    run.delete_voxel_spacings(SIZE)
    assert (run.query_voxelspacings(), run.query_meshes(), run.query_filaments()) == ([], [], [])
    assert len(run.query_segmentations()) == 3
    root.delete_run(RUN)
    assert [each.name for each in root.query()] == ["TS_002", "TS_900"]
    anew = root.create_run(RUN)
    assert (anew.picks, anew.segmentations, anew.voxel_spacings) == ([], [], [])
    assert project.copick("lab").get_run(RUN) is not None
    root.refresh()
    with pytest.raises(ValueError, match="already exists"):
        root.new_run(RUN)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../ExperimentRuns", "TS_001/", ".hidden", "a\0b", "x" * 256]
)
def test_what_cannot_be_the_name_of_a_run_is_none(
    root: CopickRootMultilayer, project: Project, name: str
) -> None:
    before = model.hash_tree(project.path("mine"))
    assert root.get_run(name) is None
    root.delete_run(name)
    with pytest.raises(ValueError, match="cannot be the name of a run"):
        root.create_run(name)
    assert model.hash_tree(project.path("mine")) == before
    assert len(root.query()) == 3


def test_storing_what_was_never_read_keeps_what_is_there(root: CopickRootMultilayer) -> None:
    """Else ``store()``, which copies to the layer that is written, would empty it."""

    def contents() -> tuple[int, int, list[list[float]]]:
        anew = root.get_run(RUN)
        return (
            len(anew.picks[0].points),
            len(anew.filaments[0].filaments),
            anew.meshes[0].mesh.bounds.tolist(),
        )

    run, before = root.get_run(RUN), contents()
    picks, filaments, mesh = run.picks[0], run.filaments[0], run.meshes[0]
    picks.meta.trust_orientation = False
    for each in (picks, filaments, mesh):
        each.store()
    assert contents() == before
    assert [next(iter(each)) for each in (picks.source_picks, filaments.source_filaments)] == ["mine"] * 2
    assert root.get_run(RUN).picks[0].load().trust_orientation is False
    picks.points, filaments.filaments = [], []
    picks.store()
    filaments.store()
    assert contents()[:2] == (0, 0)


def test_what_could_not_be_made_is_not_listed(project: Project) -> None:
    run = copickfs.from_file(project.file, read_only=True).get_run(RUN)
    spacing = run.get_voxel_spacing(SIZE)
    for make, listed in (
        (lambda: run.new_picks("ribosome", "9"), lambda: run.picks),
        (lambda: run.new_filaments("ribosome", "9"), lambda: run.filaments),
        (lambda: run.new_mesh("ribosome", "9"), lambda: run.meshes),
        (lambda: run.new_segmentation(SIZE, "ribosome", "9"), lambda: run.segmentations),
        (lambda: run.new_voxel_spacing(99.0), lambda: run.voxel_spacings),
        (lambda: spacing.new_tomogram("new"), lambda: spacing.tomograms),
        (lambda: spacing.tomograms[0].new_features("new"), lambda: spacing.tomograms[0].features),
    ):
        before = len(listed())
        with pytest.raises(NotWritable, match="no layer of this configuration is written"):
            make()
        assert len(listed()) == before
    for change in (
        lambda: spacing.tomograms[0].set_region(volume(0)),
        lambda: run.segmentations[0].from_numpy(labels(0)),
    ):
        with pytest.raises(NotWritable, match=r"Cannot store .+ in a read-only source"):
            change()


def test_what_is_deleted_has_no_source(root: CopickRootMultilayer) -> None:
    run = root.get_run(RUN)
    picks, segmentation = run.picks[0], run.segmentations[0]
    assert picks.source_picks
    assert segmentation.primary_segmentation is not None
    picks.delete()
    segmentation.delete()
    assert (picks.source_picks, segmentation.primary_segmentation) == ({}, None)


def test_a_smaller_array_over_a_larger_one_shows_no_old_chunk(root: CopickRootMultilayer) -> None:
    segmentation = root.get_run(RUN).get_segmentations(name="membrane")[0]
    segmentation.from_numpy(labels(1)[:2, :2, :2])
    np.testing.assert_array_equal(segmentation.numpy(), labels(1)[:2, :2, :2])


def test_arrays_that_others_have_written_are_read_as_zarr_reads_them(project: Project) -> None:
    store = project.path("mine", f"ExperimentRuns/{RUN}/VoxelSpacing10.000/dots.zarr")
    group = zarr.open_group(zarr.DirectoryStore(str(store)), mode="w")
    group.create_dataset("0", data=volume(4), chunks=(4, 4, 4))
    assert (store / "0/0.0.0").exists()
    metadata = json.loads((store / "0/.zarray").read_text())
    metadata.pop("dimension_separator", None)
    (store / "0/.zarray").write_text(json.dumps(metadata))
    (dots,) = copickfs.from_file(project.file).get_run(RUN).get_voxel_spacing(SIZE).get_tomograms("dots")
    np.testing.assert_array_equal(dots.numpy(), volume(4))
    np.testing.assert_array_equal(
        dots.numpy("0", slice(3, 9), slice(1, 5), slice(2, 7)), volume(4)[2:7, 1:5, 3:9]
    )
    with pytest.raises(KeyError, match="has no array '7'"):
        dots.numpy("7")


def test_a_store_is_a_mapping_as_zarrs_own_are(root: CopickRootMultilayer) -> None:
    tomogram = root.get_run(RUN).get_voxel_spacing(SIZE).new_tomogram("new")
    store = tomogram.zarr()
    assert list(store) == []
    store["a/b"] = b"12"
    store["c"] = np.arange(3, dtype="u1")
    assert sorted(store.keys()) == ["a/b", "c"]
    assert (len(store), store["a/b"], "a/b" in store, "a" in store) == (2, b"12", True, False)
    assert store.listdir() == ["a", "c"]
    assert (store.getsize("a"), store.getsize("c"), store.getsize("x")) == (2, 3, 0)
    assert store["c"] == b"\x00\x01\x02"
    del store["c"]
    store.rename("a", "d")
    assert store["d/b"] == b"12"
    for missing in ("c", "a/b", "d", "d/b/c"):
        with pytest.raises(KeyError):
            store[missing]
    store.rmdir("d")
    store.rmdir("d")
    assert list(store) == []
    store.clear()
    assert store == tomogram.zarr()


def test_a_store_takes_what_zarr_gives_it_and_stays_in_its_directory(root: CopickRootMultilayer) -> None:
    store = root.get_run(RUN).get_voxel_spacing(SIZE).new_tomogram("new").zarr()
    group = zarr.open_group(store, mode="w")
    data = np.asfortranarray(np.arange(12.0).reshape(3, 4))
    group.create_dataset("0", data=data, order="F", compressor=None, chunks=(2, 2))
    np.testing.assert_array_equal(group["0"][:], data)
    group.move("0", "moved/00")  # zarr's own way would lose the chunks
    np.testing.assert_array_equal(zarr.open(store, mode="r")["moved/00"][:], data)
    assert sorted(store.listdir()) == [".zgroup", "moved"]
    store["empty"] = np.empty((0, 3))
    assert store["empty"] == b""
    with pytest.raises(ValueError, match="cannot be moved into itself"):
        store.rename("moved", "moved/x")
    for key in ("../x", "a/../../x", "..", "a\0"):
        assert key not in store
        with pytest.raises(KeyError):
            store[key]
        for change in (lambda key=key: store.__setitem__(key, b"1"), lambda key=key: store.rmdir(key)):
            with pytest.raises(InvalidName):
                change()


def test_a_tomogram_is_deleted_with_features_that_came_since(root: CopickRootMultilayer) -> None:
    tomogram, same = (root.get_run(RUN).get_voxel_spacing(SIZE).tomograms[0] for _ in range(2))
    assert len(tomogram.features) == 1
    same.new_features("late")
    tomogram.delete()
    assert tomogram.features == []
    assert same.query_features() == []


def test_a_damaged_file_is_named(root: CopickRootMultilayer, project: Project) -> None:
    run = root.get_run(RUN)
    for entity, text, reason in (
        (run.picks[0], "{bad", "double quotes"),
        (run.picks[0], '{"user_id": "u"}', "pickable_object_name: Field required"),
        (run.filaments[0], "[]", "valid dictionary"),
        (run.meshes[0], "junk", "GLB"),
    ):
        file = project.path("mine") / entity.path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        with pytest.raises(Unreadable, match=rf"'{entity.path}' cannot be read as .*{reason}"):
            entity.load()
        with pytest.raises(Unreadable):  # and not emptied
            root.get_run(RUN).picks[0].store()
        assert file.read_text() == text
    (project.path("mine") / "ExperimentRuns" / "notes").write_text("")
    assert root.get_run("notes") is None


def test_only_particles_have_density_maps(root: CopickRootMultilayer) -> None:
    membrane = root.new_object("vesicle", is_particle=False)
    for write in (
        lambda: membrane.from_numpy(volume(0), 1.0),
        lambda: membrane.set_region(volume(0)),
        membrane.store,
    ):
        with pytest.raises(ValueError, match="'vesicle' is not a particle"):
            write()


def test_what_is_no_name_is_told(root: CopickRootMultilayer) -> None:
    for criteria in ({"session": 1}, {"user": ["alice", "lab"]}, {"run": 5}):
        with pytest.raises(UserError, match="is one name or pattern"):
            root.find_objects(**criteria)


def test_picks_with_further_parts_in_their_names_are_one(
    root: CopickRootMultilayer, project: Project
) -> None:
    """copick lists them twice."""
    more = project.path("mine", f"ExperimentRuns/{RUN}/Picks/alice_1_ribosome_old.json")
    more.write_text("{}")
    assert len(root.get_run(RUN).query_picks()) == 2


def test_a_root_is_a_context(project: Project) -> None:
    with copickfs.from_file(project.file) as root:
        stack = root.tree.stack
        root.get_run(RUN).new_picks("ribosome", "3").from_numpy(points(1, 1))
        assert root.flush(1.0)
    assert stack.closed
    assert repr(root) == "<CopickRootMultilayer of <LayerManager mine > lab>>"

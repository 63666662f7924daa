"""MRC files of segmentations, features and object maps as copick writes them; what cannot be made."""

from __future__ import annotations

import json
import logging
import os
from typing import TYPE_CHECKING, Any

import mrcfile
import numpy as np
import pytest
import zarr

from copickfs.errors import NotFound, Unreadable
from copickfs.layers.local import LocalLayer
from copickfs.view import View
from copickfs.virtual.project import Limits, Project
from copickfs.virtual.volumes.renderer import MrcRenderer
from copickfs.virtual.volumes.spill import Spill
from tests.arrays import document, written_2
from tests.projects import copick_root
from tests.viewfacts import NoFacts
from tests.volumes import (
    HEADER_BYTES,
    RUN,
    WBP,
    Lab,
    by_mrcfile,
    opened,
    project_of,
    read,
    source_of,
    stored,
    whole,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SHAPE = (5, 6, 7)


@pytest.fixture(scope="module")
def renderer() -> Iterator[MrcRenderer]:
    made = MrcRenderer(memory_bytes=1 << 20, spill_bytes=0)
    yield made
    made.close()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A root of copick's with one of each kind of store."""
    root = copick_root(tmp_path_factory.mktemp("volumes") / "lab")
    run = root.new_run("TS_1")
    random = np.random.default_rng(5)
    labels = random.integers(0, 9, SHAPE).astype("u1")
    tomogram = run.new_voxel_spacing(10.0).new_tomogram("wbp")
    tomogram.from_numpy(random.random(SHAPE, "f4"), levels=2)
    features = tomogram.new_features("edges")
    zarr.group(features.zarr()).create_dataset(
        "0", data=random.random((3, *SHAPE), "f4"), chunks=(2, 3, 4, 7)
    )
    run.new_segmentation(10.0, "membrane", "1").from_numpy(labels)
    run.new_segmentation(10.0, "ribosome", "1", is_instance=True).from_numpy(labels.astype("u4") * 10_000)
    both = np.stack([labels % 3, labels * (labels % 3 > 0)]).astype("u2")
    run.new_segmentation(10.0, "scene", "1", is_panoptic=True).from_numpy(both)
    root.get_object("ribosome").from_numpy(random.random(SHAPE, "f4"), 4.5)
    return root


@pytest.fixture(scope="module")
def project(root: Any) -> Iterator[Project]:
    layer = LocalLayer("lab", root.config.overlay_root.removeprefix("local://"))
    layer.connect()
    view = View((layer,))
    yield Project(view, NoFacts(view), {})
    layer.close()


def test_every_kind_of_store_that_copick_writes(renderer: MrcRenderer, project: Project, root: Any) -> None:
    run = root.get_run("TS_1")
    tomogram = run.get_voxel_spacing(10.0).tomograms[0]
    named = {seg.name: seg for seg in run.segmentations}
    scene, features = named["scene"], zarr.open(tomogram.features[0].zarr())["0"][...]
    ten, spacing = (10.0,) * 3, "ExperimentRuns/TS_1/VoxelSpacing10.000"
    expected: list[tuple[str, dict[str, Any], Any]] = [
        (f"{spacing}/wbp.zarr", {
            "wbp.mrc": tomogram.numpy(), "wbp_bin2.mrc": zarr.open(tomogram.zarr())["1"][...],
        }, ten),
        (f"{spacing}/wbp_edges_features.zarr", {
            f"wbp_edges_features_c{c}.mrc": features[c] for c in range(3)
        }, ten),
        ("ExperimentRuns/TS_1/Segmentations/10.000_alice_1_membrane.zarr", {
            "10.000_alice_1_membrane.mrc": named["membrane"].numpy().astype("i2"),
        }, ten),
        ("ExperimentRuns/TS_1/InstanceSegmentations/10.000_alice_1_ribosome.zarr", {
            "10.000_alice_1_ribosome.mrc": named["ribosome"].numpy().astype("f4"),
        }, ten),
        ("ExperimentRuns/TS_1/PanopticSegmentations/10.000_alice_1_scene.zarr", {
            f"10.000_alice_1_scene_{channel}.mrc": scene.numpy(channel=channel)
            for channel in ("label", "instance")
        }, ten),
        ("Objects/ribosome.zarr", {"ribosome.mrc": root.get_object("ribosome").numpy()}, (4.5,) * 3),
    ]  # fmt: skip
    for path, volumes, size in expected:
        names = renderer.files(source_of(project, path))
        assert [name for name in names if name in volumes] == list(volumes)
        for name, values in volumes.items():
            got = whole(renderer, project, name, path)
            voxel_size = tuple(2 * n for n in size) if "_bin2" in name else size
            wanted = values.astype("i2") if values.dtype == np.uint8 else values
            assert got == by_mrcfile(wanted, voxel_size, like=got), name


def test_the_channels_of_one_chunk_are_told_apart(renderer: MrcRenderer) -> None:
    values = np.arange(2 * 4 * 3 * 2 * 2, dtype="f4").reshape(4, 2, 1, 3, 2, 2)[:, :, 0]
    files = stored([written_2(values, chunks=(3, 2, 2, 2, 2))])
    attributes = {f"{WBP}/.zattrs": b"{}"}
    project = project_of(Lab({**files, **attributes}))
    names = renderer.files(source_of(project))
    assert names == [f"wbp_t{t}_c{c}.mrc" for t in range(4) for c in range(2)]
    for name in names:
        got = whole(renderer, project, name)
        assert got == by_mrcfile(values[int(name[5]), int(name[8])], (10, 10, 10), like=got)


def test_an_axis_of_one_has_no_name(renderer: MrcRenderer) -> None:
    project = project_of(Lab(stored([written_2(np.ones((1, 2, 3, 4), "f4"))])))
    assert renderer.files(source_of(project)) == ["wbp.mrc"]


LABELS = f"{RUN}/Segmentations/10.000_alice_1_membrane.zarr"


@pytest.mark.parametrize(
    ("dtype", "in_file"),
    [
        ("|b1", "i2"),
        ("|i1", "i2"),
        ("|u1", "i2"),
        (">i2", "i2"),
        (">u2", "u2"),
        ("<i4", "f4"),
        ("<u8", "f4"),
        ("<f2", "f4"),
    ],
)
def test_types_of_segmentations(renderer: MrcRenderer, dtype: str, in_file: str) -> None:
    values = np.random.default_rng(1).integers(0, 2, SHAPE).astype(dtype) * np.ones((), dtype)
    project = project_of(Lab(stored([written_2(values, chunks=(3, 3, 3))], path=LABELS)))
    got = whole(renderer, project, "10.000_alice_1_membrane.mrc", LABELS)
    assert got == by_mrcfile(values.astype(in_file), (10, 10, 10), like=got)


@pytest.mark.parametrize(
    ("path", "dtype", "value"),
    [
        (WBP, "<f8", 0.1), (WBP, "<f8", 1e300), (WBP, "<i4", 2**24 + 1), (WBP, "<i8", 2**63 - 1),
        (WBP, "<u8", 2**64 - 1), (LABELS, "<u4", 2**31 + 1), (LABELS, "<f8", 0.1),
    ],
)  # fmt: skip
def test_a_value_that_no_file_can_have_is_told_once_and_there_is_no_file_any_more(
    path: str, dtype: str, value: float, caplog: pytest.LogCaptureFixture
) -> None:
    values = np.zeros((4, 3, 3), dtype)
    values[3, 1, 1] = value
    lab = Lab(stored([written_2(values, chunks=(1, 3, 3))], path=path))
    project, renderer = project_of(lab), MrcRenderer(spill_bytes=0)
    (name,) = renderer.files(source_of(project, path))
    contents = opened(renderer, project, name, path)
    assert read(contents, HEADER_BYTES, HEADER_BYTES + 9) == bytes(9)  # what comes before it can be had
    with caplog.at_level(logging.WARNING, "copickfs"):
        for _time in range(2):
            with pytest.raises(Unreadable, match=r"zarr/0: the value .* has no equal of type float32"):
                read(contents)
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        f"no .mrc file can be made of {path}/0"
    ]
    source = source_of(project, path)
    assert renderer.files(source) == []
    assert source.is_current(project.tree, wait=True)
    with pytest.raises(NotFound):
        renderer.open(source_of(project, path), name)
    lab.put(f"{path}/0/3.0.0", written_2(np.ones((4, 3, 3), dtype), chunks=(1, 3, 3))["3.0.0"])
    assert not source.is_current(project.tree, wait=True)
    assert renderer.files(source_of(project, path)) == [name]
    assert np.frombuffer(whole(renderer, project, name, path)[-36:], "<f4").tolist() == [1] * 9
    contents.close()
    renderer.close()


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        ("<f8", [2.0**100, -0.0, 1.5, 2.0**-149]),
        ("<i8", [-(2**63), 2**62, 2**24 + 2, -1]),
        ("<u8", [2**63, 2**24 + 2, 0, 1]),
    ],
)
def test_wide_values_that_are_exact_are_in_the_file(
    renderer: MrcRenderer, dtype: str, values: list[float]
) -> None:
    array = np.array(values, dtype).reshape(1, 2, 2)
    got = whole(renderer, project_of(Lab(stored([written_2(array)]))))
    assert got == by_mrcfile(array.astype("f4"), (10, 10, 10), like=got)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.zeros((2, 2, 2), "c8"), "voxels of the type <c8"),
        (np.zeros((2, 2), "f4"), "has 2 axes"),
        (np.zeros((0, 2, 2), "f4"), "cannot have the extent"),
        (np.zeros((5000, 1, 1, 1), "u1"), "too many"),
    ],
)
def test_what_no_file_can_be_made_of_says_why(
    renderer: MrcRenderer, values: np.ndarray[Any, Any], reason: str
) -> None:
    files = {f"{WBP}/{name}": data for name, data in written_2(values).items()}
    with pytest.raises(Unreadable, match=reason):
        renderer.files(source_of(project_of(Lab(files))))


def test_axes_that_are_not_in_space_are_not_taken_for_planes(renderer: MrcRenderer) -> None:
    files = stored([written_2(np.zeros((2, 3, 4, 5), "f4"))])
    axes = [{"name": name, "type": "space"} for name in "zyxc"]
    attributes = json.loads(files[f"{WBP}/.zattrs"])
    attributes["multiscales"][0]["axes"] = axes
    files[f"{WBP}/.zattrs"] = json.dumps(attributes).encode()
    with pytest.raises(Unreadable, match="have to be in space"):
        renderer.files(source_of(project_of(Lab(files))))


def test_a_level_that_cannot_be_made_leaves_the_others(renderer: MrcRenderer) -> None:
    good, bad = written_2(np.ones((4, 4, 4), "f4")), written_2(np.ones((2, 2, 2), "c8"))
    project = project_of(Lab(stored([good, bad])))
    assert renderer.files(source_of(project)) == ["wbp.mrc"]
    head = np.frombuffer(whole(renderer, project)[:HEADER_BYTES], mrcfile.dtypes.HEADER_DTYPE)[0]
    assert head["dmax"] == 1


def test_a_coarsest_level_that_cannot_be_decoded_spoils_no_header(renderer: MrcRenderer) -> None:
    good, bad = written_2(np.ones((4, 4, 4), "f4")), written_2(np.ones((2, 2, 2), "f4"))
    bad = document(bad, ".zarray", compressor={"id": "nobody-knows"})
    project = project_of(Lab(stored([good, bad])))
    head = np.frombuffer(whole(renderer, project)[:HEADER_BYTES], mrcfile.dtypes.HEADER_DTYPE)[0]
    assert head["dmax"] == 1
    with pytest.raises(Unreadable, match="nobody-knows"):
        opened(renderer, project, "wbp_bin2.mrc")


def test_a_name_of_nothing_is_not_found(renderer: MrcRenderer) -> None:
    project = project_of(Lab(stored([written_2(np.ones((4, 4, 4), "f4"))])))
    for name in ("wbp_bin2.mrc", "other.mrc"):
        with pytest.raises(NotFound):
            renderer.size_bytes(source_of(project), name)


def test_limits_are_those_of_the_configuration(tmp_path: Path) -> None:
    renderer = MrcRenderer()
    renderer.configure(Limits(5000, 700, str(tmp_path / "spill")))
    tiles = renderer._sharing.tiles
    assert (tiles.memory_bytes, tiles._spill.limit_bytes) == (5000, 700)
    assert tiles._spill.write(memoryview(b"voxels")) is not None
    assert (tmp_path / "spill").is_dir()
    renderer.close()


@pytest.mark.parametrize("variable", [True, False])
def test_without_a_directory_the_temporary_file_is_where_the_system_has_such_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: bool
) -> None:
    monkeypatch.delenv("TMPDIR", raising=False)
    if variable:
        monkeypatch.setenv("TMPDIR", str(tmp_path))
    spill = Spill(None, 1000)
    slot = spill.write(memoryview(b"voxels"))
    assert slot is not None
    place = os.readlink(f"/proc/self/fd/{spill._file}")
    assert place.startswith(str(tmp_path) if variable else "/var/tmp/")  # noqa: S108 -- nothing is made there by this name
    spill.close()
    buffer = bytearray(6)
    assert not spill.read(slot, 0, memoryview(buffer))


def test_nothing_is_left_of_a_renderer_that_was_never_used(tmp_path: Path) -> None:
    MrcRenderer(spill_directory=tmp_path / "spill").close()
    assert not list(tmp_path.iterdir())
